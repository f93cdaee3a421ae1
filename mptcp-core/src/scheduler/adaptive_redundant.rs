//! Completion time, with copies of what a loss would delay most.

use std::ops::Range;
use std::time::Duration;

use tcp_adapter::Instant;

use super::{
    Acknowledged, CompletionTime, DataView, Decision, Duplicate, OutstandingView, Scheduler, Sent, SubflowView,
    backups_allowed,
};

/// [`CompletionTime`], and a second chance on another subflow for the few bytes that others wait for:
///
/// * the *tail* of what there is, or of a message whose end is known: no later bytes follow that would show its loss soon (XLINK, Zheng et al., SIGCOMM 2021, section 5.2,
///   sends again what is outstanding once nothing is left to be sent). All that has left of a message is its tail while its [deadline](super::MessageView::deadline) is
///   ahead and less than two round trips of the subflow that holds its first outstanding byte away: what is lost from then on would be late, even with later bytes to show it;
/// * the *head* that blocks everything behind it: the first segments, once their answer is later than their subflow's round-trip times let expect (RAVEN, Lee,
///   Flinn, Tonshal, MobiCom 2018, is redundant where confidence in the expected latency is low). Nothing need happen until then: there is a timer.
///
/// Copies, and bytes that are sent again for other reasons, take 5 % of the bytes sent at most. What is not used is saved, up to 64 KiB, of which a half is for
/// heads: theirs are the copies that are surely of use.
#[derive(Clone, Debug)]
pub struct AdaptiveRedundant {
    first: CompletionTime,
    /// Bytes that may be sent twice, times [`ORIGINALS_PER_COPY`].
    credit: u64,
    /// How much of it is for heads, once it has been earned.
    for_heads: u64,
    una: u64,
    /// Since when it is the first byte that is outstanding.
    una_since: Instant,
    /// When its answer is overdue.
    head_due: Option<Instant>,
}

/// Bytes that earn one to be sent twice: a little less than 5 %, since what is sent again for other reasons counts but is not held back.
const ORIGINALS_PER_COPY: u64 = 21;

/// Credit for so many bytes is saved.
const MOST_SAVED: u64 = 64 << 10;

/// Of which so many are for heads: every second one until then.
const FOR_HEADS: u64 = MOST_SAVED / 2;

/// Segments of a head at most: what is behind them has its own chance when it has become the head.
const HEAD_SEGMENTS: u64 = 4;

/// A byte that is lost without others behind it leaves again after two round trips (RFC 8985 section 7.2) and arrives half a round trip later. A copy is of use if it arrives
/// before that, half a round trip of its subflow from now.
const USEFUL_RTT_RATIO: u32 = 5;

/// A byte that is lost has arrived again after so many round trips: one until its loss shows by what was sent after it, a half on its way, and
/// as much for what varies.
const REPAIR_RTTS: u32 = 2;

/// Stretches of the tail that are looked at for one decision.
const MOST_STRETCHES: usize = 16;

impl Default for AdaptiveRedundant {
    fn default() -> Self {
        Self { first: CompletionTime, credit: 0, for_heads: 0, una: 0, una_since: Instant::ZERO, head_due: None }
    }
}

impl Scheduler for AdaptiveRedundant {
    fn name(&self) -> &'static str {
        "adaptive-redundant"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        self.first.pick(subflows, data)
    }

    fn duplicates(&self) -> bool {
        true
    }

    fn duplicate(&mut self, subflows: &[SubflowView], outstanding: &OutstandingView<'_>) -> Option<Duplicate> {
        let budget = self.credit / ORIGINALS_PER_COPY;
        if budget == 0 {
            return None;
        }
        let Range { start: una, end } = outstanding.range;
        let head = self.blocking_head(subflows, outstanding).map(|end| una..end.min(una + budget));
        let budget = self.credit.saturating_sub(self.for_heads) / ORIGINALS_PER_COPY;
        let tail_end = match outstanding.message.left {
            _ if outstanding.unsent == 0 => Some(end),
            Some(left) if left <= end - una => Some(una + left),
            _ => is_pressed(subflows, outstanding).then_some(end),
        };
        let tail = tail_end.map(|end| una.max(end.saturating_sub(budget))..end);
        [head, tail].into_iter().flatten().find_map(|range| copy(subflows, outstanding, range))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.head_due
    }

    fn handle_timeout(&mut self, _now: Instant) {
        self.head_due = None;
    }

    fn on_sent(&mut self, sent: &Sent) {
        let len = sent.range.end - sent.range.start;
        if sent.again {
            self.credit = self.credit.saturating_sub(len.saturating_mul(ORIGINALS_PER_COPY));
            return;
        }
        self.credit = self.credit.saturating_add(len).min(MOST_SAVED * ORIGINALS_PER_COPY);
        self.for_heads = self.for_heads.saturating_add(len / 2).min(FOR_HEADS * ORIGINALS_PER_COPY);
        if sent.range.contains(&self.una) {
            self.una_since = sent.now;
        }
    }

    fn on_acknowledged(&mut self, acknowledged: &Acknowledged) {
        if acknowledged.una > self.una {
            self.una = acknowledged.una;
            self.una_since = acknowledged.now;
        }
    }
}

