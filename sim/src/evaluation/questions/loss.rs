//! What losses do.

use super::OURS;
use crate::evaluation::{Bound, Case, Comparison, Limit, Question, Statistic, Trial, View};
use crate::results::{Better, Unit};

/// Bulk over lossy and over unequal paths.
pub(super) const LOSS: Question = Question {
    name: "loss",
    title: "Loss, and unequal paths",
    demand: "On four lossy paths of 1 Gbit/s reads get at least 90 % of the line with BBR, and with CUBIC at least four times what one path \
             gives TCP. On three paths of 100 Gbit/s and one of 50 they get at least 95 % of 350 Gbit/s.",
    trials: &[
        Trial {
            scenario: "eval-lossy-paths",
            comparisons: &[
                Comparison {
                    caption: "Goodput, requests and responses together, as a part of 4 Gbit/s",
                    metric: "goodput",
                    over: None,
                    view: Some(View { value: of_four_gigabits, unit: Unit::Fraction, better: Better::Higher }),
                    columns: "variant",
                    shown: &[],
                    limits: &[Limit { of: OURS, statistic: Statistic::Median, bound: Bound::ByCase(line_with_bbr) }],
                    plotted: &[],
                },
                Comparison {
                    caption: "Goodput, requests and responses together",
                    metric: "goodput",
                    over: None,
                    view: None,
                    columns: "variant",
                    shown: &[],
                    limits: &[Limit {
                        of: OURS,
                        statistic: Statistic::Median,
                        bound: Bound::OfBest(four_times_with_cubic, &["tcp, one path"]),
                    }],
                    plotted: &[],
                },
                Comparison {
                    caption: "99th percentile of the latency of reads",
                    metric: "latency-p99",
                    over: None,
                    view: None,
                    columns: "variant",
                    shown: &[],
                    limits: &[],
                    plotted: &[],
                },
            ],
        },
        Trial {
            scenario: "eval-unequal-paths",
            comparisons: &[Comparison {
                caption: "Payload as a part of 350 Gbit/s, handshake and slow start included",
                metric: "utilisation",
                over: None,
                view: None,
                columns: "variant",
                shown: &[],
                limits: &[Limit { of: OURS, statistic: Statistic::Median, bound: Bound::Amount(0.95) }],
                plotted: &[],
            }],
        },
    ],
};

/// A published table.
pub(super) const BYTEDANCE: Question = Question {
    name: "bytedance",
    title: "ByteDance's table",
    demand: "Over three paths messages of 1000 bytes get at least +100 % of TCP's throughput, those of 10,000 bytes at least +26 %, both with \
             at least 10 % less latency, and the tail is no longer under loss. ByteDance states +100 %, +26 % and about 10 %, without the \
             load.",
    trials: &[Trial {
        scenario: "eval-bytedance",
        comparisons: &[
            Comparison {
                caption: "Goodput, requests and responses together",
                metric: "goodput",
                over: None,
                view: None,
                columns: "variant",
                shown: &[],
                limits: &[Limit {
                    of: OURS,
                    statistic: Statistic::Median,
                    bound: Bound::OfBest(twice_or_a_quarter_more, &["tcp"]),
                }],
                plotted: &[],
            },
            Comparison {
                caption: "Mean latency",
                metric: "latency-mean",
                over: None,
                view: None,
                columns: "variant",
                shown: &[],
                limits: &[Limit {
                    of: OURS,
                    statistic: Statistic::Median,
                    bound: Bound::OfBest(|_| Some(0.9), &["tcp"]),
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
                    bound: Bound::OfBest(|_| Some(1.0), &["tcp"]),
                }],
                plotted: &[],
            },
        ],
    }],
};

/// A part of four paths' rates.
fn of_four_gigabits(_: &Case<'_>, goodput: f64) -> f64 {
    goodput / 4e9
}

/// 90 % of the line with BBR; CUBIC is not asked for any.
fn line_with_bbr(case: &Case<'_>) -> Option<f64> {
    (case.get("congestion") == "bbr").then_some(0.9)
}

/// Four times with CUBIC, which losses slow down.
fn four_times_with_cubic(case: &Case<'_>) -> Option<f64> {
    (case.get("congestion") == "cubic").then_some(4.0)
}

/// What is published for each size, as far as it depends on it: +100 % and +26 %.
fn twice_or_a_quarter_more(case: &Case<'_>) -> Option<f64> {
    Some(if case.get("case").starts_with("1000 B,") { 2.0 } else { 1.26 })
}
