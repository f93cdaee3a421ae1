//! `mptcp ss`: what running processes have open.

use std::path::PathBuf;

use clap::Args;
use mptcp_sdk::control::{Connection, Reply, Request, Subflow};

use crate::controlled::Controlled;
use crate::failure::Failure;
use crate::human::bytes;
use crate::say;

/// Show the live connections of running processes, with their subflows (like ss)
#[derive(Args, Debug)]
pub(crate) struct SsArgs {
    /// Control socket of the process [default: every mptcp-PID.sock in $XDG_RUNTIME_DIR or /run]
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// Print one line of JSON per process
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &SsArgs) -> Result<(), Failure> {
    let processes = match &args.control {
        Some(path) => vec![Controlled::open(path)?],
        None => Controlled::all(),
    };
    for mut process in processes {
        let Reply::Connections(connections) = process.ask(&Request::Connections)? else {
            return Err(process.confused());
        };
        if args.json {
            say(&serde_json::json!({ "control": process.path, "connections": connections }).to_string());
        } else {
            say(&process.path.display().to_string());
            for connection in &connections {
                print(connection);
            }
        }
    }
    Ok(())
}

fn print(connection: &Connection) {
    let Connection { id, state, local, remote, .. } = connection;
    let kind = match (&connection.fallback, connection.local_token) {
        (Some(cause), _) => format!("TCP, since {cause}"),
        (None, Some(token)) => format!("token {token:08x}, {}", connection.scheduler),
        (None, None) => connection.scheduler.clone(),
    };
    let (sent, acked) = (bytes(connection.bytes_sent), bytes(connection.bytes_acked));
    say(&format!("{id:<6} {state:<18} {local} -> {remote}  ({kind})"));
    say(&format!(
        "       sent {sent}, acknowledged {acked}, received {}, sent again {}",
        bytes(connection.bytes_received),
        bytes(connection.bytes_retransmitted)
    ));
    for subflow in connection.past_subflows.iter().chain(&connection.subflows) {
        print_subflow(subflow);
    }
}

fn print_subflow(subflow: &Subflow) {
    let Subflow { id, state, local, remote, addr_ids: (local_id, remote_id), .. } = subflow;
    let backup = match (subflow.backup, subflow.backup_by_peer) {
        (true, true) => ", backup both ways",
        (true, false) => ", backup",
        (false, true) => ", backup for the peer",
        (false, false) => "",
    };
    let rtt = subflow.srtt_us.map_or_else(String::new, |us| format!(", rtt {:.3} ms", us as f64 / 1000.0));
    let figure = |name: &str, unit: &str, value: Option<u64>| {
        value.map_or_else(String::new, |value| format!(", {name} {}{unit}", bytes(value)))
    };
    let control = [
        subflow.congestion.as_ref().map_or_else(String::new, |name| format!(", {name}")),
        figure("cwnd", "", subflow.cwnd),
        figure("ssthresh", "", subflow.ssthresh),
        figure("pacing", "/s", subflow.pacing_rate),
        figure("delivery", "/s", subflow.delivery_rate),
    ]
    .concat();
    say(&format!(
        "       #{id:<3} {state:<15} {local} -> {remote}  (ids {local_id}/{remote_id}{backup}) sent {}, received {}{rtt}{control}, \
         {} segments sent again",
        bytes(subflow.bytes_sent),
        bytes(subflow.bytes_received),
        subflow.retransmissions
    ));
}
