//! Hosts and routers.

use super::error::ScenarioError;
use super::field::{Field, words};
use super::section::{Context, Section, is_name, mark_block};
use super::tree::{Node, Table, Value};
use super::units::{Picoseconds, Rate, Size};

/// A host: a whole stack and the machine beneath it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The TCP that it runs.
    pub stack: StackChoice,
    /// Congestion control of every subflow and TCP connection.
    pub congestion: Congestion,
    /// It asks for explicit congestion notification (RFC 3168) when it connects; it answers whoever asks in any case.
    pub ecn: bool,
    /// Bytes that a connection's send queue holds at most.
    pub send_buffer: Size,
    /// Bytes that a connection's receive buffer holds at most.
    pub recv_buffer: Size,
    /// Cost of its processor.
    pub cpu: Cpu,
    /// Its network interfaces.
    pub nic: Nic,
}

words! {
    /// TCP implementations.
    pub enum StackChoice {
        /// The smoltcp plug-in.
        Smoltcp = "smoltcp",
        /// The project's own engine.
        Native = "native",
    }
}

words! {
    /// Congestion controls, each subflow on its own.
    pub enum Congestion {
        /// RFC 9438.
        Cubic = "cubic",
        /// RFC 5681.
        Reno = "reno",
        /// RFC 8257; it asks for explicit congestion notification.
        Dctcp = "dctcp",
        /// draft-ietf-ccwg-bbr.
        Bbr = "bbr",
        /// Sends what the peer's window allows.
        None = "none",
    }
}

/// `[tcp]`: what hosts do that do not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The TCP that they run.
    pub stack: StackChoice,
    /// Congestion control.
    pub congestion: Congestion,
    /// Whether they ask for explicit congestion notification.
    pub ecn: bool,
}

impl Tcp {
    /// What the stack must be or the other keys must not say; `None` if they go together.
    fn contradiction(self) -> Option<&'static str> {
        match (self.stack, self.congestion) {
            (StackChoice::Smoltcp, Congestion::Dctcp | Congestion::Bbr) => {
                Some(r#""cubic", "reno" or "none" with stack = "smoltcp""#)
            }
            (StackChoice::Native, Congestion::None) => {
                Some(r#""cubic", "reno", "dctcp" or "bbr" with stack = "native""#)
            }
            _ => None,
        }
    }
}

/// What a packet costs a host. All zero: the processor is infinitely fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// For each frame handed in or out, whatever its size.
    pub per_packet: Picoseconds,
    /// For each byte of it.
    pub per_byte: Picoseconds,
}

/// The network interfaces of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nic {
    /// How fast each sends; `None`: as fast as its link.
    pub rate: Option<Rate>,
    /// Packets that wait in each, 1-65536.
    pub ring: u64,
    /// It cuts segments of up to 64 KiB itself, so that the stack's cost is per burst.
    pub tso: bool,
}

/// A router: it forwards between its links by the shortest way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// Time that each packet takes through it.
    pub forwarding: Picoseconds,
    /// What it does about packets that are too long for the next link and must not be cut.
    pub too_big: TooBig,
}

words! {
    /// What becomes known of a packet that a router cannot pass on, as it is too long for the next link. It is dropped either way.
    pub enum TooBig {
        /// The router tells its sender (RFC 1191 section 4, RFC 8201 section 4).
        Report = "report",
        /// Nobody is told: a black hole (RFC 2923 section 2.1).
        Silent = "silent",
    }
}

/// Reads what holds for all hosts that say nothing else.
pub(crate) fn read_tcp(root: &mut Section<'_>) -> Result<Tcp, ScenarioError> {
    let mut section = root.block("tcp", &["stack", "congestion", "ecn"])?;
    let tcp = Tcp {
        stack: section.get("stack", "native")?,
        congestion: section.get("congestion", "cubic")?,
        ecn: section.get("ecn", false)?,
    };
    check_tcp(&section, tcp)?;
    Ok(tcp)
}

/// Reads the hosts.
pub(crate) fn read_hosts(root: &mut Section<'_>, tcp: Tcp) -> Result<Vec<Host>, ScenarioError> {
    named(root, "hosts", |cx, name, node, path| read_host(cx, name, node, path, tcp))
}

