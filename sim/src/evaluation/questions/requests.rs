//! Objects that are short.

use super::OURS;
use crate::evaluation::{Bound, Case, Comparison, Limit, Question, Statistic, Trial};

/// Objects now and then.
pub(super) const SHORT: Question = Question {
    name: "short",
    title: "Short and paced traffic",
    demand: "Objects of up to 64 KiB arrive no later than 3 % after TCP's on the better path, at the median and at the 99th percentile. \
             Under 1 % loss the 99.9th percentile of redundant and adaptive-redundant is at most a third of TCP's, and adaptive-redundant \
             sends at most 5 % more bytes.",
    trials: &[
        Trial {
            scenario: "eval-short-objects",
            comparisons: &[
                Comparison {
                    caption: "Median latency",
                    metric: "latency-p50",
                    over: None,
                    view: None,
                    columns: "variant",
                    shown: &[],
                    limits: &[Limit {
                        of: OURS,
                        statistic: Statistic::Median,
                        bound: Bound::OfBest(|_| Some(1.03), &["tcp p1", "tcp p2"]),
                    }],
                    plotted: &[],
                },
                Comparison {
                    caption: "99th percentile of the latency",
                    metric: "latency-p99",
                    over: None,
                    view: None,
                    columns: "variant",
                    shown: &[],
                    limits: &[Limit {
                        of: OURS,
                        statistic: Statistic::Median,
                        bound: Bound::OfBest(|_| Some(1.03), &["tcp p1", "tcp p2"]),
                    }],
                    plotted: &[],
                },
            ],
        },
        Trial {
            scenario: "eval-lossy-tails",
            comparisons: &[
                Comparison {
                    caption: "99.9th percentile of the latency",
                    metric: "latency-p99.9",
                    over: None,
                    view: None,
                    columns: "variant",
                    shown: &[],
                    limits: &[
                        Limit {
                            of: "redundant",
                            statistic: Statistic::Median,
                            bound: Bound::OfBest(|_| Some(1.0 / 3.0), &["tcp"]),
                        },
                        Limit {
                            of: "adaptive-redundant",
                            statistic: Statistic::Median,
                            bound: Bound::OfBest(|_| Some(1.0 / 3.0), &["tcp"]),
                        },
                    ],
                    plotted: &[],
                },
                Comparison {
                    caption: "Median latency",
                    metric: "latency-p50",
                    over: None,
                    view: None,
                    columns: "variant",
                    shown: &[],
                    limits: &[],
                    plotted: &[],
                },
                Comparison {
                    caption: "Bytes that arrived more than once, as a part of those that were wanted",
                    metric: "duplicates",
                    over: None,
                    view: None,
                    columns: "variant",
                    shown: &[],
                    limits: &[Limit {
                        of: "adaptive-redundant",
                        statistic: Statistic::Median,
                        bound: Bound::Amount(0.05),
                    }],
                    plotted: &[],
                },
            ],
        },
    ],
};

/// The same, while others use the interface.
pub(super) const LOCAL_QUEUE: Question = Question {
    name: "local-queue",
    title: "A queue in the host's own interface",
    demand: "Where others fill the interface of the fast path from time to time, completion-time is within 5 % of the best scheduler at the 99th \
             percentile, and qaware, which is told of that queue, needs no more than three quarters of lowest-rtt's time for objects that are \
             small beside it (Shreedhar and others, 2018).",
    trials: &[Trial {
        scenario: "eval-local-queue",
        comparisons: &[
            Comparison {
                caption: "99th percentile of the latency",
                metric: "latency-p99 of objects",
                over: None,
                view: None,
                columns: "mptcp.scheduler",
                shown: &[],
                limits: &[
                    Limit { of: OURS, statistic: Statistic::Median, bound: Bound::OfBest(|_| Some(1.05), &[]) },
                    Limit {
                        of: "qaware",
                        statistic: Statistic::Median,
                        bound: Bound::OfBest(three_quarters_if_small, &["lowest-rtt"]),
                    },
                ],
                plotted: &[],
            },
            Comparison {
                caption: "Median latency",
                metric: "latency-p50 of objects",
                over: None,
                view: None,
                columns: "mptcp.scheduler",
                shown: &[],
                limits: &[],
                plotted: &[],
            },
        ],
    }],
};

/// Three quarters, for objects that the queue makes wait rather than their own length.
fn three_quarters_if_small(case: &Case<'_>) -> Option<f64> {
    (case.get("traffic.objects.request") == "4KiB").then_some(0.75)
}
