//! A binary arithmetic coder: each yes or no costs as much as it surprises.
//!
//! The code is a number between 0 and 1, written in base 256; digits beyond the last are zero. Coder
//! and decoder keep the interval `low..=high` of 32 bits in which the digits that are not written
//! yet lie. A step divides it at `low + (high - low) × chance / 2^16`; *yes* is the lower part, the
//! divider included. Leading digits that both ends share are shifted out. The end writes the one
//! digit that still tells the interval from its neighbours, if zeros do not.

/// How far a [`Chance`] moves towards what it saw, as a power of ½, by how often it has been asked:
/// about as far as the mean of all it saw would.
const PACE: [u32; 24] = [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5];
/// The leading digit.
const LEADING: u32 = 0xff00_0000;
/// Digits that a decoder holds, and so may read behind the end of what was written.
const HELD: usize = 4;

/// How probable *yes* is, learned as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chance {
    /// In 2^-16; never 0, never certain.
    yes: u16,
    /// How often it was asked, up to the end of [`PACE`].
    asked: u8,
}

impl Chance {
    /// Nothing is known yet.
    pub(super) const EVEN: Self = Self { yes: 0x8000, asked: 0 };

    fn learn(&mut self, bit: bool) {
        let pace = PACE.get(usize::from(self.asked)).copied();
        let pace = pace.inspect(|_| self.asked += 1).unwrap_or(5);
        if bit {
            self.yes += (u16::MAX - self.yes) >> pace;
        } else {
            self.yes -= self.yes >> pace;
        }
    }
}

/// One side of the coding. What is written and what is read follow from the same code, so that the
/// two sides cannot differ: a writer takes the bit and gives it back, a reader ignores what it is
/// given.
pub(super) trait Coder {
    /// One bit that is *yes* with the chance `yes` / 2^16.
    fn step(&mut self, yes: u16, bit: bool) -> bool;

    /// Whether more was read than was ever written: the rest was cut off, or never was ours. What
    /// reads a length of things asks at each, for such a length may be any.
    fn is_beyond(&self) -> bool;

    /// One bit that `chance` speaks of.
    #[inline]
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool {
        let bit = self.step(chance.yes, bit);
        chance.learn(bit);
        bit
    }

    /// The lowest `count` bits of `value`, the highest first, nothing known about them.
    #[inline]
    fn raw(&mut self, count: u32, value: u64) -> u64 {
        let mut read = 0;
        for at in (0..count).rev() {
            read = read << 1 | u64::from(self.step(Chance::EVEN.yes, value >> at & 1 == 1));
        }
        read
    }

    /// A number below 2^`bits` by its own tree of chances: `tree` has 2^`bits` of them, the first
    /// unused.
    #[inline]
    fn tree(&mut self, tree: &mut [Chance], bits: u32, value: u8) -> u8 {
        let mut node = 1;
        for at in (0..bits).rev() {
            let Some(chance) = tree.get_mut(node) else { return 0 };
            let bit = self.bit(chance, value >> at & 1 == 1);
            node = node << 1 | usize::from(bit);
        }
        // The leading one marks the depth.
        u8::try_from(node ^ 1 << bits).unwrap_or(0)
    }
}

/// The interval's divider.
#[inline]
fn divide(low: u32, high: u32, yes: u16) -> u32 {
    let part = (u64::from(high - low) * u64::from(yes)) >> 16;
    // Less than the interval, so it fits.
    low + u32::try_from(part).unwrap_or(0)
}

/// Writes.
#[derive(Debug)]
pub(super) struct Encoder {
    low: u32,
    high: u32,
    digits: Vec<u8>,
}

impl Encoder {
    /// One that appends to `digits`.
    pub(super) fn new(digits: Vec<u8>) -> Self {
        Self { low: 0, high: u32::MAX, digits }
    }

    /// Everything that was written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.low > 0 {
            // The ends differ in their leading digit, so this is not above `high`.
            let [leading, ..] = self.low.to_be_bytes();
            self.digits.push(leading.saturating_add(1));
        }
        self.digits
    }
}

