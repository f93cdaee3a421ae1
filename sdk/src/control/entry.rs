//! What there is, as it is told: connections, subflows, endpoints, interfaces, rules, black holes.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tcp_adapter::TcpInfo;

use crate::{ConnReport, Endpoint, EndpointFlags, EndpointId, SubflowInfo};

/// A connection; see [`ConnInfo`](crate::ConnInfo).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Handle, for other requests.
    pub id: String,
    /// How far it is.
    pub state: String,
    /// This end of the first subflow.
    pub local: SocketAddr,
    /// The other end of the first subflow.
    pub remote: SocketAddr,
    /// Token of this host.
    pub local_token: Option<u32>,
    /// Token of the peer.
    pub remote_token: Option<u32>,
    /// Why it runs as regular TCP; `None` with Multipath TCP.
    pub fallback: Option<String>,
    /// DSS checksums are in use.
    pub checksum: bool,
    /// Name of the scheduler.
    pub scheduler: String,
    /// How the congestion windows of its subflows depend on each other.
    #[serde(default)]
    pub coupling: String,
    /// Name of the strategy that says which subflows to open.
    #[serde(default)]
    pub path_strategy: String,
    /// Bytes given to a subflow at least once.
    pub bytes_sent: u64,
    /// Bytes that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Bytes received in order.
    pub bytes_received: u64,
    /// Bytes given to a second subflow.
    pub bytes_retransmitted: u64,
    /// Bytes that the peer's window allows.
    pub send_window: u64,
    /// Bytes that our window allows.
    pub recv_window: u64,
    /// The subflows that exist.
    pub subflows: Vec<Subflow>,
    /// The last subflows that are gone.
    pub past_subflows: Vec<Subflow>,
}

/// A subflow; see [`SubflowInfo`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subflow {
    /// Number within its connection.
    pub id: u32,
    /// How far it is.
    pub state: String,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Address ids of this and of the other end.
    pub addr_ids: (u8, u8),
    /// We ask the peer to use it only if nothing else works.
    pub backup: bool,
    /// The peer asks us to.
    pub backup_by_peer: bool,
    /// Payload bytes given to it.
    pub bytes_sent: u64,
    /// Payload bytes received on it.
    pub bytes_received: u64,
    /// Bytes among those sent that another subflow was given before.
    pub bytes_reinjected: u64,
    /// Smoothed round-trip time in microseconds, if known.
    pub srtt_us: Option<u64>,
    /// Name of the congestion control, if known.
    #[serde(default)]
    pub congestion: Option<String>,
    /// Congestion window in bytes, if known.
    pub cwnd: Option<u64>,
    /// Slow-start threshold in bytes, if there is one.
    #[serde(default)]
    pub ssthresh: Option<u64>,
    /// Rate in bytes per second at which segments leave, if they are paced.
    #[serde(default)]
    pub pacing_rate: Option<u64>,
    /// Rate in bytes per second at which the peer receives, if known.
    #[serde(default)]
    pub delivery_rate: Option<u64>,
    /// Bytes sent and not acknowledged.
    pub in_flight: u64,
    /// Segments sent again.
    pub retransmissions: u64,
}

/// An endpoint of the path manager; see [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointEntry {
    /// Its number, which is its address id on the wire.
    pub id: u8,
    /// Its address.
    pub addr: IpAddr,
    /// Port to announce.
    pub port: Option<u16>,
    /// It is announced.
    pub signal: bool,
    /// Subflows are opened from it.
    pub subflow: bool,
    /// As backups.
    pub backup: bool,
    /// To every address of the peer.
    pub fullmesh: bool,
    /// As the answer to one announcement.
    #[serde(default)]
    pub laminar: bool,
    /// Nobody has added it: a subflow uses its address all the same.
    #[serde(default)]
    pub implicit: bool,
    /// Name of the interface that its subflows leave by.
    #[serde(default)]
    pub interface: Option<String>,
    /// Subflows over each pair of addresses.
    #[serde(default = "one")]
    pub ndiffports: u8,
}

