//! `mptcp path`: the endpoints, limits, policy and strategy of a running process, the subflows of its connections, and what
//! happens to them.

mod show;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use mptcp_sdk::control::{EndpointEntry, Reply, Request, check_rule};
use mptcp_sdk::{Endpoint, EndpointFlags, InterfaceSpec, PathStrategyKind, SchedulerKind};

use crate::controlled::Controlled;
use crate::failure::Failure;
use crate::human::parse_remote;
use crate::say;

/// Show and change the paths of a running process (like ip mptcp)
#[derive(Args, Debug)]
pub(crate) struct PathArgs {
    #[command(subcommand)]
    action: Action,
    /// Control socket of the process [default: the only mptcp-PID.sock in $XDG_RUNTIME_DIR or /run]
    #[arg(long, value_name = "SOCKET", global = true)]
    control: Option<PathBuf>,
    /// Print one line of JSON, or one for each event
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the endpoints
    List,
    Add(AddArgs),
    /// Remove an endpoint and close its subflows
    Del {
        /// Address or number of the endpoint
        #[arg(value_parser = parse_endpoint)]
        endpoint: EndpointName,
    },
    /// Make an endpoint and its subflows a backup, or a regular one again
    Backup {
        /// Address or number of the endpoint
        #[arg(value_parser = parse_endpoint)]
        endpoint: EndpointName,
        /// 'on' or 'off'
        #[arg(value_parser = ["on", "off"])]
        state: String,
    },
    /// Have an endpoint open subflows to every address of the peers, or only to their first
    Fullmesh {
        /// Address or number of the endpoint
        #[arg(value_parser = parse_endpoint)]
        endpoint: EndpointName,
        /// 'on' or 'off'
        #[arg(value_parser = ["on", "off"])]
        state: String,
    },
    /// Open a subflow
    Join {
        /// The connection, as 'mptcp ss' numbers it
        #[arg(value_parser = parse_connection)]
        connection: String,
        /// Source address
        local: IpAddr,
        /// Destination
        #[arg(value_name = "REMOTE:PORT", value_parser = parse_remote)]
        remote: SocketAddr,
        /// Ask for it to be used only if nothing else works
        #[arg(long)]
        backup: bool,
    },
    /// Have another scheduler spread the data of a connection over its paths
    Scheduler {
        /// The connection, as 'mptcp ss' numbers it
        #[arg(value_parser = parse_connection)]
        connection: String,
        /// Its name; 'mptcp cat --help' lists them
        name: SchedulerKind,
    },
    /// Have weighted schedulers (round-robin) give a subflow another share of a connection's data
    Weight {
        /// The connection, as 'mptcp ss' numbers it
        #[arg(value_parser = parse_connection)]
        connection: String,
        /// The subflow, as 'mptcp ss' numbers it
        subflow: u32,
        /// Bursts for each one of a subflow of weight 1, which all have at first
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        weight: u32,
    },
    /// Close a subflow
    Close {
        /// The connection, as 'mptcp ss' numbers it
        #[arg(value_parser = parse_connection)]
        connection: String,
        /// The subflow, as 'mptcp ss' numbers it
        subflow: u32,
    },
    /// Show the limits, or set those that are named
    Limits {
        /// Subflows of a connection besides the first, at most
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=64))]
        subflows: Option<u8>,
        /// Addresses announced by the peer that are used, at most
        #[arg(long, value_name = "N")]
        add_addr_accepted: Option<u8>,
    },
    /// Show the interfaces, or take the link of one down or up
    Link {
        /// Name of the interface
        #[arg(requires = "state")]
        interface: Option<String>,
        /// 'up' or 'down'
        #[arg(value_parser = ["up", "down"])]
        state: Option<String>,
    },
    #[command(about = "Open one more path", long_about = ATTACH_HELP)]
    Attach {
        /// The path, as for --path
        path: String,
    },
    Policy(PolicyArgs),
    /// Show the strategy of new connections, or choose it
    Strategy {
        /// endpoints, fullmesh, signal, nic-pairs or ndiffports:N
        name: Option<PathStrategyKind>,
        /// Choose that of this connection, as 'mptcp ss' numbers it
        #[arg(long, requires = "name", value_parser = parse_connection)]
        connection: Option<String>,
    },
    /// List the destinations that MPTCP is not offered to, as SYNs with it vanish
    Blackholes {
        /// Forget them
        #[arg(long)]
        forget: bool,
    },
    /// Print what happens to paths, until it is interrupted or the process ends
    Monitor {
        /// Begin with the last events before
        #[arg(long)]
        all: bool,
    },
}

