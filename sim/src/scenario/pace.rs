//! How fast and how late: rates, jitter, and conditions that change in steps.

use std::time::Duration;

use super::error::ScenarioError;
use super::field::{Field, words};
use super::file::NamedFile;
use super::section::{Context, Section};
use super::tree::{Node, Value};
use super::units::{Probability, Rate};

/// Longest delay, and most variation of it.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// Most bytes that a link counts for a packet beyond its own.
pub(crate) const MOST_OVERHEAD: u64 = 65_535;

/// Rate of one direction. `"10Mbit"`, `"none"`, `{ steps = [...], repeat = true }` or `{ trace = "file" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateSpec {
    /// Packets take no time.
    Unlimited,
    /// Always the same.
    Constant(Rate),
    /// One after the other.
    Steps {
        /// How long each rate lasts; zero rates are pauses.
        steps: Vec<(Duration, Rate)>,
        /// From the start again after the last; or else the last stays.
        repeat: bool,
    },
    /// A Mahimahi trace: the millisecond of each opportunity to send 1500 bytes; then from its start again.
    Trace(NamedFile),
}

impl Field for RateSpec {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        match &node.value {
            Value::Text(text) if text == "none" => Ok(Self::Unlimited),
            Value::Table(table) if table.get("trace").is_some() => {
                Ok(Self::Trace(Section::open(cx, node, key, &["trace"])?.file("trace")?))
            }
            Value::Table(_) => {
                let mut section = Section::open(cx, node, key, &["steps", "repeat", "trace"])?;
                let expected = r#"steps such as { for = "2s", rate = "10Mbit" }"#;
                let steps: Vec<Step> = section.require("steps", expected)?;
                if steps.iter().all(|step| step.rate.0 == 0) {
                    return Err(section.invalid("steps", "steps of which at least one has a rate above 0"));
                }
                let repeat: bool = section.get("repeat", true)?;
                if !repeat && steps.last().is_some_and(|step| step.rate.0 == 0) {
                    return Err(
                        section.invalid("steps", "steps of which the last has a rate above 0, or repeat = true")
                    );
                }
                Ok(Self::Steps { steps: steps.into_iter().map(|step| (step.lasts, step.rate)).collect(), repeat })
            }
            _ => match Rate::read(cx, node, key)? {
                Rate(0) => Err(cx.invalid(node, key, r#"above 0; "none" is unlimited, the event "down" stops a link"#)),
                rate => Ok(Self::Constant(rate)),
            },
        }
    }
}

struct Step {
    lasts: Duration,
    rate: Rate,
}

impl Field for Step {
    const SWEPT: bool = false;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let mut section = Section::open(cx, node, key, &["for", "rate"])?;
        let lasts: Duration = section.require("for", "how long the rate lasts")?;
        if lasts.is_zero() {
            return Err(section.invalid("for", "a time above 0"));
        }
        Ok(Self { lasts, rate: section.require("rate", "the rate of the step")? })
    }
}

/// Variation of the delay. `"2ms"` is uniform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jitter {
    /// How much: half the width of the uniform distribution, the standard deviation of others.
    pub amount: Duration,
    /// How it is distributed.
    pub distribution: Distribution,
    /// Correlation with the packet before.
    pub correlation: Probability,
    /// Whether packets may overtake each other.
    pub order: Order,
}

words! {
    /// Whether jitter lets packets overtake each other.
    pub enum Order {
        /// Only if the link has no rate, as in netem.
        AsNetem = "as-netem",
        /// It does.
        Free = "free",
        /// It does not.
        Kept = "kept",
    }
}

/// Distribution of a jitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// From -amount to +amount, as netem does it where no distribution is chosen.
    Uniform,
    /// Normal.
    Normal,
    /// Pareto.
    Pareto,
    /// netem's mixture of both.
    ParetoNormal,
    /// A table as `tc` reads it (`*.dist`).
    Table(NamedFile),
    /// Milliseconds a line that are added to the delay: one number for each packet in turn, or two numbers, the time
    /// from which the second holds.
    Trace(NamedFile),
}

words! {
    /// The distributions by name.
    enum Shape {
        /// [`Distribution::Uniform`].
        Uniform = "uniform",
        /// [`Distribution::Normal`].
        Normal = "normal",
        /// [`Distribution::Pareto`].
        Pareto = "pareto",
        /// [`Distribution::ParetoNormal`].
        ParetoNormal = "paretonormal",
        /// [`Distribution::Table`].
        Table = "table",
        /// [`Distribution::Trace`].
        Trace = "trace",
    }
}

