//! What a scenario says of itself, of Multipath TCP, of the run and of the report.

use std::time::Duration;

use mptcp_core::{Coupling, SchedulerKind};

use super::error::ScenarioError;
use super::field::{Field, NONE, Text, read_word, words};
use super::metric::Metric;
use super::section::{Context, Section};
use super::tree::{Node, Value};

/// Connections whose series a run keeps, the first ones; of the others there is the last state only.
pub const MOST_SERIES: usize = 64;

/// `[meta]`: what people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Title.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// What was assumed where a source says nothing.
    pub assumptions: Vec<String>,
}

/// `[mptcp]`: Multipath TCP at both hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mptcp {
    /// Packet scheduler.
    pub scheduler: SchedulerKind,
    /// How the congestion windows of a connection's subflows depend on each other.
    pub coupling: Coupling,
    /// DSS checksums.
    pub checksum: bool,
    /// Each segment declares its mapping, as the kernel's do.
    pub map_every_segment: bool,
    /// Subflows besides the first one, 0-64.
    pub subflows: u8,
    /// Announced addresses of the peer that are acted on, 0-64.
    pub add_addr_accepted: u8,
    /// Addresses that the path managers may use.
    pub endpoints: Endpoints,
}

/// Addresses that the path managers may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// Every address of the host that connects is for subflows; every one of the host that listens, if it has several,
    /// is announced.
    Auto,
    /// These only.
    List(Vec<EndpointSpec>),
}

/// An address that a path manager may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// The host.
    pub host: String,
    /// The link whose address is meant.
    pub link: String,
    /// What it is for.
    pub flags: Vec<EndpointFlag>,
}

words! {
    /// What an endpoint is for; the words are those of `ip mptcp endpoint`.
    pub enum EndpointFlag {
        /// It is announced.
        Signal = "signal",
        /// Subflows start from it.
        Subflow = "subflow",
        /// Its subflows carry data only if no others can.
        Backup = "backup",
        /// With `subflow`: a subflow to every address of the peer.
        Fullmesh = "fullmesh",
        /// It answers one announcement of the peer with a subflow.
        Laminar = "laminar",
    }
}

/// `[run]`: how long, and with which random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Simulated time after which everything stops; `None`: when all traffic has ended.
    pub time: Option<Duration>,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Seeds of a sweep, from `seed` up.
    pub seeds: u64,
    /// Time at the start that results leave out.
    pub warmup: Duration,
}

/// `[report]`: what the report shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Distance of the points of a series.
    pub interval: Duration,
    /// Metrics of the summary, in this order.
    pub metrics: Vec<Metric>,
    /// Heat maps over two axes of a sweep.
    pub heatmaps: Vec<Heatmap>,
}

/// A heat map of a metric over two axes of a sweep; over the others it shows the median.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heatmap {
    /// Axis from left to right.
    pub x: String,
    /// Axis from bottom to top.
    pub y: String,
    /// What the colour shows.
    pub metric: Metric,
}

/// Seeds of one file.
const MOST_SEEDS: u64 = 1_000_000;

pub(crate) fn read_meta(root: &mut Section<'_>) -> Result<Meta, ScenarioError> {
    let default = root.cx.file.clone();
    let default = default.rsplit('/').next().unwrap_or_default().trim_end_matches(".toml").to_owned();
    let mut meta = root.block("meta", &["name", "description", "assumptions"])?;
    let Text(name) = meta.get("name", default)?;
    let Text(description) = meta.get("description", "")?;
    let assumptions: Vec<Text> = meta.get("assumptions", Vec::new())?;
    Ok(Meta { name, description, assumptions: assumptions.into_iter().map(|Text(text)| text).collect() })
}

