//! The files of one thread, over its ring.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use nvme_tcp::Blocks;
use nvme_tcp::command::StatusCode;
use nvme_tcp::target::{Backend, Completion, Operation, Subscription, Token};
use uring::{Done, Request, Ring};

use super::gate::Pass;
use super::task::{Outcome, Task};
use super::{FileStore, READ_BLOCK, READ_BLOCKS, Shared};
use crate::net::Waker;

/// Operations on files, which the kernel does while the thread goes on. A [`Server`](crate::Server) with a ring has one; so may whoever drives connections
/// otherwise.
///
/// An operation waits, in the order of its file, until the ring has a place, there is a buffer, and nobody else is to be alone with the file. From then on
/// its buffer belongs to the ring until the kernel is done, whether or not anybody is left who wants to know.
#[derive(Clone)]
pub struct FileRing(Rc<RefCell<Inner>>);

struct Inner {
    /// Dropped before the tasks, whose passes must not be given back while the kernel is still at it.
    ring: Ring,
    tasks: Vec<Option<Task>>,
    free: Vec<u32>,
    files: Vec<Option<OpenFile>>,
    /// The file that begins first: the one for which there was no memory, if there was none.
    first: usize,
    /// Operations that have done everything, but wait for others to end before it is known how.
    unsure: Vec<(usize, u32)>,
    /// Operations that have not ended.
    pending: usize,
    blocks: Blocks,
    waker: Waker,
}

/// A file as this thread uses it.
struct OpenFile {
    shared: Arc<Shared>,
    /// What has not begun.
    waiting: VecDeque<u32>,
    /// How many have begun and not ended.
    running: usize,
    /// What has ended, and was not fetched.
    done: VecDeque<Completion>,
    /// Nobody will fetch anything more.
    closed: bool,
    /// To the gate of the file.
    _subscription: Subscription,
}

/// Why a file's next operation does not begin.
enum Obstacle {
    /// There is none.
    Idle,
    /// Somebody else has the file.
    Shut,
    /// The ring or its memory is full.
    Full,
}

struct RingBackend {
    ring: FileRing,
    file: usize,
}

impl FileRing {
    /// No files yet. `waker` wakes the thread, for when another one lets it have a file again.
    pub fn new(ring: Ring, waker: Waker) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            ring,
            tasks: Vec::new(),
            free: Vec::new(),
            files: Vec::new(),
            first: 0,
            unsure: Vec::new(),
            pending: 0,
            blocks: Blocks::new(READ_BLOCK, READ_BLOCKS),
            waker,
        })))
    }

    /// Opens a file for this thread.
    pub fn open(&self, store: &FileStore) -> Box<dyn Backend> {
        let inner = &mut *self.0.borrow_mut();
        let shared = Arc::clone(&store.shared);
        let subscription = shared.gate.subscribe(inner.waker.clone());
        let file = inner.files.iter().position(Option::is_none).unwrap_or_else(|| {
            inner.files.push(None);
            inner.files.len() - 1
        });
        let (waiting, done) = (VecDeque::new(), VecDeque::new());
        inner.files[file] =
            Some(OpenFile { shared, waiting, running: 0, done, closed: false, _subscription: subscription });
        Box::new(RingBackend { ring: self.clone(), file })
    }

    /// Operations that have not ended. What of them wants nothing but time needs no attention until the [descriptor](Self::with_descriptor) is readable.
    pub fn pending(&self) -> usize {
        self.0.borrow().pending
    }

    /// Whether the kernel had no resources for all that was to begin, so that it has to be tried again.
    pub fn is_behind(&self) -> bool {
        self.0.borrow().ring.has_unsubmitted()
    }

    /// Calls `f` with what is readable while something has ended.
    pub fn with_descriptor<T>(&self, f: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        f(self.0.borrow().ring.as_fd())
    }

    /// Has the kernel begin with everything that was submitted, and takes what has ended, until it needs time.
    ///
    /// # Errors
    /// The operating system's, about the ring and not about one file.
    pub fn turn(&self) -> io::Result<()> {
        let inner = &mut *self.0.borrow_mut();
        loop {
            inner.begin();
            inner.ring.submit()?;
            // What is in the page cache has ended by now.
            // What had waited for others makes room, too.
            if !(inner.reap() | inner.settle()) {
                return Ok(());
            }
        }
    }
}

impl std::fmt::Debug for FileRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileRing").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

impl Inner {
    /// Takes what has ended; whether anything has.
    fn reap(&mut self) -> bool {
        let mut any = false;
        while let Some(Done { tag, request, result }) = self.ring.pop() {
            any = true;
            let (file, id) = split(tag);
            let Some(Some(task)) = self.tasks.get_mut(id as usize) else { continue };
            match task.advance(request.action, result, &mut self.blocks) {
                Outcome::Continue => self.step(file, id),
                Outcome::Waits => self.unsure.push((file, id)),
                Outcome::Ended(result) => self.end(file, id, result),
            }
        }
        any
    }

    /// Ends what had to wait for others, on whatever thread, if these have ended; whether there was any.
    fn settle(&mut self) -> bool {
        let before = self.unsure.len();
        for place in (0..self.unsure.len()).rev() {
            let (file, id) = self.unsure[place];
            let verdict = self.tasks[id as usize].as_ref().and_then(Task::verdict);
            if let Some(result) = verdict {
                self.unsure.swap_remove(place);
                self.end(file, id, result);
            }
        }
        self.unsure.len() < before
    }

