//! STMS: slow subflows carry what comes later.

use super::per_subflow::PerSubflow;
use super::{Acknowledged, DataView, Decision, Scheduler, Sent, SubflowView, burst_len, fastest};
use crate::event::SubflowId;

/// Slide together (Shi, Cui, Wang, Wang, Dai: "STMS: Improving MPTCP Throughput Under Heterogeneous Networks", USENIX ATC 2018).
///
/// The fastest subflow sends the next bytes, slower ones bytes that are a *gap* further on, so that both arrive together and nothing waits
/// in the receiver's buffer. A slow one gets nothing where the gap exceeds data or window.
///
/// The gap of a slow subflow starts with what the fast one sends during the difference of their one-way delays, and is adapted from
/// acknowledgements. The DATA_ACK that comes with the acknowledgement of a segment of the slow one shows how many bytes were missing before it: it was too early, the gap too large. One on the fast
/// subflow that shows bytes of a slow one missing says that they were too late, and by how much. Half of the error corrects the gap, once for all that was placed with
/// it: losses, which look like lateness, then do little harm.
#[derive(Clone, Debug, Default)]
pub struct Stms {
    fast: Option<SubflowId>,
    gaps: PerSubflow<Gap>,
    /// The position after the highest byte that was given to a subflow.
    placed_until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    bytes: u64,
    /// What lies at or after this position was placed with it.
    since: u64,
}

/// Segments that a slow subflow gets at a time: the gap is right for the first of them.
const LATE_BURST_SEGMENTS: usize = 4;

/// A gap is no larger; no window is.
const MOST_GAP: u64 = 1 << 30;

impl Scheduler for Stms {
    fn name(&self) -> &'static str {
        "stms"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let (fast, index) = fastest(subflows, data)?;
        let (fast, chosen) = (&subflows[fast], &subflows[index]);
        let len = burst_len(chosen, data);
        if !data.reinjection {
            self.fast = Some(fast.id);
        }
        if fast.id == chosen.id || data.reinjection {
            return Some(Decision { subflow: index, len, skip: 0 });
        }
        let since = self.placed_until;
        let gap = self.gaps.get_or_insert_with(chosen.id, || Gap { bytes: first_gap(fast, chosen), since });
        let mss = chosen.mss.max(1);
        // What only its own acknowledgements make smaller again must not keep it from ever having some.
        if chosen.outstanding() == 0 && gap.bytes >= data.available {
            *gap = Gap { bytes: first_gap(fast, chosen), since };
        }
        let skip = gap.bytes / mss as u64 * mss as u64;
        let len = if skip > 0 { len.min(LATE_BURST_SEGMENTS * mss) } else { len };
        let fits = skip.saturating_add(len as u64) <= data.available.min(data.unsent);
        (skip == 0 || fits).then_some(Decision { subflow: index, len, skip })
    }

    fn on_sent(&mut self, sent: &Sent) {
        self.placed_until = self.placed_until.max(sent.range.end);
    }

    fn on_acknowledged(&mut self, acknowledged: &Acknowledged) {
        let Acknowledged { subflow, una, .. } = *acknowledged;
        let Some(delivered) = acknowledged.delivered.as_ref().filter(|delivered| delivered.start > una) else { return };
        let missing = delivered.start - una;
        let since = self.placed_until;
        if Some(subflow) == self.fast {
            for (_, gap) in self.gaps.iter_mut().filter(|(id, gap)| *id != subflow && una >= gap.since) {
                *gap = Gap { bytes: (gap.bytes + missing.div_ceil(2)).min(MOST_GAP), since };
            }
        } else if let Some((_, gap)) = self.gaps.iter_mut().find(|(id, _)| *id == subflow)
            && delivered.start >= gap.since
        {
            *gap = Gap { bytes: gap.bytes.saturating_sub(missing.div_ceil(2)), since };
        }
    }
}

/// What the fast subflow sends during the difference of the one-way delays.
fn first_gap(fast: &SubflowView, slow: &SubflowView) -> u64 {
    let (Some(rtt_fast), Some(rtt_slow)) = (fast.srtt, slow.srtt) else { return 0 };
    let rounds = rtt_slow.saturating_sub(rtt_fast).as_secs_f64() / 2.0 / rtt_fast.as_secs_f64().max(1e-9);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let bytes = (fast.window() as f64 * rounds) as u64;
    bytes.min(MOST_GAP)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use tcp_adapter::Instant;

    use super::super::tests::{data, view};
    use super::*;

    /// The fast one, full: 10 ms and 20 segments. The slow one: 50 ms.
    fn pair() -> [SubflowView; 2] {
        let fast = SubflowView { cwnd: Some(20_000), in_flight: 20_000, ..view(0, 0, 10) };
        [fast, SubflowView { cwnd: Some(20_000), ..view(1, 9000, 50) }]
    }

    fn skip(stms: &mut Stms, unsent: u64) -> Option<u64> {
        let decision = stms.pick(&pair(), &data(unsent))?;
        assert_eq!((decision.subflow, decision.len), (1, 4000));
        Some(decision.skip)
    }

    fn acknowledge(stms: &mut Stms, subflow: u32, delivered: Range<u64>, una: u64) {
        let (subflow, delivered) = (SubflowId(subflow), Some(delivered));
        stms.on_acknowledged(&Acknowledged { now: Instant::ZERO, subflow, delivered, una });
    }

    fn place(stms: &mut Stms, subflow: u32, range: Range<u64>) {
        stms.on_sent(&Sent { now: Instant::ZERO, subflow: SubflowId(subflow), range, again: false });
    }

    #[test]
    fn the_gap_is_what_the_fast_one_sends_meanwhile() {
        // (50 - 10) / 2 / 10 = 2 round trips of 20 segments.
        assert_eq!(skip(&mut Stms::default(), 44_000), Some(40_000));
        assert_eq!(skip(&mut Stms::default(), 43_999), None, "the fast one sends it all");
        let free = [SubflowView { room: 9000, ..pair()[0] }, pair()[1]];
        let decision = Stms::default().pick(&free, &data(1 << 20)).unwrap();
        assert_eq!((decision.subflow, decision.len, decision.skip), (0, 9000, 0));
    }

    #[test]
    fn acknowledgements_adapt_it_once_for_what_was_placed_with_it() {
        let mut stms = Stms::default();
        assert_eq!(skip(&mut stms, 1 << 20), Some(40_000));
        place(&mut stms, 1, 40_000..44_000);
        place(&mut stms, 0, 0..10_000);
        // The slow one's segment has arrived 30,000 bytes before those of the fast one.
        acknowledge(&mut stms, 1, 40_000..44_000, 10_000);
        assert_eq!(skip(&mut stms, 1 << 20), Some(25_000));
        acknowledge(&mut stms, 1, 42_000..44_000, 10_000);
        assert_eq!(skip(&mut stms, 1 << 20), Some(25_000), "the same error counts once");
        // Segments of the fast one have arrived 20,000 bytes beyond what the slow one holds back.
        place(&mut stms, 1, 44_000..48_000);
        place(&mut stms, 0, 48_000..68_000);
        acknowledge(&mut stms, 0, 64_000..65_000, 44_000);
        assert_eq!(skip(&mut stms, 1 << 20), Some(35_000));
        acknowledge(&mut stms, 0, 66_000..67_000, 66_000);
        acknowledge(&mut stms, 0, 66_000..67_000, 67_000);
        assert_eq!(skip(&mut stms, 1 << 20), Some(35_000), "in order is right");
    }
}
