//! What is to be sent on a connection.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};
use mptcp_sdk::core::{Message, TrafficClass};
use nvme_tcp::{Class, Transmit};

use super::{LinkId, Net};

/// Bytes that are made ready to be sent on a connection before it takes them: what else there is to send stays where it is, as commands.
const MOST_OUTGOING: usize = 256 * 1024;

/// Bytes, and what they are to a scheduler.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The bytes.
    pub bytes: Bytes,
    /// How urgent they are.
    pub class: TrafficClass,
    /// Whether a message ends with them.
    pub ends: bool,
}

/// Pieces in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    pieces: VecDeque<Piece>,
    len: usize,
}

impl Outgoing {
    /// Appends bytes; empty ones are left out.
    pub fn push(&mut self, piece: Piece) {
        if !piece.bytes.is_empty() {
            self.len += piece.bytes.len();
            self.pieces.push_back(piece);
        }
    }

    /// Appends a message, whose pieces are taken from `bytes`.
    pub fn push_message(&mut self, bytes: &mut Vec<Bytes>, class: TrafficClass, ends: bool) {
        let last = bytes.len().saturating_sub(1);
        for (index, bytes) in bytes.drain(..).enumerate() {
            self.push(Piece { bytes, class, ends: ends && index == last });
        }
    }

    /// Appends PDUs of `next` until 256 KiB wait, or it has no more. `pieces` is room to work in.
    pub fn fill(&mut self, pieces: &mut Vec<Bytes>, mut next: impl FnMut(&mut Vec<Bytes>) -> Option<Transmit>) {
        while self.len < MOST_OUTGOING
            && let Some(transmit) = next(pieces)
        {
            let class = match transmit.class {
                Class::Latency => TrafficClass::Latency,
                Class::Bulk => TrafficClass::Bulk,
            };
            self.push_message(pieces, class, transmit.end_of_message);
        }
    }

    /// Hands pieces to `send`, which says how many bytes it takes, until it takes less than a whole piece.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn hand_over<E>(&mut self, mut send: impl FnMut(Bytes, Message) -> Result<usize, E>) -> Result<(), E> {
        while let Some(Piece { bytes, class, ends }) = self.pieces.front().cloned() {
            let len = bytes.len();
            let taken = send(bytes, Message { class, deadline: None, ends })?;
            self.advance(taken);
            if taken < len {
                break;
            }
        }
        Ok(())
    }

    /// Sends what waits, and what `next` still has, as much as the connection takes. `pieces` is room to work in.
    ///
    /// # Errors
    /// The connection has failed.
    pub(crate) fn flush<N: Net + ?Sized>(
        &mut self,
        net: &mut N,
        link: LinkId,
        pieces: &mut Vec<Bytes>,
        mut next: impl FnMut(&mut Vec<Bytes>) -> Option<Transmit>,
    ) -> io::Result<()> {
        loop {
            self.fill(pieces, &mut next);
            if self.is_empty() {
                return Ok(());
            }
            net.send(link, self)?;
            if !self.is_empty() {
                return Ok(());
            }
        }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What waits, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// The first `count` bytes have been sent; `count` is at most [`len`](Self::len).
    pub fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while count > 0 {
            let Some(front) = self.pieces.front_mut() else { break };
            if front.bytes.len() > count {
                front.bytes.advance(count);
                break;
            }
            count -= front.bytes.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_in_part_stays_in_part() {
        let mut outgoing = Outgoing::default();
        let mut message = vec![Bytes::from_static(b"head"), Bytes::new(), Bytes::from_static(b"data")];
        outgoing.push_message(&mut message, TrafficClass::Latency, true);
        assert!(message.is_empty());
        assert_eq!(outgoing.pieces().map(|piece| piece.ends).collect::<Vec<_>>(), [false, true]);
        outgoing.advance(5);
        assert_eq!((outgoing.len(), outgoing.pieces().next().map(|piece| &piece.bytes[..])), (3, Some(&b"ata"[..])));
        outgoing.advance(3);
        assert!(outgoing.is_empty() && outgoing.pieces().next().is_none());
    }
}
