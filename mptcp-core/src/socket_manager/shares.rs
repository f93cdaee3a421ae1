//! Whose turn it is where classes share interfaces.
//!
//! For each interface and class the bytes that were handed to TCP are counted in units of the class's weight. A class may be ahead of a more important
//! one that is held back by its congestion windows by a burst only. Connections that may not go on wait in a queue for each class, and are
//! served in turn once there is room.

use std::collections::VecDeque;
use std::time::Duration;

use tcp_adapter::{Instant, InterfaceId};

use crate::qos::Qos;
use crate::scheduler::TrafficClass;

/// Bytes by which a class may be ahead of its share, and of its limit: more than the largest segment of Ethernet, so that one always fits.
const BURST: u64 = 16 << 10;

/// What is worth while at once, for the longest of segments.
const ENOUGH: u64 = BURST / 4 * 3;

/// Limited classes may be ahead by as much as passes in this time, so that fast ones are not served byte by byte.
const LIMIT_BURST: Duration = Duration::from_millis(2);

/// A class is taken for one that is held back so long after it was found so, at least and at most: its subflow is looked at once in a round trip.
const HELD_BACK: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// Connections of a class that are looked at in vain, one after the other, before the rest waits on.
const FRUITLESS: usize = 8;

/// What the classes of a stack have had, and who waits.
#[derive(Debug)]
pub(crate) struct Shares {
    qos: Qos,
    classes: [Class; 3],
    /// For each interface that was used.
    interfaces: Vec<[Turn; 3]>,
    serving: Option<Serving>,
}

#[derive(Debug, Default)]
struct Class {
    /// When what was handed over would all have left at the rate of its limit.
    busy_until: Instant,
    /// Slots of connections, the next one first.
    waiting: VecDeque<u32>,
    /// Those before them that were looked at in vain in this round.
    aside: VecDeque<u32>,
    /// When to serve them.
    wake_at: Option<Instant>,
}

/// What a class has had of an interface.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// Bytes for each unit of weight, in [`UNIT`]s.
    served: u128,
    /// It has more to send than its congestion windows allow, as far as is known.
    held_back_until: Instant,
}

/// The connection that has its turn.
#[derive(Clone, Copy, Debug)]
struct Serving {
    class: TrafficClass,
    slot: u32,
    /// Bytes that it has sent.
    sent: u64,
}

/// A byte for a weight of 1.
const UNIT: u128 = 1 << 16;

impl Shares {
    pub(crate) fn new(qos: Qos) -> Self {
        Self { qos, classes: Default::default(), interfaces: Vec::new(), serving: None }
    }

    /// Bytes that a class may hand to a subflow over an interface; nothing if that is not worth while, where it has so many at hand and
    /// segments are so long.
    pub(crate) fn allowance(
        &self,
        class: TrafficClass,
        interface: InterfaceId,
        (at_hand, mss): (u64, usize),
        now: Instant,
    ) -> usize {
        let allowed = self.by_limit(class, now).min(self.by_weight(class, interface, now));
        let wanted = at_hand.min(mss as u64).min(ENOUGH);
        if allowed < wanted { 0 } else { usize::try_from(allowed).unwrap_or(usize::MAX) }
    }

    fn by_limit(&self, class: TrafficClass, now: Instant) -> u64 {
        let Some(limit) = self.qos.of(class).limit else { return u64::MAX };
        let owed = bytes_in(limit, self.classes[class as usize].busy_until - now);
        burst(limit).saturating_sub(owed)
    }

    fn by_weight(&self, class: TrafficClass, interface: InterfaceId, now: Instant) -> u64 {
        let Some(turns) = self.interfaces.get(interface.0) else { return u64::MAX };
        let own = turns[class as usize].served;
        let weight = u128::from(self.qos.of(class).weight);
        let held_back = turns[..class as usize].iter().filter(|turn| turn.held_back_until > now);
        let allowed = held_back.map(|turn| {
            let most = u128::from(BURST) * UNIT + turn.served * weight;
            u64::try_from(most.saturating_sub(own * weight) / UNIT).unwrap_or(u64::MAX)
        });
        allowed.min().unwrap_or(u64::MAX)
    }

    /// A class has handed bytes to a subflow over an interface.
    pub(crate) fn charge(&mut self, class: TrafficClass, interface: InterfaceId, bytes: u64, now: Instant) {
        let share = self.qos.of(class);
        self.turns(interface)[class as usize].served += u128::from(bytes) * UNIT / u128::from(share.weight);
        if let Some(limit) = share.limit {
            let busy_until = &mut self.classes[class as usize].busy_until;
            *busy_until = (*busy_until).max(now) + time_of(limit, bytes);
        }
        if let Some(serving) = &mut self.serving {
            serving.sent += bytes;
        }
        for lesser in &mut self.classes[class as usize + 1..] {
            lesser.wake_at = lesser.wake_at.map(|_| now);
        }
    }

