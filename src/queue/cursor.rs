//! How far one bridge is in the queue.
//!
//! ```text
//!             positions ────────────────────────────────────────────>
//!   done  │ backlog, not done   │ done     │ backlog │ done  │ not done
//!         ^ prefix   ^ next                                  ^ live
//! ```
//! There are two heads. `next` goes through everything that is not done, on disk first and then in
//! memory. With [`Order::LiveFirst`] a second one, `live`, goes through what is in memory only; what
//! falls out of memory before it comes there is backlog, and left to the first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::reading::Body;

use super::ranges::Ranges;

/// The share of what a bridge takes that belongs to the backlog while there is anything live, in
/// percent.
pub const BACKLOG_PERCENT: i32 = 30;
/// So many entries of its share the backlog can have outstanding while it is read from disk.
const BACKLOG_OWED: i32 = 64;
/// With so many pieces of the queue done, nothing more is taken ahead: each costs memory. It takes a
/// link that has for hours been slower than what comes in.
const PIECES_MAX: usize = 10_000;
/// Pieces that are remembered over a restart: the longest, none shorter than [`SAVED_LEN`] positions.
/// What is not remembered is sent again.
const SAVED_PIECES: usize = 64;
/// See [`SAVED_PIECES`].
const SAVED_LEN: u64 = 64;

/// In which order a bridge gets what waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As it came in.
    #[default]
    Oldest,
    /// What comes in now before what waits on disk, which keeps a share of [`BACKLOG_PERCENT`].
    LiveFirst,
}

/// What a cursor remembers of an entry that it handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whether the entry counts in the ledger.
    pub counts: bool,
}

/// Which of a cursor's heads has its turn.
#[derive(Clone, Debug)]
pub enum Turn {
    /// This entry, from disk.
    Backlog(u64, Arc<Body>),
    /// What is in memory at this position, for the first head.
    Memory(u64),
    /// What is in memory at this position, for the second.
    Live(u64),
    /// None: there is nothing, or it must be loaded first.
    Nothing,
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
/// Everything below [`Cursor::prefix`] is done for this bridge. What is done beyond it is remembered
/// until the prefix has passed it, so that a rewind does not hand it out again.
#[derive(Debug)]
pub struct Cursor {
    order: Order,
    prefix: u64,
    /// Done, beyond the prefix.
    done: Ranges,
    /// Handed out and not done.
    out: BTreeMap<u64, Mark>,
    /// The next position to hand out; all below it is done or out.
    next: u64,
    /// The same for the second head, as far as memory reaches.
    live: u64,
    /// What the backlog is owed, in percent of an entry.
    owed: i32,
    loaded: VecDeque<(u64, Arc<Body>)>,
    load: Load,
    load_from: u64,
}

impl Cursor {
    /// A cursor before `prefix` of a bridge that is done with `done` as well.
    #[must_use]
    pub fn new(order: Order, prefix: u64, done: Ranges) -> Self {
        let mut cursor = Self {
            order,
            prefix: 0,
            done,
            out: BTreeMap::new(),
            next: prefix,
            live: prefix,
            owed: 0,
            loaded: VecDeque::new(),
            load: Load::Idle,
            load_from: prefix,
        };
        cursor.mark(0, prefix);
        cursor
    }

    /// The first position that is not done.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        self.prefix
    }

    /// What is done beyond the prefix.
    #[must_use]
    pub fn done_ahead(&self) -> &Ranges {
        &self.done
    }

    /// As much of that as is to be remembered over a restart, in order.
    #[must_use]
    pub fn worth_saving(&self) -> Vec<(u64, u64)> {
        let mut pieces: Vec<_> = self.done.iter().filter(|(start, end)| end - start >= SAVED_LEN).collect();
        if pieces.len() > SAVED_PIECES {
            pieces.sort_by_key(|(start, end)| std::cmp::Reverse(end - start));
            pieces.truncate(SAVED_PIECES);
            pieces.sort_unstable();
        }
        pieces
    }

    /// Whether this bridge is done with `position`.
    #[must_use]
    pub fn is_done(&self, position: u64) -> bool {
        position < self.prefix || self.done.contains(position)
    }

    /// Whether `position` was handed out and is not done.
    #[must_use]
    pub fn is_out(&self, position: u64) -> bool {
        self.out.contains_key(&position)
    }

    /// How many positions below `end` are not known to be done.
    #[must_use]
    pub fn open(&self, end: u64) -> u64 {
        end.saturating_sub(self.prefix).saturating_sub(self.done.len())
    }

    /// Whose turn it is, given where memory begins and ends. Asks for a load where that helps.
    pub fn turn(&mut self, base: u64, end: u64) -> Turn {
        let behind = self.is_behind(base);
        let live = self.live_position(base, end);
        match (behind, live) {
            (false, _) if self.order == Order::Oldest => {
                self.walk_to(base);
                if self.next < end { Turn::Memory(self.next) } else { Turn::Nothing }
            }
            (true, Some(live)) if self.owed <= 0 || self.loaded.is_empty() => Turn::Live(live),
            (true, _) => self.next_loaded().map_or(Turn::Nothing, |(at, body)| Turn::Backlog(at, body)),
            (false, Some(live)) => {
                self.walk_to(base);
                self.owed = 0;
                Turn::Live(live)
            }
            (false, None) => {
                self.walk_to(base);
                Turn::Nothing
            }
        }
    }

