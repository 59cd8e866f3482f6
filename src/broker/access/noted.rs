//! What was told already, so that a client that keeps trying does not fill the log. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Told again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// Most things that are remembered. While there are that many, nothing new is told.
const MAX_NOTED: usize = 500;

/// Longest texts that are told apart, in bytes.
const MAX_BYTES: usize = 64;

/// Who tried what, and when it was told.
#[derive(Debug, Default)]
pub(in crate::broker) struct Noted(HashMap<(Arc<str>, Arc<str>), Instant>);

impl Noted {
    /// Whether to tell that `who` tried `what`: once an hour.
    pub(in crate::broker) fn is_news(&mut self, who: &str, what: &str, now: Instant) -> bool {
        let key = (short(who), short(what));
        let is_old = |told: &Instant| now.saturating_duration_since(*told) >= AGAIN_AFTER;
        if self.0.get(&key).is_some_and(|told| !is_old(told)) {
            return false;
        }
        if self.0.len() >= MAX_NOTED {
            self.0.retain(|_, told| !is_old(told));
        }
        if self.0.len() >= MAX_NOTED {
            return false;
        }
        self.0.insert(key, now);
        true
    }
}

fn short(text: &str) -> Arc<str> {
    text.get(..text.floor_char_boundary(MAX_BYTES)).unwrap_or_default().into()
}