fn one() -> u8 {
    1
}

impl From<&ConnReport> for Connection {
    fn from(report: &ConnReport) -> Self {
        let info = &report.info;
        Self {
            id: report.id.to_string(),
            state: info.state.to_string(),
            local: info.local,
            remote: info.remote,
            local_token: info.local_token,
            remote_token: info.remote_token,
            fallback: info.fallback.map(|cause| cause.to_string()),
            checksum: info.checksum,
            scheduler: info.scheduler.to_owned(),
            coupling: info.coupling.to_string(),
            path_strategy: info.path_strategy.to_owned(),
            bytes_sent: info.bytes_sent,
            bytes_acked: info.bytes_acked,
            bytes_received: info.bytes_received,
            bytes_retransmitted: info.bytes_retransmitted,
            send_window: info.send_window,
            recv_window: info.recv_window,
            subflows: report.subflows.iter().map(Subflow::from).collect(),
            past_subflows: report.past_subflows.iter().map(Subflow::from).collect(),
        }
    }
}

impl From<&SubflowInfo> for Subflow {
    fn from(info: &SubflowInfo) -> Self {
        let tcp = info.tcp.as_ref();
        let micros = |info: &TcpInfo| info.srtt.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        Self {
            id: info.id.0,
            state: info.state.to_string(),
            local: info.local,
            remote: info.remote,
            addr_ids: (info.local_addr_id.0, info.remote_addr_id.0),
            backup: info.backup,
            backup_by_peer: info.backup_by_peer,
            bytes_sent: info.bytes_sent,
            bytes_received: info.bytes_received,
            bytes_reinjected: info.bytes_reinjected,
            srtt_us: tcp.and_then(micros),
            congestion: tcp.and_then(|tcp| tcp.congestion).map(str::to_owned),
            cwnd: tcp.and_then(|tcp| tcp.cwnd),
            ssthresh: tcp.and_then(|tcp| tcp.ssthresh),
            pacing_rate: tcp.and_then(|tcp| tcp.pacing_rate),
            delivery_rate: tcp.and_then(|tcp| tcp.delivery_rate),
            in_flight: tcp.map_or(0, |tcp| tcp.in_flight),
            retransmissions: tcp.map_or(0, |tcp| tcp.retransmissions),
        }
    }
}

impl EndpointEntry {
    /// An endpoint, whose interface has this name.
    pub(super) fn new(EndpointId(id): EndpointId, endpoint: &Endpoint, interface: Option<&str>) -> Self {
        let EndpointFlags { signal, subflow, backup, fullmesh, laminar, implicit } = endpoint.flags;
        Self {
            id,
            addr: endpoint.addr,
            port: endpoint.port,
            signal,
            subflow,
            backup,
            fullmesh,
            laminar,
            implicit,
            interface: interface.map(str::to_owned),
            ndiffports: endpoint.ndiffports.get(),
        }
    }
}

/// An interface; see [`Link`](crate::Link).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkEntry {
    /// Its name.
    pub interface: String,
    /// Its link works, for all that is known.
    pub up: bool,
    /// Its addresses, each with the prefix length.
    pub addrs: Vec<String>,
    /// The NUMA node of its device, if it has one.
    pub numa_node: Option<u32>,
}

/// A rule of the policy; see [`PathRule`](crate::PathRule).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleEntry {
    /// The rule, as it can be added.
    pub rule: String,
    /// Payload bytes that its paths have carried, if it limits any.
    pub used: Option<u64>,
}

/// A destination on whose way SYNs with MP_CAPABLE vanish; see [`Blackhole`](crate::Blackhole).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlackholeEntry {
    /// Its address; `None` for all.
    pub destination: Option<IpAddr>,
    /// Seconds until MPTCP is offered again.
    pub seconds: u64,
    /// Times in a row that it was found.
    pub times: u32,
}