impl Coder for Encoder {
    fn is_beyond(&self) -> bool {
        false
    }

    #[inline]
    fn step(&mut self, yes: u16, bit: bool) -> bool {
        let divider = divide(self.low, self.high, yes);
        if bit {
            self.high = divider;
        } else {
            self.low = divider + 1;
        }
        while (self.low ^ self.high) & LEADING == 0 {
            let [leading, ..] = self.high.to_be_bytes();
            self.digits.push(leading);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
        bit
    }
}

/// Reads.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    low: u32,
    high: u32,
    code: u32,
    digits: &'a [u8],
    /// Digits read, those behind the end too.
    read: usize,
}

impl<'a> Decoder<'a> {
    /// One that reads `digits`.
    pub(super) fn new(digits: &'a [u8]) -> Self {
        let mut decoder = Self { low: 0, high: u32::MAX, code: 0, digits, read: 0 };
        (0..HELD).for_each(|_| decoder.shift());
        decoder
    }

    /// Whether nothing is left that was not looked at.
    pub(super) fn has_read_all(&self) -> bool {
        self.read >= self.digits.len()
    }

    #[inline]
    fn shift(&mut self) {
        let digit = self.digits.get(self.read).copied().unwrap_or(0);
        self.read += 1;
        self.code = self.code << 8 | u32::from(digit);
    }
}

impl Coder for Decoder<'_> {
    fn is_beyond(&self) -> bool {
        self.read > self.digits.len() + HELD
    }

    #[inline]
    fn step(&mut self, yes: u16, _: bool) -> bool {
        let divider = divide(self.low, self.high, yes);
        let bit = self.code <= divider;
        if bit {
            self.high = divider;
        } else {
            self.low = divider + 1;
        }
        while (self.low ^ self.high) & LEADING == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            self.shift();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_and_sure_ones_cost_nothing() {
        let bits: Vec<bool> = (0..10_000u32).map(|i| i.wrapping_mul(2_654_435_761) % 50 == 0).collect();
        let mut encoder = Encoder::new(Vec::new());
        let mut chance = Chance::EVEN;
        for bit in &bits {
            encoder.bit(&mut chance, *bit);
            encoder.raw(3, u64::from(*bit) * 5);
        }
        let digits = encoder.finish();
        // 30 000 raw bits, and 10 000 of 0.14 bits each.
        assert!((3_750..4_100).contains(&digits.len()), "{}", digits.len());
        let mut decoder = Decoder::new(&digits);
        let mut chance = Chance::EVEN;
        for bit in &bits {
            assert_eq!(decoder.bit(&mut chance, false), *bit);
            assert_eq!(decoder.raw(3, 0), u64::from(*bit) * 5);
        }
        assert!(!decoder.is_beyond());
    }

    #[test]
    fn any_short_code_ends_where_it_should() {
        for length in 0..40u32 {
            for pattern in 0..500u64 {
                let bit = |i: u32| pattern.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i) & 1 == 1;
                let yes = |i: u32| [1, 0x8000, u16::MAX - 1, 700][((i + length) % 4) as usize];
                let mut encoder = Encoder::new(Vec::new());
                (0..length).for_each(|i| assert_eq!(encoder.step(yes(i), bit(i)), bit(i)));
                let digits = encoder.finish();
                let mut decoder = Decoder::new(&digits);
                (0..length).for_each(|i| assert_eq!(decoder.step(yes(i), false), bit(i)));
                assert!(!decoder.is_beyond());
            }
        }
    }

    #[test]
    fn a_code_that_was_cut_off_is_noticed() {
        let mut encoder = Encoder::new(Vec::new());
        encoder.raw(64, u64::MAX);
        encoder.raw(64, u64::MAX);
        let digits = encoder.finish();
        let mut decoder = Decoder::new(&digits[..8]);
        decoder.raw(64, 0);
        decoder.raw(64, 0);
        assert!(decoder.is_beyond());
    }
}