impl Field for Jitter {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let uniform = |amount| Self {
            amount,
            distribution: Distribution::Uniform,
            correlation: Probability::ZERO,
            order: Order::AsNetem,
        };
        if !matches!(node.value, Value::Table(_)) {
            let amount = Duration::read(cx, node, key)?;
            return if amount > LONGEST_DELAY { Err(cx.invalid(node, key, "at most 1h")) } else { Ok(uniform(amount)) };
        }
        let shape = super::field::tag(cx, node, key, "distribution", Shape::ALL, Some(Shape::Uniform))?;
        let keys: &[&str] = match shape {
            Shape::Table => &["amount", "distribution", "file", "correlation", "order"],
            Shape::Trace => &["distribution", "file", "order"],
            _ => &["amount", "distribution", "correlation", "order"],
        };
        let mut section = Section::open(cx, node, key, keys)?;
        section.get::<Shape>("distribution", shape.to_string())?;
        let distribution = match shape {
            Shape::Uniform => Distribution::Uniform,
            Shape::Normal => Distribution::Normal,
            Shape::Pareto => Distribution::Pareto,
            Shape::ParetoNormal => Distribution::ParetoNormal,
            Shape::Table => Distribution::Table(section.file("file")?),
            Shape::Trace => Distribution::Trace(section.file("file")?),
        };
        let traced = shape == Shape::Trace;
        let amount = if traced { Duration::ZERO } else { section.require("amount", r#"a time such as "2ms""#)? };
        if amount > LONGEST_DELAY {
            return Err(section.invalid("amount", "at most 1h"));
        }
        Ok(Self {
            amount,
            distribution,
            correlation: if traced { Probability::ZERO } else { section.get("correlation", "0%")? },
            order: section.get("order", "as-netem")?,
        })
    }
}

/// Conditions that are drawn anew from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    /// How long conditions last, in the mean.
    pub every: Duration,
    /// When they change.
    pub timing: Timing,
    /// From which the rate is drawn.
    pub rates: Option<Draw<Rate>>,
    /// From which the delay is drawn.
    pub delays: Option<Draw<Duration>>,
    /// From which the probability of random loss is drawn.
    pub losses: Option<Draw<Probability>>,
}

words! {
    /// When conditions change.
    pub enum Timing {
        /// At multiples of the time.
        Fixed = "fixed",
        /// After times with an exponential distribution.
        Exponential = "exponential",
    }
}

/// Where a condition is drawn from, each value being as likely as the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draw<T> {
    /// Between two values: `{ min = "20ms", max = "60ms" }`.
    Between(T, T),
    /// One of a list.
    OneOf(Vec<T>),
}

impl Field for Steps {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let mut section = Section::open(cx, node, key, &["every", "timing", "rates", "delays", "losses"])?;
        let every: Duration = section.require("every", "how long conditions last")?;
        if every.is_zero() {
            return Err(section.invalid("every", "a time above 0"));
        }
        let steps = Self {
            every,
            timing: section.get("timing", "fixed")?,
            rates: section.optional("rates")?,
            delays: section.optional("delays")?,
            losses: section.optional("losses")?,
        };
        if steps.rates.is_none() && steps.delays.is_none() && steps.losses.is_none() {
            return Err(section.invalid("every", "used with 'rates', 'delays' or 'losses': what changes"));
        }
        match &steps.rates {
            Some(Draw::Between(Rate(0), _)) => return Err(section.invalid("rates", "above 0")),
            Some(Draw::OneOf(rates)) if rates.contains(&Rate(0)) => {
                return Err(section.invalid("rates", "above 0"));
            }
            _ => (),
        }
        let longest = match &steps.delays {
            Some(Draw::Between(_, max)) => *max,
            Some(Draw::OneOf(delays)) => delays.iter().max().copied().unwrap_or_default(),
            None => Duration::ZERO,
        };
        if longest > LONGEST_DELAY {
            return Err(section.invalid("delays", "at most 1h"));
        }
        Ok(steps)
    }
}

impl<T: Field + PartialOrd> Field for Draw<T> {
    const SWEPT: bool = false;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        if let Value::List(items) = &node.value {
            if items.is_empty() {
                return Err(cx.invalid(node, key, "at least one value"));
            }
            return Vec::read(cx, node, key).map(Self::OneOf);
        }
        let mut section = Section::open(cx, node, key, &["min", "max"])?;
        let (min, max): (T, T) = (section.require("min", "the least")?, section.require("max", "the most")?);
        if min > max { Err(section.invalid("max", "at least min")) } else { Ok(Self::Between(min, max)) }
    }
}
