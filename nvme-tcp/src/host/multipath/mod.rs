//! Commands for a subsystem that is reached over several controllers, and again over one that was lost.

mod policy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use policy::{Policy, UnknownPolicy};

use super::replay::{Verdict, is_repeatable, judge};
use super::{AnaStates, Completion, Outcome, Refusal, Refused, Request};
use crate::command::{AnaState, Status, StatusCode};
use policy::Candidate;

/// How often a command is sent again that a controller says may succeed later.
const MAX_RETRIES: u8 = 5;
/// How often a command is moved to another path, or to the same one after it has come back.
const MAX_MOVES: u8 = 100;
/// What CRD chooses from is in units of this.
const DELAY_UNIT: Duration = Duration::from_millis(100);

/// One of the paths: a controller with its I/O queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathId(u32);

/// What is to be expected of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// Its controller takes commands.
    Live,
    /// It is being connected, for the first time or again: commands wait for it if there is no other.
    Connecting,
    /// Nothing should wait for it.
    Failed,
}

/// Carries commands over whatever paths there are: chooses one for each, and sends it again over another when a path fails it.
///
/// A command is [submitted](Self::submit), handed out [for a path](Self::next_for), and given back when it has
/// [completed](Self::complete) there. Its end, of which there is exactly one, comes from [`poll_finished`](Self::poll_finished). What
/// may have been executed and must not be executed twice is not sent again; see [`is_repeatable`]. With
/// a single path, this carries commands over the time in which it is connected again.
///
/// As Linux does, it chooses a path when a command is submitted, however many commands wait for that path already.
#[derive(Debug)]
pub struct Multipath<T> {
    policy: Policy,
    paths: BTreeMap<PathId, Path<T>>,
    next_path: u32,
    namespaces: BTreeMap<u32, NamespacePaths>,
    /// Commands for which there is no path at present.
    waiting: VecDeque<Request<Ticket<T>>>,
    /// Commands that wait for a delay to pass, by when it has, and a number that tells them apart.
    delayed: BTreeMap<(Duration, u64), Request<Ticket<T>>>,
    delays: u64,
    finished: VecDeque<Finished<T>>,
    outstanding: usize,
    limit: usize,
}

#[derive(Debug)]
struct Path<T> {
    state: PathState,
    ana: AnaStates,
    /// A status contradicts `ana`, which has to be read anew.
    is_ana_outdated: bool,
    distance: u32,
    /// The delays that CRD chooses from.
    delays: [Duration; 3],
    /// Commands that have taken this path and not completed.
    in_flight: u32,
    /// Those of them that were not handed out.
    backlog: VecDeque<Request<Ticket<T>>>,
}

#[derive(Debug, Default)]
struct NamespacePaths {
    group: u32,
    last: Option<PathId>,
}

/// What accompanies a command on its path.
#[derive(Clone, Debug)]
pub struct Ticket<T> {
    token: T,
    path: Option<PathId>,
    retries: u8,
    moves: u8,
    /// Whether it has left before, so that it may have been executed.
    sent: bool,
}

impl<T> Ticket<T> {
    /// What was submitted with the command.
    pub fn token(&self) -> &T {
        &self.token
    }
}

/// The end of a command.
#[derive(Clone, Debug)]
pub struct Finished<T> {
    /// The answer, or that there is no path; with [`Outcome::Lost`], whether the command may have been executed.
    pub outcome: Outcome,
    /// What was submitted, with the data that was received.
    pub request: Request<T>,
    /// How often it was sent again.
    pub resent: u32,
}

impl<T> Multipath<T> {
    /// Carries up to `limit` commands at a time.
    pub fn new(policy: Policy, limit: usize) -> Self {
        Self {
            policy,
            paths: BTreeMap::new(),
            next_path: 0,
            namespaces: BTreeMap::new(),
            waiting: VecDeque::new(),
            delayed: BTreeMap::new(),
            delays: 0,
            finished: VecDeque::new(),
            outstanding: 0,
            limit,
        }
    }

    /// Changes the policy for commands that are submitted from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Adds a path, which is being connected. The distance is that of its interface, for [`Policy::Numa`].
    pub fn add_path(&mut self, distance: u32) -> PathId {
        let id = PathId(self.next_path);
        self.next_path += 1;
        let path = Path {
            state: PathState::Connecting,
            ana: AnaStates::default(),
            is_ana_outdated: false,
            distance,
            delays: [Duration::ZERO; 3],
            in_flight: 0,
            backlog: VecDeque::new(),
        };
        self.paths.insert(id, path);
        id
    }

