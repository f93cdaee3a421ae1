//! OTIAS: out of order on their way, in order when they arrive.

use super::{DataView, Decision, EachSubflow, Scheduler, SubflowView, backups_allowed, burst_len, has_room};

/// Out-of-order transmission for in-order arrival (Yang, Wang, Amer: "Out-of-Order Transmission for In-Order Arrival Scheduling for Multipath TCP",
/// AINA workshops 2014).
///
/// Each byte goes to the subflow on which it arrives first, by half the round-trip time and by the round trips that it waits for its turn:
///
/// > T = (wait + 1/2) * RTT, wait = (queued - free window) / cwnd, or 0
///
/// The paper queues bytes at subflows that are full. Here a subflow is only given what can leave soon; the bytes that full ones would queue until they
/// were as late as the one chosen are left out for them instead, which sends the same bytes over the same subflows.
///
/// It stands for DAPS too, which aims at the same. That one plans a whole period ahead, the least common multiple of the round-trip times, and
/// such a plan is out of date as soon as one of them changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Otias;

/// Bytes that a sum of products may come out short of a whole number.
const ROUNDING: f64 = 0.5;

/// What is expected of a subflow, in seconds and bytes.
#[derive(Clone, Copy, Debug)]
struct Expected {
    arrival: f64,
    rate: f64,
}

impl Expected {
    fn of(subflow: &SubflowView) -> Self {
        let rtt = subflow.srtt.map_or(0.0, |srtt| srtt.as_secs_f64());
        let cwnd = subflow.window() as f64;
        let excess = (subflow.outstanding() as f64 + subflow.mss as f64 - cwnd).max(0.0);
        let rate = if rtt > 0.0 { cwnd / rtt } else { 0.0 };
        Self { arrival: (excess / cwnd + 0.5) * rtt, rate }
    }
}

impl Scheduler for Otias {
    fn name(&self) -> &'static str {
        "otias"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let backups = backups_allowed(subflows);
        let mut expected = EachSubflow::<Expected>::new();
        expected.extend(subflows.iter().map(Expected::of));
        let candidates = || (0..subflows.len()).filter(|index| backups || !subflows[*index].backup);
        let with_room = candidates().filter(|index| has_room(&subflows[*index], data));
        let index = with_room.min_by(|one, two| expected[*one].arrival.total_cmp(&expected[*two].arrival))?;
        let (chosen, arrival) = (&subflows[index], expected[index].arrival);
        let len = burst_len(chosen, data);
        let queued_before = |other: usize| (arrival - expected[other].arrival).max(0.0) * expected[other].rate;
        let before: f64 = candidates().filter(|other| *other != index).map(queued_before).sum();
        let mss = chosen.mss.max(1) as u64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let skip = (before + ROUNDING) as u64 / mss * mss;
        let fits = skip.saturating_add(len as u64) <= data.available.min(data.unsent);
        if data.reinjection || skip == 0 {
            Some(Decision { subflow: index, len, skip: 0 })
        } else {
            fits.then_some(Decision { subflow: index, len, skip })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    fn subflow(id: u32, room: usize, rtt_ms: u64, outstanding: u64) -> SubflowView {
        SubflowView { cwnd: Some(20_000), in_flight: outstanding, ..view(id, room, rtt_ms) }
    }

    fn decide(subflows: &[SubflowView], unsent: u64) -> Option<(usize, u64)> {
        Otias.pick(subflows, &data(unsent)).map(|decision| (decision.subflow, decision.skip))
    }

    #[test]
    fn what_full_subflows_would_queue_is_left_to_them() {
        // The full one: (1 / 20 + 1/2) * 10 = 5.5 ms, and 2,000 bytes a millisecond. The other: 20 ms, 14.5 ms later: 29,000.
        let subflows = [subflow(0, 0, 10, 20_000), subflow(1, 9000, 40, 0)];
        assert_eq!(decide(&subflows, 1 << 20), Some((1, 29_000)));
        assert_eq!(decide(&subflows, 30_000), None, "there is not so much: the full one has it all");
        let again = DataView { reinjection: true, ..data(30_000) };
        assert_eq!(Otias.pick(&subflows, &again).map(|decision| decision.skip), Some(0));
    }

    #[test]
    fn a_queue_counts_in_round_trips() {
        // 40,000 outstanding, 21 segments too many: (1.05 + 1/2) * 10 = 15.5 ms. Half of 28 is sooner, half of 32 is not.
        let queue = subflow(0, 9000, 10, 40_000);
        assert_eq!(decide(&[queue, subflow(1, 9000, 28, 0)], 1 << 20), Some((1, 0)));
        assert_eq!(decide(&[queue, subflow(1, 9000, 32, 0)], 1 << 20), Some((0, 0)));
    }
}
