//! Timers of many connections in a hierarchical wheel: constant cost to set and to cancel, however many are set.
//!
//! Time is counted in ticks of [`TICK_SHIFT`]. A timer lives in the level of the highest group of six bits in which its
//! tick differs from the current one, in the list of that group's value. So everything in a level is due before anything in
//! the next one, no list is ever passed twice, and a timer moves down at most once per level before it is due.
//!
//! A connection that restarts its timer with every acknowledgement mostly stays in its list, because lists that are far ahead are
//! long: then only the deadline is written.

#[cfg(test)]
mod tests;

use crate::Instant;

/// One tick is 2^10 ns, about a microsecond: finer than any timer of TCP needs, pacing at 10 Gbit/s included.
const TICK_SHIFT: u32 = 10;
/// Each level has 2^6 slots, as many as a word of its bitmap has bits.
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
/// Nine levels of six bits and ten bits below a tick are all 64 bits of an [`Instant`]: nothing is out of range.
const LEVELS: usize = 9;
/// The list of timers that were found due and not handed out yet.
const DUE: u16 = (LEVELS * SLOTS) as u16;
const LISTS: usize = LEVELS * SLOTS + 1;
/// `list` of an index without timer.
const IDLE: u16 = u16::MAX;
/// No index.
const NIL: u32 = u32::MAX;

/// One timer per index, for small indices.
#[derive(Debug)]
pub(super) struct Wheel {
    /// By index. Grows to the largest index that ever had a timer.
    timers: Vec<Timer>,
    /// First timer of each list. Lists are circular, so its `prev` is the last one.
    heads: Box<[u32; LISTS]>,
    /// A deadline of each list of the finest level that none of its timers is before.
    earliest: Box<[u64; SLOTS]>,
    /// As `earliest`, of the list [`DUE`].
    earliest_due: u64,
    /// Slots of each level that are not empty.
    occupied: [u64; LEVELS],
    /// Levels that are not empty.
    levels: u16,
    /// The current tick. Timers of earlier ticks are in its list.
    tick: u64,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    deadline: u64,
    prev: u32,
    next: u32,
    /// Level times [`SLOTS`] plus slot, [`DUE`] or [`IDLE`].
    list: u16,
}

impl Wheel {
    /// Without timers, at [`Instant::ZERO`].
    pub(super) fn new() -> Self {
        Self {
            timers: Vec::new(),
            heads: Box::new([NIL; LISTS]),
            earliest: Box::new([0; SLOTS]),
            earliest_due: 0,
            occupied: [0; LEVELS],
            levels: 0,
            tick: 0,
        }
    }

    /// Sets the timer of `index`, which was set to something else before or not. It is due once it is `at`; at once if that is past.
    pub(super) fn schedule(&mut self, index: u32, at: Instant) {
        let slot = index as usize;
        if slot >= self.timers.len() {
            self.timers.resize(slot + 1, Timer { deadline: 0, prev: NIL, next: NIL, list: IDLE });
        }
        let deadline = at.as_nanos();
        let list = self.list_of(deadline);
        if self.timers[slot].list == list {
            self.timers[slot].deadline = deadline;
            self.note_earliest(list, deadline);
            return;
        }
        self.unlink(index);
        self.timers[slot].deadline = deadline;
        self.link(index, list);
    }

    /// Forgets the timer of `index`, set or not.
    pub(super) fn cancel(&mut self, index: u32) {
        if (index as usize) < self.timers.len() {
            self.unlink(index);
        }
    }

    /// Whether a list has been reached by `now`, so that a timer may be due. If not, the wheel has turned on to there, as
    /// [`pop_due`](Self::pop_due) would have it.
    #[inline]
    pub(super) fn turn_to(&mut self, now: Instant) -> bool {
        let now_tick = (now.as_nanos() >> TICK_SHIFT).max(self.tick);
        let reached =
            self.heads[usize::from(DUE)] != NIL || self.first_slot().is_some_and(|(_, _, start)| start <= now_tick);
        if !reached {
            self.tick = now_tick;
        }
        reached
    }

