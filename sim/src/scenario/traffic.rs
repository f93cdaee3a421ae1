//! What applications do.

use std::time::Duration;

use mptcp_core::TrafficClass;

use super::error::ScenarioError;
use super::field::{NONE, Text, tag, words};
use super::file::NamedFile;
use super::section::{Context, Section, is_name};
use super::tree::Node;
use super::units::{Rate, Share, Size};

/// What one application does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Its name, by which expectations and reports mean it.
    pub name: String,
    /// The host that connects.
    pub from: String,
    /// The host that listens.
    pub to: String,
    /// How bytes are carried.
    pub transport: Transport,
    /// Links at `from` that it may use, the first one first; empty: all, in the order of the file. Multipath TCP begins on the first one; which others it uses
    /// is up to `endpoints` and limits of `[mptcp]`.
    pub paths: Vec<String>,
    /// Connections at the same time; see [`Scenario::connections_of`](super::Scenario::connections_of).
    pub connections: u64,
    /// When it starts.
    pub start: Duration,
    /// When it stops if it has not ended; `None`: with the run.
    pub time: Option<Duration>,
    /// What its bytes are to `[qos]` and to schedulers.
    pub class: TrafficClass,
    /// What it sends.
    pub work: Work,
}

words! {
    /// How bytes are carried.
    pub enum Transport {
        /// Multipath TCP: from the first path on over what `[mptcp]` lets it use.
        Mptcp = "mptcp",
        /// TCP over the first path.
        Tcp = "tcp",
        /// TCP, its connections one after the other on the paths in turn.
        TcpBalanced = "tcp-balanced",
        /// TCP over a bond that sends packets on the paths in turn.
        BondRoundRobin = "bond-rr",
        /// TCP over a bond that chooses a path by the hash of addresses and ports.
        BondHash = "bond-hash",
        /// UDP over the first path: only for paced cross traffic.
        Udp = "udp",
    }
}

words! {
    /// Which way the bytes go.
    pub enum Flow {
        /// From the host that connects.
        Up = "up",
        /// To the host that connects.
        Down = "down",
        /// Both ways.
        Both = "both",
    }
}

/// What an application sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// As much as fits.
    Bulk {
        /// Which way.
        direction: Flow,
        /// Bytes of each connection and direction, after which it closes; `None`: no end.
        bytes: Option<Size>,
        /// Bytes that go the other way at the same time; not with [`Flow::Both`].
        back: Size,
    },
    /// Requests and their responses.
    Request {
        /// Bytes of a request.
        request: Size,
        /// Bytes of a response.
        response: Size,
        /// Outstanding requests on each connection.
        depth: u64,
        /// Pause between a response and the request that takes its place.
        think: Duration,
        /// Requests of each connection; `None`: no end.
        count: Option<u64>,
    },
    /// An application with a pace of its own.
    Paced {
        /// Which way.
        direction: Flow,
        /// Bytes written at once.
        size: Size,
        /// The rate of its writes.
        rate: Rate,
        /// Phases of activity and silence; `None`: always active.
        phases: Option<Phases>,
    },
    /// Messages that are worthless after their deadline.
    Message {
        /// Which way.
        direction: Flow,
        /// Bytes of a message.
        size: Size,
        /// From the start of one to the start of the next.
        interval: Duration,
        /// From the writing of a message to its complete delivery.
        deadline: Duration,
        /// Messages of each connection; `None`: no end.
        count: Option<u64>,
    },
    /// Writes at the times that a file says: `milliseconds bytes` a line.
    Trace {
        /// Which way.
        direction: Flow,
        /// The file.
        file: NamedFile,
    },
    /// NVMe over TCP: each connection is an I/O queue, or a job with a queue on each path if there is a policy.
    Nvme(BlockLoad),
}

/// What a host does with a disk, in the words of fio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockLoad {
    /// Bytes that each command reads or writes.
    pub block: Size,
    /// Outstanding commands of each connection.
    pub depth: u64,
    /// Reads as a share of all commands.
    pub read: Share,
    /// Where commands go to.
    pub pattern: AccessPattern,
    /// Bytes of the disk.
    pub size: Size,
    /// Commands of each connection; `None`: no end.
    pub count: Option<u64>,
    /// Whether the disk is behind one controller, or behind one on each path, and which of these a command goes to.
    pub policy: PathPolicy,
    /// How long a command may take before the host gives its controller up, if there is another; `None`: as long as the transport tries.
    pub timeout: Option<Duration>,
}

