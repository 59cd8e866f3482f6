//! Cursors over byte slices: little-endian integers, and fields with a length byte in front.

use core::fmt;

use crate::message::PayloadError;

/// What was to be written does not fit: into the caller's buffer, into the 254 bytes of a frame, or
/// into a field of at most 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("does not fit into the frame or the buffer")
    }
}

impl core::error::Error for NoRoom {}

/// Takes fields off the front of a payload.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whatever was not read yet.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(PayloadError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, PayloadError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, PayloadError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length byte and as many bytes.
    pub(crate) fn field(&mut self) -> Result<&'a [u8], PayloadError> {
        let len = self.u8()?;
        let (field, rest) = self.0.split_at_checked(usize::from(len)).ok_or(PayloadError::Truncated)?;
        self.0 = rest;
        Ok(field)
    }

    /// A length byte and as many bytes of UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, PayloadError> {
        core::str::from_utf8(self.field()?).map_err(|_| PayloadError::Utf8)
    }
}

/// Appends fields to the caller's buffer.
pub(crate) struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.len + bytes.len();
        self.out.get_mut(self.len..end).ok_or(NoRoom)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// A length byte and `bytes`.
    pub(crate) fn field(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let len = u8::try_from(bytes.len()).map_err(|_| NoRoom)?;
        self.put(&[len])?;
        self.put(bytes)
    }

    /// Forgets all but the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> &[u8] {
        self.out.get(..self.len).unwrap_or_default()
    }

    /// What was written.
    pub(crate) fn into_written(self) -> &'a mut [u8] {
        self.out.get_mut(..self.len).unwrap_or_default()
    }
}
