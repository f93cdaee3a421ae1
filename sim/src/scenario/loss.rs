//! Which packets a link loses, in netem's words where netem has the model.

use std::time::Duration;

use super::error::ScenarioError;
use super::field::{Field, tag, words};
use super::file::NamedFile;
use super::section::{Context, Section};
use super::tree::{Node, Value};
use super::units::{Probability, Size};

/// Losses of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which packets are lost.
    pub model: LossModel,
    /// What one decision is about.
    pub unit: LossUnit,
    /// With [`LossUnit::Gso`]: bytes of one burst at most, headers included, from 1514 on.
    pub burst: Size,
    /// With [`LossUnit::Gso`]: longest time between two packets of a burst, where something before the link spaces
    /// them.
    pub gap: Duration,
    /// Marks packets of ECN-capable transports instead of losing them.
    pub ecn: bool,
}

words! {
    /// What one decision about a loss is about.
    pub enum LossUnit {
        /// A packet on the wire.
        Packet = "packet",
        /// What a sender hands to its device at once: netem on a virtual Ethernet pair drops super-packets whole.
        Gso = "gso",
    }
}

/// Which packets are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LossModel {
    /// Each with probability `p`; a decision repeats the last one's random number in part (netem `loss random`).
    Random {
        /// Probability of a loss.
        p: Probability,
        /// Correlation with the packet before.
        correlation: Probability,
    },
    /// Gilbert-Elliott (netem `loss gemodel`): a good and a bad state with a loss rate each.
    GilbertElliott {
        /// From good to bad, each packet.
        p: Probability,
        /// From bad to good, each packet.
        r: Probability,
        /// Loss in the bad state (netem's 1-h).
        loss_bad: Probability,
        /// Loss in the good state (netem's 1-k).
        loss_good: Probability,
    },
    /// netem's four-state Markov chain (`loss state`): 1 received, 2 received in a burst, 3 lost in a burst,
    /// 4 lost alone.
    FourState {
        /// From state 1 to 3.
        p13: Probability,
        /// From state 3 to 1.
        p31: Probability,
        /// From state 3 to 2.
        p32: Probability,
        /// From state 2 to 3.
        p23: Probability,
        /// From state 1 to 4.
        p14: Probability,
    },
    /// `length` packets of every `every`.
    Periodic {
        /// From one loss to the next, in packets.
        every: u64,
        /// Packets lost in a row, at most `every`.
        length: u64,
        /// Number of the first packet that is lost, counted from 1.
        first: u64,
    },
    /// The packets with these numbers, counted from 1.
    List {
        /// Numbers of lost packets, ascending.
        packets: Vec<u64>,
    },
    /// What a file says: for each packet `1` if it is lost and `0` if not, with or without white space; then from its
    /// start again.
    Trace {
        /// The file.
        file: NamedFile,
    },
}

words! {
    /// The models by name.
    enum Model {
        /// [`LossModel::Random`].
        Random = "random",
        /// [`LossModel::GilbertElliott`].
        GilbertElliott = "gilbert-elliott",
        /// [`LossModel::FourState`].
        FourState = "four-state",
        /// [`LossModel::Periodic`].
        Periodic = "periodic",
        /// [`LossModel::List`].
        List = "list",
        /// [`LossModel::Trace`].
        Trace = "trace",
    }
}

const CHANCE: &str = r#"a probability such as "0.5%""#;

/// Numbers of packets in a file.
const MOST: u64 = 1 << 40;

/// What Linux hands to a device at once, at most.
const GSO_MAX: Size = Size(64 << 10);

/// `"1%"` is short for `{ model = "random", p = "1%" }`, and `"0%"` is no loss, as `"none"` is.
impl Field for Loss {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        if !matches!(node.value, Value::Table(_)) {
            let p = Probability::read(cx, node, key)?;
            let model = LossModel::Random { p, correlation: Probability::ZERO };
            return Ok(Self { model, unit: LossUnit::Packet, burst: GSO_MAX, gap: Duration::ZERO, ecn: false });
        }
        let model = tag(cx, node, key, "model", Model::ALL, None)?;
        let mut section = Section::open(cx, node, key, keys(model))?;
        let loss = Self {
            model: read_model(&mut section, model)?,
            unit: section.get("unit", "packet")?,
            burst: section.get_if("burst", GSO_MAX.to_string(), "at least 1514B", |size: &Size| size.0 >= 1514)?,
            gap: section.get("gap", "0ns")?,
            ecn: section.get("ecn", false)?,
        };
        Ok(loss)
    }
}

