//! CRC-32 as in IEEE 802.3 (reflected EDB88320, initial value and final xor FFFFFFFF).

/// CRC of every nibble. A table of 256 words would cost a kilobyte of flash and save little beside
/// the time that a byte spends on the line.
#[rustfmt::skip]
const NIBBLES: [u32; 16] = [
    0x0000_0000, 0x1DB7_1064, 0x3B6E_20C8, 0x26D9_30AC, 0x76DC_4190, 0x6B6B_51F4, 0x4DB2_6158, 0x5005_713C,
    0xEDB8_8320, 0xF00F_9344, 0xD6D6_A3E8, 0xCB61_B38C, 0x9B64_C2B0, 0x86D3_D2D4, 0xA00A_E278, 0xBDBD_F21C,
];

/// A CRC-32 in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc32(u32);

impl Crc32 {
    /// The value over any bytes followed by their own CRC, low byte first. A receiver therefore
    /// need not know where the CRC begins.
    pub(crate) const RESIDUE: u32 = 0x2144_DF1C;

    /// The CRC of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// The CRC with one more byte.
    #[must_use]
    pub fn push(self, byte: u8) -> Self {
        Self(nibble(nibble(self.0 ^ u32::from(byte))))
    }

    /// The CRC with more bytes.
    #[must_use]
    pub fn extend(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |crc, byte| crc.push(*byte))
    }

    /// The value over everything so far.
    #[must_use]
    pub const fn value(self) -> u32 {
        !self.0
    }
}

#[expect(clippy::indexing_slicing, reason = "four bits cannot leave a table of sixteen")]
fn nibble(crc: u32) -> u32 {
    (crc >> 4) ^ NIBBLES[(crc & 15) as usize]
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_check_value() {
        assert_eq!(Crc32::new().extend(b"123456789").value(), 0xCBF4_3926);
    }

    #[test]
    fn its_own_crc_leaves_the_residue() {
        for bytes in [&b""[..], b"1", b"123456789"] {
            let crc = Crc32::new().extend(bytes);
            assert_eq!(crc.extend(&crc.value().to_le_bytes()).value(), Crc32::RESIDUE);
        }
    }
}
