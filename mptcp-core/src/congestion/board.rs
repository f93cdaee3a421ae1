//! What the subflows of a connection know of each other.
//!
//! Each subflow's congestion control lives within TCP, behind a `Box` that may move to another thread with its stack, so what
//! they share is atomic. One thread owns a stack and nothing here orders anything else: all accesses are relaxed, which makes them
//! plain loads and stores.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;
use tcp_adapter::Instant;
use tcp_adapter::congestion::Ack;

use super::samples::Samples;

/// Subflows of a connection that need no further memory: most have not more.
const FEW: usize = 4;

/// A subflow that has heard nothing for four round-trip times and so many nanoseconds is idle, and takes nothing.
const QUIET: u64 = 1_000_000_000;

/// A second in nanoseconds.
const SECOND: f64 = 1e9;

/// The places of a connection's subflows; more are added as they are needed.
#[derive(Debug, Default)]
pub(super) struct Board {
    slots: [Slot; FEW],
    more: OnceLock<Box<Board>>,
}

/// What others may know of a subflow.
#[derive(Debug, Default)]
struct Slot {
    taken: AtomicBool,
    /// Only those of a group are coupled.
    group: AtomicU32,
    /// Bytes of the congestion window that are in use.
    window: AtomicU64,
    /// Smoothed round-trip time in nanoseconds; 0 if unknown.
    srtt: AtomicU64,
    /// When it last had an acknowledgement, in nanoseconds.
    heard: AtomicU64,
    /// What the rule wants others to know: bits of an `f64`.
    note: AtomicU64,
}

/// What a rule knows of a subflow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Path {
    /// Bytes of the congestion window that are in use.
    pub(super) window: f64,
    /// Smoothed round-trip time in seconds.
    pub(super) rtt: f64,
    /// What its rule has noted.
    pub(super) note: f64,
}

impl Path {
    /// Bytes per second.
    pub(super) fn rate(&self) -> f64 {
        self.window / self.rtt
    }
}

/// The subflows that are coupled, and which of them it is about.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) all: SmallVec<[Path; FEW]>,
    pub(super) own: usize,
}

impl Paths {
    pub(super) fn own(&self) -> &Path {
        &self.all[self.own]
    }

    /// The sum of the rates, in bytes per second.
    pub(super) fn rate(&self) -> f64 {
        self.all.iter().map(Path::rate).sum()
    }

    /// The largest of what is made of each.
    pub(super) fn max(&self, of: impl Fn(&Path) -> f64) -> f64 {
        self.all.iter().map(of).fold(0.0, f64::max)
    }
}

/// A subflow's place on the board, which is free again when the subflow is gone.
#[derive(Debug)]
pub(super) struct Member {
    board: Arc<Board>,
    place: usize,
    samples: Option<Arc<Samples>>,
}

impl Board {
    /// Takes a place in the group of all.
    pub(super) fn join(board: &Arc<Self>) -> Member {
        let mut place = 0;
        while board.grown(place).taken.swap(true, Relaxed) {
            place += 1;
        }
        let slot = board.grown(place);
        slot.group.store(0, Relaxed);
        slot.window.store(0, Relaxed);
        slot.srtt.store(0, Relaxed);
        slot.note.store(0, Relaxed);
        Member { board: Arc::clone(board), place, samples: None }
    }

    /// Takes a place in a group of its own.
    pub(super) fn join_alone(board: &Arc<Self>) -> Member {
        let member = Self::join(board);
        board.set_group(member.place, member.place);
        member
    }

    /// Puts the subflow at a place into a group.
    pub(super) fn set_group(&self, place: usize, group: usize) {
        self.grown(place).group.store(u32::try_from(group).unwrap_or(u32::MAX), Relaxed);
    }

    /// The group of the subflow at a place.
    #[cfg(test)]
    pub(super) fn group(&self, place: usize) -> u32 {
        self.grown(place).group.load(Relaxed)
    }

    fn grown(&self, place: usize) -> &Slot {
        let mut board = self;
        for _ in 0..place / FEW {
            board = board.more.get_or_init(Box::default);
        }
        &board.slots[place % FEW]
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        std::iter::successors(Some(self), |board| board.more.get().map(|more| &**more)).flat_map(|board| &board.slots)
    }
}

