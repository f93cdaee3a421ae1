//! The queue in front of a link.

use std::time::Duration;

use super::error::ScenarioError;
use super::field::{Field, NONE, tag, words};
use super::section::{Context, Section};
use super::tree::{Node, Value};
use super::units::{Probability, Size};

/// A queue and how it drops or marks. Names and defaults are those of Linux's queueing disciplines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Drops what arrives at a full queue.
    DropTail {
        /// Packets that it holds.
        packets: Option<u64>,
        /// Bytes that it holds.
        bytes: Option<Size>,
        /// Packets on the way over the link count too, as netem's `limit` has it.
        count_in_flight: bool,
    },
    /// Random early detection.
    Red {
        /// Bytes that it holds.
        limit: Size,
        /// Average below which nothing is dropped.
        min: Size,
        /// Average from which everything is dropped.
        max: Size,
        /// Probability of a drop just below `max`.
        probability: Probability,
        /// The average takes this power of one half of each new length.
        weight_log: u64,
        /// Transmission time of a typical packet: how fast the average falls while the link is idle. `None`: that of the longest packet at the
        /// link's rate, as tc-red's `bandwidth` would be set.
        packet_time: Option<Duration>,
        /// Marks instead of dropping what understands it.
        ecn: bool,
    },
    /// CoDel (RFC 8289).
    Codel {
        /// Packets that it holds.
        packets: u64,
        /// Delay that is acceptable.
        target: Duration,
        /// How long it may be exceeded.
        interval: Duration,
        /// Marks instead of dropping.
        ecn: bool,
    },
    /// FQ-CoDel (RFC 8290).
    FqCodel {
        /// Packets that it holds.
        packets: u64,
        /// Queues that flows are hashed to.
        flows: u64,
        /// Bytes that a queue may send in its turn.
        quantum: Size,
        /// Delay that is acceptable.
        target: Duration,
        /// How long it may be exceeded.
        interval: Duration,
        /// Marks instead of dropping.
        ecn: bool,
    },
    /// PIE (RFC 8033).
    Pie {
        /// Packets that it holds.
        packets: u64,
        /// Delay that is aimed at.
        target: Duration,
        /// How often the probability is computed.
        tupdate: Duration,
        /// How long a burst into an idle queue is let through.
        max_burst: Duration,
        /// Marks instead of dropping.
        ecn: bool,
    },
    /// Marks from a fixed length on (RFC 8257 section 3.1).
    Step {
        /// Packets that it holds.
        packets: u64,
        /// Bytes beyond which a packet that arrives is marked if it understands that.
        mark: Size,
    },
}

/// netem's default.
const DEFAULT_PACKETS: u64 = 1000;
const MOST_PACKETS: u64 = 1 << 24;

/// One full packet of Ethernet without FCS.
const LEAST_BYTES: u64 = 1514;

impl Default for Queue {
    fn default() -> Self {
        Self::DropTail { packets: Some(DEFAULT_PACKETS), bytes: None, count_in_flight: false }
    }
}

words! {
    /// The queues by name.
    enum Kind {
        /// [`Queue::DropTail`].
        DropTail = "droptail",
        /// [`Queue::Red`].
        Red = "red",
        /// [`Queue::Codel`].
        Codel = "codel",
        /// [`Queue::FqCodel`].
        FqCodel = "fq-codel",
        /// [`Queue::Pie`].
        Pie = "pie",
        /// [`Queue::Step`].
        Step = "step",
    }
}

impl Field for Queue {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let kind = tag(cx, node, key, "kind", Kind::ALL, Some(Kind::DropTail))?;
        let mut section = Section::open(cx, node, key, keys(kind))?;
        section.get::<Kind>("kind", kind.to_string())?;
        match kind {
            Kind::DropTail => read_droptail(&mut section),
            Kind::Red => read_red(&mut section),
            Kind::Codel | Kind::FqCodel | Kind::Pie => read_delay_based(&mut section, kind),
            Kind::Step => read_step(&mut section),
        }
    }
}

fn keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::DropTail => &["kind", "packets", "bytes", "count_in_flight"],
        Kind::Red => &["kind", "limit", "min", "max", "probability", "weight_log", "packet_time", "ecn"],
        Kind::Codel => &["kind", "packets", "target", "interval", "ecn"],
        Kind::FqCodel => &["kind", "packets", "flows", "quantum", "target", "interval", "ecn"],
        Kind::Pie => &["kind", "packets", "target", "tupdate", "max_burst", "ecn"],
        Kind::Step => &["kind", "packets", "mark"],
    }
}

