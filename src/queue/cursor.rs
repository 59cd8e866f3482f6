//! How far one bridge is in the queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::reading::Body;

/// What a cursor remembers of an entry that it handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whether the entry counts in the ledger.
    pub counts: bool,
}

/// Entries that were read from disk ahead of their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Idle,
    Wanted,
    Running,
    /// What comes back is out of date: the cursor moved meanwhile.
    Stale,
}

/// One bridge's place in the queue.
///
/// Everything below [`Cursor::prefix`] is done for this bridge. Acknowledgements may come in any
/// order: what is done beyond the prefix is remembered until the prefix has passed it, so that a
/// rewind does not hand it out again.
#[derive(Debug)]
pub struct Cursor {
    /// The next position to hand out.
    next: u64,
    /// Handed out and not done.
    out: BTreeMap<u64, Mark>,
    /// Done or passed by, at or beyond the prefix.
    done_ahead: BTreeSet<u64>,
    loaded: VecDeque<(u64, Arc<Body>)>,
    load: Load,
    load_from: u64,
}

impl Cursor {
    /// A cursor before `next`.
    #[must_use]
    pub fn new(next: u64) -> Self {
        Self {
            next,
            out: BTreeMap::new(),
            done_ahead: BTreeSet::new(),
            loaded: VecDeque::new(),
            load: Load::Idle,
            load_from: next,
        }
    }

    /// The first position that is not done.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        self.out.first_key_value().map_or(self.next, |(position, _)| *position)
    }

    /// Whether this bridge is done with `position`.
    #[must_use]
    pub fn is_done(&self, position: u64) -> bool {
        (position < self.next && !self.out.contains_key(&position)) || self.done_ahead.contains(&position)
    }

    /// Whether `position` was handed out and is not done.
    #[must_use]
    pub fn is_out(&self, position: u64) -> bool {
        self.out.contains_key(&position)
    }

    /// How many positions below `end` are not known to be done.
    #[must_use]
    pub fn open(&self, end: u64) -> u64 {
        (end.saturating_sub(self.next) + self.out.len() as u64).saturating_sub(self.done_ahead.len() as u64)
    }

    /// Notes that `position` was given to the bridge.
    pub fn hand_out(&mut self, position: u64, counts: bool) {
        self.out.insert(position, Mark { counts });
        self.next = position + 1;
    }

    /// Notes that the bridge does not get `position`: it does not want it, has had it, or nothing
    /// is there.
    pub fn pass(&mut self, position: u64) {
        self.next = position + 1;
        self.done_ahead.insert(position);
        self.prune();
    }

    /// The bridge is done with `position`. `None` when it was not waiting for it.
    pub fn done(&mut self, position: u64) -> Option<Mark> {
        let mark = self.out.remove(&position)?;
        self.done_ahead.insert(position);
        self.prune();
        Some(mark)
    }

    /// Forgets what the prefix has passed.
    fn prune(&mut self) {
        let prefix = self.prefix();
        while self.done_ahead.first().is_some_and(|first| *first < prefix) {
            self.done_ahead.pop_first();
        }
    }

    /// Goes back to the prefix.
    pub fn rewind(&mut self) {
        self.next = self.prefix();
        self.out.clear();
        self.restart_loading(self.next);
    }

    /// Everything below `position` is gone.
    pub fn drop_below(&mut self, position: u64) {
        self.out = self.out.split_off(&position);
        self.done_ahead = self.done_ahead.split_off(&position);
        while self.loaded.front().is_some_and(|(first, _)| *first < position) {
            self.loaded.pop_front();
        }
        self.next = self.next.max(position);
        if self.load_from < position {
            self.restart_loading(position);
        }
    }

    /// Moves up to `base` when all that is below it has been handed out. Gives the next position.
    pub fn skip_to(&mut self, base: u64) -> u64 {
        self.next = self.next.max(base);
        self.next
    }

    // === Loading from disk ===

    /// The next entry that was loaded and is not done.
    pub fn next_loaded(&mut self) -> Option<(u64, Arc<Body>)> {
        while let Some((position, body)) = self.loaded.pop_front() {
            if position < self.next {
                continue;
            }
            if !self.done_ahead.contains(&position) {
                return Some((position, body));
            }
            self.pass(position);
        }
        None
    }

    /// Whether something below `base` must be loaded before the bridge can go on; asks for it.
    pub fn needs_load(&mut self, base: u64) -> bool {
        self.load_from = self.load_from.max(self.next);
        let behind = self.loaded.is_empty() && self.load_from < base;
        if behind && self.load == Load::Idle {
            self.load = Load::Wanted;
        }
        behind
    }

    /// Whether there is something to hand out, given where memory begins and ends.
    pub fn has_entries(&mut self, base: u64, end: u64) -> bool {
        !self.loaded.is_empty() || (!self.needs_load(base) && self.next.max(base) < end)
    }

    /// Whether a load was asked for.
    #[must_use]
    pub fn wants_load(&self) -> bool {
        self.load == Load::Wanted
    }

    /// Starts the load; gives the position to load from.
    pub fn begin_load(&mut self) -> u64 {
        self.load = Load::Running;
        self.load_from
    }

    /// Takes what was loaded; the next load begins at `covered_to`.
    pub fn loaded(&mut self, entries: Vec<(u64, Arc<Body>)>, covered_to: u64) {
        let stale = self.load == Load::Stale;
        self.load = Load::Idle;
        if !stale {
            self.loaded.extend(entries);
            self.load_from = covered_to;
        }
    }

    /// The load failed; it will be asked for again.
    pub fn load_failed(&mut self) {
        self.load = Load::Idle;
    }

    fn restart_loading(&mut self, from: u64) {
        self.loaded.clear();
        self.load_from = from;
        self.load = match self.load {
            Load::Running | Load::Stale => Load::Stale,
            Load::Idle | Load::Wanted => Load::Idle,
        };
    }
}
