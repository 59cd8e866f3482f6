//! Changes to the rows of one table, by key.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What becomes of one row.
#[derive(Debug)]
pub(crate) enum Slot<V> {
    /// It has this content. `is_new`: the file does not have the row in any form.
    Put { value: V, is_new: bool },
    /// It goes.
    Deleted,
}

/// Changes to the rows of one table. The newest of each key counts.
#[derive(Debug)]
pub(crate) struct Table<K, V>(BTreeMap<K, Slot<V>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V> Table<K, V> {
    /// The row has this content. `is_new`: as far as the caller knows, there was none.
    pub(super) fn put(&mut self, key: K, value: V, is_new: bool) {
        match self.0.entry(key) {
            Entry::Vacant(entry) => drop(entry.insert(Slot::Put { value, is_new })),
            Entry::Occupied(mut entry) => {
                let is_new = matches!(entry.get(), Slot::Put { is_new: true, .. });
                entry.insert(Slot::Put { value, is_new });
            }
        }
    }

    /// The row goes. One that the file never had needs no change.
    pub(super) fn delete(&mut self, key: K) {
        match self.0.entry(key) {
            Entry::Vacant(entry) => drop(entry.insert(Slot::Deleted)),
            Entry::Occupied(entry) if matches!(entry.get(), Slot::Put { is_new: true, .. }) => {
                entry.remove();
            }
            Entry::Occupied(mut entry) => drop(entry.insert(Slot::Deleted)),
        }
    }

    /// What the row is to become, unless it goes.
    pub(super) fn pending(&mut self, key: &K) -> Option<&mut V> {
        match self.0.get_mut(key)? {
            Slot::Put { value, .. } => Some(value),
            Slot::Deleted => None,
        }
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All changes, in the order of their keys: the content, or `None` for a row that goes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, Option<&V>)> {
        self.0.iter().map(|(key, slot)| match slot {
            Slot::Put { value, .. } => (key, Some(value)),
            Slot::Deleted => (key, None),
        })
    }

    /// The content of all rows that stay.
    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.0.into_values().filter_map(|slot| match slot {
            Slot::Put { value, .. } => Some(value),
            Slot::Deleted => None,
        })
    }
}