/// Add an endpoint
#[derive(Args, Debug)]
struct AddArgs {
    /// One of the addresses that the paths have
    addr: IpAddr,
    /// Announce it to the peers
    #[arg(long)]
    signal: bool,
    /// Open subflows from it
    #[arg(long)]
    subflow: bool,
    /// Ask for its subflows to be used only if nothing else works
    #[arg(long)]
    backup: bool,
    /// Open subflows to every address of a peer
    #[arg(long)]
    fullmesh: bool,
    /// Answer one announcement of a peer with a subflow
    #[arg(long)]
    laminar: bool,
    /// Port to announce, with --signal
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Interface that its subflows leave by, if several have the address
    #[arg(long, value_name = "NAME")]
    dev: Option<String>,
    /// Subflows over each pair of addresses, from different ports
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    ndiffports: Option<u8>,
}

impl AddArgs {
    /// What is asked for, but for its interface.
    fn endpoint(&self) -> Endpoint {
        let Self { addr, signal, subflow, backup, fullmesh, laminar, port, .. } = *self;
        let flags = EndpointFlags { signal, subflow, backup, fullmesh, laminar, implicit: false };
        let ndiffports = self.ndiffports.and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MIN);
        Endpoint { port, ndiffports, ..Endpoint::new(addr, flags) }
    }
}

const RULE_HELP: &str = "\
Add a rule at the end; of each setting, the first rule that fits a path counts

A rule is a list of words with commas: dev=NAME, src=ADDR/PREFIX and dst=ADDR/PREFIX say which paths are meant; regular,
backup, metered (opened only while no other path works) or never what they are for; cost=N which are opened first where
not all can be had; max-rate=N (bits per second) and max-bytes=N what they may carry, with k, M or G.
Nothing is said twice.";

const ATTACH_HELP: &str = "\
Open one more path

It is written as for --path (see 'mptcp cat --help'), without a descriptor. Its addresses are used as its flags say: with
'subflow', connections open subflows from them; with 'signal', peers are told of them; without flags, they wait for
'mptcp path join'.";

/// Show or change what paths are for, what they cost and what they may carry
#[derive(Args, Debug)]
struct PolicyArgs {
    #[command(subcommand)]
    action: Option<PolicyAction>,
}

#[derive(Subcommand, Debug)]
enum PolicyAction {
    /// List the rules, with the bytes that those which limit any have counted
    List,
    #[command(about = "Add a rule at the end", long_about = RULE_HELP)]
    Add {
        /// The rule, such as dev=wwan0,metered
        rule: String,
    },
    /// Remove a rule
    Del {
        /// Its number in the list
        rule: usize,
    },
    /// Remove all rules
    Flush,
    /// Prefer the interfaces of a NUMA node: those of others cost more by 1
    Node {
        /// Its number, or 'none'
        #[arg(value_parser = parse_node)]
        node: Node,
    },
}

/// A NUMA node, or none.
#[derive(Clone, Copy, Debug)]
struct Node(Option<u32>);

fn parse_node(text: &str) -> Result<Node, String> {
    match text {
        "none" => Ok(Node(None)),
        number => number.parse().map(|node| Node(Some(node))).map_err(|_| "write a number from 0, or none".to_owned()),
    }
}

/// How an endpoint is named.
#[derive(Clone, Copy, Debug)]
enum EndpointName {
    /// By its number.
    Id(u8),
    /// By its address.
    Addr(IpAddr),
}

fn parse_endpoint(text: &str) -> Result<EndpointName, String> {
    let id = text.parse::<NonZeroU8>().map(|id| EndpointName::Id(id.get()));
    let name = id.or_else(|_| text.parse::<IpAddr>().map(EndpointName::Addr));
    name.map_err(|_| "write its address, or its number from 1 to 255".to_owned())
}

