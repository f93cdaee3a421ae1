//! What an application does, as supply of bytes to its two lanes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tcp_adapter::Instant;

use super::figures::Figures;
use super::lane::Lane;
use super::nvme::IoQueue;
use crate::host::Side;
use crate::link::parse_millis;
use crate::random::Stream;
use crate::scenario::{BlockLoad, Flow as Direction, PhaseDistribution, Phases, Work};

/// What a flow's application is about to do. Lanes are those of the client and of the server, in this order.
#[derive(Debug)]
pub(super) enum Worker {
    Bulk {
        /// Bytes of each lane; an endless one has `u64::MAX`.
        bytes: [u64; 2],
    },
    Request(Box<Requests>),
    Writes(Box<Writes>),
    /// The jobs that use the queue have several.
    Nvme(Box<IoQueue>),
}

/// Requests and their responses.
#[derive(Debug)]
pub(super) struct Requests {
    request: u64,
    response: u64,
    depth: u64,
    think: Duration,
    /// Requests that are yet to be made.
    left: u64,
    /// When the outstanding requests were made, oldest first.
    outstanding: VecDeque<Instant>,
    /// When requests may be made whose time has not come.
    due: VecDeque<Instant>,
    answered: u64,
    completed: u64,
}

/// Writes at given times, in one direction or both.
#[derive(Debug)]
pub(super) struct Writes {
    lanes: [bool; 2],
    schedule: Schedule,
    /// When the next write is.
    next: Option<Instant>,
    size: u64,
    deadline: Option<Duration>,
}

#[derive(Debug)]
enum Schedule {
    /// At a distance in units of 10^-9 bits per bit per second, that is `bits * 10^9 / rate` nanoseconds, without
    /// rounding.
    Paced {
        bits: u64,
        rate: u64,
        written: u64,
        origin: Instant,
        phases: Option<Box<Pauses>>,
    },
    Every {
        interval: Duration,
        left: Option<u64>,
    },
    Listed {
        writes: Arc<[(Duration, u64)]>,
        next: usize,
        origin: Instant,
    },
}

/// Phases of activity and silence.
#[derive(Debug)]
pub(super) struct Pauses {
    phases: Phases,
    stream: Stream,
    /// When the activity ends.
    until: Instant,
}

impl Worker {
    /// A flow's application. `writes` are those of a trace, `stream` is for phases and commands, and `queue` gives the flow
    /// its place among the queues of its jobs.
    ///
    /// # Errors
    /// What `queue` says.
    pub(super) fn new(
        work: &Work,
        writes: Option<&Arc<[(Duration, u64)]>>,
        stream: Stream,
        queue: impl FnOnce(&BlockLoad, Stream) -> Result<IoQueue, String>,
    ) -> Result<Self, String> {
        let both = |direction: Direction| match direction {
            Direction::Up => [true, false],
            Direction::Down => [false, true],
            Direction::Both => [true, true],
        };
        Ok(match work {
            Work::Bulk { direction, bytes, back } => {
                let size = bytes.map_or(u64::MAX, |bytes| bytes.0);
                let bytes = both(*direction).map(|used| if used { size } else { back.0 });
                Self::Bulk { bytes }
            }
            Work::Request { request, response, depth, think, count } => Self::Request(Box::new(Requests {
                request: request.0,
                response: response.0,
                depth: *depth,
                think: *think,
                left: count.unwrap_or(u64::MAX),
                outstanding: VecDeque::new(),
                due: VecDeque::new(),
                answered: 0,
                completed: 0,
            })),
            Work::Paced { direction, size, rate, phases } => {
                let phases = phases.map(|phases| Box::new(Pauses { phases, stream, until: Instant::ZERO }));
                let bits = size.0.saturating_mul(8);
                let schedule = Schedule::Paced { bits, rate: rate.0, written: 0, origin: Instant::ZERO, phases };
                Self::writes(both(*direction), schedule, size.0, None)
            }
            Work::Message { direction, size, interval, deadline, count } => {
                let schedule = Schedule::Every { interval: *interval, left: *count };
                Self::writes(both(*direction), schedule, size.0, Some(*deadline))
            }
            Work::Trace { direction, .. } => {
                let writes = writes.cloned().unwrap_or_default();
                let schedule = Schedule::Listed { writes, next: 0, origin: Instant::ZERO };
                Self::writes(both(*direction), schedule, 0, None)
            }
            Work::Nvme(load) => Self::Nvme(Box::new(queue(load, stream)?)),
        })
    }

    fn writes(lanes: [bool; 2], schedule: Schedule, size: u64, deadline: Option<Duration>) -> Self {
        Self::Writes(Box::new(Writes { lanes, schedule, next: None, size, deadline }))
    }

