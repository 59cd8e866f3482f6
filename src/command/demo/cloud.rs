//! A stand-in for the cloud: our own broker on a loopback port, and a notebook of what it was sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Intake, Limits, Listen};
use crate::mqtt::packet::Publish;
use crate::queue::{Full, Ticket};

/// A reading that reached the cloud: device and the device's own number.
pub type Arrival = (String, u64);

/// What went wrong on purpose: for the test that the ledger notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The cloud acknowledges its n-th reading and forgets it.
    Forget(u64),
}

/// Writes down every reading.
#[derive(Clone, Debug)]
struct Notebook {
    pages: Arc<Mutex<Pages>>,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct Pages {
    seen: u64,
    new: Vec<Arrival>,
}

/// The parts of a reading's payload that matter here.
#[derive(Deserialize)]
struct Payload {
    seq: u64,
    /// The own count of boards whose format has no numbers.
    n: Option<u64>,
}

impl Intake for Notebook {
    fn offer(&self, publish: &Publish) -> Result<Option<Ticket>, Full> {
        let mut levels = publish.topic.rsplit('/');
        if let (Some("data"), Some(device)) = (levels.next(), levels.next())
            && let Ok(payload) = serde_json::from_slice::<Payload>(&publish.payload)
        {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            pages.seen += 1;
            if self.fault != Some(Fault::Forget(pages.seen)) {
                pages.new.push((device.to_owned(), payload.n.unwrap_or(payload.seq)));
            }
        }
        Ok(None)
    }
}

/// The stand-in.
#[derive(Debug)]
pub struct Cloud {
    /// Where it listens while it is up.
    pub address: SocketAddr,
    notebook: Notebook,
    serving: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Cloud {
    /// A cloud that is up.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start(fault: Option<Fault>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let notebook = Notebook { pages: Arc::default(), fault };
        let mut cloud = Self { address: listener.local_addr()?, notebook, serving: None };
        cloud.serve(listener);
        Ok(cloud)
    }

    /// Closes the port and every connection.
    pub async fn cut(&mut self) {
        if let Some((stop, serving)) = self.serving.take() {
            stop.cancel();
            let _ = serving.await;
        }
    }

    /// Opens the same port again; nothing when it is open.
    ///
    /// # Errors
    /// When somebody else took it meanwhile.
    pub async fn restore(&mut self) -> io::Result<()> {
        if self.serving.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            self.serve(listener);
        }
        Ok(())
    }

    /// What arrived since the last call, in order.
    #[must_use]
    pub fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.notebook.pages.lock().unwrap_or_else(PoisonError::into_inner).new)
    }

    fn serve(&mut self, listener: TcpListener) {
        let broker = Broker::new(Limits::default(), self.notebook.clone());
        let stop = CancellationToken::new();
        let until = stop.clone();
        let serving = tokio::spawn(async move { broker.serve(vec![Listen::from(listener)], until).await });
        self.serving = Some((stop, serving));
    }
}
