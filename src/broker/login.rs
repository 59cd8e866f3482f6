//! Logins: passwords are checked in a thread of their own, one at a time, since a check takes a
//! tenth of a second and up to 64 MiB.
//!
//! A login goes through four gates, the cheap ones first: is its source paused after failures; is
//! the password known from before; is there a place in the line; does the password fit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout_at;

use super::access::{Access, Admission, Denial, Identity, Known, Noted, Print, Rights, Source, Throttle};
use super::keeper::lock;
use super::now;
use super::remote::Remote;
use crate::mqtt::packet::Connect;
use crate::password::Hash;

/// Passwords that are checked at a time: bounds the memory.
const CHECKS: usize = 1;

/// Logins that wait for the check, that one included. Those beyond are told to try again.
const LINE: usize = 64;

/// Who lets clients in.
pub(super) struct Logins {
    access: watch::Sender<Arc<Access>>,
    checks: Arc<Semaphore>,
    line: Semaphore,
    memory: Mutex<Memory>,
    refused: AtomicU64,
}

/// What is remembered of earlier logins, and of what clients were denied.
struct Memory {
    throttle: Throttle,
    known: Known,
    noted: Noted,
}

/// A client that was let in.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) identity: Identity,
    access: watch::Receiver<Arc<Access>>,
    rights: Rights,
}

/// The user is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revoked;

impl Login {
    /// What the client may do.
    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Who may do what, as of now.
    pub(super) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.borrow())
    }

    /// Brings the rights up to date; tells whether they may have changed.
    pub(super) fn review(&mut self, client_id: &str) -> Result<bool, Revoked> {
        if !self.access.has_changed().unwrap_or(false) {
            return Ok(false);
        }
        let access = Arc::clone(&self.access.borrow_and_update());
        self.rights = access.rights(&self.identity, client_id).ok_or(Revoked)?;
        Ok(true)
    }
}

impl Logins {
    /// Open to anonymous clients on loopback.
    pub(super) fn new() -> Self {
        let key = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes).concat();
        Self {
            access: watch::Sender::new(Arc::new(Access::default())),
            checks: Arc::new(Semaphore::new(CHECKS)),
            line: Semaphore::new(LINE),
            memory: Mutex::new(Memory {
                throttle: Throttle::default(),
                known: Known::new(&key),
                noted: Noted::default(),
            }),
            refused: AtomicU64::new(0),
        }
    }

    /// From now on `access` holds.
    pub(super) fn replace(&self, access: Access) {
        self.memory().known.clear();
        self.access.send_replace(Arc::new(access));
    }

    /// Logins that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets a client in, or not. Takes as long as a password check and the wait for it, but not
    /// longer than until `deadline`.
    pub(super) async fn login(
        &self,
        connect: &Connect,
        remote: &Remote,
        deadline: tokio::time::Instant,
    ) -> Result<Login, Denial> {
        let access = self.access.subscribe();
        let admission = access.borrow().admit(connect, remote);
        let admitted = match admission {
            Admission::Granted(identity) => Ok(identity),
            Admission::Refused(refusal) => Err(refusal),
            Admission::Check { user, hash, exists } => {
                let password = connect.password.clone().unwrap_or_default();
                let attempt = Attempt { source: remote.address.into(), user: &user, exists };
                let checked = timeout_at(deadline, self.check(&attempt, password, hash)).await;
                checked.unwrap_or(Err(Denial::Busy)).map(|()| Identity::Password(user))
            }
        };
        let login = admitted.and_then(|identity| enter(access, identity, connect));
        login.inspect_err(|&refusal| self.refuse(refusal, connect, remote))
    }

    /// A client is not let in: counts it, and tells of it, though not each time.
    pub(super) fn refuse(&self, refusal: Denial, connect: &Connect, remote: &Remote) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let (address, user) = (remote.address, connect.username.as_deref().unwrap_or_default());
        let mut memory = self.memory();
        let failures = memory.throttle.failures(address.into(), user);
        let is_news = match refusal {
            // The first ones, and then fewer and fewer.
            Denial::NoSuchUser | Denial::WrongPassword => failures.is_power_of_two(),
            _ => memory.noted.is_news(&address.to_string(), refusal.told(), now()),
        };
        drop(memory);
        if is_news {
            let (client, certificate) = (&*connect.client_id, remote.certificate.as_deref());
            tracing::warn!(%address, user, client, certificate, reason = %refusal, failures, "login refused");
        }
    }

    /// Whether to tell that a client was denied something with `topic`.
    pub(super) fn is_news(&self, client_id: &str, topic: &str, now: Instant) -> bool {
        let level = topic.split('/').next().unwrap_or_default();
        self.memory().noted.is_news(client_id, level, now)
    }

    async fn check(&self, attempt: &Attempt<'_>, password: Bytes, hash: Hash) -> Result<(), Denial> {
        let print = self.memory().known.print(attempt.user, &password, &hash);
        if self.without_check(attempt, &print)? {
            return Ok(());
        }
        let _place = self.line.try_acquire().map_err(|_| Denial::Busy)?;
        let permit = Arc::clone(&self.checks).acquire_owned().await.map_err(|_| Denial::Busy)?;
        // Those before it in the line may have been the same user, for better or worse.
        if self.without_check(attempt, &print)? {
            return Ok(());
        }
        let checked = tokio::task::spawn_blocking(move || {
            let fits = hash.fits(&password);
            // Held to the end, also where nobody waits for it any more: it bounds the memory.
            drop(permit);
            fits
        });
        let fits = checked.await.map_err(|_| Denial::Busy)?;
        let mut memory = self.memory();
        if fits && attempt.exists {
            memory.throttle.succeeded(attempt.source, attempt.user);
            memory.known.remember(print);
            return Ok(());
        }
        memory.throttle.failed(attempt.source, attempt.user, now());
        Err(if attempt.exists { Denial::WrongPassword } else { Denial::NoSuchUser })
    }

    /// Whether the password is known to be right already.
    fn without_check(&self, attempt: &Attempt<'_>, print: &Print) -> Result<bool, Denial> {
        let memory = self.memory();
        // First of all: else what is remembered could be guessed at without pauses.
        if memory.throttle.is_paused(attempt.source, attempt.user, now()) {
            return Err(Denial::Throttled);
        }
        Ok(attempt.exists && memory.known.contains(print))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }
}

/// A login by password.
struct Attempt<'a> {
    source: Source,
    user: &'a str,
    /// There is such a user, with a password.
    exists: bool,
}

/// The rights of a client whose identity is certain.
fn enter(
    mut access: watch::Receiver<Arc<Access>>,
    identity: Identity,
    connect: &Connect,
) -> Result<Login, Denial> {
    // What has changed during a check counts.
    let rights = access.borrow_and_update().rights(&identity, &connect.client_id);
    let rights = rights.ok_or(Denial::NoSuchUser)?;
    match &connect.will {
        Some(will) if !rights.may_publish(&will.message.topic) => Err(Denial::Will),
        _ => Ok(Login { identity, access, rights }),
    }
}
