//! Writes one option, field by field.

use tcp_adapter::OptionSpace;

use super::{KIND, Subtype};

/// An option as it grows; no option exceeds the 40 bytes of a header.
pub(super) struct Writer {
    bytes: [u8; OptionSpace::MAX],
    len: usize,
}

impl Writer {
    /// Starts an option of `len` bytes in the end; `low_bits` are the 4 bits beside the subtype.
    pub(super) fn new(subtype: Subtype, len: usize, low_bits: u8) -> Self {
        let mut writer = Self { bytes: [0; OptionSpace::MAX], len: 0 };
        let length = u8::try_from(len).unwrap_or(u8::MAX);
        writer.put(&[KIND, length, (subtype as u8) << 4 | low_bits & 0x0f]);
        writer
    }

    /// Appends a field in network byte order.
    pub(super) fn put(&mut self, field: &[u8]) {
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
    }

    /// The option.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