    /// Takes one timer that is due. In order of their ticks, in one tick in the order in which they came there.
    ///
    /// `now` does not go backwards. Call until there is none: only then is [`next`](Self::next) later than `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let now = now.as_nanos();
        let now_tick = (now >> TICK_SHIFT).max(self.tick);
        loop {
            let due = self.heads[usize::from(DUE)];
            if due != NIL {
                self.unlink(due);
                return Some(due);
            }
            let Some((level, slot, start)) = self.first_slot().filter(|&(_, _, start)| start <= now_tick) else {
                self.tick = now_tick;
                return None;
            };
            self.tick = start;
            let list = list_number(level, slot);
            if level > 0 {
                self.move_down(list);
            } else if start < now_tick {
                let head = self.heads[usize::from(list)];
                self.unlink(head);
                return Some(head);
            } else if self.earliest[slot] > now || !self.move_due(list, now) {
                return None;
            }
        }
    }

    /// When to call [`pop_due`](Self::pop_due) next; `None` if no timer is set.
    ///
    /// Never later than the earliest timer. It is that timer's time if it is in the finest level (up to 64 ticks ahead), and the
    /// start of its slot, which is later than the present, if it is farther ahead.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.heads[usize::from(DUE)] != NIL {
            return Some(Instant::from_nanos(self.earliest_due));
        }
        let (level, slot, start) = self.first_slot()?;
        Some(Instant::from_nanos(if level == 0 { self.earliest[slot] } else { start << TICK_SHIFT }))
    }

    /// Level, slot and first tick of the list that is due first.
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let slot = self.occupied[level as usize].trailing_zeros();
        let shift = level * LEVEL_BITS;
        let above = self.tick.checked_shr(shift + LEVEL_BITS).unwrap_or(0) << LEVEL_BITS;
        Some((level as usize, slot as usize, (above | u64::from(slot)) << shift))
    }

    /// The list of a deadline, as seen from the current tick.
    fn list_of(&self, deadline: u64) -> u16 {
        let tick = (deadline >> TICK_SHIFT).max(self.tick);
        let level = (63 - ((tick ^ self.tick) | 1).leading_zeros()) / LEVEL_BITS;
        let slot = (tick >> (level * LEVEL_BITS)) as usize % SLOTS;
        list_number(level as usize, slot)
    }

    fn link(&mut self, index: u32, list: u16) {
        let head = self.heads[usize::from(list)];
        let deadline = self.timers[index as usize].deadline;
        let (prev, next) = if head == NIL {
            self.heads[usize::from(list)] = index;
            self.set_earliest(list, deadline);
            if let Some((level, slot)) = position(list) {
                self.occupied[level] |= 1 << slot;
                self.levels |= 1 << level;
            }
            (index, index)
        } else {
            self.note_earliest(list, deadline);
            let last = self.timers[head as usize].prev;
            self.timers[head as usize].prev = index;
            self.timers[last as usize].next = index;
            (last, head)
        };
        let timer = &mut self.timers[index as usize];
        (timer.prev, timer.next, timer.list) = (prev, next, list);
    }

    fn unlink(&mut self, index: u32) {
        let Timer { prev, next, list, .. } = self.timers[index as usize];
        if list == IDLE {
            return;
        }
        self.timers[index as usize].list = IDLE;
        if next != index {
            self.timers[prev as usize].next = next;
            self.timers[next as usize].prev = prev;
            if self.heads[usize::from(list)] == index {
                self.heads[usize::from(list)] = next;
            }
            return;
        }
        self.heads[usize::from(list)] = NIL;
        if let Some((level, slot)) = position(list) {
            self.occupied[level] &= !(1 << slot);
            if self.occupied[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }

    /// Spreads a list whose first tick has come over the levels below.
    fn move_down(&mut self, list: u16) {
        while self.heads[usize::from(list)] != NIL {
            let index = self.heads[usize::from(list)];
            self.unlink(index);
            self.link(index, self.list_of(self.timers[index as usize].deadline));
        }
    }

    /// Moves those timers of the current tick's list to [`DUE`] that are due by the nanosecond; whether there were any.
    ///
    /// One walk for all of them: the others, of which there may be many, are not looked at again for each that is handed out.
    fn move_due(&mut self, list: u16, now: u64) -> bool {
        let first = self.heads[usize::from(list)];
        let last = self.timers[first as usize].prev;
        let (mut index, mut earliest_left) = (first, u64::MAX);
        loop {
            let Timer { deadline, next, .. } = self.timers[index as usize];
            if deadline <= now {
                self.unlink(index);
                self.link(index, DUE);
            } else {
                earliest_left = earliest_left.min(deadline);
            }
            if index == last {
                break;
            }
            index = next;
        }
        self.set_earliest(list, earliest_left);
        self.heads[usize::from(DUE)] != NIL
    }

    fn note_earliest(&mut self, list: u16, deadline: u64) {
        if list == DUE {
            self.earliest_due = self.earliest_due.min(deadline);
        } else if let Some(earliest) = self.earliest.get_mut(usize::from(list)) {
            *earliest = deadline.min(*earliest);
        }
    }

    fn set_earliest(&mut self, list: u16, deadline: u64) {
        if list == DUE {
            self.earliest_due = deadline;
        } else if let Some(earliest) = self.earliest.get_mut(usize::from(list)) {
            *earliest = deadline;
        }
    }
}

fn list_number(level: usize, slot: usize) -> u16 {
    (level * SLOTS + slot) as u16
}

/// Level and slot of a list; `None` for [`DUE`].
fn position(list: u16) -> Option<(usize, usize)> {
    (list != DUE).then(|| (usize::from(list) / SLOTS, usize::from(list) % SLOTS))
}
