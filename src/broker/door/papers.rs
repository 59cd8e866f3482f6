//! A listener's certificate: read, read again, and watched for its end.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::config::ServerTls;
use crate::render::time::minute;
use crate::transport::Blocking;
use crate::transport::server::Papers;

/// The files have this long to be read.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait before reading files again that could not be used.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How often the files are read without being told to: the end of a certificate is told once a day.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps what the listener at `address` shows up to date, for as long as it is polled. Files that
/// cannot be used leave in place what was there before.
pub(super) async fn keep(
    address: SocketAddr,
    tls: &ServerTls,
    renew: &Notify,
    shown: watch::Sender<Option<Papers>>,
) {
    let mut reading = Blocking::default();
    let mut trouble = None;
    loop {
        let files = tls.clone();
        let read = reading.run(READ_WITHIN, move || Papers::read(&files)).await;
        let wait = match read {
            Some(Ok(papers)) => {
                trouble = None;
                tell(address, &papers, shown.borrow().as_ref());
                shown.send_replace(Some(papers));
                LOOK_EVERY
            }
            other => {
                let error = match other {
                    Some(Err(error)) => error.to_string(),
                    _ => format!("the files could not be read within {READ_WITHIN:?}"),
                };
                if trouble.as_ref() != Some(&error) {
                    let instead = match shown.borrow().is_some() {
                        true => "the certificate from before is shown",
                        false => "nobody can connect there until it is right",
                    };
                    tracing::error!(%address, error, instead, "cannot use the listener's certificate; will try again");
                    trouble = Some(error);
                }
                RETRY_AFTER
            }
        };
        tokio::select! {
            () = renew.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

/// Says what is new, and what ends.
fn tell(address: SocketAddr, papers: &Papers, before: Option<&Papers>) {
    let own = papers.own();
    let (subject, until) = (&own.subject, minute(own.until.as_secs()));
    if before.map(Papers::own) != Some(own) {
        tracing::info!(%address, subject, until, "certificate of the listener");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Some(warning) = own.warning(now) {
        tracing::warn!(%address, subject, "the certificate of the listener {warning}");
    }
}