/// Takes what can be the handle of a connection, whether there is one or not.
fn parse_connection(text: &str) -> Result<String, String> {
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    match text.split_once('.') {
        Some((index, generation)) if is_number(index) && is_number(generation) => Ok(text.to_owned()),
        _ => Err("write two numbers with a point between them, such as 0.0, as 'mptcp ss' does".to_owned()),
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &PathArgs) -> Result<(), Failure> {
    // A mistake is told before a process is looked for.
    check(&args.action)?;
    let mut process = Controlled::only(args.control.as_deref())?;
    if let Action::Monitor { all } = &args.action {
        return monitor(process, args.json, *all);
    }
    let request = request(&mut process, &args.action)?;
    let reply = process.ask(&request)?;
    let shown = if args.json { show::json(&reply) } else { show::lines(reply) };
    for line in shown.ok_or_else(|| process.confused())? {
        say(&line);
    }
    Ok(())
}

/// Finds the mistakes that need no process to be found.
fn check(action: &Action) -> Result<(), Failure> {
    let checked = match action {
        Action::Add(add) => add.endpoint().validate().map_err(|error| error.to_string()),
        Action::Attach { path } => path.parse::<InterfaceSpec>().map(drop).map_err(|error| error.to_string()),
        Action::Policy(PolicyArgs { action: Some(PolicyAction::Add { rule }) }) => {
            check_rule(rule).map_err(|error| error.to_string())
        }
        _ => Ok(()),
    };
    checked.map_err(Failure::Usage)
}

/// What to ask the process for.
fn request(process: &mut Controlled, action: &Action) -> Result<Request, Failure> {
    Ok(match action {
        Action::List => Request::Endpoints,
        Action::Monitor { .. } => Request::Events { after: None },
        Action::Add(add) => Request::AddEndpoint {
            addr: add.addr,
            port: add.port,
            signal: add.signal,
            subflow: add.subflow,
            backup: add.backup,
            fullmesh: add.fullmesh,
            laminar: add.laminar,
            interface: add.dev.clone(),
            ndiffports: add.ndiffports,
        },
        Action::Del { endpoint } => Request::RemoveEndpoint { id: find(process, *endpoint)? },
        Action::Backup { endpoint, state } => {
            Request::SetBackup { id: find(process, *endpoint)?, backup: state == "on" }
        }
        Action::Fullmesh { endpoint, state } => {
            Request::SetFullmesh { id: find(process, *endpoint)?, fullmesh: state == "on" }
        }
        Action::Join { connection, local, remote, backup } => {
            Request::CreateSubflow { connection: connection.clone(), local: *local, remote: *remote, backup: *backup }
        }
        Action::Scheduler { connection, name } => {
            Request::SetScheduler { connection: connection.clone(), scheduler: name.to_string() }
        }
        Action::Weight { connection, subflow, weight } => {
            Request::SetWeight { connection: connection.clone(), subflow: *subflow, weight: *weight }
        }
        Action::Close { connection, subflow } => {
            Request::CloseSubflow { connection: connection.clone(), subflow: *subflow }
        }
        Action::Limits { subflows: None, add_addr_accepted: None } => Request::Limits,
        Action::Limits { subflows, add_addr_accepted } => {
            Request::SetLimits { subflows: *subflows, add_addr_accepted: *add_addr_accepted }
        }
        Action::Link { interface: Some(interface), state } => {
            Request::SetLink { interface: interface.clone(), up: state.as_deref() == Some("up") }
        }
        Action::Link { interface: None, .. } => Request::Links,
        Action::Policy(PolicyArgs { action }) => match action {
            None | Some(PolicyAction::List) => Request::Policy,
            Some(PolicyAction::Add { rule }) => Request::AddRule { rule: rule.clone() },
            Some(PolicyAction::Del { rule }) => Request::RemoveRule { rule: Some(*rule) },
            Some(PolicyAction::Flush) => Request::RemoveRule { rule: None },
            Some(PolicyAction::Node { node: Node(node) }) => Request::SetNode { node: *node },
        },
        Action::Attach { path } => Request::AddInterface { interface: path.clone() },
        Action::Strategy { name: None, .. } => Request::Strategy,
        Action::Strategy { name: Some(name), connection } => {
            Request::SetStrategy { strategy: name.to_string(), connection: connection.clone() }
        }
        Action::Blackholes { forget: false } => Request::Blackholes,
        Action::Blackholes { forget: true } => Request::ForgetBlackholes,
    })
}

/// How often the process is asked what has happened. It serves one client at a time, so none may stay.
const ASK_EVERY: Duration = Duration::from_millis(200);

fn monitor(mut process: Controlled, json: bool, all: bool) -> Result<(), Failure> {
    let path = process.path.clone();
    let mut after = if all { Some(0) } else { None };
    loop {
        let Reply::Events { last, events } = process.ask(&Request::Events { after })? else {
            return Err(process.confused());
        };
        drop(process);
        for event in events {
            say(&if json { serde_json::json!(event).to_string() } else { show::event(&event) });
        }
        after = Some(last);
        std::thread::sleep(ASK_EVERY);
        // The end of the process is the end of what can be told of it.
        match Controlled::open(&path) {
            Ok(again) => process = again,
            Err(_) => return Ok(()),
        }
    }
}

fn endpoints(process: &mut Controlled) -> Result<Vec<EndpointEntry>, Failure> {
    match process.ask(&Request::Endpoints)? {
        Reply::Endpoints(endpoints) => Ok(endpoints),
        _ => Err(process.confused()),
    }
}

/// The number of the endpoint that is meant.
fn find(process: &mut Controlled, endpoint: EndpointName) -> Result<u8, Failure> {
    let addr = match endpoint {
        EndpointName::Id(id) => return Ok(id),
        EndpointName::Addr(addr) => addr,
    };
    let known = endpoints(process)?.into_iter().find(|known| known.addr == addr);
    known.map(|known| known.id).ok_or_else(|| Failure::Runtime(format!("there is no endpoint {addr}")))
}