words! {
    /// The policies of Linux' native multipath: which of several controllers a command goes to.
    pub enum PathPolicy {
        /// There is one controller only.
        None = "none",
        /// That on the nearest path, which is the first one, until it fails.
        Numa = "numa",
        /// One after the other.
        RoundRobin = "round-robin",
        /// That with the fewest commands outstanding.
        QueueDepth = "queue-depth",
    }
}

words! {
    /// Where the commands for a disk go to.
    pub enum AccessPattern {
        /// Anywhere.
        Random = "random",
        /// One after the other.
        Sequential = "sequential",
    }
}

/// Phases of activity and silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Mean length of activity.
    pub on: Duration,
    /// Mean length of silence.
    pub off: Duration,
    /// How the lengths are distributed.
    pub distribution: PhaseDistribution,
}

words! {
    /// How the lengths of phases are distributed.
    pub enum PhaseDistribution {
        /// All the same.
        Fixed = "fixed",
        /// Exponential.
        Exponential = "exponential",
        /// Pareto with the shape 1.5, as is usual for traffic on the web.
        Pareto = "pareto",
    }
}

words! {
    /// The kinds of work by name.
    pub(crate) enum Kind {
        /// [`Work::Bulk`].
        Bulk = "bulk",
        /// [`Work::Request`].
        Request = "request",
        /// [`Work::Paced`].
        Paced = "paced",
        /// [`Work::Message`].
        Message = "message",
        /// [`Work::Trace`].
        Trace = "trace",
        /// [`Work::Nvme`].
        Nvme = "nvme",
    }
}

const COMMON_KEYS: [&str; 9] = ["name", "kind", "from", "to", "transport", "paths", "connections", "start", "time"];

fn keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bulk => &["direction", "bytes", "back", "class"],
        Kind::Request => &["request", "response", "depth", "think", "count", "class"],
        Kind::Paced => &["direction", "size", "rate", "phases", "class"],
        Kind::Message => &["direction", "size", "interval", "deadline", "count", "class"],
        Kind::Trace => &["direction", "file", "class"],
        Kind::Nvme => &["block", "depth", "read", "pattern", "size", "count", "policy", "timeout"],
    }
}

