//! What is asked and answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::entry::{BlackholeEntry, Connection, EndpointEntry, LinkEntry, RuleEntry};
use super::event::EventEntry;

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
        /// As the answer to one announcement.
        #[serde(default)]
        laminar: bool,
        /// Name of the interface that its subflows leave by.
        #[serde(default)]
        interface: Option<String>,
        /// Subflows over each pair of addresses; `None` for one.
        #[serde(default)]
        ndiffports: Option<u8>,
    },
    /// The limits of a connection.
    Limits,
    /// Open one more interface, in words; see [`InterfaceSpec`](crate::InterfaceSpec). Not one with a descriptor.
    AddInterface {
        /// The interface.
        interface: String,
    },
    /// Set limits; what is not named stays.
    SetLimits {
        /// Subflows besides the first.
        #[serde(default)]
        subflows: Option<u8>,
        /// Announced addresses of the peer that are used.
        #[serde(default)]
        add_addr_accepted: Option<u8>,
    },
    /// The interfaces, and whether their links work.
    Links,
    /// Take a link down, or let it be up.
    SetLink {
        /// Name of the interface.
        interface: String,
        /// Whether it is to work.
        up: bool,
    },
    /// The rules of the policy.
    Policy,
    /// Add a rule at the end of the policy, in words; see [`rule_from_text`](super::rule_from_text).
    AddRule {
        /// The rule.
        rule: String,
    },
    /// Remove a rule of the policy, or all.
    RemoveRule {
        /// Its number, from 0; `None` removes all.
        rule: Option<usize>,
    },
    /// Prefer the interfaces of a NUMA node.
    SetNode {
        /// Which; `None` for none.
        node: Option<u32>,
    },
    /// The strategy of new connections.
    Strategy,
    /// Choose the strategy of new connections, or of one.
    SetStrategy {
        /// Its name.
        strategy: String,
        /// Handle of the connection; `None` for new ones.
        #[serde(default)]
        connection: Option<String>,
    },
    /// The destinations on whose way SYNs with MP_CAPABLE vanish.
    Blackholes,
    /// Forget them.
    ForgetBlackholes,
    /// What has happened to paths since the event with this number; `None` for the number of the last one only.
    Events {
        /// The number.
        after: Option<u64>,
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
    /// Have an endpoint open subflows to every address of the peers, or only to their first.
    SetFullmesh {
        /// Its number.
        id: u8,
        /// Whether it is to do so.
        fullmesh: bool,
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
    /// Set the share of a connection's data that weighted schedulers give a subflow.
    SetWeight {
        /// Handle of the connection.
        connection: String,
        /// Number of the subflow.
        subflow: u32,
        /// Bursts for each one of a subflow of weight 1, from 1.
        weight: u32,
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
    /// It is not done, for this reason: things are not so now that it could be.
    Error(String),
    /// It is not done, for this reason: what is asked for is wrong, and would be another time too. Servers from before there was this say
    /// [`Error`](Self::Error) instead.
    Mistake(String),
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
    /// To [`Request::Limits`].
    Limits {
        /// Subflows besides the first.
        subflows: u8,
        /// Announced addresses of the peer that are used.
        add_addr_accepted: u8,
    },
    /// To [`Request::Links`].
    Links(Vec<LinkEntry>),
    /// To [`Request::Policy`].
    Policy {
        /// The rules.
        rules: Vec<RuleEntry>,
        /// The NUMA node whose interfaces are preferred.
        node: Option<u32>,
    },
    /// To [`Request::Strategy`].
    Strategy(String),
    /// To [`Request::Blackholes`].
    Blackholes(Vec<BlackholeEntry>),
    /// To [`Request::Events`].
    Events {
        /// The number of the last event that there is.
        last: u64,
        /// The events, the oldest first.
        events: Vec<EventEntry>,
    },
}
