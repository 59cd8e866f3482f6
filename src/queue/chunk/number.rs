//! Numbers and texts of which little is known but what came before.

use super::range::{Chance, Coder};

/// Bits below the highest one that are learned; those below them are noise.
const LEARNED: u32 = 2;
/// Chances of a number's length in bits, 1 to 64.
const LENGTHS: usize = 64;

/// How far numbers of one sort are off from what was foreseen.
#[derive(Clone, Debug)]
pub(super) struct Number {
    /// Right, by whether it was right before.
    right: [Chance; 2],
    was_right: bool,
    below: Chance,
    /// Length of the distance in bits, less one: a tree.
    length: [Chance; LENGTHS],
    /// The bits next to the highest, by length: a tree of [`LEARNED`] levels each.
    next: [[Chance; 1 << LEARNED]; LENGTHS],
}

impl Number {
    pub(super) const NEW: Self = Self {
        right: [Chance::EVEN; 2],
        was_right: false,
        below: Chance::EVEN,
        length: [Chance::EVEN; LENGTHS],
        next: [[Chance::EVEN; 1 << LEARNED]; LENGTHS],
    };

    /// `value`, which is foreseen to be `foreseen`; both wrap.
    #[inline]
    pub(super) fn near<C: Coder>(&mut self, coder: &mut C, foreseen: u64, value: u64) -> u64 {
        let off = value.wrapping_sub(foreseen).cast_signed();
        foreseen.wrapping_add(self.code(coder, off).cast_unsigned())
    }

    /// A length, an index: small and not negative.
    pub(super) fn small<C: Coder>(&mut self, coder: &mut C, value: usize) -> u64 {
        self.near(coder, 0, value as u64)
    }

    /// A number that is probably small, of any sign.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, off: i64) -> i64 {
        let right = coder.bit(&mut self.right[usize::from(self.was_right)], off == 0);
        self.was_right = right;
        if right {
            return 0;
        }
        let below = coder.bit(&mut self.below, off < 0);
        let size = off.unsigned_abs();
        // A writer's `size` is at least 1; a reader does not look at it.
        let length = u32::from(coder.tree(&mut self.length, 6, bits_less_one(size)));
        let mut read: u64 = 1;
        let learned = length.min(LEARNED);
        let rest = length - learned;
        if learned > 0 {
            let next = &mut self.next[length as usize % LENGTHS];
            let part = u8::try_from(size >> rest & ((1 << learned) - 1)).unwrap_or(0);
            read = read << learned | u64::from(coder.tree(next, learned, part));
        }
        read = if rest > 0 { read << rest | coder.raw(rest, size) } else { read };
        let read = read.cast_signed();
        if below { read.wrapping_neg() } else { read }
    }
}

/// How many bits `size` has, less one.
fn bits_less_one(size: u64) -> u8 {
    u8::try_from(size.checked_ilog2().unwrap_or(0)).unwrap_or(0)
}

/// Short texts: names, and the bytes of uids. Each is told by what differs from the one before.
#[derive(Clone, Debug)]
pub(super) struct Text {
    before: Vec<u8>,
    shared: Number,
    length: Number,
    /// A byte, by the class of the one before: trees of 8 levels.
    bytes: Vec<[Chance; 256]>,
}

/// Classes of bytes that tell what may follow.
const CLASSES: usize = 3;

fn class(byte: Option<u8>) -> usize {
    match byte {
        Some(b'a'..=b'z' | b'A'..=b'Z') => 0,
        Some(b'0'..=b'9') => 1,
        _ => 2,
    }
}

impl Text {
    pub(super) fn new() -> Self {
        Self {
            before: Vec::new(),
            shared: Number::NEW,
            length: Number::NEW,
            bytes: vec![[Chance::EVEN; 256]; CLASSES],
        }
    }

    /// A text of at most `max` bytes; `None` when a reader finds a longer one, or
    /// its end.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, text: &[u8], max: usize) -> Option<Vec<u8>> {
        let shared = self.before.iter().zip(text).take_while(|(a, b)| a == b).count();
        let shared = usize::try_from(self.shared.small(coder, shared)).ok()?;
        let rest = text.get(shared..).unwrap_or_default();
        let length = usize::try_from(self.length.small(coder, rest.len())).ok()?;
        if length > max || shared > max - length {
            return None;
        }
        let mut read = self.before.get(..shared)?.to_vec();
        for at in 0..length {
            if coder.is_beyond() {
                return None;
            }
            let byte = rest.get(at).copied().unwrap_or(0);
            let tree = &mut self.bytes[class(read.last().copied())];
            read.push(coder.tree(tree, 8, byte));
        }
        self.before.clone_from(&read);
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::{Decoder, Encoder};
    use super::*;

    #[test]
    fn numbers_come_back() {
        let powers = (0..64).flat_map(|bit| [-1, 0, 1].map(|near| (1i64 << bit).wrapping_add(near)));
        let numbers: Vec<i64> =
            powers.flat_map(|n| [n, n.wrapping_neg()]).chain([i64::MIN, i64::MAX, 0]).collect();
        let mut encoder = Encoder::new(Vec::new());
        let mut number = Number::NEW;
        numbers.iter().for_each(|n| assert_eq!(number.code(&mut encoder, *n), *n));
        let digits = encoder.finish();
        let mut decoder = Decoder::new(&digits);
        let mut number = Number::NEW;
        numbers.iter().for_each(|n| assert_eq!(number.code(&mut decoder, 0), *n));
    }

    #[test]
    fn names_that_resemble_each_other_are_short() {
        let names = ["greenhouse-01", "greenhouse-02", "", "shed", "grün"];
        let mut encoder = Encoder::new(Vec::new());
        let mut text = Text::new();
        names
            .iter()
            .for_each(|n| assert_eq!(text.code(&mut encoder, n.as_bytes(), 99).unwrap(), n.as_bytes()));
        let digits = encoder.finish();
        assert!(digits.len() < 33, "{}", digits.len());
        let (mut decoder, mut text) = (Decoder::new(&digits), Text::new());
        names.iter().for_each(|n| assert_eq!(text.code(&mut decoder, &[], 99).unwrap(), n.as_bytes()));
        let (mut decoder, mut text) = (Decoder::new(&digits), Text::new());
        assert_eq!(text.code(&mut decoder, &[], 12), None);
    }
}
