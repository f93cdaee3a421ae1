//! What must hold.

use std::time::Duration;

use super::{Bound, Case, Comparison, Limit, Question, Statistic, Trial, View};
use crate::results::{Better, Unit};
use crate::scenario::Unit as _;

/// The scheduler that everything is demanded of unless it says otherwise.
const OURS: &str = "completion-time";

/// What is shown of most comparisons in plots: more curves than these cannot be told apart.
const PLOTTED: &[&str] = &[OURS, "round-robin", "lowest-rtt", "linux", "blest", "ecf", "stms"];

/// All of them, in the order of the document.
pub const QUESTIONS: &[Question] = &[
    Question {
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
    },
    Question {
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
    },
    Question {
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
    },
    Question {
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
                        limits: &[Limit {
                            of: OURS,
                            statistic: Statistic::Median,
                            bound: Bound::ByCase(line_with_bbr),
                        }],
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
    },
    Question {
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
    },
    Question {
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
    },
    Question {
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
    },
    Question {
        name: "fairness",
        title: "Fairness",
        demand: "One connection with LIA, OLIA, BALIA or coupled CUBIC and one to four subflows takes 0.8 to 1.25 times what a TCP beside it gets over \
                 the same bottleneck. Over two, OLIA and BALIA leave more of the congested one to its TCPs than LIA does (Khalili and others, \
                 2012; Peng and others, 2016).",
        trials: &[
            Trial {
                scenario: "eval-shared-bottleneck",
                comparisons: &[
                    Comparison {
                        caption: "Goodput as a multiple of the TCP's",
                        metric: "goodput of mptcp",
                        over: Some("goodput of tcp"),
                        view: None,
                        columns: "variant",
                        shown: &[],
                        limits: &[],
                        plotted: &[],
                    },
                    Comparison {
                        caption: "The factor by which that is more or less than 1",
                        metric: "goodput of mptcp",
                        over: Some("goodput of tcp"),
                        view: Some(View { value: factor_off, unit: Unit::Plain, better: Better::Lower }),
                        columns: "variant",
                        shown: &["lia", "olia", "balia", "coupled-cubic"],
                        limits: &[
                            Limit { of: "lia", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
                            Limit { of: "olia", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
                            Limit { of: "balia", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
                            Limit { of: "coupled-cubic", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
                        ],
                        plotted: &[],
                    },
                ],
            },
            Trial {
                scenario: "eval-two-bottlenecks",
                comparisons: &[
                    Comparison {
                        caption: "Goodput of the connection",
                        metric: "goodput of mptcp",
                        over: None,
                        view: None,
                        columns: "variant",
                        shown: &[],
                        limits: &[],
                        plotted: &[],
                    },
                    Comparison {
                        caption: "Goodput of the TCPs on the second bottleneck",
                        metric: "goodput of tcp-second",
                        over: None,
                        view: None,
                        columns: "variant",
                        shown: &[],
                        limits: &[
                            Limit {
                                of: "olia",
                                statistic: Statistic::Median,
                                bound: Bound::OfBest(where_congested, &["lia"]),
                            },
                            Limit {
                                of: "balia",
                                statistic: Statistic::Median,
                                bound: Bound::OfBest(where_congested, &["lia"]),
                            },
                        ],
                        plotted: &[],
                    },
                ],
            },
        ],
    },
];

/// Payload of a full segment with a DSS option of 20 bytes, as a part of its Ethernet frame without FCS, which is what netem's rate counts.
const PAYLOAD: f64 = 1428.0 / 1514.0;

/// 16 MiB in this time, as a part of what both links carry as payload. The case begins with their rates in Mbit/s.
fn payload_share(case: &Case<'_>, seconds: f64) -> f64 {
    let rates: f64 = case.get("case").split(' ').take(2).filter_map(|rate| rate.parse::<f64>().ok()).sum();
    (16 << 20) as f64 * 8.0 / seconds / (rates * 1e6 * PAYLOAD)
}

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

/// Three round trips and 20 ms.
fn three_round_trips(case: &Case<'_>) -> Option<f64> {
    let rtt = Duration::parse(&case.get("rtt").replace(' ', "")).ok()?;
    Some(3.0 * rtt.as_secs_f64() + 0.02)
}

/// How far from 1, whichever way.
fn factor_off(_: &Case<'_>, share: f64) -> f64 {
    share.max(1.0 / share)
}

/// As much as the other where one bottleneck is more congested.
fn where_congested(case: &Case<'_>) -> Option<f64> {
    (case.get("tcps") == "one TCP and four").then_some(1.0)
}