fn read_droptail(section: &mut Section<'_>) -> Result<Queue, ScenarioError> {
    // A limit in bytes replaces the one in packets unless both are given.
    let default = if section.has("bytes") { Value::from(NONE) } else { DEFAULT_PACKETS.into() };
    let expected = format!(r#"from 1 to {MOST_PACKETS} packets, or "none""#);
    let in_range = |packets: &Option<u64>| packets.is_none_or(|packets| (1..=MOST_PACKETS).contains(&packets));
    let packets = section.get_if("packets", default, &expected, in_range)?;
    let holds_one = |bytes: &Option<Size>| bytes.is_none_or(|bytes| bytes.0 >= LEAST_BYTES);
    let bytes = section.get_if("bytes", NONE, r#"at least 1514B, or "none""#, holds_one)?;
    if packets.is_none() && bytes.is_none() {
        let (place, key) = (section.place.clone(), section.path.clone());
        return Err(section.cx.contradiction(&place, &key, "has no limit: give packets, bytes or both"));
    }
    let count_in_flight = section.get("count_in_flight", false)?;
    Ok(Queue::DropTail { packets, bytes, count_in_flight })
}

fn read_red(section: &mut Section<'_>) -> Result<Queue, ScenarioError> {
    let limit: Size = section.require("limit", "the bytes that the queue holds")?;
    let min: Size = section.require("min", "the average from which packets are dropped")?;
    let max: Size = section.require("max", "the average at which 'probability' is reached")?;
    if !(min.0 > 0 && min < max && max <= limit && limit.0 >= LEAST_BYTES) {
        let (place, key) = (section.place.clone(), section.path.clone());
        let problem =
            format!("needs 0 < min < max <= limit and a limit of at least 1514B, but has {min}, {max} and {limit}");
        return Err(section.cx.contradiction(&place, &key, problem));
    }
    let above_zero = |time: &Option<Duration>| time.is_none_or(|time| !time.is_zero());
    Ok(Queue::Red {
        limit,
        min,
        max,
        probability: section.get("probability", "2%")?,
        weight_log: section.count("weight_log", 9, 1..=16)?,
        packet_time: section.get_if("packet_time", NONE, r#"a time above 0, or "none""#, above_zero)?,
        ecn: section.get("ecn", false)?,
    })
}

fn read_step(section: &mut Section<'_>) -> Result<Queue, ScenarioError> {
    let mark: Size = section.require("mark", "the bytes beyond which packets are marked")?;
    if mark.0 == 0 {
        return Err(section.invalid("mark", "a size above 0"));
    }
    Ok(Queue::Step { packets: section.count("packets", DEFAULT_PACKETS, 1..=MOST_PACKETS)?, mark })
}

fn read_delay_based(section: &mut Section<'_>, kind: Kind) -> Result<Queue, ScenarioError> {
    let above_zero = |time: &Duration| !time.is_zero();
    let time = "a time above 0";
    let packets = match kind {
        Kind::FqCodel => 10_240,
        _ => DEFAULT_PACKETS,
    };
    let packets = section.count("packets", packets, 1..=MOST_PACKETS)?;
    let target = if kind == Kind::Pie { "15ms" } else { "5ms" };
    let target = section.get_if("target", target, time, above_zero)?;
    if kind == Kind::Pie {
        return Ok(Queue::Pie {
            packets,
            target,
            tupdate: section.get_if("tupdate", "15ms", "at least 1ms", |time: &Duration| time.as_millis() >= 1)?,
            max_burst: section.get("max_burst", "150ms")?,
            ecn: section.get("ecn", false)?,
        });
    }
    let longer = |interval: &Duration| *interval > target;
    let interval = section.get_if("interval", "100ms", "longer than 'target'", longer)?;
    if kind == Kind::Codel {
        return Ok(Queue::Codel { packets, target, interval, ecn: section.get("ecn", false)? });
    }
    Ok(Queue::FqCodel {
        packets,
        flows: section.count("flows", 1024, 1..=65_536)?,
        quantum: section
            .get_if("quantum", "1514B", "from 64B to 1MiB", |size: &Size| (64..=1 << 20).contains(&size.0))?,
        target,
        interval,
        ecn: section.get("ecn", true)?,
    })
}