fn keys(model: Model) -> &'static [&'static str] {
    match model {
        Model::Random => &["model", "p", "correlation", "unit", "burst", "gap", "ecn"],
        Model::GilbertElliott => &["model", "p", "r", "loss_bad", "loss_good", "unit", "burst", "gap", "ecn"],
        Model::FourState => &["model", "p13", "p31", "p32", "p23", "p14", "unit", "burst", "gap", "ecn"],
        Model::Periodic => &["model", "every", "length", "first", "unit", "burst", "gap", "ecn"],
        Model::List => &["model", "packets", "unit", "burst", "gap", "ecn"],
        Model::Trace => &["model", "file", "unit", "burst", "gap", "ecn"],
    }
}

fn read_model(section: &mut Section<'_>, model: Model) -> Result<LossModel, ScenarioError> {
    Ok(match model {
        Model::Random => {
            LossModel::Random { p: section.require("p", CHANCE)?, correlation: section.get("correlation", "0%")? }
        }
        Model::GilbertElliott => LossModel::GilbertElliott {
            p: section.require("p", CHANCE)?,
            r: section.require("r", CHANCE)?,
            loss_bad: section.get("loss_bad", "100%")?,
            loss_good: section.get("loss_good", "0%")?,
        },
        Model::FourState => read_four_state(section)?,
        Model::Periodic => {
            let expected = "the distance of losses in packets";
            if !section.has("every") {
                return Err(section.invalid("every", expected));
            }
            let every = section.count("every", 1, 1..=MOST)?;
            LossModel::Periodic {
                every,
                length: section.count("length", 1, 1..=every)?,
                first: section.count("first", 1, 1..=MOST)?,
            }
        }
        Model::List => LossModel::List { packets: read_list(section)? },
        Model::Trace => LossModel::Trace { file: section.file("file")? },
    })
}

fn read_four_state(section: &mut Section<'_>) -> Result<LossModel, ScenarioError> {
    let (p13, p31): (Probability, Probability) = (section.require("p13", CHANCE)?, section.require("p31", CHANCE)?);
    let (p14, p32): (Probability, Probability) = (section.get("p14", "0%")?, section.get("p32", "0%")?);
    for (sum, key) in [(p13.0 + p14.0, "p14"), (p31.0 + p32.0, "p32")] {
        if sum > Probability::ONE.0 {
            return Err(section.invalid(key, "so small that all ways out of its state sum to 100% at most"));
        }
    }
    Ok(LossModel::FourState { p13, p31, p32, p23: section.get("p23", "100%")?, p14 })
}

fn read_list(section: &mut Section<'_>) -> Result<Vec<u64>, ScenarioError> {
    let packets: Vec<u64> = section.require("packets", "the numbers of the lost packets, from 1")?;
    if packets.first().is_none_or(|first| *first > 0) && packets.is_sorted_by(|left, right| left < right) {
        Ok(packets)
    } else {
        Err(section.invalid("packets", "numbers from 1 on in ascending order"))
    }
}

/// A chance with a correlation: `"1%"` or `{ p = "1%", correlation = "25%" }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chance {
    /// Probability for each packet.
    pub p: Probability,
    /// Correlation with the packet before.
    pub correlation: Probability,
}

impl Field for Chance {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        if !matches!(node.value, Value::Table(_)) {
            return Ok(Self { p: Probability::read(cx, node, key)?, correlation: Probability::ZERO });
        }
        let mut section = Section::open(cx, node, key, &["p", "correlation"])?;
        Ok(Self {
            p: section.require("p", r#"a probability such as "0.5%""#)?,
            correlation: section.get("correlation", "0%")?,
        })
    }
}

/// netem's reordering: some packets skip the delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// Probability that a packet is sent at once.
    pub p: Probability,
    /// Correlation with the packet before.
    pub correlation: Probability,
    /// Only every `gap`-th packet may be sent at once; 1: any.
    pub gap: u64,
}

impl Field for Reorder {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        if !matches!(node.value, Value::Table(_)) {
            return Ok(Self { p: Probability::read(cx, node, key)?, correlation: Probability::ZERO, gap: 1 });
        }
        let mut section = Section::open(cx, node, key, &["p", "correlation", "gap"])?;
        Ok(Self {
            p: section.require("p", r#"a probability such as "25%""#)?,
            correlation: section.get("correlation", "0%")?,
            gap: section.count("gap", 1, 1..=u64::from(u32::MAX))?,
        })
    }
}
