//! What is wrong with a link's configuration or with a trace.

use std::time::Duration;

/// A link cannot be as described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Not a fraction.
    #[error("a probability is from 0 to 1, not {0}")]
    Probability(String),
    /// No packet would ever leave.
    #[error("a rate is at least 1 bit per second; to stop a link, take it down or use a step with rate 0")]
    ZeroRate,
    /// The steps of a rate or a delay do not cover time.
    #[error("steps begin at 0, each is later than the one before, and a period ends after the last")]
    StepTimes,
    /// A rate of zero for ever.
    #[error("the rate is 0 from {0:?} on for ever: give a later step or a period")]
    EndlessOutage(Duration),
    /// No step of a repeated series lets anything through.
    #[error("all steps of the rate are 0")]
    NoRate,
    /// A table or a trace without entries.
    #[error("a trace, a list of steps or a table of a distribution needs at least one entry")]
    Empty,
    /// More than a second of a rate or a distribution could hold.
    #[error("a delay or jitter is at most one hour, not {0:?}")]
    DelayTooLong(Duration),
    /// Less than IPv4 requires.
    #[error("an MTU is at least 68 bytes (RFC 791 section 3.2), not {0}")]
    Mtu(usize),
    /// A queue that holds nothing or everything.
    #[error("a queue needs a limit of at least one packet, or of at least 1514 bytes")]
    QueueLimit,
    /// Parameters of a queue that contradict each other.
    #[error("{0}")]
    Queue(&'static str),
    /// netem has one queue with one limit.
    #[error("a link of netem's composition has a drop-tail limit and no other queue")]
    NetemQueue,
    /// Every zeroth packet.
    #[error("periodic loss takes `length` packets of every `period`: 1 <= length <= period, and first >= 1")]
    Period,
    /// Packets are numbered from one, and the list is looked through in order.
    #[error("a list of lost packets has numbers from 1 on, each greater than the one before")]
    LossList,
    /// Several impairments share one draw.
    #[error("the probabilities of leaving the {0} state sum to more than 1")]
    Transitions(&'static str),
    /// Every zeroth packet.
    #[error("the gap of reordering is at least 1")]
    ReorderGap,
    /// An empty burst.
    #[error("the cap of a GSO burst is at least 1514 bytes, not {0}")]
    BurstCap(usize),
    /// A frame cannot have a length of nothing or less.
    #[error("the overhead of a packet is from -14 to 65535 bytes, not {0}")]
    Overhead(i32),
}

/// A trace or table cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Something else than what the format has there.
    #[error("line {line}: expected {expected}, found {found:?}")]
    Syntax {
        /// Number of the line, from 1 on.
        line: usize,
        /// What the format has there.
        expected: &'static str,
        /// What is there, cut after 40 characters.
        found: String,
    },
    /// Time runs backwards.
    #[error("line {line}: earlier than the line before")]
    Backwards {
        /// Number of the line, from 1 on.
        line: usize,
    },
    /// Not one entry.
    #[error("the trace has no entries")]
    Empty,
    /// A trace that repeats itself at once.
    #[error("the last opportunity is at 0 ms, so the trace would repeat without end")]
    NoDuration,
    /// More entries than the limit.
    #[error("line {line}: more than {limit} entries")]
    TooLong {
        /// Number of the line, from 1 on.
        line: usize,
        /// Most entries of a trace of this kind.
        limit: usize,
    },
}

impl TraceError {
    pub(super) fn syntax(line: usize, expected: &'static str, found: &str) -> Self {
        Self::Syntax { line, expected, found: found.chars().take(40).collect() }
    }
}
