//! Jobs as of fio, and the native multipath between them and their queues.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nvme_tcp::command::{BlockRange, IoCommand};
use nvme_tcp::host::{Completion, Multipath, Outcome, PathId, PathState, Policy, Request, Ticket};
use nvme_tcp::pdu::Digests;
use tcp_adapter::Instant;

use super::disk::{LOGICAL_BLOCK, NSID, Storage, StorageOptions};
use super::queue::IoQueue;
use super::store::{PatternStore, contents, wrong_bytes};
use super::{Issued, lane_of, since_start};
use crate::random::Stream;
use crate::scenario::{AccessPattern, BlockLoad, PathPolicy};
use crate::traffic::figures::Figures;
use crate::traffic::lane::Lane;

/// All of a [`Share`](crate::scenario::Share).
const WHOLE: u64 = 1_000_000_000;

/// Jobs that share a disk: each has a queue of its own at every controller, and the policy says to which controller a command goes.
///
/// Without a policy there is one job with one queue.
///
/// What counts as sent and delivered is the data of commands: that of reads from the server, that of writes from the client, when the
/// client has the completion. It counts for the connection over which the command is carried.
#[derive(Debug)]
pub(in crate::traffic) struct Jobs {
    load: BlockLoad,
    jobs: Vec<Job>,
    multipath: Multipath<Issued>,
    paths: Vec<Path>,
    storage: Storage,
}

/// One job.
#[derive(Debug)]
struct Job {
    stream: Stream,
    /// Where the next command goes to if they follow each other, in blocks.
    next: u64,
    /// Commands that are yet to be submitted.
    left: u64,
    /// When those were submitted that are outstanding, the first first.
    begun: VecDeque<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Path {
    id: PathId,
    is_live: bool,
}

impl Jobs {
    /// So many jobs, whose queues are still to be [added](Self::add_queue). The controllers are enabled and asked already: that takes
    /// place outside the network, before time begins.
    ///
    /// # Errors
    /// What the state machines say if they refuse each other.
    pub(in crate::traffic) fn new(load: &BlockLoad, jobs: u64, paths: usize) -> Result<Self, String> {
        let queues = u16::try_from(jobs).map_err(|_| "a controller has 65535 queues at most".to_owned())?;
        let options = StorageOptions {
            store: Arc::new(PatternStore { size: load.size.0 }),
            block: load.block.0,
            depth: load.depth,
            digests: Digests::NONE,
            queues,
            paths,
            timeout: load.timeout,
        };
        let storage = Storage::new(&options)?;
        let policy = match load.policy {
            PathPolicy::None | PathPolicy::Numa => Policy::Numa,
            PathPolicy::RoundRobin => Policy::RoundRobin,
            PathPolicy::QueueDepth => Policy::QueueDepth,
        };
        let mut multipath = Multipath::new(policy, usize::MAX);
        let mut paths = Vec::new();
        for (distance, (ana, group)) in (0..).zip(storage.reach()) {
            let id = multipath.add_path(distance);
            multipath.set_namespace(NSID, group);
            multipath.set_ana(id, ana.clone());
            multipath.set_state(id, PathState::Live);
            paths.push(Path { id, is_live: true });
        }
        Ok(Self { load: load.clone(), jobs: Vec::new(), multipath, paths, storage })
    }

    /// The queue of the next job at every controller in turn, and then of another job, which draws from this stream.
    pub(in crate::traffic) fn add_queue(&mut self, path: usize, stream: Stream) -> IoQueue {
        if path == 0 {
            let left = self.load.count.unwrap_or(u64::MAX);
            self.jobs.push(Job { stream, next: 0, left, begun: VecDeque::new() });
        }
        // Not more than there are queues.
        let (disk, config) = self.storage.queue(path, self.jobs.len() as u16);
        let mut queue = IoQueue::new(disk, config);
        if self.paths.len() == 1 {
            queue.be_patient();
        }
        queue
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn paths(&self) -> usize {
        self.paths.len()
    }

    /// Whether commands can take a path.
    pub(super) fn is_live(&self, path: usize) -> bool {
        self.paths[path].is_live
    }

    /// Whether commands can be carried at all.
    pub(super) fn has_path(&self) -> bool {
        self.paths.iter().any(|path| path.is_live)
    }

    /// The path that is left, if there is only one.
    pub(super) fn last_path(&self) -> Option<usize> {
        let mut live = (0..self.paths.len()).filter(|path| self.is_live(*path));
        live.next().filter(|_| live.next().is_none())
    }

    /// When the commands were made that have not ended.
    pub(in crate::traffic) fn begun(&self) -> impl Iterator<Item = Instant> {
        self.jobs.iter().flat_map(|job| &job.begun).copied()
    }

    /// Whether there is nothing more to be done.
    pub(super) fn is_done(&self) -> bool {
        self.jobs.iter().all(|job| job.left == 0 && job.begun.is_empty())
    }

    /// Has every job submit as many commands as it may have outstanding.
    pub(super) fn submit(&mut self, now: Instant) {
        for index in 0..self.jobs.len() {
            while self.has_path() && self.jobs[index].may_begin(self.load.depth) {
                let request = self.jobs[index].draw(&self.load, index, now);
                if self.multipath.submit(request).is_err() {
                    break;
                }
                self.jobs[index].begin(now);
            }
        }
    }

    /// Gives the next command for a path to the queue of its job: which `queue_of` finds, with the lanes of its connection.
    pub(super) fn hand_out<'a>(
        &mut self,
        now: Instant,
        path: usize,
        queue_of: impl FnOnce(usize) -> Option<(&'a mut IoQueue, &'a mut [Lane; 2])>,
    ) -> Option<usize> {
        let request = self.multipath.next_for(self.paths[path].id)?;
        let issued = *request.token.token();
        let (queue, lanes) = queue_of(issued.job)?;
        if let Err(request) = queue.submit(request, now) {
            // The queue has ended, which is found before anything else is handed out.
            self.multipath.take_back(request);
            return None;
        }
        let lane = &mut lanes[lane_of(&issued)];
        lane.add(now, self.load.block.0);
        lane.wrote_all();
        Some(issued.job)
    }

