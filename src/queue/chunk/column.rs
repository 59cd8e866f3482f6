//! The values of one channel of one source, and what they foresee.

use super::number::Number;
use super::range::{Chance, Coder};

/// Largest power of ten that a forecast is moved by.
const POWER_MAX: u32 = 18;
/// Bits of a [`Kind`].
const KIND_BITS: u32 = 3;
/// Kinds in the order of their numbers.
const KINDS: [Kind; 1 << KIND_BITS] =
    [Kind::Null, Kind::Bool, Kind::Decimal, Kind::F32, Kind::F64, Kind::Text, Kind::Bytes, Kind::Json];

/// What kind of value a value is. The numbers stand in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null = 0,
    Bool = 1,
    Decimal = 2,
    F32 = 3,
    F64 = 4,
    Text = 5,
    Bytes = 6,
    Json = 7,
}

/// What a channel, whosever it is, has taught.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// First distance of a column.
    first: Number,
    /// Those after it.
    next: Number,
    kind: [Chance; 1 << KIND_BITS],
    exponent: Number,
    /// By what was said before.
    truth: [Chance; 2],
    pub(super) same_text: Chance,
    /// The column that spoke last.
    pub(super) newest: Column,
}

impl Slot {
    pub(super) const NEW: Self = Self {
        first: Number::NEW,
        next: Number::NEW,
        kind: [Chance::EVEN; 1 << KIND_BITS],
        exponent: Number::NEW,
        truth: [Chance::EVEN; 2],
        same_text: Chance::EVEN,
        newest: Column::NEW,
    };
}

/// A channel of one source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) slot: usize,
    pub(super) kind: Kind,
    /// The finest exponent that a decimal has had: `last` counts in it.
    pub(super) exponent: i8,
    last: u64,
    /// From the value before `last` to `last`.
    trend: u64,
    /// How far off lately: staying as it is, going on as it goes. In bits, with a slow decay.
    off: [u32; 2],
    fresh: bool,
    /// Where the last text stands: see [`super::side`].
    pub(super) text: (usize, usize),
}

impl Column {
    pub(super) const NEW: Self = Self {
        slot: 0,
        kind: Kind::Decimal,
        exponent: 0,
        last: 0,
        trend: 0,
        off: [0, 0],
        fresh: true,
        text: (0, 0),
    };

    /// A new column that begins where this one is.
    pub(super) fn copy(self, slot: usize) -> Self {
        Self { slot, trend: 0, off: [0, 0], fresh: true, ..self }
    }

    /// Kind and, if it is a decimal, exponent of the next value.
    pub(super) fn kind<C: Coder>(
        &mut self,
        slot: &mut Slot,
        coder: &mut C,
        kind: Kind,
        exponent: i8,
    ) -> (Kind, i8) {
        let same = coder.bit(&mut slot.kind[0], kind == self.kind);
        if !same {
            let number = coder.tree(&mut slot.kind, KIND_BITS, kind as u8);
            self.kind = KINDS.get(usize::from(number)).copied().unwrap_or(Kind::Null);
        }
        if self.kind != Kind::Decimal {
            return (self.kind, exponent);
        }
        let coarser = slot.exponent.code(coder, i64::from(exponent) - i64::from(self.exponent));
        // Both are of 8 bits, so a writer's distance wraps back to where it came from.
        let [low, ..] = coarser.to_le_bytes();
        (self.kind, self.exponent.wrapping_add(low.cast_signed()))
    }

    /// The mantissa of a decimal with this exponent.
    pub(super) fn decimal<C: Coder>(
        &mut self,
        slot: &mut Slot,
        coder: &mut C,
        mantissa: i64,
        exponent: i8,
    ) -> i64 {
        let coarser = i32::from(exponent) - i32::from(self.exponent);
        if coarser == 0 {
            return self.scalar(slot, coder, mantissa.cast_unsigned()).cast_signed();
        }
        let power = power(coarser.unsigned_abs());
        if coarser < 0 {
            // Finer than all before: from now on the column counts so.
            self.exponent = exponent;
            let scale = power.unwrap_or(0);
            (self.last, self.trend) = (self.last.wrapping_mul(scale), self.trend.wrapping_mul(scale));
            return self.scalar(slot, coder, mantissa.cast_unsigned()).cast_signed();
        }
        let foreseen = power.map_or(0, |power| self.last.cast_signed() / power.cast_signed());
        let off = slot.next.code(coder, mantissa.wrapping_sub(foreseen));
        let mantissa = foreseen.wrapping_add(off);
        if let Some(last) = power.and_then(|power| mantissa.checked_mul(power.cast_signed())) {
            self.trend = last.cast_unsigned().wrapping_sub(self.last);
            self.last = last.cast_unsigned();
        } else {
            (self.exponent, self.last, self.trend) = (exponent, mantissa.cast_unsigned(), 0);
        }
        self.fresh = false;
        mantissa
    }

    /// Bits that behave as a number: a mantissa, or those of a float.
    pub(super) fn scalar<C: Coder>(&mut self, slot: &mut Slot, coder: &mut C, value: u64) -> u64 {
        let ahead = self.last.wrapping_add(self.trend);
        let foreseen = if self.off[1] < self.off[0] { ahead } else { self.last };
        let number = if self.fresh { &mut slot.first } else { &mut slot.next };
        let value = number.near(coder, foreseen, value);
        if self.fresh {
            self.fresh = false;
        } else {
            for (off, foreseen) in self.off.iter_mut().zip([self.last, ahead]) {
                *off = *off - *off / 4 + bits(value.wrapping_sub(foreseen).cast_signed());
            }
            self.trend = value.wrapping_sub(self.last);
        }
        self.last = value;
        value
    }

    /// Yes or no.
    pub(super) fn truth<C: Coder>(&mut self, slot: &mut Slot, coder: &mut C, value: bool) -> bool {
        let value = coder.bit(&mut slot.truth[usize::from(self.last & 1 == 1)], value);
        self.last = u64::from(value);
        value
    }
}

fn power(exponent: u32) -> Option<u64> {
    if exponent > POWER_MAX { None } else { 10u64.checked_pow(exponent) }
}

/// Bits of `off`, in eighths.
fn bits(off: i64) -> u32 {
    8 * off.unsigned_abs().checked_ilog2().map_or(0, |bits| bits + 1)
}
