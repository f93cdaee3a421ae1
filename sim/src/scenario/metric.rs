//! What is measured, what is expected of it, and what others have published.

use std::fmt;
use std::time::Duration;

use super::error::ScenarioError;
use super::field::{Field, Text, words};
use super::section::{Context, Section};
use super::tree::{Node, Table, Value};
use super::units::{Rate, Share, Size, Unit};

words! {
    /// What is measured of a run.
    pub enum Metric {
        /// Payload delivered per second, all connections of the traffic and both directions together: requests and responses too.
        Goodput = "goodput",
        /// Payload delivered as a share of what the links that the traffic may use could have carried meanwhile, outages left out.
        Utilisation = "utilisation",
        /// Time from the start of the traffic to its last delivery.
        Completion = "completion",
        /// Payload delivered.
        Delivered = "delivered",
        /// Requests completed per second, all connections together.
        RequestsPerSecond = "requests-per-second",
        /// Mean latency of the requests or messages that have ended.
        LatencyMean = "latency-mean",
        /// Median latency. What is under way at the end counts in all percentiles, with its age.
        LatencyP50 = "latency-p50",
        /// 90th percentile of the latency.
        LatencyP90 = "latency-p90",
        /// 99th percentile of the latency.
        LatencyP99 = "latency-p99",
        /// 99.9th percentile of the latency.
        LatencyP999 = "latency-p99.9",
        /// Greatest latency.
        LatencyMax = "latency-max",
        /// Messages that met their deadline, as a share of all.
        DeadlineMet = "deadline-met",
        /// Longest time without a delivery while data was outstanding.
        LongestStall = "longest-stall",
        /// Segments that TCP sent again.
        Retransmissions = "retransmissions",
        /// Mappings that were sent again on another subflow.
        Reinjections = "reinjections",
        /// Payload that arrived more than once, as a share of that which was delivered.
        Duplicates = "duplicates",
        /// Most bytes that waited out of order.
        ReorderBuffer = "reorder-buffer",
        /// Packets that links, queues and transmit rings dropped.
        Drops = "drops",
        /// Longest delay in a queue or transmit ring.
        QueueDelay = "queue-delay",
    }
}

words! {
    /// What a metric counts in.
    pub enum Dimension {
        /// Bits per second.
        Rate = "rate",
        /// Time.
        Time = "time",
        /// Bytes.
        Size = "size",
        /// A share of something.
        Share = "share",
        /// A number.
        Count = "count",
    }
}

impl Metric {
    /// What it counts in.
    pub fn dimension(self) -> Dimension {
        match self {
            Self::Goodput => Dimension::Rate,
            Self::Utilisation | Self::DeadlineMet | Self::Duplicates => Dimension::Share,
            Self::Delivered | Self::ReorderBuffer => Dimension::Size,
            Self::RequestsPerSecond | Self::Retransmissions | Self::Reinjections | Self::Drops => Dimension::Count,
            Self::Completion
            | Self::LatencyMean
            | Self::LatencyP50
            | Self::LatencyP90
            | Self::LatencyP99
            | Self::LatencyP999
            | Self::LatencyMax
            | Self::LongestStall
            | Self::QueueDelay => Dimension::Time,
        }
    }
}

/// A measured or expected amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bits per second.
    Rate(Rate),
    /// Time.
    Time(Duration),
    /// Bytes.
    Size(Size),
    /// A share of something, or a difference in percent.
    Share(Share),
    /// A number in thousandths, as means of counts are not whole.
    Count(i64),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => rate.fmt(f),
            Self::Time(time) => f.write_str(&time.print()),
            Self::Size(size) => size.fmt(f),
            Self::Share(share) => share.fmt(f),
            Self::Count(thousandths) if thousandths % 1000 == 0 => write!(f, "{}", thousandths / 1000),
            Self::Count(thousandths) => write!(f, "{}.{:03}", thousandths / 1000, thousandths % 1000),
        }
    }
}

/// Points of a sweep: those at which each of these axes has this value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Name of an axis, and one of its labels.
    pub parameters: Vec<(String, String)>,
}

/// An amount with the text that gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// How much.
    pub amount: Amount,
    /// As it is written, which is how people want to read it.
    pub text: String,
}

impl Bound {
    /// The unit that it is written in, and what one of it is in bits per second, nanoseconds or bytes; `None` for what
    /// has no units to choose from.
    pub fn unit(&self) -> Option<(&str, u64)> {
        let unit = self.text.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '_')).trim();
        let one = format!("1{unit}");
        let one = match self.amount {
            Amount::Rate(_) => Rate::parse(&one).ok()?.0,
            Amount::Size(_) => Size::parse(&one).ok()?.0,
            Amount::Time(_) => u64::try_from(Duration::parse(&one).ok()?.as_nanos()).ok()?,
            Amount::Share(_) | Amount::Count(_) => return None,
        };
        (!unit.is_empty()).then_some((unit, one))
    }
}

/// The number and its unit, apart.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit() {
            Some((unit, _)) => write!(f, "{} {unit}", self.text.trim_end_matches(unit).trim_end()),
            None => f.write_str(&self.text),
        }
    }
}

