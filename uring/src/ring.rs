//! The ring.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use io_uring::types::{CancelBuilder, Fd, FsyncFlags};
use io_uring::{IoUring, Probe, opcode, squeue};

use crate::memory::{Buffer, Memory};

/// A submission and a completion queue that a thread shares with the kernel, and what the kernel is working on.
///
/// What was [pushed](Self::push) starts with the next [`submit`](Self::submit), all of it with one system call, and ends in any order. The descriptor is
/// readable while something has ended. Dropping the ring cancels what can be cancelled and waits for the rest, so that nobody writes into memory that is gone.
pub struct Ring {
    queues: IoUring,
    memory: Memory,
    /// Whether the kernel knows the memory.
    registered: bool,
    /// What the kernel works on; its user data is the index.
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Pushed since the last submission.
    unsubmitted: usize,
}

#[derive(Debug)]
enum Slot {
    Free,
    Taken { tag: u64, request: Request },
}

/// What is to be done with a file.
#[derive(Debug)]
pub struct Request {
    /// The file, which stays open as long as this is under way.
    pub file: Arc<File>,
    /// What.
    pub action: Action,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Read into a part of a buffer.
    Read {
        /// From where in the file.
        offset: u64,
        /// Into what.
        buffer: Buffer,
        /// Which bytes of it.
        range: Range<usize>,
    },
    /// Write a part of a buffer.
    Write {
        /// To where in the file.
        offset: u64,
        /// What.
        buffer: Buffer,
        /// Which bytes of it.
        range: Range<usize>,
        /// End only when it is durable, as with `RWF_DSYNC`.
        durable: bool,
    },
    /// Make durable what has been written, as `fdatasync` does.
    Sync,
    /// `fallocate`.
    Allocate {
        /// Its mode: `FALLOC_FL_*`.
        mode: u32,
        /// From where in the file.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
}

/// A request that has ended.
#[derive(Debug)]
pub struct Done {
    /// What it was pushed with.
    pub tag: u64,
    /// The request, with its buffer.
    pub request: Request,
    /// Bytes that were read or written, which may be fewer than were asked for.
    pub result: io::Result<usize>,
}

/// Why there is no ring.
#[derive(Debug)]
#[non_exhaustive]
pub enum RingError {
    /// The kernel makes none: it has none, or does not let this process have one.
    Refused(io::Error),
    /// The kernel's rings do not do all that is needed, which came with Linux 5.6.
    TooOld,
}

impl std::fmt::Display for RingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) if error.raw_os_error() == Some(libc::ENOSYS) => f.write_str("this kernel has none"),
            Self::Refused(error) if error.raw_os_error() == Some(libc::EPERM) => f.write_str(
                "this process may not use it; see the sysctl kernel.io_uring_disabled, and what confines it",
            ),
            Self::Refused(error) => write!(f, "the kernel makes no ring: {error}"),
            Self::TooOld => f.write_str("this kernel's does not do all that is needed, which came with Linux 5.6"),
        }
    }
}

impl std::error::Error for RingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            Self::TooOld => None,
        }
    }
}

