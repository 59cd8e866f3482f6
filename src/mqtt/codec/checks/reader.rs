//! Reads the fields of a packet's body.

use crate::mqtt::codec::CodecError;

const TOO_SHORT: CodecError = CodecError::Malformed("length");

/// What is left of a body, and how far into it we are.
pub(super) struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The body from `at` on.
    pub(super) fn new(body: &'a [u8], at: usize) -> Self {
        Self { body, at }
    }

    /// Bytes read so far, from the beginning of the body.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether everything was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.body.len()
    }

    /// Refuses what stands behind the last field.
    pub(super) fn expect_end(&self) -> Result<(), CodecError> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(CodecError::Malformed("more than the packet has room for"))
        }
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Result<(), CodecError> {
        self.take(bytes).map(|_| ())
    }

    pub(super) fn u8(&mut self) -> Result<u8, CodecError> {
        self.take(1)?.first().copied().ok_or(TOO_SHORT)
    }

    pub(super) fn u16(&mut self) -> Result<u16, CodecError> {
        self.take(2)?.try_into().map(u16::from_be_bytes).map_err(|_| TOO_SHORT)
    }

    pub(super) fn u32(&mut self) -> Result<u32, CodecError> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| TOO_SHORT)
    }

    /// A variable byte integer, which must not be longer than its value needs (MQTT 5.0, 1.5.5).
    pub(super) fn variable(&mut self) -> Result<u32, CodecError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                return if is_shortest {
                    Ok(value)
                } else {
                    Err(CodecError::Malformed("a number longer than need be"))
                };
            }
        }
        Err(TOO_SHORT)
    }

    /// Binary data.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// A text: UTF-8, without NUL (MQTT 5.0, 1.5.4).
    pub(super) fn text(&mut self) -> Result<&'a str, CodecError> {
        let text = std::str::from_utf8(self.binary()?);
        let text = text.map_err(|_| CodecError::Malformed("text is not UTF-8"))?;
        if text.contains('\0') { Err(CodecError::Malformed("NUL in a text")) } else { Ok(text) }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], CodecError> {
        let end = self.at.checked_add(bytes).ok_or(TOO_SHORT)?;
        let taken = self.body.get(self.at..end).ok_or(TOO_SHORT)?;
        self.at = end;
        Ok(taken)
    }
}
