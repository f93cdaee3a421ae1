//! QAware: what waits in the interface counts.

use super::{DataView, Decision, Scheduler, SubflowView, backups_allowed, burst_len, has_room};

/// The lowest sum of round-trip time and of the time that the interface needs for what waits in its transmit queue (Shreedhar, Mohan, Kaul,
/// Kangasharju: "QAware: A Cross-Layer Approach to MPTCP Scheduling", IFIP Networking 2018).
///
/// The round-trip time tells of a queue a round trip late, the interface at once, and of all its users, not of this connection alone. Where the driver tells nothing
/// ([`SubflowView::interface_queue`]), this is [`LowestRtt`](super::LowestRtt). The queue drains at the rate of the subflow at least, which
/// is what it is divided by.
#[derive(Clone, Copy, Debug, Default)]
pub struct QAware;

impl Scheduler for QAware {
    fn name(&self) -> &'static str {
        "qaware"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let backups = backups_allowed(subflows);
        let usable = |subflow: &SubflowView| (backups || !subflow.backup) && has_room(subflow, data);
        let with_room = subflows.iter().enumerate().filter(|(_, subflow)| usable(subflow));
        let costs = with_room.map(|(index, subflow)| (index, cost(subflow)));
        let (index, _) = costs.min_by(|one, two| one.1.total_cmp(&two.1))?;
        Some(Decision { subflow: index, len: burst_len(&subflows[index], data), skip: 0 })
    }
}

/// Seconds until the answer to what would be given to it now; zero if nothing is known of it.
fn cost(subflow: &SubflowView) -> f64 {
    let rtt = subflow.srtt.map_or(0.0, |srtt| srtt.as_secs_f64());
    rtt + subflow.rate().map_or(0.0, |rate| subflow.interface_queue as f64 / rate.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    fn queued(id: u32, rtt_ms: u64, interface_queue: u64) -> SubflowView {
        SubflowView { interface_queue, delivery_rate: Some(10_000_000), ..view(id, 9000, rtt_ms) }
    }

    #[test]
    fn a_queue_at_the_interface_makes_a_subflow_slower() {
        let chosen = |subflows: &[SubflowView]| QAware.pick(subflows, &data(50_000)).map(|decision| decision.subflow);
        assert_eq!(chosen(&[queued(0, 10, 0), queued(1, 15, 0)]), Some(0));
        // 40,000 bytes at 10 MB/s are 4 ms, 60,000 are 6 ms.
        assert_eq!(chosen(&[queued(0, 10, 40_000), queued(1, 15, 0)]), Some(0));
        assert_eq!(chosen(&[queued(0, 10, 60_000), queued(1, 15, 0)]), Some(1));
        assert_eq!(chosen(&[queued(0, 10, 60_000), queued(1, 15, 20_000)]), Some(0));
    }
}