    /// Has what waits begin, as much as there is room for.
    fn begin(&mut self) {
        let count = self.files.len();
        for place in 0..count {
            let file = (self.first + place) % count;
            loop {
                match self.next(file) {
                    Ok(id) => self.step(file, id),
                    Err(Obstacle::Idle | Obstacle::Shut) => break,
                    Err(Obstacle::Full) => {
                        // Others must not take what this waits for, piece by piece.
                        self.first = file;
                        return;
                    }
                }
            }
        }
        self.first = if count > 0 { (self.first + 1) % count } else { 0 };
    }

    /// The next task of a file, if it can begin.
    fn next(&mut self, file: usize) -> Result<u32, Obstacle> {
        let open = self.files[file].as_mut().ok_or(Obstacle::Idle)?;
        let id = *open.waiting.front().ok_or(Obstacle::Idle)?;
        let task = self.tasks[id as usize].as_mut().ok_or(Obstacle::Idle)?;
        if !self.ring.has_room() {
            return Err(Obstacle::Full);
        }
        let gate = &open.shared.gate;
        if task.pass.is_none() && !task.needs_no_pass() {
            let pass = if task.is_for_one_alone() { gate.close() } else { gate.enter() };
            task.pass = Some(pass.ok_or(Obstacle::Shut)?);
        }
        if task.is_for_one_alone() && !task.pass.as_ref().is_some_and(Pass::is_alone) {
            return Err(Obstacle::Shut);
        }
        // Last, so that only what begins has memory: it comes back once that has ended, whoever else has to wait for what.
        if let Some(room) = task.room() {
            let memory = self.ring.memory();
            let room = room.min(memory.size());
            task.buffer = Some(memory.allocate(room).ok_or(Obstacle::Full)?);
        }
        open.waiting.pop_front();
        open.running += 1;
        Ok(id)
    }

    /// Has the next step of a task done.
    fn step(&mut self, file: usize, id: u32) {
        let Some(task) = self.tasks[id as usize].as_mut() else { return };
        let pushed = task.step().and_then(|action| {
            let request = Request { file: Arc::clone(&task.shared.file), action };
            // There is room: it was asked for, or a step has just ended.
            self.ring.push(join(file, id), request).map_err(|_| StatusCode::InternalError)
        });
        if let Err(status) = pushed {
            self.end(file, id, Err(status));
        }
    }

    /// A task that had begun has ended.
    fn end(&mut self, file: usize, id: u32, result: Result<(), StatusCode>) {
        let Some(task) = self.remove(id) else { return };
        let Some(open) = &mut self.files[file] else { return };
        open.running -= 1;
        if !open.closed {
            open.done.push_back(task.complete(result));
        } else if open.running == 0 {
            self.files[file] = None;
        }
    }

    fn insert(&mut self, task: Task) -> u32 {
        self.pending += 1;
        if let Some(id) = self.free.pop() {
            self.tasks[id as usize] = Some(task);
            return id;
        }
        self.tasks.push(Some(task));
        // There are not that many commands.
        (self.tasks.len() - 1) as u32
    }

    fn remove(&mut self, id: u32) -> Option<Task> {
        let task = self.tasks[id as usize].take()?;
        self.free.push(id);
        self.pending -= 1;
        Some(task)
    }
}

impl Backend for RingBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        let inner = &mut *self.ring.0.borrow_mut();
        let Some(open) = &inner.files[self.file] else { return };
        let task = Task::new(token, Arc::clone(&open.shared), operation);
        let id = inner.insert(task);
        if let Some(open) = &mut inner.files[self.file] {
            open.waiting.push_back(id);
            // For all of them, should they end before the first is fetched: how much room there has to be is not for the disk's pace to say.
            open.done.reserve(open.waiting.len() + open.running);
        }
    }

    fn poll(&mut self) -> Option<Completion> {
        self.ring.0.borrow_mut().files[self.file].as_mut()?.done.pop_front()
    }

    fn forget(&mut self, connection: u32) {
        let inner = &mut *self.ring.0.borrow_mut();
        let Some(open) = &mut inner.files[self.file] else { return };
        let its = |task: &Task| task.token.connection == connection;
        let waiting = std::mem::take(&mut open.waiting).into_iter();
        let (forgotten, left): (VecDeque<_>, VecDeque<_>) =
            waiting.partition(|id| inner.tasks[*id as usize].as_ref().is_some_and(its));
        open.waiting = left;
        open.running += forgotten.len();
        // At once: who comes again and again would otherwise leave more data behind than the disk takes.
        for id in forgotten {
            inner.end(self.file, id, Err(StatusCode::AbortedSqDeletion));
        }
        inner.tasks.iter_mut().flatten().filter(|task| its(task)).for_each(|task| task.is_forgotten = true);
    }
}

impl Drop for RingBackend {
    fn drop(&mut self) {
        let inner = &mut *self.ring.0.borrow_mut();
        let Some(open) = &mut inner.files[self.file] else { return };
        open.closed = true;
        open.done.clear();
        let waiting = std::mem::take(&mut open.waiting);
        if open.running == 0 {
            inner.files[self.file] = None;
        }
        for id in waiting {
            inner.remove(id);
        }
    }
}

/// What the ring gives back: the file and the task.
fn join(file: usize, id: u32) -> u64 {
    (file as u64) << 32 | u64::from(id)
}

fn split(tag: u64) -> (usize, u32) {
    ((tag >> 32) as usize, tag as u32)
}
