//! What is left to others.

use super::PAYLOAD;
use crate::evaluation::{Bound, Case, Comparison, Limit, Question, Statistic, Trial, View};
use crate::results::{Better, Unit};

/// Coupled congestion control beside TCPs.
pub(super) const FAIRNESS: Question = Question {
    name: "fairness",
    title: "Fairness",
    demand: "One connection with LIA, OLIA, BALIA or coupled CUBIC and one to four subflows takes 0.8 to 1.25 times what a TCP beside it gets over \
             the same bottleneck. Over two, OLIA and BALIA leave more of the congested one to its TCPs than LIA does (Khalili and others, \
             2012; Peng and others, 2016), and coupled connections get at least four fifths of what a TCP would on the best path (RFC 6356 section 2, \
             goal 1; OLIA and BALIA claim the same): in a published measurement OLIA has 0.80 of the mean of both TCPs (multipath-tcp/mptcp issue 504). \
             `auto` is one flow where subflows share a bottleneck, and as many as uncoupled ones where they share none.",
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
                    shown: &["lia", "olia", "balia", "coupled-cubic", "auto"],
                    limits: &[
                        Limit { of: "lia", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
                        Limit { of: "olia", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
                        Limit { of: "balia", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
                        Limit { of: "coupled-cubic", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
                        Limit { of: "auto", statistic: Statistic::Median, bound: Bound::Amount(1.25) },
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
                    limits: &[
                        Limit { of: "lia", statistic: Statistic::Median, bound: Bound::ByCase(one_tcp) },
                        Limit { of: "olia", statistic: Statistic::Median, bound: Bound::ByCase(one_tcp) },
                        Limit { of: "balia", statistic: Statistic::Median, bound: Bound::ByCase(one_tcp) },
                        Limit { of: "coupled-cubic", statistic: Statistic::Median, bound: Bound::ByCase(one_tcp) },
                        Limit {
                            of: "auto",
                            statistic: Statistic::Median,
                            bound: Bound::OfBest(|_| Some(0.9), &["uncoupled"]),
                        },
                    ],
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
};

/// How far from 1, whichever way.
fn factor_off(_: &Case<'_>, share: f64) -> f64 {
    share.max(1.0 / share)
}

/// As much as the other where one bottleneck is more congested.
fn where_congested(case: &Case<'_>) -> Option<f64> {
    (case.get("tcps") == "one TCP and four").then_some(1.0)
}

/// Four fifths of what a TCP gets that has the choice, in bits per second: of two bottlenecks of 10 Mbit/s with a TCP each a third of both, and
/// if there are four on the second half of the first.
fn one_tcp(case: &Case<'_>) -> Option<f64> {
    let fair = match case.get("tcps") {
        "one TCP on each" => 20e6 / 3.0,
        "one TCP and four" => 10e6 / 2.0,
        _ => return None,
    };
    Some(0.8 * fair * PAYLOAD)
}