impl Member {
    /// Takes samples from now on for the detection of shared bottlenecks.
    pub(super) fn sample(&mut self, samples: Arc<Samples>) {
        self.samples = Some(samples);
    }

    /// Which place it is.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Tells the others how far a window of `cwnd` bytes is in use, now that an acknowledgement has come.
    ///
    /// RFC 6356 section 3: an application that does not fill the window has no more than what is in flight.
    pub(super) fn tell(&self, ack: &Ack, cwnd: u64, note: f64) {
        let slot = self.board.grown(self.place);
        let used = if ack.cwnd_limited { cwnd } else { cwnd.min(ack.prior_in_flight) };
        slot.window.store(used, Relaxed);
        slot.srtt.store(ack.srtt, Relaxed);
        slot.heard.store(ack.now.as_nanos(), Relaxed);
        slot.note.store(note.to_bits(), Relaxed);
        if let Some(samples) = &self.samples {
            samples.take(ack);
        }
    }

    /// The subflows that are coupled with this one, which has just [told](Self::tell); `None` until its own round-trip time is known.
    pub(super) fn paths(&self, now: Instant) -> Option<Paths> {
        let own = self.board.grown(self.place);
        let group = own.group.load(Relaxed);
        let mut paths = Paths { all: SmallVec::new(), own: usize::MAX };
        for slot in self.board.slots().filter(|slot| slot.taken.load(Relaxed) && slot.group.load(Relaxed) == group) {
            let (window, srtt) = (slot.window.load(Relaxed), slot.srtt.load(Relaxed));
            let silence = now.as_nanos().saturating_sub(slot.heard.load(Relaxed));
            if window == 0 || srtt == 0 || silence > srtt.saturating_mul(4).saturating_add(QUIET) {
                continue;
            }
            if std::ptr::eq(slot, own) {
                paths.own = paths.all.len();
            }
            let note = f64::from_bits(slot.note.load(Relaxed));
            paths.all.push(Path { window: window as f64, rtt: srtt as f64 / SECOND, note });
        }
        (paths.own < paths.all.len()).then_some(paths)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.board.grown(self.place).taken.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::testing::{MS, ack};
    use super::*;

    #[test]
    fn places_are_found_for_all_and_used_again() {
        let board = Arc::new(Board::default());
        let mut members: Vec<Member> = (0..70).map(|_| Board::join(&board)).collect();
        assert!(members.iter().enumerate().all(|(place, member)| member.place() == place));
        drop(members.remove(5));
        assert_eq!(Board::join(&board).place(), 5);
    }

    #[test]
    fn groups_see_themselves_only() {
        let board = Arc::new(Board::default());
        let members: Vec<Member> = (0..6).map(|_| Board::join_alone(&board)).collect();
        members.iter().for_each(|member| member.tell(&ack(1000 * MS, 20 * MS), 10_000, 0.0));
        let now = Instant::from_nanos(1000 * MS);
        assert!(members.iter().all(|member| member.paths(now).unwrap().all.len() == 1));
        board.set_group(5, 1);
        let paths = members[5].paths(now).unwrap();
        assert_eq!((paths.all.len(), paths.own), (2, 1));
        assert_eq!(members[1].paths(now).unwrap().own, 0);
    }

    #[test]
    fn what_is_idle_or_unknown_does_not_count() {
        let board = Arc::new(Board::default());
        let [a, b] = [0, 1].map(|_| Board::join(&board));
        let now = Instant::from_nanos(3000 * MS);
        assert!(a.paths(now).is_none(), "no round-trip time");
        a.tell(&ack(3000 * MS, 20 * MS), 10_000, 0.0);
        b.tell(&ack(1000 * MS, 20 * MS), 10_000, 0.0);
        assert_eq!(a.paths(now).unwrap().all.len(), 1, "nothing from b for two seconds");
        let unused = Ack { cwnd_limited: false, prior_in_flight: 3000, ..ack(3000 * MS, 20 * MS) };
        b.tell(&unused, 10_000, 7.0);
        let paths = a.paths(now).unwrap();
        assert_eq!(paths.all[1], Path { window: 3000.0, rtt: 0.02, note: 7.0 });
        drop(b);
        assert_eq!(a.paths(now).unwrap().all.len(), 1);
    }
}
