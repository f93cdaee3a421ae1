//! Files without a ring: each operation is done before the next begins.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nvme_tcp::Blocks;
use nvme_tcp::target::{Backend, Completion, Operation, Token};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use uring::{Action, Memory};

use super::task::{LONGEST_STEP, Outcome, Task};
use super::{READ_BLOCK, READ_BLOCKS, Shared};

/// Does operations in the thread that submits them, before it goes on.
#[derive(Debug)]
pub(super) struct BlockingBackend {
    shared: Arc<Shared>,
    memory: Memory,
    blocks: Blocks,
    done: VecDeque<Completion>,
}

impl BlockingBackend {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let memory = Memory::new(LONGEST_STEP);
        Self { shared, memory, blocks: Blocks::new(READ_BLOCK, READ_BLOCKS), done: VecDeque::new() }
    }
}

impl Backend for BlockingBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        let gate = &self.shared.gate;
        let mut task = Task::new(token, Arc::clone(&self.shared), operation);
        task.pass = if task.needs_no_pass() {
            None
        } else if task.is_for_one_alone() {
            let pass = gate.wait_for(|| gate.close());
            gate.wait_for(|| pass.is_alone().then_some(()));
            Some(pass)
        } else {
            Some(gate.wait_for(|| gate.enter()))
        };
        // There is nobody else who has any of it, and nothing needs more than all of it.
        task.buffer = task.room().and_then(|room| self.memory.allocate(room));
        let result = loop {
            let mut action = match task.step() {
                Ok(action) => action,
                Err(status) => break Err(status),
            };
            let result = perform(&task.shared.file, &mut action);
            match task.advance(action, result, &mut self.blocks) {
                Outcome::Continue => {}
                Outcome::Waits => break gate.wait_for(|| task.verdict()),
                Outcome::Ended(result) => break result,
            }
        };
        self.done.push_back(task.complete(result));
    }

    fn poll(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }
}

fn perform(file: &File, action: &mut Action) -> io::Result<usize> {
    match action {
        Action::Read { offset, buffer, range } => file.read_at(&mut buffer[range.clone()], *offset),
        Action::Write { offset, buffer, range, durable: false } => file.write_at(&buffer[range.clone()], *offset),
        Action::Write { offset, buffer, range, durable: true } => {
            let slices = [IoSlice::new(&buffer[range.clone()])];
            pwritev2(file, &slices, *offset, ReadWriteFlags::DSYNC).map_err(io::Error::from)
        }
        Action::Sync => file.sync_data().map(|()| 0),
        Action::Allocate { mode, offset, length } => {
            let mode = FallocateFlags::from_bits_retain(*mode);
            fallocate(file, mode, *offset, *length).map(|()| 0).map_err(|error: Errno| error.into())
        }
    }
}
