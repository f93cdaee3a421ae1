//! Data as a gather list.

use bytes::{Bytes, BytesMut};

/// Pieces below which a list may always hold on to what it is given, whatever its length.
const FREE_PIECES: usize = 32;
/// Beyond that, pieces are to have this many bytes on average.
const MEAN_PIECE: usize = 512;
/// Room for pieces that have to be copied together.
const COPIES: usize = 4096;

/// Data in pieces, in their order.
///
/// Pieces are kept as they are, so each keeps the buffer alive that it was cut from. A peer that sends a byte at a time could
/// pin a buffer for each of them; once there are many pieces that are small on average, further ones are copied together. A list
/// therefore has 32 pieces, and two for every 512 bytes, at most.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    pieces: Vec<Bytes>,
    /// What was copied and is not yet a piece.
    copied: BytesMut,
    len: usize,
}

impl Payload {
    /// No data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        if self.pieces.len() < FREE_PIECES + self.len / MEAN_PIECE && self.copied.is_empty() {
            self.pieces.push(piece);
            return;
        }
        if piece.len() >= MEAN_PIECE {
            self.flush();
            self.pieces.push(piece);
            return;
        }
        if self.copied.capacity() - self.copied.len() < piece.len() {
            self.flush();
            self.copied.reserve(COPIES);
        }
        self.copied.extend_from_slice(&piece);
    }

    /// Bytes in all pieces.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no data.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order; none is empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &piece[..]).chain(Some(&self.copied[..]).filter(|copied| !copied.is_empty()))
    }

    /// The pieces as a list of buffers, in order; none is empty.
    pub fn as_bytes(&mut self) -> &[Bytes] {
        self.flush();
        &self.pieces
    }

    /// `length` bytes from `offset`, in pieces, without copying. Data beyond the end is not there.
    pub fn range(&mut self, offset: usize, length: usize) -> impl Iterator<Item = Bytes> {
        let end = offset.saturating_add(length);
        let mut at = 0;
        self.as_bytes().iter().filter_map(move |piece| {
            let (begin, behind) = (at, at + piece.len());
            at = behind;
            let (from, to) = (offset.max(begin), end.min(behind));
            (from < to).then(|| piece.slice(from - begin..to - begin))
        })
    }

    /// Copies all of it into `out`, which has to be as long.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn copy_to_slice(&self, out: &mut [u8]) {
        assert_eq!(out.len(), self.len, "the destination is as long as the data");
        let mut rest = out;
        for piece in self.pieces() {
            let (head, tail) = rest.split_at_mut(piece.len());
            head.copy_from_slice(piece);
            rest = tail;
        }
    }

    /// All of it in one piece: copied, unless it is in one.
    pub fn to_contiguous(&self) -> Bytes {
        if let [piece] = &self.pieces[..]
            && self.copied.is_empty()
        {
            return piece.clone();
        }
        let mut all = BytesMut::zeroed(self.len);
        self.copy_to_slice(&mut all);
        all.freeze()
    }

    /// Forgets the data, keeping the list's own memory for other data.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.copied.clear();
        self.len = 0;
    }

    /// Whether the list has memory of its own, which is worth keeping.
    pub(crate) fn has_memory(&self) -> bool {
        self.pieces.capacity() > 0
    }

    fn flush(&mut self) {
        if !self.copied.is_empty() {
            self.pieces.push(self.copied.split().freeze());
        }
    }
}

impl PartialEq for Payload {
    /// Whether the bytes are the same, however they are cut.
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.pieces().flatten().eq(other.pieces().flatten())
    }
}

impl Eq for Payload {}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        let mut payload = Self::new();
        payload.push(bytes);
        payload
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut payload = Self::new();
        pieces.into_iter().for_each(|piece| payload.push(piece));
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_is_given() {
        let segment = Bytes::from(vec![7; 3000]);
        let payload: Payload =
            [segment.slice(..1448), segment.slice(1448..2896), segment.slice(2896..)].into_iter().collect();
        let pointers: Vec<_> = payload.pieces().map(<[u8]>::as_ptr).collect();
        assert_eq!(pointers, [&raw const segment[0], &raw const segment[1448], &raw const segment[2896]]);
        assert_eq!(payload.len(), 3000);
    }

    #[test]
    fn single_bytes_are_copied_together() {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| i as u8).collect();
        let mut payload: Payload = bytes.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
        assert_eq!(payload.to_contiguous(), bytes);
        assert!(payload.as_bytes().len() <= 32 + 2 * 20_000 / 512, "{} pieces", payload.as_bytes().len());
        assert_eq!(payload.to_contiguous(), bytes);
    }

    #[test]
    fn ranges_are_cut_from_the_pieces() {
        let mut payload: Payload = ["abc", "defg", "h"].into_iter().map(Bytes::from).collect();
        for offset in 0..9 {
            for length in 0..9 {
                let found: Vec<u8> = payload.range(offset, length).flatten().collect();
                let end = (offset + length).min(8);
                assert_eq!(found, &b"abcdefgh"[offset.min(end)..end], "{length} from {offset}");
            }
        }
    }

    #[test]
    fn clearing_keeps_memory() {
        let mut payload: Payload = [Bytes::from_static(b"x")].into_iter().collect();
        payload.clear();
        assert!(payload.is_empty() && payload.pieces().next().is_none());
        assert_ne!(payload.pieces.capacity(), 0);
    }
}
