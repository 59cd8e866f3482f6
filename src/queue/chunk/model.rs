//! What writer and reader of a chunk know at every moment, and what they foresee from it.
//!
//! Everything here is written once for both sides: see [`Coder`]. Readings are columns in their
//! order of arrival: each *source* (a device under one identity) has its counters, its clock and a
//! [`Column`] per channel, and each field is coded as its distance from what its own column
//! foresees. So a column costs what it would cost if it stood alone, and nothing has to be sorted.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use uuid::Uuid;

use crate::reading::{Body, Epoch, Expiry, Stamp};

use super::column::{Column, Slot};
use super::number::{Number, Text};
use super::range::{Chance, Coder};
use super::{ChunkError, UNPACKED_MAX, damaged};

mod names;
mod source;

use names::Names;
pub(super) use source::{Origin, Source};

/// What each thing in a chunk costs beside its text, in bytes of memory: an estimate that is rather
/// too high.
const ENTRY_BYTES: usize = size_of::<Body>() + 64;
const VALUE_BYTES: usize = 48;
const SOURCE_BYTES: usize = size_of::<Source>() + 256;
const NAME_BYTES: usize = 128;
const COLUMN_BYTES: usize = size_of::<Column>() + 64;
/// Channels that have chances of their own; those beyond share them.
const SLOTS: usize = 256;
/// What is left of [`UNPACKED_MAX`].
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) const FULL: Self = Self(UNPACKED_MAX);

    /// Takes `bytes` for something that is about to be made.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), ChunkError> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| damaged("unpacks to more than 64 MiB"))?;
        Ok(())
    }
}

/// Everything that is known. The same on both sides after each entry.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) budget: Budget,
    pub(super) numbers: Numbers,
    devices: Names,
    pub(super) channels: Names,
    uids: Text,
    /// Starts of the daemon, and the newest number of each.
    gateways: Vec<(Uuid, Option<u64>)>,
    board_boot: u32,
    pub(super) sources: Vec<Source>,
    /// Which source came after each: first after the opaque entries, then after each source.
    after: Vec<Option<usize>>,
    before: usize,
    /// Of the last message that expires.
    expiry: Expiry,
    epoch: u32,
    at: i64,
    step: i64,
    /// Lists of channels.
    pub(super) shapes: Vec<Arc<[usize]>>,
    shape_of: HashMap<Arc<[usize]>, usize>,
    shape: Option<usize>,
    pub(super) columns: Vec<Column>,
    /// By source and channel.
    column_of: HashMap<(usize, usize), usize>,
    slots: Vec<Slot>,
}

/// The chances of everything that is not of one channel.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) distance: Number,
    follows: [Chance; 2],
    source: Number,
    suffixed: Chance,
    board: Chance,
    board_boot: Number,
    gateway: Number,
    first: Number,
    next: Number,
    own: Number,
    same_epoch: Chance,
    first_at: Number,
    on_grid: Chance,
    at_grid: Number,
    at: Number,
    same_shape: Chance,
    pub(super) regular: Chance,
    shape: Number,
    shape_length: Number,
    pub(super) length: Number,
    pub(super) flags: [Chance; 5],
    pub(super) is_message: Chance,
    pub(super) qos: Number,
    expiry: [Number; 3],
    pub(super) count: Number,
}