/// Reads one `[[traffic]]`.
pub(crate) fn read_traffic(cx: &mut Context, node: &mut Node, path: &str) -> Result<Traffic, ScenarioError> {
    let kind = tag(cx, node, path, "kind", Kind::ALL, Some(Kind::Bulk))?;
    let keys: Vec<&str> = COMMON_KEYS.iter().chain(keys(kind)).copied().collect();
    let mut section = Section::open(cx, node, path, &keys)?;
    let default_name = path.rsplit('.').next().unwrap_or("0");
    let default_name = if section.has("name") { String::new() } else { format!("{kind}-{default_name}") };
    let Text(name) = section.get("name", default_name)?;
    if !is_name(&name) {
        return Err(section.invalid("name", "a name of letters, digits, '-' and '_'"));
    }
    section.get::<Text>("kind", kind.to_string())?;
    let (Text(from), Text(to)) = (section.get("from", "client")?, section.get("to", "server")?);
    let transport = section.get("transport", "mptcp")?;
    if transport == Transport::Udp && kind != Kind::Paced {
        return Err(section.invalid("transport", r#"another than "udp", which is for kind = "paced" only"#));
    }
    let paths: Vec<Text> = section.get("paths", Vec::new())?;
    let paths = paths.into_iter().map(|Text(path)| path).collect();
    let above_zero = |time: &Option<Duration>| time.is_none_or(|time| !time.is_zero());
    Ok(Traffic {
        name,
        from,
        to,
        transport,
        paths,
        connections: section.count("connections", 1, 1..=1_000_000)?,
        start: section.get("start", "0s")?,
        time: section.get_if("time", NONE, r#"a time above 0, or "none""#, above_zero)?,
        class: read_class(&mut section, kind, transport)?,
        work: read_work(&mut section, kind, transport)?,
    })
}

/// The ends of NVMe say of each PDU what it is, and datagrams are not the stack's.
fn read_class(section: &mut Section<'_>, kind: Kind, transport: Transport) -> Result<TrafficClass, ScenarioError> {
    if kind == Kind::Nvme {
        return Ok(TrafficClass::default());
    }
    let class = section.get("class", TrafficClass::default().name())?;
    if transport == Transport::Udp && class != TrafficClass::default() {
        return Err(section.invalid("class", r#""bulk" with transport = "udp", which has no classes"#));
    }
    Ok(class)
}

fn read_work(section: &mut Section<'_>, kind: Kind, transport: Transport) -> Result<Work, ScenarioError> {
    Ok(match kind {
        Kind::Bulk => {
            let above_zero = |bytes: &Option<Size>| bytes.is_none_or(|bytes| bytes.0 > 0);
            let direction = section.get("direction", "up")?;
            let bytes = section.get_if("bytes", NONE, r#"a size above 0, or "none""#, above_zero)?;
            let back = section.get("back", "0B")?;
            if direction == Flow::Both && back > Size(0) {
                return Err(section.invalid("back", r#"0B with direction = "both""#));
            }
            Work::Bulk { direction, bytes, back }
        }
        Kind::Request => Work::Request {
            request: size(section, "request", Some("100B"))?,
            response: size(section, "response", Some("64KiB"))?,
            depth: section.count("depth", 1, 1..=1_000_000)?,
            think: section.get("think", "0ms")?,
            count: count(section)?,
        },
        Kind::Paced => {
            let rate: Rate = section.require("rate", "the rate of its writes")?;
            if rate.0 == 0 {
                return Err(section.invalid("rate", "above 0"));
            }
            Work::Paced {
                direction: section.get("direction", "up")?,
                size: size(section, "size", Some("1000B"))?,
                rate,
                phases: section.optional("phases")?,
            }
        }
        Kind::Message => {
            let interval: Duration = section.require("interval", "the time from one message to the next")?;
            if interval.is_zero() {
                return Err(section.invalid("interval", "a time above 0"));
            }
            Work::Message {
                direction: section.get("direction", "up")?,
                size: size(section, "size", None)?,
                interval,
                deadline: section.require("deadline", "the time after which a message is worthless")?,
                count: count(section)?,
            }
        }
        Kind::Trace => Work::Trace { direction: section.get("direction", "up")?, file: section.file("file")? },
        Kind::Nvme => Work::Nvme(read_block_load(section, transport)?),
    })
}

fn read_block_load(section: &mut Section<'_>, transport: Transport) -> Result<BlockLoad, ScenarioError> {
    let is_block = |size: &Size| size.0.is_multiple_of(512) && (512..=32 << 20).contains(&size.0);
    let is_share = |share: &Share| (0..=1_000_000_000).contains(&share.0);
    let block: Size = section.get_if("block", "4KiB", "a multiple of 512 bytes, from 512B to 32MiB", is_block)?;
    let is_disk = |size: &Size| (block.0..=1 << 50).contains(&size.0);
    let above_zero = |time: &Option<Duration>| time.is_none_or(|time| !time.is_zero());
    let policy = section.get("policy", "none")?;
    if policy != PathPolicy::None && !matches!(transport, Transport::Tcp | Transport::Mptcp) {
        let expected = format!(r#""none" with transport = "{transport}": only "tcp" and "mptcp" connect to each path"#);
        return Err(section.invalid("policy", &expected));
    }
    Ok(BlockLoad {
        block,
        depth: section.count("depth", 32, 1..=4095)?,
        read: section.get_if("read", "100%", "a percentage from 0% to 100%", is_share)?,
        pattern: section.get("pattern", "random")?,
        size: section.get_if("size", "512MiB", "a size from that of a block to 1024TiB", is_disk)?,
        count: count(section)?,
        policy,
        timeout: section.get_if("timeout", NONE, r#"a time above 0, or "none""#, above_zero)?,
    })
}

fn size(section: &mut Section<'_>, key: &str, default: Option<&str>) -> Result<Size, ScenarioError> {
    match default {
        None if !section.has(key) => Err(section.invalid(key, "the bytes of each")),
        default => section.get_if(key, default.unwrap_or_default(), "a size above 0", |size: &Size| size.0 > 0),
    }
}

fn count(section: &mut Section<'_>) -> Result<Option<u64>, ScenarioError> {
    let at_least_one = |count: &Option<u64>| count.is_none_or(|count| count > 0);
    section.get_if("count", NONE, r#"at least 1, or "none""#, at_least_one)
}

impl Traffic {
    /// Whether each connection stands for one over each path.
    pub(crate) fn is_on_each_path(&self) -> bool {
        matches!(&self.work, Work::Nvme(load) if load.policy != PathPolicy::None)
    }
}

impl super::field::Field for Phases {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let mut section = Section::open(cx, node, key, &["on", "off", "distribution"])?;
        let phases = Self {
            on: section.require("on", "the mean length of activity")?,
            off: section.require("off", "the mean length of silence")?,
            distribution: section.get("distribution", "exponential")?,
        };
        if phases.on.is_zero() { Err(section.invalid("on", "a time above 0")) } else { Ok(phases) }
    }
}
