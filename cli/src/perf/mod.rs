//! `mptcp perf`: throughput and latency between two of us, or with iperf3 as the peer.

mod bulk;
mod client;
mod meter;
mod protocol;
mod requests;
mod server;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{ArgGroup, Args};

use crate::failure::Failure;
use crate::human::{ListenAddr, parse_count, parse_listen, parse_remote, parse_seconds};
use crate::iperf3;
use crate::network::{NetworkOptions, Role};

pub(crate) use meter::Meter;

/// What excludes --rr: whoever says one of these needs no --rr for an option that does, as clap has it.
const NOT_RR: [&str; 6] = ["server", "iperf3", "bulk", "reverse", "bidir", "bytes"];

/// Measure throughput or request latency (like iperf, or as a peer of iperf3)
///
/// A client runs a test against a server: bulk throughput, or requests of which a given number is under way at a time.
/// Everything travels over one connection, except with --iperf3.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("role").required(true).args(["server", "client"]))]
#[command(group = ArgGroup::new("test").args(["bulk", "rr"]))]
#[command(group = ArgGroup::new("direction").args(["reverse", "bidir"]))]
pub(crate) struct PerfArgs {
    /// Serve tests until interrupted [port without --iperf3: 5210, with: 5201]
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen, num_args = 0..=1)]
    server: Option<Option<ListenAddr>>,
    /// Run a test against a server
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = parse_client)]
    client: Option<Target>,
    /// Serve one test only
    #[arg(long, conflicts_with = "client")]
    one_off: bool,
    /// Speak the protocol of iperf3, so that an unmodified iperf3 is the peer
    #[arg(long, conflicts_with = "rr")]
    iperf3: bool,
    /// Measure throughput (the default)
    #[arg(long, conflicts_with = "server")]
    bulk: bool,
    /// Measure the latency of requests and their responses
    #[arg(long, conflicts_with_all = ["server", "reverse", "bidir", "bytes"])]
    rr: bool,
    /// The server sends instead of the client
    #[arg(long, conflicts_with = "server")]
    reverse: bool,
    /// Both send
    #[arg(long, conflicts_with = "server")]
    bidir: bool,
    /// For how long to test
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "10", conflicts_with = "server")]
    time: Duration,
    /// How much each sender sends, instead of a time; K, M and G are powers of 1024
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with_all = ["server", "time"])]
    bytes: Option<u64>,
    /// Bytes of a request and of its response [default: 64]
    #[arg(long, value_name = "N", value_parser = parse_count, requires = "rr", conflicts_with_all = NOT_RR)]
    size: Option<u64>,
    /// Requests under way at a time [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536), requires = "rr", conflicts_with_all = NOT_RR)]
    depth: Option<u32>,
    /// Print the results on standard output as one line of JSON, and nothing else there
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

/// The server to test against; the port may be left to the protocol's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    addr: IpAddr,
    port: Option<u16>,
}

/// When a sender stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    /// After this long.
    Time(Duration),
    /// After this many bytes.
    Bytes(u64),
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// The client.
    Upload,
    /// The server.
    Download,
    /// Both.
    Both,
}

impl Direction {
    /// Whether the client sends.
    pub(crate) fn uploads(self) -> bool {
        self != Self::Download
    }

    /// Whether the server sends.
    pub(crate) fn downloads(self) -> bool {
        self != Self::Upload
    }
}

/// Port of our own protocol: the first above those that iperf3 is commonly given.
const PORT: u16 = 5210;

/// Bytes of a request at most, so that a peer cannot make us allocate without a bound.
const MAX_REQUEST: u64 = 16 << 20;

/// Runs the subcommand.
pub(crate) fn run(args: &PerfArgs) -> Result<(), Failure> {
    let default_port = if args.iperf3 { iperf3::PORT } else { PORT };
    let direction = match (args.reverse, args.bidir) {
        (true, _) => Direction::Download,
        (_, true) => Direction::Both,
        _ => Direction::Upload,
    };
    let limit = args.bytes.map_or(Limit::Time(args.time), Limit::Bytes);
    let Some(target) = args.client else {
        let at = args.server.flatten().unwrap_or(ListenAddr { addr: None, port: default_port });
        let network = args.network.open(Role::Server)?;
        let listener = network.listen(at)?;
        return if args.iperf3 {
            iperf3::serve(&listener, args.one_off, args.json)
        } else {
            server::serve(&listener, args.one_off, args.json)
        };
    };
    let size = args.size.unwrap_or(64);
    if size > MAX_REQUEST {
        return Err(Failure::Usage(format!("--size is {size}, but a request has at most {MAX_REQUEST} bytes")));
    }
    let network = args.network.open(Role::Client)?;
    let remote = SocketAddr::new(target.addr, target.port.unwrap_or(default_port));
    if args.iperf3 {
        iperf3::measure(&network, remote, direction, limit, args.json)
    } else if args.rr {
        client::requests(&network, remote, args.time, size, args.depth.unwrap_or(1), args.json)
    } else {
        client::bulk(&network, remote, direction, limit, args.json)
    }
}

fn parse_client(text: &str) -> Result<Target, String> {
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Ok(Target { addr, port: None });
    }
    let remote = parse_remote(text)?;
    Ok(Target { addr: remote.ip(), port: Some(remote.port()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_may_leave_the_port_out() {
        assert_eq!(parse_client("10.0.0.1").map(|target| target.port), Ok(None));
        assert_eq!(parse_client("fd00::1").map(|target| target.port), Ok(None));
        assert_eq!(parse_client("[fd00::1]:7").map(|target| target.port), Ok(Some(7)));
        assert!(parse_client("10.0.0.1:0").is_err());
    }
}
