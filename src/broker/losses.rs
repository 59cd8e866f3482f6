//! Messages that the broker gave up, by the reason.

/// Why a message did not get to where it was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// QoS 0, and no room for it among what waits for the client.
    Full0,
    /// QoS 1, as above.
    Full1,
    /// QoS 2, as above.
    Full2,
    /// It waited in a session that had to make room for another one.
    Forgotten,
    /// The store of retained messages had no room for it.
    Retained,
    /// Larger than the client takes.
    TooLarge,
    /// A will for a bridge, whose queue was full.
    Will,
    /// Its publisher may not publish to that topic.
    Denied,
    /// Its own time was over. The publisher wanted that, so it is not in the total.
    Expired,
}

/// All reasons, with the name that each has in `$SYS` and in the metrics.
pub(super) const NAMES: [(Loss, &str); 9] = [
    (Loss::Full0, "qos0"),
    (Loss::Full1, "qos1"),
    (Loss::Full2, "qos2"),
    (Loss::Forgotten, "session"),
    (Loss::Retained, "retained"),
    (Loss::TooLarge, "too_large"),
    (Loss::Will, "will"),
    (Loss::Denied, "denied"),
    (Loss::Expired, "expired"),
];

/// How many messages were given up for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses([u64; NAMES.len()]);

impl Losses {
    /// One more.
    pub(super) fn add(&mut self, loss: Loss) {
        self.add_many(loss, 1);
    }

    /// `n` more.
    pub(super) fn add_many(&mut self, loss: Loss, n: u64) {
        if let Some(count) = self.0.get_mut(loss as usize) {
            *count += n;
        }
    }

    /// How many for that reason.
    pub(super) fn of(&self, loss: Loss) -> u64 {
        self.0.get(loss as usize).copied().unwrap_or(0)
    }

    /// All that somebody may miss.
    pub(super) fn total(&self) -> u64 {
        NAMES.iter().filter(|(loss, _)| *loss != Loss::Expired).map(|(loss, _)| self.of(*loss)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_counts_for_itself_and_expiry_is_no_loss() {
        let mut losses = Losses::default();
        for (n, (loss, _)) in (1..).zip(NAMES) {
            losses.add_many(loss, n);
        }
        losses.add(Loss::Full1);
        assert_eq!(NAMES.map(|(loss, _)| losses.of(loss)), [1, 3, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(losses.total(), 37);
    }
}