impl AdaptiveRedundant {
    /// The end of the head, if that should have been acknowledged.
    fn blocking_head(&mut self, subflows: &[SubflowView], outstanding: &OutstandingView<'_>) -> Option<u64> {
        self.head_due = None;
        let holder = holder_of_first(subflows, outstanding)?;
        let srtt = holder.srtt?;
        let expected = self.una_since + srtt + holder.rttvar.unwrap_or(srtt / 2) * 2;
        if outstanding.range.start != self.una {
            return None;
        }
        if outstanding.now < expected {
            self.head_due = Some(expected);
            return None;
        }
        let held = outstanding.carried(holder.id, outstanding.range.clone())?;
        Some(held.end.min(self.una + HEAD_SEGMENTS * holder.mss as u64))
    }
}

/// The subflow that carries the first byte that is outstanding.
fn holder_of_first<'a>(subflows: &'a [SubflowView], outstanding: &OutstandingView<'_>) -> Option<&'a SubflowView> {
    let first = outstanding.range.start..outstanding.range.start + 1;
    subflows.iter().find(|subflow| outstanding.carried(subflow.id, first.clone()).is_some())
}

/// Whether the message that is outstanding can still be in time, but not if what has left of it is lost and its holder has to send it again. What is late
/// anyway is not worth a copy for that.
fn is_pressed(subflows: &[SubflowView], outstanding: &OutstandingView<'_>) -> bool {
    let Some(deadline) = outstanding.message.deadline.filter(|deadline| *deadline > outstanding.now) else {
        return false;
    };
    let srtt = holder_of_first(subflows, outstanding).and_then(|holder| holder.srtt);
    srtt.is_some_and(|srtt| deadline - outstanding.now < srtt * REPAIR_RTTS)
}

