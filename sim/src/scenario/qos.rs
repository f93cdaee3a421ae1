//! How the classes of traffic share what hosts send.

use mptcp_core::{ClassShare, Qos, TrafficClass};

use super::error::ScenarioError;
use super::field::{Field, NONE, read_word};
use super::section::{Context, Section};
use super::tree::Node;
use super::units::Rate;

/// Reads `[qos]`: the shares of the classes at every host, if they are wanted.
pub(crate) fn read_qos(root: &mut Section<'_>) -> Result<Option<Qos>, ScenarioError> {
    let names = TrafficClass::ALL.map(TrafficClass::name);
    let keys: Vec<&str> = ["enabled"].into_iter().chain(names).collect();
    let mut section = root.block("qos", &keys)?;
    let enabled: bool = section.get("enabled", false)?;
    let default = Qos::default();
    let mut share = |class| read_share(&mut section, class, default.of(class));
    let qos = Qos {
        latency: share(TrafficClass::Latency)?,
        bulk: share(TrafficClass::Bulk)?,
        background: share(TrafficClass::Background)?,
    };
    // Ranges are checked as they are read, so it can only be the order of the weights.
    let order = qos.validate().map_err(|error| {
        let place = section.place.clone();
        section.cx.contradiction(&place, "qos", error.to_string())
    });
    order.map(|()| enabled.then_some(qos))
}

fn read_share(
    section: &mut Section<'_>,
    class: TrafficClass,
    default: ClassShare,
) -> Result<ClassShare, ScenarioError> {
    let least = Qos::MIN_LIMIT * 8;
    let is_steady = |limit: &Option<Rate>| limit.is_none_or(|limit| limit.0 >= least);
    let mut share = section.block(class.name(), &["weight", "limit"])?;
    let weight = share.count("weight", default.weight.into(), 1..=Qos::MAX_WEIGHT.into())?;
    let limit = share.get_if("limit", NONE, r#"a rate from 8kbit up, or "none""#, is_steady)?;
    Ok(ClassShare {
        // Within the range of the count.
        weight: u32::try_from(weight).unwrap_or(Qos::MAX_WEIGHT),
        limit: limit.map(|limit| limit.0 / 8),
    })
}

impl Field for TrafficClass {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        read_word(cx, node, key, &Self::ALL)
    }
}
