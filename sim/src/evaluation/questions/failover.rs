//! Paths that fail.

use std::time::Duration;

use super::OURS;
use crate::evaluation::{Bound, Case, Comparison, Limit, Question, Statistic, Trial};
use crate::scenario::Unit as _;

/// Paths that fail, return, and flap.
pub(super) const FAILOVER: Question = Question {
    name: "failover",
    title: "Failover",
    demand: "When one of two or four paths turns into a black hole, the receiving application waits for at most three round trips of those \
             that are left and 20 ms in the median, and 200 ms at the 99th percentile; two seconds after the path has returned at least \
             95 % of the goodput without failure is back; a path that comes and goes every second takes goodput below TCP's median on the \
             path that stays with no seed.",
    trials: &[
        Trial {
            scenario: "eval-failover",
            comparisons: &[Comparison {
                caption: "Longest time without a delivery",
                metric: "longest-stall",
                over: None,
                view: None,
                columns: "variant",
                shown: &[],
                limits: &[
                    Limit { of: OURS, statistic: Statistic::Median, bound: Bound::ByCase(three_round_trips) },
                    Limit { of: OURS, statistic: Statistic::Hundredth, bound: Bound::Amount(0.2) },
                ],
                plotted: &[],
            }],
        },
        Trial {
            scenario: "eval-failover-return",
            comparisons: &[Comparison {
                caption: "Payload as a part of all paths' rates, from two seconds after the return",
                metric: "utilisation",
                over: None,
                view: None,
                columns: "variant",
                shown: &[],
                limits: &[Limit {
                    of: OURS,
                    statistic: Statistic::Median,
                    bound: Bound::OfBest(|_| Some(0.95), &["no failure"]),
                }],
                plotted: &[],
            }],
        },
        Trial {
            scenario: "eval-flapping",
            comparisons: &[Comparison {
                caption: "Goodput",
                metric: "goodput",
                over: None,
                view: None,
                columns: "variant",
                shown: &[],
                limits: &[Limit {
                    of: OURS,
                    statistic: Statistic::Worst,
                    bound: Bound::OfBest(|_| Some(1.0), &["tcp"]),
                }],
                plotted: &[],
            }],
        },
    ],
};

/// Three round trips and 20 ms.
fn three_round_trips(case: &Case<'_>) -> Option<f64> {
    let rtt = Duration::parse(&case.get("rtt").replace(' ', "")).ok()?;
    Some(3.0 * rtt.as_secs_f64() + 0.02)
}
