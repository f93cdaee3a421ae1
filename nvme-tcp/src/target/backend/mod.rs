//! What holds the data of namespaces.

mod memory;
mod null;

use std::any::Any;
use std::sync::Arc;

pub use memory::MemoryStore;
pub use null::NullStore;

use super::Target;
use crate::command::StatusCode;
use crate::pdu::Payload;

/// Storage, as all threads share it. Each opens a [`Backend`] of its own, so that doing I/O needs no lock between them.
pub trait Store: Any + Send + Sync {
    /// Bytes that it has.
    fn size(&self) -> u64;

    /// Bytes of it that take storage, where that is given to data as it is written, and may be taken back when that is deallocated: thin provisioning. None,
    /// always, of a store that has all of its storage, or does not know.
    fn used(&self) -> Option<u64> {
        None
    }

    /// Opens it for the calling thread.
    fn open(&self) -> Box<dyn Backend>;
}

/// A store as one thread uses it: operations are submitted with a token and complete with it, in any order.
///
/// Memory that an operation is done in belongs to the backend until the operation has ended, even if the connection has not lived to see it.
pub trait Backend {
    /// Starts an operation. The ranges lie within the store. How it ended comes from [`poll`](Self::poll).
    fn submit(&mut self, token: Token, operation: Operation);

    /// The next operation that has ended.
    fn poll(&mut self) -> Option<Completion>;

    /// A connection has ended. Of its operations nothing more is to begin, if that can be helped, since the host may send them again over another one, and
    /// then newer ones: done late, a write would undo those. They end nevertheless.
    fn forget(&mut self, connection: u32) {
        let _ = connection;
    }
}

/// Names an operation: what a connection submitted, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The connection's number, as it was given to [`Connection::new`](super::Connection::new).
    pub connection: u32,
    /// The connection's own.
    pub slot: u32,
}

/// Which store of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u32);

/// Bytes that follow each other in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The first.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// What is to be done with a store.
#[derive(Debug)]
pub enum Operation {
    /// Read.
    Read {
        /// What.
        extent: Extent,
        /// Into this list, which is empty.
        into: Payload,
    },
    /// Write.
    Write {
        /// Where.
        offset: u64,
        /// What.
        data: Payload,
        /// Complete only when it is durable.
        force_unit_access: bool,
    },
    /// Make everything durable that was completed before.
    Flush,
    /// Have bytes read as zeroes.
    WriteZeroes {
        /// Which.
        extent: Extent,
        /// Their storage may be given back.
        deallocate: bool,
        /// Complete only when it is durable.
        force_unit_access: bool,
    },
    /// Bytes are no longer in use: their storage may be given back. They read as zeroes or as they were.
    Deallocate {
        /// Which.
        extents: Vec<Extent>,
    },
    /// Check that bytes can be read.
    Verify {
        /// Which.
        extent: Extent,
    },
    /// Compare; [`StatusCode::CompareFailure`] if there is a difference.
    Compare {
        /// Where.
        offset: u64,
        /// With what.
        data: Payload,
    },
    /// Compare, and write if there is no difference, with nothing in between.
    CompareAndWrite {
        /// Where.
        offset: u64,
        /// What has to be there; as long as `data`.
        expected: Payload,
        /// What to write.
        data: Payload,
        /// Complete only when it is durable.
        force_unit_access: bool,
    },
    /// Copy.
    Copy {
        /// What, in this order.
        sources: Vec<Extent>,
        /// To where.
        destination: u64,
        /// Complete only when it is durable.
        force_unit_access: bool,
    },
}

/// An operation that has ended.
#[derive(Debug)]
pub struct Completion {
    /// Which.
    pub token: Token,
    /// How.
    pub result: Result<(), StatusCode>,
    /// What was read; otherwise the list of the operation (the last, if it had two), to be used again.
    pub data: Payload,
}

/// An operation that a connection wants done: hand it to the thread's [`Backends`].
#[derive(Debug)]
pub struct Submission {
    /// Its name.
    pub token: Token,
    /// On which store.
    pub store: StoreId,
    /// What.
    pub operation: Operation,
}

/// The stores of a target as one thread uses them: each is opened when it is first needed.
pub struct Backends {
    target: Arc<Target>,
    opener: Opener,
    /// By number.
    open: Vec<Option<Open>>,
    /// Stores with operations under way.
    busy: Vec<StoreId>,
    /// What could not be submitted.
    failed: Vec<Completion>,
}

/// How a thread opens a store.
type Opener = Box<dyn FnMut(&dyn Store) -> Box<dyn Backend>>;

struct Open {
    backend: Box<dyn Backend>,
    /// Operations under way.
    pending: usize,
}

impl Backends {
    /// Nothing is open yet.
    pub fn new(target: Arc<Target>) -> Self {
        Self::with_opener(target, |store| store.open())
    }

    /// Nothing is open yet; `opener` opens what is needed. It may know some stores, and have its thread use them in another way than
    /// [`Store::open`] does.
    pub fn with_opener(target: Arc<Target>, opener: impl FnMut(&dyn Store) -> Box<dyn Backend> + 'static) -> Self {
        Self { target, opener: Box::new(opener), open: Vec::new(), busy: Vec::new(), failed: Vec::new() }
    }

    /// Starts an operation.
    pub fn submit(&mut self, submission: Submission) {
        let Submission { token, store, operation } = submission;
        let index = store.0 as usize;
        if self.open.len() <= index {
            self.open.resize_with(index + 1, || None);
        }
        let slot = &mut self.open[index];
        if slot.is_none() {
            *slot = self.target.store(store).map(|store| Open { backend: (self.opener)(&*store), pending: 0 });
        }
        match slot {
            Some(open) => {
                if open.pending == 0 {
                    self.busy.push(store);
                }
                open.pending += 1;
                open.backend.submit(token, operation);
            }
            // It was removed since the command came.
            None => {
                let result = Err(StatusCode::InvalidNamespace);
                self.failed.push(Completion { token, result, data: Payload::new() });
            }
        }
    }

    /// The next operation that has ended, for [`Connection::handle_completion`](super::Connection::handle_completion).
    pub fn poll(&mut self) -> Option<Completion> {
        if let Some(completion) = self.failed.pop() {
            return Some(completion);
        }
        for (place, store) in self.busy.iter().enumerate() {
            let Some(open) = &mut self.open[store.0 as usize] else { continue };
            let Some(completion) = open.backend.poll() else { continue };
            open.pending -= 1;
            if open.pending == 0 {
                self.busy.swap_remove(place);
            } else {
                // Another store is next.
                self.busy.rotate_left(place + 1);
            }
            return Some(completion);
        }
        None
    }

    /// Tells the stores that a connection has ended: see [`Backend::forget`].
    pub fn forget(&mut self, connection: u32) {
        for store in &self.busy {
            if let Some(open) = &mut self.open[store.0 as usize] {
                open.backend.forget(connection);
            }
        }
    }

    /// Operations under way: submitted, and not yet returned by [`poll`](Self::poll).
    pub fn pending(&self) -> usize {
        let busy = self.busy.iter().filter_map(|store| self.open[store.0 as usize].as_ref());
        busy.map(|open| open.pending).sum::<usize>() + self.failed.len()
    }

    /// Closes stores that were removed and have nothing under way: when the target's [generation](Target::generation) has moved.
    pub fn handle_change(&mut self) {
        for (index, slot) in self.open.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|open| open.pending == 0) && self.target.store(StoreId(index as u32)).is_none()
            {
                *slot = None;
            }
        }
    }
}