/// What one stack cannot do must not be asked of it.
fn check_tcp(section: &Section<'_>, tcp: Tcp) -> Result<(), ScenarioError> {
    if let Some(expected) = tcp.contradiction() {
        return Err(if section.has("congestion") {
            section.invalid("congestion", expected)
        } else {
            section.invalid("stack", format!("another with congestion = \"{}\", which [tcp] says", tcp.congestion))
        });
    }
    if tcp.ecn && tcp.stack == StackChoice::Smoltcp {
        return Err(if section.has("ecn") {
            section.invalid("ecn", r#"false with stack = "smoltcp""#)
        } else {
            section.invalid("stack", r#""native" with ecn = true, which [tcp] says"#)
        });
    }
    Ok(())
}

/// Reads the routers.
pub(crate) fn read_routers(root: &mut Section<'_>) -> Result<Vec<Router>, ScenarioError> {
    named(root, "routers", |cx, name, node, path| {
        let mut section = Section::open(cx, node, path, &["forwarding", "too_big"])?;
        let forwarding = section.get("forwarding", "0ns")?;
        Ok(Router { name: name.to_owned(), forwarding, too_big: section.get("too_big", "report")? })
    })
}

/// Reads the tables of a table, each of which has a name.
pub(crate) fn named<T>(
    root: &mut Section<'_>,
    key: &str,
    read: impl Fn(&mut Context, &str, &mut Node, &str) -> Result<T, ScenarioError>,
) -> Result<Vec<T>, ScenarioError> {
    let Some(node) = root.table.get_mut(key) else { return Ok(Vec::new()) };
    mark_block(node);
    let Value::Table(tables) = &mut node.value else {
        return Err(root.cx.invalid(node, key, format!("tables, each under [{key}.NAME]")));
    };
    let mut all = Vec::with_capacity(tables.entries.len());
    for entry in &mut tables.entries {
        let path = format!("{key}.{}", entry.key);
        if !is_name(&entry.key) {
            return Err(root.cx.contradiction(&entry.place, &path, "must be named by letters, digits, '-' and '_'"));
        }
        mark_block(&mut entry.node);
        all.push(read(root.cx, &entry.key, &mut entry.node, &path)?);
    }
    Ok(all)
}

fn read_host(cx: &mut Context, name: &str, node: &mut Node, path: &str, default: Tcp) -> Result<Host, ScenarioError> {
    let keys = ["stack", "congestion", "ecn", "send_buffer", "recv_buffer", "cpu", "nic"];
    let mut section = Section::open(cx, node, path, &keys)?;
    let tcp = Tcp {
        stack: section.own("stack")?.unwrap_or(default.stack),
        congestion: section.own("congestion")?.unwrap_or(default.congestion),
        ecn: section.own("ecn")?.unwrap_or(default.ecn),
    };
    check_tcp(&section, tcp)?;
    let buffer = |size: &Size| (4096..=1 << 30).contains(&size.0);
    let expected = "from 4KiB to 1GiB";
    let host = Host {
        name: name.to_owned(),
        stack: tcp.stack,
        congestion: tcp.congestion,
        ecn: tcp.ecn,
        send_buffer: section.get_if("send_buffer", "4MiB", expected, buffer)?,
        recv_buffer: section.get_if("recv_buffer", "4MiB", expected, buffer)?,
        cpu: section.get("cpu", Value::Table(Table::default()))?,
        nic: section.get("nic", Value::Table(Table::default()))?,
    };
    if host.send_buffer < host.recv_buffer {
        return Err(section.invalid("send_buffer", "at least recv_buffer (RFC 8684 section 3.3.5)"));
    }
    Ok(host)
}

impl Field for Cpu {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let mut section = Section::open(cx, node, key, &["per_packet", "per_byte"])?;
        Ok(Self { per_packet: section.get("per_packet", "0ns")?, per_byte: section.get("per_byte", "0ns")? })
    }
}

impl Field for Nic {
    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let mut section = Section::open(cx, node, key, &["rate", "ring", "tso"])?;
        let above_zero = |rate: &Option<Rate>| rate.is_none_or(|rate| rate.0 > 0);
        Ok(Self {
            rate: section.get_if("rate", super::field::NONE, r#"above 0, or "none""#, above_zero)?,
            ring: section.count("ring", 1024, 1..=65_536)?,
            tso: section.get("tso", false)?,
        })
    }
}
