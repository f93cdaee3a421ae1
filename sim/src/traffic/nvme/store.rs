//! A namespace without memory, whose every byte is known all the same.

use std::collections::VecDeque;

use bytes::Bytes;
use nvme_tcp::command::StatusCode;
use nvme_tcp::pdu::Payload;
use nvme_tcp::target::{Backend, Completion, Operation, Store, Token};

use crate::traffic::pattern::Pattern;

/// The bytes of a namespace from a position on, in shared pieces.
pub(super) fn contents(position: u64, length: u64) -> Payload {
    let mut done = 0;
    let pieces = std::iter::from_fn(|| {
        let left = usize::try_from(length - done).unwrap_or(usize::MAX);
        let piece: Bytes = (left > 0).then(|| Pattern::new(0).bytes(position + done, left))?;
        done += piece.len() as u64;
        Some(piece)
    });
    pieces.collect()
}

/// How many bytes are not those of a namespace from this position on, counted from the first wrong one of each piece.
pub(super) fn wrong_bytes(mut position: u64, data: &Payload) -> u64 {
    let mut wrong = 0;
    for piece in data.pieces() {
        wrong += (piece.len() - Pattern::new(0).matching(position, piece)) as u64;
        position += piece.len() as u64;
    }
    wrong
}

/// Reads as [`contents`], and refuses writes of anything else.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatternStore {
    pub(super) size: u64,
}

impl Store for PatternStore {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(PatternBackend::default())
    }
}

#[derive(Debug, Default)]
struct PatternBackend {
    done: VecDeque<Completion>,
}

impl Backend for PatternBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        let (result, data) = match operation {
            Operation::Read { extent, .. } => (Ok(()), contents(extent.offset, extent.length)),
            Operation::Write { offset, data, .. } | Operation::Compare { offset, data } => {
                let is_right = wrong_bytes(offset, &data) == 0;
                (if is_right { Ok(()) } else { Err(StatusCode::CompareFailure) }, data)
            }
            _ => (Err(StatusCode::InvalidOpcode), Payload::new()),
        };
        self.done.push_back(Completion { token, result, data });
    }

    fn poll(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }
}