    /// A class has more to send over an interface than its congestion window allows.
    pub(crate) fn hold_back(&mut self, class: TrafficClass, interface: InterfaceId, srtt: Duration, now: Instant) {
        let turns = self.turns(interface);
        let own = &mut turns[class as usize];
        own.held_back_until = own.held_back_until.max(now + (srtt * 2).clamp(HELD_BACK[0], HELD_BACK[1]));
        // One that gets less than its share has no claim on it later, and what it had while there was no other does not count against it.
        let (served, ahead) = (own.served, u128::from(BURST) * UNIT);
        for lesser in &mut turns[class as usize + 1..] {
            lesser.served = lesser.served.clamp(served.saturating_sub(ahead), served + ahead);
        }
    }

    /// Whether a connection may send now: nobody of its class waits before it.
    pub(crate) fn has_turn(&self, class: TrafficClass, slot: u32) -> bool {
        let Class { waiting, aside, .. } = &self.classes[class as usize];
        self.serving.is_some_and(|serving| serving.slot == slot) || (waiting.is_empty() && aside.is_empty())
    }

    /// A connection that is in no queue waits from now on. One that had no turn has it soon, should those before it not be able to make use
    /// of theirs.
    pub(crate) fn wait(&mut self, class: TrafficClass, slot: u32, had_turn: bool, now: Instant) {
        let own = |serving: &Serving| serving.slot == slot && serving.class == class;
        let fruitless = self.serving.as_ref().is_some_and(|serving| own(serving) && serving.sent == 0);
        let state = &mut self.classes[class as usize];
        if fruitless {
            state.aside.push_back(slot);
            return;
        }
        state.waiting.push_back(slot);
        if had_turn {
            self.set_wake(class, now);
        } else {
            state.wake_at = Some(now);
        }
    }

    /// A connection is gone.
    pub(crate) fn forget(&mut self, slot: u32) {
        for class in &mut self.classes {
            class.waiting.retain(|waiting| *waiting != slot);
            class.aside.retain(|waiting| *waiting != slot);
            if class.waiting.is_empty() && class.aside.is_empty() {
                class.wake_at = None;
            }
        }
    }

    /// When somebody who waits is to be served.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.classes.iter().filter_map(|class| class.wake_at).min()
    }

    /// How many of a class are to be served now.
    pub(crate) fn due(&self, class: TrafficClass, now: Instant) -> usize {
        let class = &self.classes[class as usize];
        if class.wake_at.is_some_and(|at| at <= now) { class.waiting.len() } else { 0 }
    }

    /// The next connection of a class: it does not wait any more, and has its turn.
    pub(crate) fn serve(&mut self, class: TrafficClass) -> Option<u32> {
        let state = &mut self.classes[class as usize];
        if state.aside.len() >= FRUITLESS {
            return None;
        }
        let slot = state.waiting.pop_front()?;
        self.serving = Some(Serving { class, slot, sent: 0 });
        Some(slot)
    }

    /// Nobody has a turn any more. Those of the class that could make no use of it stay before the others if it is limited; else it is an interface that holds
    /// them back, and others may wait for another one.
    pub(crate) fn end_round(&mut self, class: TrafficClass, now: Instant) {
        self.serving = None;
        let is_limited = self.qos.of(class).limit.is_some();
        let state = &mut self.classes[class as usize];
        if is_limited {
            while let Some(slot) = state.aside.pop_back() {
                state.waiting.push_front(slot);
            }
        } else {
            state.waiting.append(&mut state.aside);
        }
        self.set_wake(class, now);
    }

    fn set_wake(&mut self, class: TrafficClass, now: Instant) {
        let held_back = self.interfaces.iter().flat_map(|turns| &turns[..class as usize]);
        let released = held_back.map(|turn| turn.held_back_until).filter(|until| *until > now).min();
        let limit = self.qos.of(class).limit;
        let state = &mut self.classes[class as usize];
        let refilled = limit.map(|limit| {
            let owed = bytes_in(limit, state.busy_until - now);
            now + time_of(limit, owed.saturating_sub(burst(limit) - ENOUGH))
        });
        let later = [released, refilled].into_iter().flatten().filter(|at| *at > now).min();
        let at = later.unwrap_or(now + HELD_BACK[0]);
        state.wake_at = (!state.waiting.is_empty()).then_some(at);
    }

    fn turns(&mut self, interface: InterfaceId) -> &mut [Turn; 3] {
        if self.interfaces.len() <= interface.0 {
            self.interfaces.resize(interface.0 + 1, [Turn::default(); 3]);
        }
        &mut self.interfaces[interface.0]
    }
}

/// Bytes by which a class may be ahead of its limit.
fn burst(limit: u64) -> u64 {
    bytes_in(limit, LIMIT_BURST).max(BURST)
}

