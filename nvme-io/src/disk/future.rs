//! A command as a future.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nvme_tcp::host::Request;
use nvme_tcp::pdu::Payload;

use super::DiskError;
use super::commands::Commands;

/// A command of a [`Disk`](super::Disk): its end comes once, with the list of its data. That is what was read; or else what was written or compared, so that
/// the list can be used again.
///
/// Nothing happens before the first poll. With it the command takes its place behind all that wait for a queue of the host with room, and leaves in its turn.
/// Any number of futures may wait so. They may be polled by any task, also by another than before: the one that polled last is woken.
///
/// A future that is dropped takes its command back if no queue has it yet. Otherwise the command goes on, with its data, and its end is for nobody: a
/// write that was dropped may have been executed, or may still be.
#[derive(Debug)]
#[must_use = "a command is not executed unless its future is polled"]
pub struct IoFuture {
    commands: Arc<Commands>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It was not polled yet.
    New(Result<Request<()>, DiskError>),
    /// It has this slot.
    Entered(usize),
    Ended,
}

impl IoFuture {
    /// The future of this command, or of why it is none.
    pub(super) fn new(commands: Arc<Commands>, request: Result<Request<()>, DiskError>) -> Self {
        Self { commands, stage: Stage::New(request) }
    }
}

impl Future for IoFuture {
    type Output = Result<Payload, DiskError>;

    /// # Panics
    /// It has ended before.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.stage, Stage::Ended) {
            Stage::New(request) => match request.and_then(|request| this.commands.enter(request, context.waker())) {
                Ok(slot) => {
                    this.stage = Stage::Entered(slot);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            },
            Stage::Entered(slot) => {
                let polled = this.commands.poll(slot, context.waker());
                if polled.is_pending() {
                    this.stage = Stage::Entered(slot);
                }
                polled
            }
            Stage::Ended => panic!("a command that has ended is polled again"),
        }
    }
}

impl Drop for IoFuture {
    fn drop(&mut self) {
        if let Stage::Entered(slot) = self.stage {
            self.commands.leave(slot);
        }
    }
}