    /// Whether there is something to hand out.
    pub fn has_entries(&mut self, base: u64, end: u64) -> bool {
        let behind = self.is_behind(base);
        match self.order {
            Order::Oldest => !self.loaded.is_empty() || (!behind && self.next.max(base) < end),
            Order::LiveFirst => !self.loaded.is_empty() || self.live_position(base, end).is_some(),
        }
    }

    /// Where the second head stands, if it has one and there is something for it.
    fn live_position(&self, base: u64, end: u64) -> Option<u64> {
        let position = self.live.max(base);
        // To jump leaves a piece behind.
        let may_go = position == self.live || self.done.pieces() < PIECES_MAX;
        (self.order == Order::LiveFirst && position < end && may_go).then_some(position)
    }

    /// Whether something on disk must be handed out before the first head comes to memory. Asks for a
    /// load when nothing of it is there.
    fn is_behind(&mut self, base: u64) -> bool {
        while self.loaded.front().is_some_and(|(at, _)| self.is_done(*at) || self.is_out(*at)) {
            self.loaded.pop_front();
        }
        self.skip_done(base);
        self.load_from = self.load_from.max(self.next);
        let missing = self.loaded.is_empty() && self.load_from < base;
        if missing && self.load == Load::Idle {
            self.load = Load::Wanted;
        }
        missing || !self.loaded.is_empty()
    }

    /// Moves the first head over what is done or out, as far as `base`.
    fn skip_done(&mut self, base: u64) {
        while self.next < base {
            if self.next < self.prefix {
                self.next = self.prefix;
            } else if let Some(end) = self.done.end_of(self.next) {
                self.next = end;
            } else if self.is_out(self.next) {
                self.next += 1;
            } else {
                break;
            }
        }
    }

    fn next_loaded(&mut self) -> Option<(u64, Arc<Body>)> {
        self.loaded.pop_front()
    }

    /// The first head comes to `position`: where it found no entry on its way, there is none.
    fn walk_to(&mut self, position: u64) {
        let mut from = self.next;
        while from < position {
            let out = self.out.range(from..position).next().map(|(out, _)| *out);
            self.mark(from, out.unwrap_or(position));
            from = out.map_or(position, |out| out + 1);
        }
        self.next = self.next.max(position);
    }

    /// Notes that the entry of this turn was given to the bridge.
    pub fn hand_out(&mut self, turn: &Turn, counts: bool) {
        let position = match turn {
            Turn::Backlog(position, _) => {
                self.owed = (self.owed - (100 - BACKLOG_PERCENT)).max(BACKLOG_PERCENT - 100);
                *position
            }
            Turn::Live(position) => {
                self.owed = (self.owed + BACKLOG_PERCENT).min(BACKLOG_OWED * (100 - BACKLOG_PERCENT));
                *position
            }
            Turn::Memory(position) => *position,
            Turn::Nothing => return,
        };
        self.move_on(turn, position);
        self.out.insert(position, Mark { counts });
    }

    /// Notes that the bridge does not get the entry of this turn: it does not want it, or nothing is
    /// there. Where it is on its way to the bridge already, that stays so.
    pub fn pass(&mut self, turn: &Turn) {
        let (Turn::Backlog(position, _) | Turn::Live(position) | Turn::Memory(position)) = turn else {
            return;
        };
        self.move_on(turn, *position);
        if !self.is_out(*position) {
            self.mark(*position, position + 1);
        }
    }

    fn move_on(&mut self, turn: &Turn, position: u64) {
        if matches!(turn, Turn::Live(_)) {
            self.live = position + 1;
        } else {
            self.walk_to(position);
            self.next = position + 1;
        }
    }

    /// The bridge is done with `position`. `None` when it was not waiting for it.
    pub fn done(&mut self, position: u64) -> Option<Mark> {
        let mark = self.out.remove(&position)?;
        self.mark(position, position + 1);
        Some(mark)
    }

    /// What stood at `position` is gone.
    pub fn give_up(&mut self, position: u64) {
        self.out.remove(&position);
        self.mark(position, position + 1);
    }

    /// Everything from `start` to before `end` is done.
    fn mark(&mut self, start: u64, end: u64) {
        if start <= self.prefix && self.done.is_empty() {
            // The usual case: acknowledged in order.
            self.prefix = self.prefix.max(end);
            return;
        }
        self.done.insert(start.max(self.prefix), end);
        if let Some(end) = self.done.end_of(self.prefix) {
            self.prefix = end;
            self.done.remove_below(end);
        }
    }

    /// Goes back to the prefix.
    pub fn rewind(&mut self) {
        self.next = self.prefix;
        self.live = self.prefix;
        self.owed = 0;
        self.out.clear();
        self.restart_loading(self.next);
    }

    /// Everything below `position` is gone.
    pub fn drop_below(&mut self, position: u64) {
        self.out = self.out.split_off(&position);
        self.mark(0, position);
        self.done.remove_below(self.prefix);
        while self.loaded.front().is_some_and(|(first, _)| *first < position) {
            self.loaded.pop_front();
        }
        self.next = self.next.max(position);
        if self.load_from < position {
            self.restart_loading(position);
        }
    }

    // === Loading from disk ===

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
            self.loaded.extend(entries.into_iter().filter(|(position, _)| *position >= self.next));
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
