//! What a file does with batches, for tests.

use super::table::Table;
use super::{Batch, DeliveryChange, Image, Parts, SessionChange, SessionImage, Work};

impl Image {
    /// Makes of it what the batch says.
    pub(crate) fn apply<P>(&mut self, batch: &Batch<P>) {
        let changes = match &batch.work {
            Work::Whole(image) => return self.clone_from(image),
            Work::Changes(changes) => changes,
        };
        for (id, message) in changes.messages.iter() {
            set(&mut self.messages, *id, message.cloned());
        }
        for (key, change) in &changes.sessions {
            match change {
                SessionChange::Ended => drop(self.sessions.remove(key)),
                SessionChange::Parts(parts) => {
                    if let Some(row) = &parts.row {
                        let new = || SessionImage::new(row.clone());
                        self.sessions.entry(*key).or_insert_with(new).row = row.clone();
                    }
                    self.sessions.get_mut(key).expect("parts of no session").apply(parts);
                }
            }
        }
        for (topic, retained) in changes.retained.iter() {
            set(&mut self.retained, topic.clone(), retained.map(|(message, _)| *message));
        }
        for (client_id, will) in changes.wills.iter() {
            set(&mut self.wills, client_id.clone(), will.cloned());
        }
    }
}

impl SessionImage {
    fn apply<P>(&mut self, parts: &Parts<P>) {
        for (filter, subscription) in parts.subscriptions.iter() {
            set(&mut self.subscriptions, filter.clone(), subscription.copied());
        }
        for (filter, replay) in parts.replays.iter() {
            match replay {
                Some(()) => drop(self.replays.insert(filter.clone())),
                None => drop(self.replays.remove(filter)),
            }
        }
        for (position, delivery) in parts.deliveries.iter() {
            match delivery {
                Some(DeliveryChange::Whole(row, _)) => drop(self.deliveries.insert(*position, row.clone())),
                Some(DeliveryChange::Moved(flight)) => {
                    self.deliveries.get_mut(position).expect("a row that moves").move_to(*flight);
                }
                None => drop(self.deliveries.remove(position)),
            }
        }
        set_all(&mut self.incoming, &parts.incoming);
    }
}

fn set_all<K: Ord + Copy, P>(
    rows: &mut std::collections::BTreeMap<K, bool>,
    changes: &Table<K, (bool, Option<P>)>,
) {
    for (key, value) in changes.iter() {
        set(rows, *key, value.map(|(value, _)| *value));
    }
}

fn set<K: Ord, V>(rows: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(rows.insert(key, value)),
        None => drop(rows.remove(&key)),
    }
}

impl<P> Batch<P> {
    /// One that writes everything.
    pub(crate) fn whole(image: Image) -> Self {
        Self { number: 1, work: Work::Whole(Box::new(image)), owed: Vec::new() }
    }
}
