//! Programs that know nothing of us: iperf3, which `mptcpize` gives kernel sockets of Multipath TCP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::net::SocketAddr;
use std::time::Duration;

use interop::cli::{Stack, Tcp};
use interop::counters::Mib;
use interop::endpoints;
use interop::lab::{Lab, PATHS};
use interop::over_every_tcp;
use interop::process::{Process, wait_until};
use interop::tools;
use interop::topology::{Family, Link, kernel_addr, stack_addr};
use serde_json::Value;

/// Port of iperf3.
const PORT: u16 = 5201;

/// Seconds that a test sends.
const SECONDS: u32 = 3;

const LIMIT: Duration = Duration::from_secs(60);

/// Bytes that a working transfer of [`SECONDS`] far exceeds.
const MUCH: u64 = 4 << 20;

/// Directions of iperf3, by its option.
const DIRECTIONS: [&str; 3] = ["", "--reverse", "--bidir"];

over_every_tcp!(an_iperf3_client_measures_our_server, our_client_measures_an_iperf3_server,);

fn an_iperf3_client_measures_our_server(tcp: Tcp) {
    for direction in DIRECTIONS {
        let lab = Lab::new("iperf3", Link::Tap).unwrap();
        endpoints::set_limits(lab.topology.kernel(), 2, 2).unwrap();
        let server = Stack::subcommand("perf --iperf3 --one-off --json --server").tcp(tcp).with("--subflows 2");
        let server = server.paths(&lab.topology, Family::V4, ",signal");
        let server = server.spawn(Some(lab.topology.stack()), "server", lab.dir.path()).unwrap();

        let addr = stack_addr(Family::V4, 0);
        let client = iperf3(&lab, "client", &format!("-J -c {addr} -t {SECONDS} {direction}"));
        let said = client.succeed(LIMIT).unwrap().stdout;
        assert_carried(&lab, &serde_json::from_str(&said).unwrap(), direction);
        let stack = server.process.succeed(LIMIT).unwrap();
        assert!(!stack.stdout.is_empty(), "{direction}: the server prints its results");
    }
}

fn our_client_measures_an_iperf3_server(tcp: Tcp) {
    for direction in DIRECTIONS {
        let lab = Lab::new("iperf3", Link::Veth).unwrap();
        endpoints::set_limits(lab.topology.kernel(), 2, 0).unwrap();
        for path in 1..PATHS {
            let interface = lab.topology.kernel_interface(path);
            endpoints::add(lab.topology.kernel(), kernel_addr(Family::V4, path), &interface, "signal").unwrap();
        }
        let server = iperf3(&lab, "server", "-J -s -1");
        wait_until("iperf3 to listen", LIMIT, || {
            let listeners = lab.topology.kernel().run("ss -HltnM")?;
            Ok(listeners.contains(&format!(":{PORT}")))
        })
        .unwrap();

        let addr = SocketAddr::new(kernel_addr(Family::V4, 0), PORT);
        let client = Stack::subcommand(&format!("perf --iperf3 --client {addr} --time {SECONDS} {direction} --json"));
        let client = client.tcp(tcp).with("--subflows 2").paths(&lab.topology, Family::V4, "");
        let client = client.spawn(Some(lab.topology.stack()), "client", lab.dir.path()).unwrap();
        client.process.succeed(LIMIT).unwrap();
        let said = server.succeed(LIMIT).unwrap().stdout;
        assert_carried(&lab, &serde_json::from_str(&said).unwrap(), direction);
    }
}

/// Starts iperf3 with kernel sockets of Multipath TCP.
fn iperf3(lab: &Lab, label: &str, words: &str) -> Process {
    tools::require(&["mptcpize", "iperf3"]).unwrap();
    let mut command = lab.topology.kernel().command("mptcpize");
    command.args(["run", "iperf3"]).args(words.split_whitespace());
    Process::spawn(command, label, lab.dir.path()).unwrap()
}

/// Much was carried, as iperf3 itself says, over several subflows.
fn assert_carried(lab: &Lab, iperf3: &Value, direction: &str) {
    assert_eq!(iperf3["error"], Value::Null, "{direction}");
    let end = &iperf3["end"];
    let sums = ["sum_sent", "sum_received", "sum_sent_bidir_reverse", "sum_received_bidir_reverse"];
    let carried: Vec<u64> = sums.iter().filter_map(|sum| end[sum]["bytes"].as_u64()).collect();
    let wanted = if direction == "--bidir" { 4 } else { 2 };
    // A server of iperf3 knows only its own half of each sum; the other half is zero.
    let much = carried.iter().filter(|bytes| **bytes > MUCH).count();
    assert!(carried.len() >= wanted && much >= wanted / 2, "{direction}: {end}");
    let mib = lab.topology.mib().unwrap();
    assert!(joins(&mib) >= 2, "{direction}: {:?}", mib.nonzero());
    assert_eq!(mib.troubles(), [""; 0], "{direction}: {:?}", mib.nonzero());
}

/// Joins that a kernel has taken part in, in either role.
fn joins(mib: &Mib) -> u64 {
    mib["MPJoinAckRx"] + mib["MPJoinSynAckRx"]
}
