//! A store that keeps nothing: for measuring everything else.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Backend, Completion, Operation, Store, Token};
use crate::command::StatusCode;
use crate::pdu::Payload;

/// Zeroes, of which whatever is read is made.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// Takes every write and reads as zeroes.
#[derive(Clone, Copy, Debug)]
pub struct NullStore {
    size: u64,
}

impl NullStore {
    /// A store of `size` bytes.
    pub const fn new(size: u64) -> Self {
        Self { size }
    }
}

impl Store for NullStore {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(NullBackend::default())
    }
}

#[derive(Debug, Default)]
struct NullBackend {
    done: VecDeque<Completion>,
}

impl Backend for NullBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        let mut result = Ok(());
        let data = match operation {
            Operation::Read { extent, mut into } => {
                push_zeroes(extent.length, &mut into);
                into
            }
            Operation::Write { mut data, .. } => {
                data.clear();
                data
            }
            Operation::Compare { data, .. } | Operation::CompareAndWrite { expected: data, .. } => {
                if data.pieces().flatten().any(|byte| *byte != 0) {
                    result = Err(StatusCode::CompareFailure);
                }
                data
            }
            Operation::Flush
            | Operation::WriteZeroes { .. }
            | Operation::Deallocate { .. }
            | Operation::Verify { .. }
            | Operation::Copy { .. } => Payload::new(),
        };
        self.done.push_back(Completion { token, result, data });
    }

    fn poll(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }
}

fn push_zeroes(mut length: u64, into: &mut Payload) {
    while length > 0 {
        let piece = length.min(ZEROES.len() as u64);
        into.push(Bytes::from_static(&ZEROES[..piece as usize]));
        length -= piece;
    }
}
