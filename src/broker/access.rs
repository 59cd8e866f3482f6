//! Who may connect, and what each may do. Pure: what it takes to find out (a password check, the
//! time, how often it went wrong before) comes and goes as plain data.
//!
//! A client is anonymous (on loopback only), or a user: by its name and password, or by its verified
//! certificate. [`Access::admit`] says which, or what is to be checked first; [`Rights`] answer for
//! each topic.

mod known;
mod noted;
mod rights;
#[cfg(test)]
mod tests;
mod throttle;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::remote::Remote;
use crate::config::{self, Listener, User};
use crate::mqtt::packet::{Connect, Reason};
use crate::password::{Hash, SALT_BYTES};

pub(super) use known::{Known, Print};
pub(super) use noted::Noted;
pub(super) use rights::Rights;
pub(super) use throttle::{Source, Throttle};

/// Who may connect, and what each may do.
#[derive(Debug, Default)]
pub struct Access {
    users: HashMap<Arc<str>, User>,
    /// Checked for users who do not exist.
    decoy: Option<Hash>,
    /// Some listener takes client certificates.
    takes_certificates: bool,
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Nobody in particular, on this machine.
    Anonymous,
    /// The user whose password it has.
    Password(Arc<str>),
    /// The user whose certificate it has.
    Certificate(Arc<str>),
}

impl Identity {
    /// The user's name; `None` for an anonymous client.
    pub(super) fn user(&self) -> Option<&Arc<str>> {
        match self {
            Self::Anonymous => None,
            Self::Password(name) | Self::Certificate(name) => Some(name),
        }
    }
}

/// What a CONNECT gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may come in.
    Granted(Identity),
    /// It may, if its password fits.
    Check {
        /// The user whose password it should be.
        user: Arc<str>,
        /// What it must fit.
        hash: Hash,
        /// There is such a user, with a password: without one, the hash is there to take time.
        exists: bool,
    },
    /// It may not.
    Refused(Denial),
}

/// Why a client may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// There is no such user, or none with a password.
    NoSuchUser,
    /// The password is wrong.
    WrongPassword,
    /// It says nothing of who it is, where that is needed.
    Anonymous,
    /// Its certificate is of nobody we know.
    UnknownCertificate,
    /// It names another user than its certificate.
    OtherName,
    /// Too many logins went wrong.
    Throttled,
    /// Too many logins wait for their turn.
    Busy,
    /// The session under its client id is another user's.
    OthersSession,
    /// Its will goes where it may not publish.
    Will,
}

impl Denial {
    /// What the client is told.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::NoSuchUser | Self::WrongPassword => Reason::BAD_LOGIN,
            Self::Anonymous | Self::UnknownCertificate | Self::OtherName | Self::Will => {
                Reason::NOT_AUTHORIZED
            }
            Self::OthersSession => Reason::CLIENT_ID,
            Self::Throttled => Reason::CONNECTION_RATE,
            Self::Busy => Reason::BUSY,
        }
    }

    /// The same in words, over 5.0. They do not tell which users there are.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::NoSuchUser | Self::WrongPassword => "wrong user name or password",
            Self::Anonymous => "a user name and a password are needed",
            Self::UnknownCertificate => "no user has the name in the certificate",
            Self::OtherName => "the user name is not the name in the certificate",
            Self::OthersSession => "the client id belongs to another user",
            Self::Throttled => "too many failed logins: wait a minute",
            Self::Busy => "too many logins at a time: try again",
            Self::Will => "the will's topic is not allowed",
        }
    }
}

impl fmt::Display for Denial {
    /// In words, for our own log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchUser => "there is no such user with a password",
            Self::WrongPassword => "the password is wrong",
            other => other.told(),
        })
    }
}

impl Access {
    /// What the configuration says; `salt` is drawn by lot.
    #[must_use]
    pub fn new(config: &config::Broker, salt: [u8; SALT_BYTES]) -> Self {
        let users = &config.users;
        let decoy = Hash::decoy(users.iter().find_map(|user| user.password.as_ref()), salt);
        Self {
            users: users.iter().map(|user| (Arc::clone(&user.name), user.clone())).collect(),
            decoy,
            takes_certificates: config.listen.iter().any(Listener::wants_certificates),
        }
    }

    /// What the client of `connect` gets that comes from `remote`.
    pub(super) fn admit(&self, connect: &Connect, remote: &Remote) -> Admission {
        let (user, password) = (connect.username.as_ref(), connect.password.as_ref());
        if let Some(name) = &remote.certificate {
            return self.by_certificate(name, user);
        }
        let says_nothing = user.is_none() && password.is_none();
        // Where there are no users, a name means nothing and a password cannot be wrong.
        if says_nothing || self.users.is_empty() {
            return if remote.may_be_anonymous() {
                Admission::Granted(Identity::Anonymous)
            } else {
                Admission::Refused(Denial::Anonymous)
            };
        }
        let user = user.cloned().unwrap_or_default();
        let known = self.users.get(&user).and_then(|user| user.password.clone());
        let exists = known.is_some();
        match known.or_else(|| self.decoy.clone()) {
            Some(hash) => Admission::Check { user, hash, exists },
            None => Admission::Refused(Denial::NoSuchUser),
        }
    }

    /// What a client may do; `None` if it may not be here any more.
    pub(super) fn rights(&self, identity: &Identity, client_id: &str) -> Option<Rights> {
        let name = match identity {
            Identity::Anonymous => return Some(Rights::everything()),
            Identity::Certificate(_) if self.users.is_empty() => return Some(Rights::everything()),
            Identity::Password(name) | Identity::Certificate(name) => name,
        };
        let user = self.users.get(name)?;
        let expand = |filters: &Option<Vec<Arc<str>>>| {
            filters.as_ref().map(|filters| rights::expand(filters, client_id, name))
        };
        Some(Rights::new(expand(&user.publish), expand(&user.subscribe)))
    }

    /// Whether the user `name` can come back: a session of one who cannot is nobody's.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.users.contains_key(name) || (self.users.is_empty() && self.takes_certificates)
    }

    fn by_certificate(&self, name: &Arc<str>, user: Option<&Arc<str>>) -> Admission {
        if user.is_some_and(|user| user != name) {
            Admission::Refused(Denial::OtherName)
        } else if self.users.is_empty() || self.users.contains_key(name) {
            Admission::Granted(Identity::Certificate(Arc::clone(name)))
        } else {
            Admission::Refused(Denial::UnknownCertificate)
        }
    }
}