    /// The connection is asked for.
    pub(super) fn start(&mut self, now: Instant, lanes: &mut [Lane; 2]) {
        match self {
            Self::Bulk { bytes } => {
                for (lane, bytes) in lanes.iter_mut().zip(bytes) {
                    lane.add(now, *bytes);
                    if *bytes > 0 {
                        lane.seal();
                    }
                }
            }
            Self::Request(requests) => {
                requests.due.extend((0..requests.depth.min(requests.left)).map(|_| now));
                requests.make_due(now, lanes);
            }
            Self::Writes(writes) => {
                writes.begin(now);
                writes.write_due(now, lanes);
            }
            // The jobs begin when all of their connections are asked for.
            Self::Nvme(_) => {}
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        match self {
            Self::Bulk { .. } => None,
            Self::Nvme(queue) => queue.next_tick(),
            Self::Request(requests) => requests.due.front().copied(),
            Self::Writes(writes) => writes.next,
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant, lanes: &mut [Lane; 2]) {
        match self {
            Self::Bulk { .. } => {}
            Self::Nvme(queue) => queue.tick(now),
            Self::Request(requests) => requests.make_due(now, lanes),
            Self::Writes(writes) => writes.write_due(now, lanes),
        }
    }

    /// Something has arrived at a side.
    pub(super) fn progress(&mut self, now: Instant, at: Side, lanes: &mut [Lane; 2], figures: &mut Figures) {
        match self {
            Self::Bulk { .. } => {}
            Self::Request(requests) => requests.progress(now, at, lanes, figures),
            Self::Nvme(queue) if at == Side::Server => queue.work(),
            // What completes is for the jobs.
            Self::Nvme(_) => {}
            Self::Writes(writes) => {
                let lane = &mut lanes[at.other().index()];
                while let Some(written) = lane.pop_message() {
                    figures.message(now, now - written, writes.deadline);
                }
            }
        }
    }

    /// What is under way at the end of the run, and messages that did not arrive in time.
    pub(super) fn conclude(&self, now: Instant, lanes: &[Lane; 2], figures: &mut Figures) {
        self.begun(lanes).for_each(|begun| figures.under_way(now, now - begun));
        self.miss(lanes, figures, |written, deadline| now - written > deadline);
    }

    /// What will not arrive, as its connection has failed: what is under way, and messages that would have been written by now.
    pub(super) fn conclude_failed(&mut self, now: Instant, lanes: &mut [Lane; 2], figures: &mut Figures) {
        if let Self::Writes(writes) = self {
            writes.write_due(now, lanes);
        }
        self.begun(lanes).for_each(|_| figures.under_way(now, Duration::MAX));
        self.miss(lanes, figures, |_, _| true);
    }

    /// When the requests or messages were made that are under way. Commands of jobs outlive their connections, and are not among them.
    fn begun(&self, lanes: &[Lane; 2]) -> impl Iterator<Item = Instant> {
        let requests = match self {
            Self::Request(requests) => Some(requests.outstanding.iter().copied()),
            _ => None,
        };
        requests.into_iter().flatten().chain(lanes.iter().flat_map(Lane::messages_under_way))
    }

    fn miss(&self, lanes: &[Lane; 2], figures: &mut Figures, is_missed: impl Fn(Instant, Duration) -> bool) {
        let Self::Writes(writes) = self else { return };
        let Some(deadline) = writes.deadline else { return };
        for lane in lanes {
            let missed = lane.messages_under_way().filter(|written| is_missed(*written, deadline)).count();
            figures.missed(missed as u64);
        }
    }
}

impl Requests {
    fn make_due(&mut self, now: Instant, lanes: &mut [Lane; 2]) {
        while self.left > 0 && self.due.pop_front_if(|at| *at <= now).is_some() {
            lanes[Side::Client.index()].add(now, self.request);
            self.outstanding.push_back(now);
            self.left -= 1;
        }
        if self.left == 0 {
            self.due.clear();
        }
    }

    fn progress(&mut self, now: Instant, at: Side, lanes: &mut [Lane; 2], figures: &mut Figures) {
        let [up, down] = lanes;
        match at {
            Side::Server => {
                let arrived = up.delivered() / self.request;
                down.add(now, (arrived - self.answered) * self.response);
                self.answered = arrived;
            }
            Side::Client => {
                let completed = down.delivered() / self.response;
                while self.completed < completed {
                    self.completed += 1;
                    if let Some(made) = self.outstanding.pop_front() {
                        figures.request(now, now - made);
                    }
                    self.due.push_back(now + self.think);
                }
                self.make_due(now, lanes);
                if self.left == 0 && self.outstanding.is_empty() {
                    lanes[Side::Client.index()].seal();
                }
            }
        }
    }
}

impl Writes {
    fn begin(&mut self, now: Instant) {
        self.next = match &mut self.schedule {
            Schedule::Paced { origin, phases, .. } => {
                *origin = now;
                if let Some(pauses) = phases {
                    pauses.until = now + pauses.activity();
                }
                Some(now)
            }
            Schedule::Every { .. } => Some(now),
            Schedule::Listed { writes, origin, .. } => {
                *origin = now;
                writes.first().map(|(at, _)| now + *at)
            }
        };
    }

    fn write_due(&mut self, now: Instant, lanes: &mut [Lane; 2]) {
        while let Some(at) = self.next.filter(|at| *at <= now) {
            let size = match &self.schedule {
                Schedule::Listed { writes, next, .. } => writes.get(*next).map_or(0, |(_, size)| *size),
                _ => self.size,
            };
            for (lane, used) in lanes.iter_mut().zip(self.lanes) {
                if used && size > 0 {
                    lane.add_message(now, size);
                }
            }
            self.next = self.schedule.advance(at);
        }
        if self.next.is_none() {
            let used = lanes.iter_mut().zip(self.lanes).filter(|(_, used)| *used);
            used.for_each(|(lane, _)| lane.seal());
        }
    }
}

impl Schedule {
    /// When the write after the one at `at` is.
    fn advance(&mut self, at: Instant) -> Option<Instant> {
        match self {
            Self::Paced { bits, rate, written, origin, phases } => {
                *written += 1;
                let nanos = u128::from(*written) * u128::from(*bits) * 1_000_000_000 / u128::from(*rate);
                let mut next = *origin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                // Silence interrupts the pace, which goes on where it was.
                while let Some(pauses) = phases.as_mut().filter(|pauses| next >= pauses.until) {
                    let rest = next - pauses.until;
                    let resumed = pauses.until + pauses.silence();
                    pauses.until = resumed + pauses.activity();
                    next = resumed + rest;
                    (*written, *origin) = (0, next);
                }
                Some(next)
            }
            Self::Every { interval, left } => {
                *left = left.map(|left| left - 1);
                (*left != Some(0)).then_some(at + *interval)
            }
            Self::Listed { writes, next, origin } => {
                *next += 1;
                writes.get(*next).map(|(at, _)| *origin + *at)
            }
        }
    }
}

impl Pauses {
    fn activity(&mut self) -> Duration {
        self.draw(self.phases.on)
    }

    fn silence(&mut self) -> Duration {
        self.draw(self.phases.off)
    }

    fn draw(&mut self, mean: Duration) -> Duration {
        match self.phases.distribution {
            PhaseDistribution::Fixed => mean,
            PhaseDistribution::Exponential => self.stream.exponential(mean),
            PhaseDistribution::Pareto => pareto(&mut self.stream, mean),
        }
    }
}

/// A time with a Pareto distribution of shape 1.5: at least a third of the mean.
fn pareto(stream: &mut Stream, mean: Duration) -> Duration {
    // From 2^-53 to 1. The inverse of the distribution is u^(-2/3) thirds of the mean.
    let uniform = ((stream.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let root = cube_root(uniform);
    // Casts saturate.
    Duration::from_nanos((mean.as_nanos() as f64 / (3.0 * root * root)) as u64)
}

/// The cube root of a number from 2^-53 to 1, by Newton's method, which gives the same bits on every machine.
fn cube_root(x: f64) -> f64 {
    let mut root = 1.0;
    for _ in 0..64 {
        root -= (root * root * root - x) / (3.0 * root * root);
    }
    root
}

/// Reads a trace of writes: milliseconds and bytes a line, in the order of time.
///
/// # Errors
/// The line that is not what it should be, in a few words.
pub(crate) fn parse_trace(text: &str) -> Result<Arc<[(Duration, u64)]>, String> {
    let mut writes: Vec<(Duration, u64)> = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let write = match words[..] {
            [] => continue,
            [at, bytes] => parse_millis(at).zip(bytes.parse().ok()),
            _ => None,
        };
        let write = write.filter(|(at, _)| writes.last().is_none_or(|last| last.0 <= *at));
        let wrong = || format!("line {number} is not milliseconds and bytes, not before the line above it");
        writes.push(write.ok_or_else(wrong)?);
    }
    if writes.is_empty() { Err("it has no writes".to_owned()) } else { Ok(writes.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Streams;
    use crate::scenario::{Rate, Size};

    fn lanes() -> [Lane; 2] {
        [Lane::new(0), Lane::new(1)]
    }

    fn supply(lane: &Lane) -> usize {
        lane.unwritten(usize::MAX).map_or(0, |bytes| bytes.len())
    }

    fn worker(work: &Work) -> Worker {
        Worker::new(work, None, Streams::new(1).stream("work"), |_, _| Err("no disk".to_owned())).unwrap()
    }

    #[test]
    fn a_pace_has_no_rounding() {
        let work = Work::Paced { direction: Direction::Up, size: Size(1), rate: Rate(24_000_000_000), phases: None };
        let mut worker = worker(&work);
        let mut lanes = lanes();
        worker.start(Instant::ZERO, &mut lanes);
        for nano in 1..=1000 {
            worker.tick(Instant::from_nanos(nano), &mut lanes);
        }
        // 24 Gbit/s are 3 bytes a nanosecond: those of 1001 of them.
        assert_eq!(supply(&lanes[0]), 3003);
    }

    #[test]
    fn silence_interrupts_the_pace() {
        let phases = Phases {
            on: Duration::from_millis(10),
            off: Duration::from_millis(90),
            distribution: PhaseDistribution::Fixed,
        };
        let work =
            Work::Paced { direction: Direction::Down, size: Size(100), rate: Rate(800_000), phases: Some(phases) };
        let mut worker = worker(&work);
        let mut lanes = lanes();
        worker.start(Instant::ZERO, &mut lanes);
        let mut times = Vec::new();
        while let Some(at) = worker.next_tick().filter(|at| *at < Instant::from_millis(200)) {
            times.push(at.as_micros());
            worker.tick(at, &mut lanes);
        }
        let expected: Vec<u64> = [1..10, 100..110].into_iter().flatten().map(|millis| millis * 1000).collect();
        assert_eq!(times, expected);
        assert_eq!(supply(&lanes[1]), 2000);
    }

    #[test]
    fn short_phases_carry_the_pace_on() {
        let phases = Phases {
            on: Duration::from_millis(100),
            off: Duration::from_millis(100),
            distribution: PhaseDistribution::Fixed,
        };
        // A write for each second of activity.
        let work = Work::Paced { direction: Direction::Down, size: Size(1000), rate: Rate(8000), phases: Some(phases) };
        let mut worker = worker(&work);
        let mut lanes = lanes();
        worker.start(Instant::ZERO, &mut lanes);
        let mut times = Vec::new();
        while let Some(at) = worker.next_tick().filter(|at| *at < Instant::from_millis(7000)) {
            times.push(at.as_nanos() / 1_000_000);
            worker.tick(at, &mut lanes);
        }
        assert_eq!(times.last(), Some(&6000), "{times:?}");
        assert!(times.len() <= 4, "{times:?}");
    }

    #[test]
    fn requests_keep_their_depth() {
        let work = Work::Request {
            request: Size(10),
            response: Size(30),
            depth: 2,
            think: Duration::from_millis(5),
            count: Some(3),
        };
        let mut worker = worker(&work);
        let (mut lanes, mut figures) = (lanes(), Figures::new("requests", Instant::ZERO));
        worker.start(Instant::ZERO, &mut lanes);
        assert_eq!(supply(&lanes[0]), 20);
        let now = Instant::from_millis(10);
        let bytes = lanes[0].unwritten(15).unwrap();
        lanes[0].deliver(now, &bytes);
        worker.progress(now, Side::Server, &mut lanes, &mut figures);
        assert_eq!(supply(&lanes[1]), 30);
        let bytes = lanes[1].unwritten(30).unwrap();
        lanes[1].deliver(now, &bytes);
        worker.progress(now, Side::Client, &mut lanes, &mut figures);
        assert_eq!((figures.requests(), figures.latency().max()), (1, Duration::from_millis(10)));
        assert_eq!(worker.next_tick(), Some(Instant::from_millis(15)));
        worker.tick(Instant::from_millis(15), &mut lanes);
        assert_eq!((supply(&lanes[0]), worker.next_tick()), (30, None));
    }

    #[test]
    fn pareto_times_have_their_median() {
        let mut stream = Streams::new(2).stream("pareto");
        let mut times: Vec<u128> =
            (0..20_001).map(|_| pareto(&mut stream, Duration::from_millis(300)).as_micros()).collect();
        times.sort_unstable();
        assert!(times[0] >= 99_999, "{}", times[0]);
        // The median is 2^(2/3) = 1.587 times the least.
        assert!((155_000..163_000).contains(&times[10_000]), "{}", times[10_000]);
    }

    #[test]
    fn traces_are_read_exactly() {
        let writes = parse_trace("0 10\n# pause\n1.5 20 # more\n\n1.500001 1").unwrap();
        assert_eq!(writes[..], [(0, 10), (1_500_000, 20), (1_500_001, 1)].map(|(at, n)| (Duration::from_nanos(at), n)));
        for wrong in ["", "# nothing", "1", "1 2 3", "2 1\n1 1", "x 1", "-1 1", "1 -1"] {
            assert!(parse_trace(wrong).is_err(), "{wrong}");
        }
    }
}
