//! `mptcp path`: the endpoints of a running process, and the subflows of its connections.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use mptcp_sdk::SchedulerKind;
use mptcp_sdk::control::{EndpointEntry, Reply, Request};

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
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the endpoints
    List {
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Add an endpoint
    Add {
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
        /// Port to announce
        #[arg(long)]
        port: Option<u16>,
    },
    /// Remove an endpoint and close its subflows
    Del {
        /// Address or number of the endpoint
        endpoint: String,
    },
    /// Make an endpoint and its subflows a backup, or a regular one again
    Backup {
        /// Address or number of the endpoint
        endpoint: String,
        /// 'on' or 'off'
        #[arg(value_parser = ["on", "off"])]
        state: String,
    },
    /// Open a subflow
    Join {
        /// The connection, as 'mptcp ss' numbers it
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
        connection: String,
        /// Its name; 'mptcp cat --help' lists them
        name: SchedulerKind,
    },
    /// Close a subflow
    Close {
        /// The connection, as 'mptcp ss' numbers it
        connection: String,
        /// The subflow, as 'mptcp ss' numbers it
        subflow: u32,
    },
}

/// Runs the subcommand.
pub(crate) fn run(args: &PathArgs) -> Result<(), Failure> {
    let mut process = Controlled::only(args.control.as_deref())?;
    let request = match &args.action {
        Action::List { json } => return list(&mut process, *json),
        Action::Add { addr, signal, subflow, backup, fullmesh, port } => Request::AddEndpoint {
            addr: *addr,
            port: *port,
            signal: *signal,
            subflow: *subflow,
            backup: *backup,
            fullmesh: *fullmesh,
        },
        Action::Del { endpoint } => Request::RemoveEndpoint { id: find(&mut process, endpoint)? },
        Action::Backup { endpoint, state } => {
            Request::SetBackup { id: find(&mut process, endpoint)?, backup: state == "on" }
        }
        Action::Join { connection, local, remote, backup } => {
            Request::CreateSubflow { connection: connection.clone(), local: *local, remote: *remote, backup: *backup }
        }
        Action::Scheduler { connection, name } => {
            Request::SetScheduler { connection: connection.clone(), scheduler: name.to_string() }
        }
        Action::Close { connection, subflow } => {
            Request::CloseSubflow { connection: connection.clone(), subflow: *subflow }
        }
    };
    match process.ask(&request)? {
        Reply::Done => {}
        Reply::EndpointAdded(id) => say(&format!("endpoint {id}")),
        Reply::SubflowCreated(id) => say(&format!("subflow {id}")),
        _ => return Err(process.confused()),
    }
    Ok(())
}

fn endpoints(process: &mut Controlled) -> Result<Vec<EndpointEntry>, Failure> {
    match process.ask(&Request::Endpoints)? {
        Reply::Endpoints(endpoints) => Ok(endpoints),
        _ => Err(process.confused()),
    }
}

fn list(process: &mut Controlled, json: bool) -> Result<(), Failure> {
    let endpoints = endpoints(process)?;
    if json {
        say(&serde_json::json!(endpoints).to_string());
        return Ok(());
    }
    for EndpointEntry { id, addr, port, signal, subflow, backup, fullmesh } in endpoints {
        let flags = [("signal", signal), ("subflow", subflow), ("backup", backup), ("fullmesh", fullmesh)];
        let flags: Vec<&str> = flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        let port = port.map_or_else(String::new, |port| format!(" port {port}"));
        say(&format!("{id:<4} {addr}{port} {}", flags.join(" ")));
    }
    Ok(())
}

/// The number of the endpoint that is meant.
fn find(process: &mut Controlled, endpoint: &str) -> Result<u8, Failure> {
    if let Ok(id) = endpoint.parse::<u8>() {
        return Ok(id);
    }
    let Ok(addr) = endpoint.parse::<IpAddr>() else {
        return Err(Failure::Usage(format!(
            "'{endpoint}' is neither an address nor the number of an endpoint (1 to 255)"
        )));
    };
    let known = endpoints(process)?.into_iter().find(|known| known.addr == addr);
    known.map(|known| known.id).ok_or_else(|| Failure::Runtime(format!("there is no endpoint {addr}")))
}
