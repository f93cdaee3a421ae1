//! Turns the bytes of a subflow into bytes of the stream.

use bytes::Bytes;

use super::run::Run;
use super::{ReceivedMap, ReceivedMapping};

/// Cuts the in-order bytes of one subflow into pieces by the mappings that cover them.
///
/// Bytes whose mapping has not arrived wait, and so does everything behind them. With
/// a checksum, the bytes of a mapping wait until all have arrived and the sum was verified.
#[derive(Debug, Default)]
pub struct MappedReader {
    waiting: Run,
    /// Subflow offset of the first waiting byte.
    offset: u64,
    /// Bytes before this offset are of a mapping whose checksum was verified.
    verified_until: u64,
    /// Whether the last look found no mapping for the first waiting byte.
    unmapped: bool,
}

/// What [`MappedReader::next`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the stream.
    Data {
        /// Stream position of the first byte.
        pos: u64,
        /// At least one byte. The slices of one mapping come one after another.
        bytes: Bytes,
    },
    /// The bytes of a mapping were altered on the way (RFC 8684 section 3.7).
    ChecksumFailed {
        /// The mapping, whose checksum does not fit.
        mapping: ReceivedMapping,
        /// The altered bytes, for a connection that falls back and delivers them all the same. The
        /// reader goes on behind them.
        bytes: Vec<Bytes>,
    },
}

impl MappedReader {
    /// A reader for a subflow of which nothing was read yet.
    pub const fn new() -> Self {
        Self { waiting: Run::new(), offset: 0, verified_until: 0, unmapped: false }
    }

    /// Adds bytes that follow those pushed before; `offset` is the subflow offset of the first one.
    pub fn push(&mut self, offset: u64, bytes: Bytes) {
        debug_assert_eq!(offset, self.offset + self.waiting.len() as u64, "a subflow gives its bytes in order");
        self.waiting.push(bytes);
    }

    /// Lets the next bytes pass that need not wait: those before them were taken, and a mapping without checksum covers all of
    /// them. Gives their position of the stream; `None`, with nothing changed, if they must be [`push`](Self::push)ed.
    #[inline]
    pub fn pass(&mut self, maps: &mut ReceivedMap, offset: u64, len: usize) -> Option<u64> {
        if !self.waiting.is_empty() || offset != self.offset {
            return None;
        }
        let end = offset + len as u64;
        let pos = maps.pass(offset, end)?;
        self.offset = end;
        Some(pos)
    }

    /// The next piece; `None` until more bytes or mappings arrive.
    ///
    /// `verify` is called once for each mapping with a checksum, when all its bytes are there, and says whether
    /// the sum over pseudo-header and bytes fits. Mappings read to their end are taken out of `maps`.
    pub fn next(
        &mut self,
        maps: &mut ReceivedMap,
        mut verify: impl FnMut(&ReceivedMapping, &[Bytes]) -> bool,
    ) -> Option<Piece> {
        self.unmapped = false;
        if self.waiting.is_empty() {
            return None;
        }
        let Some(mapping) = maps.lookup(self.offset).copied() else {
            self.unmapped = true;
            return None;
        };
        let left = usize::try_from(mapping.end() - self.offset).unwrap_or(usize::MAX);
        if mapping.checksum.is_some() && self.offset >= self.verified_until {
            if self.waiting.len() < left {
                return None;
            }
            let bytes = self.waiting.prefix(left);
            if !verify(&mapping, &bytes) {
                while self.offset < mapping.end() {
                    let left = usize::try_from(mapping.end() - self.offset).unwrap_or(usize::MAX);
                    self.take(left, maps)?;
                }
                return Some(Piece::ChecksumFailed { mapping, bytes });
            }
            self.verified_until = mapping.end();
        }
        let pos = mapping.pos_at(self.offset);
        self.take(left, maps).map(|bytes| Piece::Data { pos, bytes })
    }

    /// Bytes that wait since the first of them has no mapping, as the last [`next`](Self::next) found.
    ///
    /// Once this exceeds the receive window, the subflow is to be treated as broken (section 3.3.1).
    pub const fn unmapped(&self) -> usize {
        if self.unmapped { self.waiting.len() } else { 0 }
    }

    /// All bytes that wait, for a mapping or for the rest of one with a checksum.
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Gives back the memory of empty queues.
    pub fn trim(&mut self) {
        self.waiting.trim();
    }

    /// Subflow offset of the first waiting byte.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes waiting bytes whatever their mapping, with their offset: after a fallback there are no mappings.
    pub fn take_unmapped(&mut self) -> Option<(u64, Bytes)> {
        let offset = self.offset;
        let bytes = self.waiting.pop(usize::MAX)?;
        self.offset += bytes.len() as u64;
        self.unmapped = false;
        Some((offset, bytes))
    }

    /// Takes one slice of at most `max` bytes.
    fn take(&mut self, max: usize, maps: &mut ReceivedMap) -> Option<Bytes> {
        let bytes = self.waiting.pop(max)?;
        self.offset += bytes.len() as u64;
        maps.consumed(self.offset);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