impl Numbers {
    const NEW: Self = Self {
        distance: Number::NEW,
        follows: [Chance::EVEN; 2],
        source: Number::NEW,
        suffixed: Chance::EVEN,
        board: Chance::EVEN,
        board_boot: Number::NEW,
        gateway: Number::NEW,
        first: Number::NEW,
        next: Number::NEW,
        own: Number::NEW,
        same_epoch: Chance::EVEN,
        first_at: Number::NEW,
        on_grid: Chance::EVEN,
        at_grid: Number::NEW,
        at: Number::NEW,
        same_shape: Chance::EVEN,
        regular: Chance::EVEN,
        shape: Number::NEW,
        shape_length: Number::NEW,
        length: Number::NEW,
        flags: [Chance::EVEN; 5],
        is_message: Chance::EVEN,
        qos: Number::NEW,
        expiry: [Number::NEW; 3],
        count: Number::NEW,
    };
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            budget: Budget::FULL,
            numbers: Numbers::NEW,
            devices: Names::new(),
            channels: Names::new(),
            uids: Text::new(),
            gateways: Vec::new(),
            board_boot: 0,
            sources: Vec::new(),
            after: vec![None],
            before: 0,
            expiry: Expiry { since: Stamp::this_boot(0), after_s: 0 },
            epoch: Epoch::ThisBoot.into(),
            at: 0,
            step: 0,
            shapes: Vec::new(),
            shape_of: HashMap::new(),
            shape: None,
            columns: Vec::new(),
            column_of: HashMap::new(),
            slots: Vec::new(),
        }
    }

    /// Pays for an entry of `values` values.
    pub(super) fn pay(&mut self, values: usize) -> Result<(), ChunkError> {
        self.budget.take(ENTRY_BYTES.saturating_add(values.saturating_mul(VALUE_BYTES)))
    }

    /// How long a message is of use.
    pub(super) fn expiry<C: Coder>(&mut self, coder: &mut C, expiry: Expiry) -> Result<Expiry, ChunkError> {
        let words = |Expiry { since, after_s }: Expiry| {
            [u32::from(since.epoch).into(), since.us.cast_unsigned(), u64::from(after_s)]
        };
        let (before, mut read) = (words(self.expiry), words(expiry));
        for ((number, before), word) in self.numbers.expiry.iter_mut().zip(before).zip(&mut read) {
            *word = number.near(coder, before, *word);
        }
        let [epoch, us, after_s] = read;
        let small = |word| u32::try_from(word).map_err(|_| damaged("a message expires at no time"));
        let since = Stamp { epoch: small(epoch)?.into(), us: us.cast_signed() };
        self.expiry = Expiry { since, after_s: small(after_s)? };
        Ok(self.expiry)
    }

    /// The source that is foreseen to be next; 0: an opaque entry; one more than there are: a new one.
    pub(super) fn foreseen(&self) -> usize {
        self.after.get(self.before).copied().flatten().unwrap_or(self.after.len())
    }

    /// Whose entry comes next.
    pub(super) fn whose<C: Coder>(&mut self, coder: &mut C, source: usize) -> Result<usize, ChunkError> {
        let known = self.after.get(self.before).is_some_and(Option::is_some);
        let foreseen = self.foreseen();
        let source = if coder.bit(&mut self.numbers.follows[usize::from(known)], source == foreseen) {
            foreseen
        } else {
            index(self.numbers.source.small(coder, source), self.after.len())?
        };
        if let Some(after) = self.after.get_mut(self.before) {
            *after = Some(source);
        }
        self.before = source;
        Ok(source)
    }

    /// The list of channels that is foreseen for the next reading of `source`.
    pub(super) fn foreseen_channels(&self, source: usize) -> Option<&[usize]> {
        self.shapes.get(self.foreseen_shape(source)?).map(|channels| &**channels)
    }

    fn foreseen_shape(&self, source: usize) -> Option<usize> {
        self.sources.get(source).and_then(|source| source.shape).or(self.shape)
    }

    /// Which list of channels a reading of `source` has, and brings its columns in that order.
    /// `names` are asked for only when it is not the foreseen one, as a writer says by `same`.
    pub(super) fn shape<'a, C: Coder>(
        &mut self,
        coder: &mut C,
        source: usize,
        same: bool,
        names: impl FnOnce() -> Vec<&'a str>,
    ) -> Result<(), ChunkError> {
        let foreseen = self.foreseen_shape(source);
        let same = coder.bit(&mut self.numbers.same_shape, same);
        let shape = match foreseen {
            Some(foreseen) if same => foreseen,
            _ => self.other_shape(coder, &names())?,
        };
        self.enter(source, shape)
    }

    /// A list of channels by its number; a new one is told.
    fn other_shape<C: Coder>(&mut self, coder: &mut C, names: &[&str]) -> Result<usize, ChunkError> {
        let numbers: Option<Vec<usize>> =
            names.iter().map(|name| self.channels.number_of.get(*name).copied()).collect();
        let known = numbers.and_then(|numbers| self.shape_of.get(numbers.as_slice()).copied());
        let next = self.shapes.len();
        let back = next - known.unwrap_or(next);
        // From the newest on; 0 is a new one.
        let shape = next - index(self.numbers.shape.small(coder, back), next)?;
        if shape == next {
            let length = self.numbers.shape_length.small(coder, names.len());
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            self.budget.take(length.saturating_mul(2 * size_of::<usize>()).saturating_add(NAME_BYTES))?;
            let mut channels = Vec::with_capacity(length);
            for at in 0..length {
                if coder.is_beyond() {
                    return Err(damaged("it ends too early"));
                }
                let name = names.get(at).copied().unwrap_or_default();
                channels.push(self.channels.code(coder, &mut self.budget, name)?);
            }
            let channels: Arc<[usize]> = channels.into();
            self.shape_of.insert(Arc::clone(&channels), shape);
            self.shapes.push(channels);
        }
        Ok(shape)
    }

    fn enter(&mut self, source: usize, shape: usize) -> Result<(), ChunkError> {
        let (Some(of), Some(channels)) = (self.sources.get_mut(source), self.shapes.get(shape)) else {
            return Err(damaged("no such list of channels"));
        };
        self.shape = Some(shape);
        if of.shape == Some(shape) {
            return Ok(());
        }
        of.shape = Some(shape);
        of.columns.clear();
        for channel in channels.iter().copied() {
            let known = self.column_of.get(&(source, channel)).copied();
            let column = match known {
                Some(column) => column,
                None => {
                    self.budget.take(COLUMN_BYTES)?;
                    let slot = channel % SLOTS;
                    if slot >= self.slots.len() {
                        self.slots.resize(slot + 1, Slot::NEW);
                    }
                    // What another device says in this channel is the best guess there is.
                    self.columns.push(self.slots.get(slot).map_or(Column::NEW, |of| of.newest).copy(slot));
                    let column = self.columns.len() - 1;
                    self.column_of.insert((source, channel), column);
                    column
                }
            };
            of.columns.push(column);
        }
        self.budget.take(channels.len().saturating_mul(size_of::<usize>()))
    }

    /// The columns of the present reading of `source`.
    pub(super) fn columns_of(&self, source: usize) -> impl Iterator<Item = &Column> {
        let numbers = self.sources.get(source).map(|source| source.columns.as_slice()).unwrap_or_default();
        numbers.iter().filter_map(|column| self.columns.get(*column))
    }

    /// Column number `at` of the present reading of `source`, and what its channel has learned.
    pub(super) fn column(
        &mut self,
        source: usize,
        at: usize,
    ) -> Result<(&mut Column, &mut Slot), ChunkError> {
        let column = self.sources.get(source).and_then(|source| source.columns.get(at));
        let column = column.and_then(|column| self.columns.get_mut(*column));
        let column = column.ok_or_else(|| damaged("no such column"))?;
        let slot = self.slots.get_mut(column.slot).ok_or_else(|| damaged("no such channel"))?;
        Ok((column, slot))
    }

    /// The name of that column.
    pub(super) fn channel_of(&self, source: usize, at: usize) -> Result<Arc<str>, ChunkError> {
        let channels = self.foreseen_channels(source);
        let channel = channels.and_then(|channels| self.channels.known.get(*channels.get(at)?));
        channel.map(Arc::clone).ok_or_else(|| damaged("no such channel"))
    }
}

/// A number that was read and that counts something of which there are `count`, and perhaps a new one.
fn index(number: u64, count: usize) -> Result<usize, ChunkError> {
    usize::try_from(number).ok().filter(|number| *number <= count).ok_or_else(|| damaged("no such number"))
}

pub(super) fn text(bytes: Vec<u8>) -> Result<String, ChunkError> {
    String::from_utf8(bytes).map_err(|_| damaged("text is not UTF-8"))
}