pub(crate) fn read_mptcp(root: &mut Section<'_>) -> Result<Mptcp, ScenarioError> {
    let keys = ["scheduler", "coupling", "checksum", "map_every_segment", "subflows", "add_addr_accepted", "endpoints"];
    let mut mptcp = root.block("mptcp", &keys)?;
    // The range of a count is within that of the type.
    let small = |count: u64| u8::try_from(count).unwrap_or(u8::MAX);
    Ok(Mptcp {
        scheduler: mptcp.get("scheduler", SchedulerKind::default().to_string())?,
        coupling: mptcp.get("coupling", Coupling::default().name())?,
        checksum: mptcp.get("checksum", false)?,
        map_every_segment: mptcp.get("map_every_segment", false)?,
        subflows: small(mptcp.count("subflows", 8, 0..=64)?),
        add_addr_accepted: small(mptcp.count("add_addr_accepted", 8, 0..=64)?),
        endpoints: mptcp.get("endpoints", "auto")?,
    })
}

impl Field for SchedulerKind {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        read_word(cx, node, key, &Self::ALL)
    }
}

impl Field for Coupling {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        read_word(cx, node, key, &Self::ALL)
    }
}

impl Field for Endpoints {
    const LIST: bool = true;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        match &node.value {
            Value::Text(text) if text == "auto" => Ok(Self::Auto),
            Value::List(_) => Vec::read(cx, node, key).map(Self::List),
            _ => {
                let expected = r#""auto" or a list such as [{ host = "client", link = "p2", flags = ["subflow"] }]"#;
                Err(cx.invalid(node, key, expected))
            }
        }
    }
}

impl Field for EndpointSpec {
    const SWEPT: bool = false;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let mut section = Section::open(cx, node, key, &["host", "link", "flags"])?;
        let Text(host) = section.require("host", "the host that has the address")?;
        let Text(link) = section.require("link", "the link whose address is meant")?;
        let flags: Vec<EndpointFlag> = section.require("flags", "what it is for")?;
        let has = |flag| flags.contains(&flag);
        if has(EndpointFlag::Fullmesh) && (has(EndpointFlag::Signal) || !has(EndpointFlag::Subflow)) {
            return Err(section.invalid("flags", "'fullmesh' only with 'subflow', and without 'signal'"));
        }
        Ok(Self { host, link, flags })
    }
}

pub(crate) fn read_run(root: &mut Section<'_>) -> Result<Run, ScenarioError> {
    let mut run = root.block("run", &["time", "seed", "seeds", "warmup"])?;
    let above_zero = |time: &Option<Duration>| time.is_none_or(|time| !time.is_zero());
    let time = run.get_if("time", NONE, r#"a time above 0, or "none""#, above_zero)?;
    let seeds = run.count("seeds", 1, 1..=MOST_SEEDS)?;
    let seed = run.count("seed", 1, 0..=i64::MAX.unsigned_abs() - MOST_SEEDS)?;
    let warmup: Duration = run.get("warmup", "0s")?;
    if time.is_some_and(|time| warmup >= time) {
        return Err(run.invalid("warmup", "less than 'time'"));
    }
    Ok(Run { time, seed, seeds, warmup })
}

pub(crate) fn read_report(root: &mut Section<'_>) -> Result<Report, ScenarioError> {
    let mut report = root.block("report", &["interval", "metrics", "heatmaps"])?;
    let default = ["goodput", "completion", "retransmissions", "drops"].map(str::to_owned).to_vec();
    Ok(Report {
        interval: report.get_if("interval", "100ms", "a time above 0", |time: &Duration| !time.is_zero())?,
        metrics: report.get("metrics", default)?,
        heatmaps: report.get("heatmaps", Vec::new())?,
    })
}

impl Field for Heatmap {
    const SWEPT: bool = false;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let mut section = Section::open(cx, node, key, &["x", "y", "metric"])?;
        let Text(x) = section.require("x", "the axis from left to right")?;
        let Text(y) = section.require("y", "the axis from bottom to top")?;
        Ok(Self { x, y, metric: section.get("metric", "goodput")? })
    }
}