    /// Says what is to be expected of a path. Commands that were handed out for it have to be given back, as completed or lost.
    pub fn set_state(&mut self, id: PathId, state: PathState) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        path.state = state;
        if state != PathState::Live {
            let backlog = std::mem::take(&mut path.backlog);
            path.in_flight -= backlog.len() as u32;
            self.waiting.extend(backlog);
        }
        self.assign();
    }

    /// Removes a path that is given up. Commands that were handed out for it may still be given back.
    pub fn remove_path(&mut self, id: PathId) {
        self.set_state(id, PathState::Failed);
        self.paths.remove(&id);
        self.assign();
    }

    /// Says how a path's controller reaches the ANA groups.
    pub fn set_ana(&mut self, id: PathId, ana: AnaStates) {
        if let Some(path) = self.paths.get_mut(&id) {
            (path.ana, path.is_ana_outdated) = (ana, false);
        }
        self.assign();
    }

    /// Says which delays CRD chooses from: CRDT of Identify Controller, in units of 100 ms.
    pub fn set_retry_delays(&mut self, id: PathId, delays: [u16; 3]) {
        if let Some(path) = self.paths.get_mut(&id) {
            path.delays = delays.map(|units| DELAY_UNIT * u32::from(units));
        }
    }

    /// Says which ANA group a namespace is in; 0 where ANA is not reported.
    pub fn set_namespace(&mut self, nsid: u32, group: u32) {
        self.namespaces.entry(nsid).or_default().group = group;
        self.assign();
    }

    /// Whether a command for this namespace has ever taken a path.
    pub fn has_carried(&self, nsid: u32) -> bool {
        self.namespaces.get(&nsid).is_some_and(|namespace| namespace.last.is_some())
    }

    /// A path whose ANA states have to be read anew, since a status contradicts them; each once, until
    /// [`set_ana`](Self::set_ana).
    pub fn poll_outdated(&mut self) -> Option<PathId> {
        let (id, path) = self.paths.iter_mut().find(|(_, path)| path.is_ana_outdated)?;
        path.is_ana_outdated = false;
        Some(*id)
    }

    /// Takes a command for a namespace.
    ///
    /// # Errors
    /// The request, if there are as many commands as it carries.
    #[expect(clippy::result_large_err, reason = "the request, which was handed over by value, goes back to its owner")]
    pub fn submit(&mut self, request: Request<T>) -> Result<(), Refused<T>> {
        if self.outstanding == self.limit {
            return Err(Refused { reason: Refusal::Full, request });
        }
        self.outstanding += 1;
        let Request { sqe, data, token } = request;
        let ticket = Ticket { token, path: None, retries: 0, moves: 0, sent: false };
        self.place(Request { sqe, data, token: ticket }, None);
        Ok(())
    }

    /// The next command for a path, to be submitted to one of its queues that has room. Give it back with
    /// [`complete`](Self::complete), whatever happens to it.
    pub fn next_for(&mut self, id: PathId) -> Option<Request<Ticket<T>>> {
        self.paths.get_mut(&id)?.backlog.pop_front()
    }

    /// Takes back a command that no queue has taken. It waits for its path as before, ahead of others.
    pub fn take_back(&mut self, request: Request<Ticket<T>>) {
        match request.token.path.and_then(|id| self.paths.get_mut(&id)) {
            Some(path) if path.state == PathState::Live => path.backlog.push_front(request),
            Some(path) => {
                path.in_flight -= 1;
                self.place(request, None);
            }
            None => self.place(request, None),
        }
    }

    /// Takes back a command that a queue has completed.
    pub fn complete(&mut self, completion: Completion<Ticket<T>>, now: Duration) {
        let Completion { outcome, mut request, .. } = completion;
        let from = request.token.path.take();
        let mut path = from.and_then(|id| self.paths.get_mut(&id));
        if let Some(path) = &mut path {
            path.in_flight -= 1;
        }
        match outcome {
            Outcome::Lost { sent } => {
                request.token.sent |= sent;
                if sent && !is_repeatable(&request.sqe) {
                    return self.finish(request, outcome);
                }
                self.go_elsewhere(request, outcome, from);
            }
            Outcome::Answered { status, .. } => match judge(&request.sqe, &status) {
                Verdict::Report => self.finish(request, outcome),
                Verdict::Elsewhere => {
                    let group = self.namespaces.get(&request.sqe.nsid.get()).map_or(0, |namespace| namespace.group);
                    if let Some((path, state)) = path.zip(told_state(&status)) {
                        path.ana.set(group, state);
                        path.is_ana_outdated = true;
                    }
                    self.go_elsewhere(request, outcome, from);
                }
                Verdict::Again { .. } if request.token.retries == MAX_RETRIES => self.finish(request, outcome),
                Verdict::Again { delay } => {
                    request.token.retries += 1;
                    let delays = path.map_or([Duration::ZERO; 3], |path| path.delays);
                    match usize::from(delay).checked_sub(1).and_then(|index| delays.get(index)) {
                        Some(delay) if !delay.is_zero() => {
                            self.delays += 1;
                            self.delayed.insert((now + *delay, self.delays), request);
                        }
                        _ => self.place(request, None),
                    }
                }
            },
        }
    }

    /// The next command that has ended.
    pub fn poll_finished(&mut self) -> Option<Finished<T>> {
        self.finished.pop_front()
    }

    /// How many commands have not ended.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// How many commands have taken a path and not come back.
    pub fn in_flight(&self, id: PathId) -> u32 {
        self.paths.get(&id).map_or(0, |path| path.in_flight)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// Sends commands again whose delay has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= now
        {
            let request = first.remove();
            self.place(request, None);
        }
    }

    fn go_elsewhere(&mut self, mut request: Request<Ticket<T>>, outcome: Outcome, from: Option<PathId>) {
        if request.token.moves == MAX_MOVES {
            let outcome = match outcome {
                // It may have left on one of the paths before.
                Outcome::Lost { .. } => Outcome::Lost { sent: request.token.sent },
                answered @ Outcome::Answered { .. } => answered,
            };
            return self.finish(request, outcome);
        }
        request.token.moves += 1;
        self.place(request, from);
    }

    /// Has a command take a path, not `avoided` if there is any other; or has it wait, or fail if there is nothing to wait for.
    ///
    /// A controller that does not report a group has no namespace in it. Where there is nothing better, the command goes there nevertheless: as a rule the
    /// namespace was removed, which only an answer tells; to wait for its group might be to wait for ever.
    fn place(&mut self, mut request: Request<Ticket<T>>, avoided: Option<PathId>) {
        let nsid = request.sqe.nsid.get();
        let namespace = self.namespaces.entry(nsid).or_default();
        let group = namespace.group;
        let candidates = self.paths.iter().filter(|(_, path)| path.state == PathState::Live).map(|(id, path)| {
            Candidate { id: *id, state: path.ana.state(group), distance: path.distance, in_flight: path.in_flight }
        });
        let others = candidates.clone().filter(|candidate| Some(candidate.id) != avoided);
        let mut chosen =
            self.policy.choose(others, namespace.last).or_else(|| self.policy.choose(candidates, namespace.last));
        let waits = chosen.is_none() && self.paths.values().any(|path| may_come_back(path, group));
        if chosen.is_none() && !waits {
            let is_last_resort = |path: &Path<T>| path.state == PathState::Live && !path.ana.mentions(group);
            chosen = self.paths.iter().find(|(_, path)| is_last_resort(path)).map(|(id, _)| *id);
        }
        if let Some(id) = chosen
            && let Some(path) = self.paths.get_mut(&id)
        {
            namespace.last = chosen;
            request.token.path = chosen;
            path.in_flight += 1;
            path.backlog.push_back(request);
        } else if waits {
            self.waiting.push_back(request);
        } else {
            let outcome = Outcome::Lost { sent: request.token.sent };
            self.finish(request, outcome);
        }
    }

    /// Looks for paths again for the commands that wait.
    fn assign(&mut self) {
        for _ in 0..self.waiting.len() {
            if let Some(mut request) = self.waiting.pop_front() {
                request.token.path = None;
                self.place(request, None);
            }
        }
    }

    fn finish(&mut self, request: Request<Ticket<T>>, outcome: Outcome) {
        self.outstanding -= 1;
        let Request { sqe, data, token: Ticket { token, retries, moves, .. } } = request;
        let resent = u32::from(retries) + u32::from(moves);
        self.finished.push_back(Finished { outcome, request: Request { sqe, data, token }, resent });
    }
}

fn may_come_back<T>(path: &Path<T>, group: u32) -> bool {
    match path.state {
        PathState::Live => path.ana.mentions(group) && path.ana.state(group) != AnaState::PersistentLoss,
        PathState::Connecting => true,
        PathState::Failed => false,
    }
}

/// What a status tells of the namespace's ANA group.
fn told_state(status: &Status) -> Option<AnaState> {
    match status.code {
        StatusCode::AnaInaccessible => Some(AnaState::Inaccessible),
        StatusCode::AnaTransition => Some(AnaState::Change),
        StatusCode::AnaPersistentLoss => Some(AnaState::PersistentLoss),
        _ => None,
    }
}