/// `[[expect]]`: what a run must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// What is measured.
    pub metric: Metric,
    /// Of which traffic.
    pub of: String,
    /// At which points of a sweep.
    pub when: Condition,
    /// The least that it may be.
    pub min: Option<Bound>,
    /// The most that it may be.
    pub max: Option<Bound>,
    /// What it should be.
    pub equals: Option<Bound>,
    /// How far from `equals` it may be, as a share of it.
    pub tolerance: Share,
}

/// `[[published]]`: a figure of others, shown beside ours and never used by the simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Who published it and where.
    pub source: String,
    /// What it is of, for people.
    pub label: String,
    /// What was measured.
    pub metric: Metric,
    /// The traffic that it compares with.
    pub of: String,
    /// The points that it compares with; `None`: nothing here compares, and it is shown alone.
    pub when: Option<Condition>,
    /// The figure: with `relative_to` the difference in percent.
    pub value: Bound,
    /// The points that a difference refers to.
    pub relative_to: Option<Condition>,
}

/// Reads one `[[expect]]`.
pub(crate) fn read_expectation(cx: &mut Context, node: &mut Node, path: &str) -> Result<Expectation, ScenarioError> {
    let keys = ["metric", "of", "when", "min", "max", "equals", "tolerance"];
    let mut section = Section::open(cx, node, path, &keys)?;
    let metric = read_metric(&mut section)?;
    let Text(of) = section.require("of", "the name of the traffic")?;
    let (min, max, equals) = (
        read_bound(&mut section, "min", metric)?,
        read_bound(&mut section, "max", metric)?,
        read_bound(&mut section, "equals", metric)?,
    );
    if min.is_none() && max.is_none() && equals.is_none() {
        let (place, key) = (section.place.clone(), section.path.clone());
        return Err(section.cx.contradiction(&place, &key, "expects nothing: give min, max or equals"));
    }
    Ok(Expectation {
        metric,
        of,
        when: section.get("when", Value::Table(Table::default()))?,
        min,
        max,
        equals,
        tolerance: section.get_if("tolerance", "0%", "at least 0%", |share: &Share| share.0 >= 0)?,
    })
}

/// Reads one `[[published]]`.
pub(crate) fn read_published(cx: &mut Context, node: &mut Node, path: &str) -> Result<Published, ScenarioError> {
    let keys = ["source", "label", "metric", "of", "when", "value", "relative_to"];
    let mut section = Section::open(cx, node, path, &keys)?;
    let Text(source) = section.require("source", "who published it and where")?;
    let metric = read_metric(&mut section)?;
    let relative_to = section.optional("relative_to")?;
    if !section.has("value") {
        return Err(section.invalid("value", "the published figure"));
    }
    let value = match relative_to {
        None => read_bound(&mut section, "value", metric)?,
        Some(_) => section
            .optional("value")?
            .map(|share: Share| Bound { text: share.to_string(), amount: Amount::Share(share) }),
    };
    let Some(value) = value else { return Err(section.invalid("value", "a figure")) };
    let Text(label) = section.get("label", "")?;
    let Text(of) = section.require("of", "the name of the traffic")?;
    Ok(Published {
        source,
        label,
        metric,
        of,
        when: section.get("when", Value::Table(Table::default()))?,
        value,
        relative_to,
    })
}

fn read_metric(section: &mut Section<'_>) -> Result<Metric, ScenarioError> {
    section.require("metric", "what is measured")
}

fn read_amount(section: &mut Section<'_>, key: &str, metric: Metric) -> Result<Option<Amount>, ScenarioError> {
    Ok(match metric.dimension() {
        Dimension::Rate => section.optional(key)?.map(Amount::Rate),
        Dimension::Time => section.optional(key)?.map(Amount::Time),
        Dimension::Size => section.optional(key)?.map(Amount::Size),
        Dimension::Share => section.optional(key)?.map(Amount::Share),
        Dimension::Count => section.optional(key)?.map(|Thousandths(count)| Amount::Count(count)),
    })
}

fn read_bound(section: &mut Section<'_>, key: &str, metric: Metric) -> Result<Option<Bound>, ScenarioError> {
    let Some(amount) = read_amount(section, key, metric)? else { return Ok(None) };
    let text = section.table.get(key).map_or_else(|| amount.to_string(), Node::label);
    Ok(Some(Bound { amount, text }))
}

/// A count that need not be whole, as a mean is not.
struct Thousandths(i64);

impl Field for Thousandths {
    const SWEPT: bool = false;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let text = match &node.value {
            Value::Integer(number) => number.to_string(),
            Value::Other(text) => text.clone(),
            _ => String::new(),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let thousandths = (!whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= 3)
            .then(|| format!("{whole}{fraction:0<3}").parse().ok())
            .flatten();
        thousandths.map(Self).ok_or_else(|| cx.invalid(node, key, "a number of at least 0 with three decimals at most"))
    }
}

/// `{ variant = "mptcp", "links.p1.loss" = "1%" }`.
impl Field for Condition {
    const SWEPT: bool = false;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let Value::Table(table) = &node.value else {
            return Err(cx.invalid(node, key, r#"a table of axes and values such as { variant = "mptcp" }"#));
        };
        let parameters = table.entries.iter().map(|entry| (entry.key.clone(), entry.node.label()));
        Ok(Self { parameters: parameters.collect() })
    }
}