    /// Takes what has completed in a queue. What was lost with the queue goes elsewhere, if there is another path.
    pub(super) fn collect(&mut self, now: Instant, queue: &mut IoQueue, lanes: &mut [Lane; 2], figures: &mut Figures) {
        let block = self.load.block.0;
        while let Some(completion) = queue.poll_completion() {
            let issued = *completion.request.token.token();
            let wrong = self.judge(&issued, &completion);
            let lane = &mut lanes[lane_of(&issued)];
            self.multipath.complete(completion, since_start(now));
            match (self.multipath.poll_finished(), wrong) {
                (Some(_), Some(wrong)) => {
                    self.jobs[issued.job].end(issued.at);
                    lane.complete(now, block, wrong);
                    figures.request(now, now - issued.at);
                }
                (Some(_), None) => {
                    self.jobs[issued.job].end_without_answer(issued.at, now, figures);
                    lane.withdraw(now, block);
                }
                (None, _) => lane.withdraw(now, block),
            }
        }
    }

    /// A path has failed. Commands that have taken it and are not in a queue take another, if there is one.
    pub(super) fn lose(&mut self, now: Instant, path: usize, figures: &mut Figures) {
        self.paths[path].is_live = false;
        self.multipath.set_state(self.paths[path].id, PathState::Failed);
        while let Some(finished) = self.multipath.poll_finished() {
            let Issued { job, at, .. } = finished.request.token;
            self.jobs[job].end_without_answer(at, now, figures);
        }
    }

    /// How many of a command's bytes are wrong: all of them if it has failed. `None` if it was lost.
    fn judge(&self, issued: &Issued, completion: &Completion<Ticket<Issued>>) -> Option<u64> {
        let Outcome::Answered { status, .. } = completion.outcome else { return None };
        if !status.is_success() {
            return Some(self.load.block.0);
        }
        let received = completion.request.payload().filter(|_| issued.is_read);
        Some(received.map_or(0, |payload| wrong_bytes(issued.position, payload)))
    }
}

impl Job {
    /// A command is submitted.
    fn begin(&mut self, now: Instant) {
        self.left -= 1;
        self.begun.push_back(now);
    }

    /// Whether it has a command that it may submit.
    fn may_begin(&self, depth: u64) -> bool {
        self.left > 0 && (self.begun.len() as u64) < depth
    }

    /// A command that was submitted at this time has ended.
    fn end(&mut self, begun: Instant) {
        if let Ok(index) = self.begun.binary_search(&begun) {
            self.begun.remove(index);
        }
    }

    /// One was lost with the last path: it takes longer than any.
    fn end_without_answer(&mut self, begun: Instant, now: Instant, figures: &mut Figures) {
        self.end(begun);
        figures.under_way(now, Duration::MAX);
    }

    /// The next command.
    fn draw(&mut self, load: &BlockLoad, job: usize, now: Instant) -> Request<Issued> {
        let block = load.block.0;
        let blocks = load.size.0 / block;
        let at = match load.pattern {
            AccessPattern::Random => self.stream.below(blocks),
            AccessPattern::Sequential => {
                let next = (self.next + 1) % blocks;
                std::mem::replace(&mut self.next, next)
            }
        };
        let is_read = self.stream.below(WHOLE) < load.read.0.unsigned_abs();
        let position = at * block;
        let range = BlockRange {
            start: position / u64::from(LOGICAL_BLOCK),
            // A block has 32 MiB at most.
            count: (block / u64::from(LOGICAL_BLOCK)) as u32,
        };
        let issued = Issued { at: now, job, position, is_read };
        let (command, length) = match is_read {
            true => (IoCommand::Read { range, force_unit_access: false }, block as u32),
            false => (IoCommand::Write { range, force_unit_access: false }, 0),
        };
        let request = Request::new(command.to_sqe(NSID), issued);
        if is_read { request.receiving(length) } else { request.sending(contents(position, block)) }
    }
}