/// Bytes that pass in a time at a rate in bytes per second.
pub(super) fn bytes_in(rate: u64, time: Duration) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// The time that bytes take at a rate in bytes per second.
pub(super) fn time_of(rate: u64, bytes: u64) -> Duration {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qos::ClassShare;

    const CARD: InterfaceId = InterfaceId(1);
    const RTT: Duration = Duration::from_millis(20);
    use TrafficClass::{Background, Bulk};

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn allowance(shares: &Shares, class: TrafficClass, now: Instant) -> usize {
        shares.allowance(class, CARD, (u64::MAX, 1000), now)
    }

    fn limited(limit: u64) -> Shares {
        Shares::new(Qos { bulk: ClassShare { weight: 8, limit: Some(limit) }, ..Qos::default() })
    }

    #[test]
    fn a_lesser_class_gets_its_part_of_what_one_gets_that_is_held_back() {
        let mut shares = Shares::new(Qos::default());
        shares.charge(Background, CARD, 10 << 20, at(1));
        assert_eq!(allowance(&shares, Background, at(1)), usize::MAX, "there is no other");
        shares.hold_back(Bulk, CARD, RTT, at(2));
        assert_eq!(allowance(&shares, Background, at(2)), 0);
        shares.charge(Bulk, CARD, 8 << 20, at(3));
        assert_eq!(allowance(&shares, Background, at(3)), 1 << 20);
        assert_eq!(allowance(&shares, Bulk, at(3)), usize::MAX);
        assert_eq!(shares.allowance(Background, InterfaceId(0), (1, 1), at(3)), usize::MAX, "each interface by itself");
        // What was not used is not kept.
        shares.hold_back(Bulk, CARD, RTT, at(4));
        assert_eq!(allowance(&shares, Background, at(4)), 2 << 14);
        assert_eq!(allowance(&shares, Background, at(44)), usize::MAX, "nothing is heard of the other one");
    }

    #[test]
    fn a_limit_is_never_exceeded() {
        let mut shares = limited(1_000_000);
        let (mut now, mut sent) = (at(1000), 0);
        while now < at(3000) {
            let allowed = allowance(&shares, Bulk, now).min(1000);
            shares.charge(Bulk, CARD, allowed as u64, now);
            sent += allowed;
            now += Duration::from_micros(100);
        }
        assert!((1_990_000..=2_000_000 + 16_384).contains(&sent), "{sent}");
        assert_eq!(allowance(&limited(100_000_000), Bulk, now), 200_000, "2 ms");
    }

    #[test]
    fn those_who_wait_have_their_turns_one_after_the_other() {
        let mut shares = limited(1_000_000);
        shares.charge(Bulk, CARD, 16_384, at(0));
        assert!(shares.has_turn(Bulk, 1));
        shares.wait(Bulk, 1, true, at(0));
        assert!(!shares.has_turn(Bulk, 2));
        assert_eq!(shares.next(), Some(Instant::ZERO + Duration::from_nanos(12_288_000)));
        shares.wait(Bulk, 2, false, at(0));
        assert_eq!((shares.next(), shares.due(Bulk, at(0))), (Some(at(0)), 2));
        // Neither can do anything yet, and they stay in their order.
        for slot in [1, 2] {
            assert_eq!(shares.serve(Bulk), Some(slot));
            assert!(shares.has_turn(Bulk, slot));
            shares.wait(Bulk, slot, true, at(0));
        }
        shares.end_round(Bulk, at(0));
        assert_eq!(shares.due(Bulk, at(12)), 0);
        assert_eq!(shares.due(Bulk, at(13)), 2);
        // The first one sends and wants more: it is the last one then.
        assert_eq!(shares.serve(Bulk), Some(1));
        shares.charge(Bulk, CARD, 12_000, at(13));
        shares.wait(Bulk, 1, true, at(13));
        assert_eq!(shares.serve(Bulk), Some(2));
        shares.wait(Bulk, 2, true, at(13));
        shares.end_round(Bulk, at(13));
        assert_eq!(shares.serve(Bulk), Some(2));
        shares.end_round(Bulk, at(13));
        shares.forget(1);
        assert_eq!(shares.next(), None, "nobody waits");
    }

    #[test]
    fn many_that_wait_for_one_interface_do_not_keep_others_from_another() {
        let mut shares = Shares::new(Qos::default());
        let count = 2 * FRUITLESS as u32;
        for slot in 0..=count {
            shares.wait(Background, slot, slot == 0, at(0));
        }
        // Only the last one could send.
        for _ in 0..3 {
            while let Some(slot) = shares.serve(Background) {
                if slot == count {
                    return;
                }
                shares.wait(Background, slot, true, at(0));
            }
            shares.end_round(Background, at(0));
        }
        panic!("it has had no turn");
    }
}
