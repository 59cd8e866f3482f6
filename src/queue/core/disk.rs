//! How the disk is, as far as it has told.

/// First and longest wait before the disk is tried again, in microseconds.
pub(super) const RETRY_US: (i64, i64) = (1_000_000, 10_000_000);

/// How the disk is.
#[derive(Clone, Debug)]
pub(super) enum Disk {
    /// It takes our writes.
    Well,
    /// It refused the last one.
    Failing(Trouble),
    /// It did not let us open the file yet: what stands there is not known.
    Unopened(Trouble),
}

/// What the disk said, and when it is asked again.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) error: String,
    pub(super) retry_at: i64,
    wait_us: i64,
}

impl Trouble {
    /// The first, or one that follows on `before`: then the next try comes later.
    pub(super) fn new(before: Option<&Self>, error: String, now: i64) -> Self {
        let wait_us = before.map_or(RETRY_US.0, |before| (before.wait_us * 2).min(RETRY_US.1));
        Self { error, retry_at: now + wait_us, wait_us }
    }
}

impl Disk {
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Well => None,
            Self::Failing(trouble) | Self::Unopened(trouble) => Some(trouble),
        }
    }
}
