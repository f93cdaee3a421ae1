//! What is asked and answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tcp_adapter::TcpInfo;

use crate::{ConnReport, Endpoint, EndpointFlags, EndpointId, SubflowInfo};

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The connections with their subflows.
    Connections,
    /// The endpoints of the path manager.
    Endpoints,
    /// The counters, by the names that Linux gives them.
    Counters,
    /// Add an endpoint.
    AddEndpoint {
        /// One of the interfaces' addresses.
        addr: IpAddr,
        /// Port to announce.
        #[serde(default)]
        port: Option<u16>,
        /// Announce it.
        #[serde(default)]
        signal: bool,
        /// Open subflows from it.
        #[serde(default)]
        subflow: bool,
        /// As a backup.
        #[serde(default)]
        backup: bool,
        /// To every address of the peer.
        #[serde(default)]
        fullmesh: bool,
    },
    /// Remove the endpoint with this number, and its subflows.
    RemoveEndpoint {
        /// Its number.
        id: u8,
    },
    /// Make an endpoint and its subflows a backup, or a regular one again.
    SetBackup {
        /// Its number.
        id: u8,
        /// Whether it is to be a backup.
        backup: bool,
    },
    /// Open a subflow.
    CreateSubflow {
        /// Handle of the connection.
        connection: String,
        /// Source address.
        local: IpAddr,
        /// Destination.
        remote: SocketAddr,
        /// As a backup.
        #[serde(default)]
        backup: bool,
    },
    /// Have another scheduler spread the data of a connection over its subflows.
    SetScheduler {
        /// Handle of the connection.
        connection: String,
        /// Name of the scheduler.
        scheduler: String,
    },
    /// Close a subflow.
    CloseSubflow {
        /// Handle of the connection.
        connection: String,
        /// Number of the subflow.
        subflow: u32,
    },
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done.
    Done,
    /// It is not done, for this reason.
    Error(String),
    /// To [`Request::Connections`].
    Connections(Vec<Connection>),
    /// To [`Request::Endpoints`].
    Endpoints(Vec<EndpointEntry>),
    /// To [`Request::Counters`].
    Counters(BTreeMap<String, u64>),
    /// To [`Request::AddEndpoint`]: its number.
    EndpointAdded(u8),
    /// To [`Request::CreateSubflow`]: its number.
    SubflowCreated(u32),
}

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

impl From<(EndpointId, &Endpoint)> for EndpointEntry {
    fn from((EndpointId(id), endpoint): (EndpointId, &Endpoint)) -> Self {
        let EndpointFlags { signal, subflow, backup, fullmesh } = endpoint.flags;
        Self { id, addr: endpoint.addr, port: endpoint.port, signal, subflow, backup, fullmesh }
    }
}