/// A copy of the first stretch of `range` that a single subflow carries.
fn copy(subflows: &[SubflowView], outstanding: &OutstandingView<'_>, mut range: Range<u64>) -> Option<Duplicate> {
    let backups = backups_allowed(subflows);
    for _ in 0..MOST_STRETCHES {
        if range.is_empty() {
            return None;
        }
        let held = |subflow: &SubflowView| outstanding.carried(subflow.id, range.clone());
        let next = subflows.iter().filter_map(held).map(|held| held.start).min()?;
        if next > range.start {
            // Delivered, though not in order.
            range.start = next;
            continue;
        }
        let holds = |subflow: &&SubflowView| held(subflow).filter(|held| held.start == range.start);
        let until = subflows.iter().filter_map(|subflow| holds(&subflow)).map(|held| held.end).min()?;
        let mut holders = subflows.iter().filter(|subflow| holds(subflow).is_some());
        let (holder, second) = (holders.next()?, holders.next());
        if second.is_some() {
            range.start = until;
            continue;
        }
        let len = until - range.start;
        let patience = holder.srtt.unwrap_or(Duration::MAX).saturating_mul(USEFUL_RTT_RATIO);
        let may = |subflow: &SubflowView| {
            let room = u64::try_from(subflow.room).unwrap_or(u64::MAX);
            let useful = subflow.srtt.is_some_and(|srtt| srtt < patience);
            (backups || !subflow.backup) && useful && room >= len.min(subflow.mss as u64)
        };
        let others = subflows.iter().enumerate().filter(|(_, subflow)| subflow.id != holder.id && may(subflow));
        let (index, _) = others.min_by_key(|(_, subflow)| subflow.srtt)?;
        return Some(Duplicate { subflow: index, range: range.start..range.start + len });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::MessageView;
    use super::super::tests::{outstanding, view};
    use super::*;
    use crate::SubflowId;

    /// Subflow 0 carries the positions before 90,000, subflow 1 what follows.
    fn held(id: SubflowId, range: Range<u64>) -> Option<Range<u64>> {
        let own = if id == SubflowId(0) { 0..90_000 } else { 90_000..u64::MAX };
        let held = range.start.max(own.start)..range.end.min(own.end);
        (!held.is_empty()).then_some(held)
    }

    fn sent(scheduler: &mut AdaptiveRedundant, range: Range<u64>, again: bool) {
        scheduler.on_sent(&Sent { now: Instant::ZERO, subflow: SubflowId(0), range, again });
    }

    fn subflows() -> [SubflowView; 2] {
        [view(0, 9000, 20), view(1, 9000, 10)]
    }

    #[test]
    fn the_tail_is_copied_within_a_budget() {
        let mut scheduler = AdaptiveRedundant::default();
        sent(&mut scheduler, 0..105_000, false);
        sent(&mut scheduler, 0..105_000, false);
        assert_eq!(scheduler.duplicate(&subflows(), &outstanding(0..105_000, 1, &held)), None, "more follows");
        // A part in 42 is 5,000 bytes; the last ones are with subflow 1.
        let copy = scheduler.duplicate(&subflows(), &outstanding(0..105_000, 0, &held));
        assert_eq!(copy, Some(Duplicate { subflow: 0, range: 100_000..105_000 }));
        sent(&mut scheduler, 100_000..103_000, true);
        let both = |id: SubflowId, range: Range<u64>| match id {
            SubflowId(0) if range.start >= 100_000 => {
                (range.start < 103_000).then(|| range.start.max(100_000)..range.end.min(103_000))
            }
            _ => held(id, range),
        };
        let copy = scheduler.duplicate(&subflows(), &outstanding(0..105_000, 0, &both));
        assert_eq!(copy, Some(Duplicate { subflow: 0, range: 103_000..105_000 }));
        sent(&mut scheduler, 103_000..105_000, true);
        assert_eq!(scheduler.duplicate(&subflows(), &outstanding(0..105_000, 0, &held)), None, "used up");
    }

    #[test]
    fn so_is_the_tail_of_a_message() {
        let mut scheduler = AdaptiveRedundant::default();
        sent(&mut scheduler, 0..63_000, false);
        sent(&mut scheduler, 0..63_000, false);
        let left = |left| OutstandingView {
            message: MessageView { left: Some(left), ..MessageView::default() },
            ..outstanding(0..63_000, 1 << 20, &held)
        };
        assert_eq!(scheduler.duplicate(&subflows(), &left(63_001)), None, "its end has not left");
        let copy = scheduler.duplicate(&subflows(), &left(50_000));
        assert_eq!(copy, Some(Duplicate { subflow: 1, range: 47_000..50_000 }));
        let slow = [view(0, 9000, 20), view(1, 9000, 100)];
        assert_eq!(scheduler.duplicate(&slow, &left(50_000)), None, "a copy that arrives too late is none");
    }

    #[test]
    fn so_is_what_would_miss_its_deadline_if_it_were_lost() {
        let mut scheduler = AdaptiveRedundant::default();
        sent(&mut scheduler, 0..63_000, false);
        sent(&mut scheduler, 0..63_000, false);
        // More of the message is to come. Its holder's round trips take 20 ms.
        let due = |now, deadline| OutstandingView {
            now: Instant::from_millis(now),
            message: MessageView { deadline, ..MessageView::default() },
            ..outstanding(0..63_000, 1 << 20, &held)
        };
        let mut ask = |now, deadline: Option<u64>| {
            scheduler.duplicate(&subflows(), &due(now, deadline.map(Instant::from_millis)))
        };
        // The first byte has not been waited for so long that it would be a head.
        assert_eq!(ask(10, None), None);
        assert_eq!(ask(10, Some(50)), None, "two round trips are enough");
        assert_eq!(ask(11, Some(50)), Some(Duplicate { subflow: 1, range: 60_000..63_000 }));
        assert_eq!(ask(11, Some(11)), None, "it is late already");
        let unknown = [view(0, 9000, 0), view(1, 9000, 10)];
        assert_eq!(scheduler.duplicate(&unknown, &due(11, Some(Instant::from_millis(50)))), None);
    }

    #[test]
    fn a_head_that_blocks_is_copied_once_it_is_late() {
        let mut scheduler = AdaptiveRedundant::default();
        sent(&mut scheduler, 0..63_000, false);
        sent(&mut scheduler, 0..63_000, false);
        sent(&mut scheduler, 0..63_000, false);
        sent(&mut scheduler, 0..63_000, false);
        scheduler.on_acknowledged(&Acknowledged {
            now: Instant::from_millis(100),
            subflow: SubflowId(0),
            delivered: None,
            una: 10_000,
        });
        // 20 ms, and twice half of it.
        let at = |ms| OutstandingView { now: Instant::from_millis(ms), ..outstanding(10_000..63_000, 1, &held) };
        assert_eq!(scheduler.poll_timeout(), None);
        assert_eq!(scheduler.duplicate(&subflows(), &at(139)), None);
        assert_eq!(scheduler.poll_timeout(), Some(Instant::from_millis(140)));
        let head = Duplicate { subflow: 1, range: 10_000..10_000 + HEAD_SEGMENTS * subflows()[0].mss as u64 };
        assert_eq!(scheduler.duplicate(&subflows(), &at(140)), Some(head.clone()));
        assert_eq!(scheduler.poll_timeout(), None);
        // Tails leave it what it needs.
        let tail = OutstandingView { unsent: 0, ..at(139) };
        while let Some(copy) = scheduler.duplicate(&subflows(), &tail) {
            sent(&mut scheduler, copy.range, true);
        }
        assert_eq!(scheduler.duplicate(&subflows(), &at(140)), Some(head));
    }

    #[test]
    fn credit_is_saved_up_to_a_bound() {
        let mut scheduler = AdaptiveRedundant::default();
        sent(&mut scheduler, 0..1 << 40, false);
        assert_eq!(scheduler.credit / ORIGINALS_PER_COPY, MOST_SAVED);
    }
}
