//! How well transfers use several paths.

use super::{OURS, PAYLOAD, PLOTTED};
use crate::evaluation::{Bound, Case, Comparison, Limit, Question, Statistic, Trial, View};
use crate::results::{Better, Unit};

/// The kernel's own test.
pub(super) const SIMULT_FLOWS: Question = Question {
    name: "simult-flows",
    title: "The kernel's own table",
    demand: "In all cases of simult_flows.sh and both directions completion-time uses at least 95 % of what both links can carry as \
             payload in the median, and at least 92 % with the worst seed. The kernel passes with 90 % of the raw rate and 450 ms \
             besides.",
    trials: &[Trial {
        scenario: "eval-simult-flows",
        comparisons: &[Comparison {
            caption: "16 MiB over the time of the transfer, handshake included, as a part of what both links carry as payload",
            metric: "completion",
            over: None,
            view: Some(View { value: payload_share, unit: Unit::Fraction, better: Better::Higher }),
            columns: "mptcp.scheduler",
            shown: &[],
            limits: &[
                Limit { of: OURS, statistic: Statistic::Median, bound: Bound::Amount(0.95) },
                Limit { of: OURS, statistic: Statistic::Worst, bound: Bound::Amount(0.92) },
            ],
            plotted: &[],
        }],
    }],
};

/// A path that adds little.
pub(super) const SLOW_PATH: Question = Question {
    name: "slow-path",
    title: "A slow path never hurts",
    demand: "Beside a path of 100 Mbit/s and 10 ms, one of 2 Mbit/s and any delay leaves objects of 100 kB and 1 MB at 98 % of the speed \
             of TCP on the fast path or more, and bulk at 100 % or more.",
    trials: &[
        Trial {
            scenario: "eval-slow-path-objects",
            comparisons: &[Comparison {
                caption: "Time from the connection's start to the last byte",
                metric: "completion",
                over: None,
                view: None,
                columns: "variant",
                shown: &[],
                limits: &[Limit {
                    of: OURS,
                    statistic: Statistic::Median,
                    bound: Bound::OfBest(|_| Some(1.0 / 0.98), &["tcp"]),
                }],
                plotted: &[],
            }],
        },
        Trial {
            scenario: "eval-slow-path-bulk",
            comparisons: &[Comparison {
                caption: "Time from the connection's start to the last byte",
                metric: "completion",
                over: None,
                view: None,
                columns: "variant",
                shown: &[],
                limits: &[Limit {
                    of: OURS,
                    statistic: Statistic::Median,
                    bound: Bound::OfBest(|_| Some(1.0), &["tcp"]),
                }],
                plotted: &["tcp", OURS, "round-robin", "lowest-rtt", "linux", "blest", "ecf", "stms"],
            }],
        },
    ],
};

/// A window that is hardly enough.
pub(super) const SMALL_WINDOW: Question = Question {
    name: "small-window",
    title: "Aggregation within a small window",
    demand: "With round trips that differ by 2 to 25 times, and windows of 0.5 to 2 times both bandwidth-delay products, completion-time \
             is within 5 % of the best scheduler in each case.",
    trials: &[Trial {
        scenario: "eval-small-window",
        comparisons: &[Comparison {
            caption: "Goodput",
            metric: "goodput",
            over: None,
            view: None,
            columns: "mptcp.scheduler",
            shown: &[],
            limits: &[Limit { of: OURS, statistic: Statistic::Median, bound: Bound::OfBest(|_| Some(0.95), &[]) }],
            plotted: PLOTTED,
        }],
    }],
};

/// One that is more than enough, and queues that hold seconds.
pub(super) const LARGE_WINDOWS: Question = Question {
    name: "large-windows",
    title: "Large windows and large queues",
    demand: "Beside a path whose queue holds three seconds, over two long fat paths, and where the window is never full, completion-time is \
             within 5 % of the best scheduler.",
    trials: &[Trial {
        scenario: "eval-large-windows",
        comparisons: &[Comparison {
            caption: "Time from the connection's start to the last byte",
            metric: "completion",
            over: None,
            view: None,
            columns: "mptcp.scheduler",
            shown: &[],
            limits: &[Limit { of: OURS, statistic: Statistic::Median, bound: Bound::OfBest(|_| Some(1.05), &[]) }],
            plotted: &[],
        }],
    }],
};

/// 16 MiB in this time, as a part of what both links carry as payload. The case begins with their rates in Mbit/s.
fn payload_share(case: &Case<'_>, seconds: f64) -> f64 {
    let rates: f64 = case.get("case").split(' ').take(2).filter_map(|rate| rate.parse::<f64>().ok()).sum();
    (16 << 20) as f64 * 8.0 / seconds / (rates * 1e6 * PAYLOAD)
}
