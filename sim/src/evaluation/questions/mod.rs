//! What must hold.

mod aggregation;
mod failover;
mod fairness;
mod loss;
mod requests;

use super::Question;

/// The scheduler that everything is demanded of unless it says otherwise.
pub(super) const OURS: &str = "completion-time";

/// What is shown of most comparisons in plots: more curves than these cannot be told apart.
const PLOTTED: &[&str] = &[OURS, "round-robin", "lowest-rtt", "linux", "blest", "ecf", "stms"];

/// Payload of a full segment with a DSS option of 20 bytes, as a part of its Ethernet frame without FCS, which is what netem's rate counts.
const PAYLOAD: f64 = 1428.0 / 1514.0;

/// All of them, in the order of the document.
pub const QUESTIONS: &[Question] = &[
    aggregation::SIMULT_FLOWS,
    aggregation::SLOW_PATH,
    aggregation::SMALL_WINDOW,
    aggregation::LARGE_WINDOWS,
    loss::LOSS,
    failover::FAILOVER,
    requests::SHORT,
    requests::LOCAL_QUEUE,
    loss::BYTEDANCE,
    fairness::FAIRNESS,
];