impl Ring {
    /// A ring for up to `depth` requests at a time, 1 to 32768, whose buffers come from this memory.
    ///
    /// # Errors
    /// There is none to be had.
    pub fn new(depth: u32, memory: Memory) -> Result<Self, RingError> {
        // The thread need not be interrupted for what has ended: it will look.
        let queues = match IoUring::builder().setup_coop_taskrun().setup_submit_all().build(depth) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::builder().build(depth),
            result => result,
        };
        let queues = queues.map_err(RingError::Refused)?;
        let mut probe = Probe::new();
        queues.submitter().register_probe(&mut probe).map_err(|_| RingError::TooOld)?;
        let needed = [
            opcode::Read::CODE,
            opcode::Write::CODE,
            opcode::ReadFixed::CODE,
            opcode::WriteFixed::CODE,
            opcode::Fsync::CODE,
            opcode::Fallocate::CODE,
        ];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(RingError::TooOld);
        }
        let all = libc::iovec { iov_base: memory.base().cast(), iov_len: memory.size() };
        // SAFETY: the memory lives as long as this ring or a buffer of it, and the ring waits for what the kernel does with them before it is dropped.
        let registered = unsafe { queues.submitter().register_buffers(&[all]) }.is_ok();
        let slots = (0..depth).map(|_| Slot::Free).collect();
        Ok(Self { queues, memory, registered, slots, free: (0..depth).rev().collect(), unsubmitted: 0 })
    }

    /// Where its buffers come from.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Whether the kernel knows the memory. Otherwise, as when the limit on locked memory is too low, requests cost it some more.
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// Requests that have not ended.
    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether another request can be pushed now.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether requests wait for [`submit`](Self::submit).
    pub fn has_unsubmitted(&self) -> bool {
        self.unsubmitted > 0
    }

    /// Has a request done, from the next [`submit`](Self::submit) on.
    ///
    /// # Errors
    /// The request, if there is no room.
    ///
    /// # Panics
    /// The request's range is not within its buffer.
    pub fn push(&mut self, tag: u64, mut request: Request) -> Result<(), Request> {
        let Some(slot) = self.free.last().copied() else { return Err(request) };
        let entry = self.entry(&mut request).user_data(slot.into());
        // SAFETY: what the entry refers to is the file and the buffer of the request. Both are in the slot from here until the kernel says that it is
        // done; the slot is then the only owner of the buffer, and if the ring ends before, it waits or leaks them.
        let pushed = unsafe { self.queues.submission().push(&entry) };
        if pushed.is_err() {
            // Cannot be: the queue has as many places as there are slots.
            return Err(request);
        }
        self.free.pop();
        self.slots[slot as usize] = Slot::Taken { tag, request };
        self.unsubmitted += 1;
        Ok(())
    }

    fn entry(&self, request: &mut Request) -> squeue::Entry {
        let fd = Fd(request.file.as_raw_fd());
        // Ranges were checked to be within a buffer, and none is longer than 4 GiB: the kernel takes no more than 2 at a time.
        let length = |range: &Range<usize>| u32::try_from(range.len()).unwrap_or(u32::MAX);
        match &mut request.action {
            Action::Read { offset, buffer, range } => {
                assert!(range.end <= buffer.len(), "the range lies within the buffer");
                let known = self.registered && self.memory.has(buffer);
                let (address, length) = (buffer.address(range.start), length(range));
                if known {
                    opcode::ReadFixed::new(fd, address, length, 0).offset(*offset).build()
                } else {
                    opcode::Read::new(fd, address, length).offset(*offset).build()
                }
            }
            Action::Write { offset, buffer, range, durable } => {
                assert!(range.end <= buffer.len(), "the range lies within the buffer");
                let known = self.registered && self.memory.has(buffer);
                let (address, length) = (buffer.address(range.start), length(range));
                let flags = if *durable { libc::RWF_DSYNC } else { 0 };
                if known {
                    opcode::WriteFixed::new(fd, address, length, 0).offset(*offset).rw_flags(flags).build()
                } else {
                    opcode::Write::new(fd, address, length).offset(*offset).rw_flags(flags).build()
                }
            }
            Action::Sync => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
            Action::Allocate { mode, offset, length } => {
                opcode::Fallocate::new(fd, *length).offset(*offset).mode(mode.cast_signed()).build()
            }
        }
    }

    /// Starts what was pushed. Some of it may have ended when this returns. What the kernel has no resources for now
    /// [stays](Self::has_unsubmitted) for the next time.
    ///
    /// # Errors
    /// The operating system's, about the ring and not about one request.
    pub fn submit(&mut self) -> io::Result<()> {
        if self.unsubmitted == 0 {
            return Ok(());
        }
        match self.queues.submit() {
            Ok(_) => {}
            Err(error) if is_for_now(&error) => {}
            Err(error) => return Err(error),
        }
        self.unsubmitted = self.queues.submission().len();
        Ok(())
    }

    /// The next request that has ended.
    pub fn pop(&mut self) -> Option<Done> {
        loop {
            let entry = self.queues.completion().next()?;
            let Ok(index) = usize::try_from(entry.user_data()) else { continue };
            let Some(slot) = self.slots.get_mut(index) else { continue };
            let Slot::Taken { tag, request } = std::mem::replace(slot, Slot::Free) else { continue };
            self.free.push(index as u32);
            let result = usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()));
            return Some(Done { tag, request, result });
        }
    }
}

/// Whether a submission that has failed so may succeed later.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queues.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // What is not submitted could not be cancelled.
        let _ = self.submit();
        if self.in_flight() > 0 {
            // Regular files and disks always answer, whether this kernel can cancel or not.
            let _ = self.queues.submitter().register_sync_cancel(None, CancelBuilder::any());
        }
        while self.in_flight() > 0 {
            while self.pop().is_some() {}
            if self.in_flight() == 0 {
                break;
            }
            if let Err(error) = self.queues.submit_and_wait(1)
                && !is_for_now(&error)
            {
                // Nobody knows when the kernel is done with them, so nobody gets this memory again.
                std::mem::forget(std::mem::take(&mut self.slots));
                return;
            }
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("registered", &self.registered)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
