//! TCP Fast Open with the kernel, in both roles (RFC 7413, RFC 8684 appendix B).
//!
//! Cookies are kept by whoever connects, for the next connection, so our side is here a process with several connections: this one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use interop::lab::{Lab, PORT};
use interop::netns::Netns;
use interop::process::Process;
use interop::tools;
use interop::topology::{Family, Link, kernel_addr, stack_addr};
use mptcp_sdk::{Config, ConnConfig, ConnInfo, ListenConfig, MptcpStream, Runtime};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const LIMIT: Duration = Duration::from_secs(60);
/// Connections in a row: the first asks for the cookie.
const COUNT: usize = 3;
/// Bytes of a message; they fit on a SYN.
const MESSAGE: usize = 400;

/// Our side, on the first path of a laboratory.
fn runtime(lab: &Lab) -> Runtime {
    let mut config = Config::default();
    let (ours, kernels) = (stack_addr(Family::V4, 0), kernel_addr(Family::V4, 0));
    config.interfaces.push(format!("tap:{},{ours}/24,gw={kernels}", lab.topology.stack_interface(0)).parse().unwrap());
    inside(lab.topology.stack(), || Runtime::new(config).unwrap())
}

/// Calls `work` on a thread that is in the namespace. What it opens stays usable from any thread.
fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{}", netns.name())).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// The kernel's side, with these arguments.
fn peer(lab: &Lab, arguments: &str) -> Process {
    lab.topology.kernel().sysctl("net.ipv4.tcp_fastopen", "3").unwrap();
    let script = lab.dir.file("fast_open.py");
    std::fs::write(&script, include_str!("../peers/fast_open.py")).unwrap();
    let mut command = lab.topology.kernel().command(tools::find("python3").unwrap());
    command.arg(script).args(arguments.split_whitespace());
    Process::spawn(command, "fast-open", lab.dir.path()).unwrap()
}

/// What the peer says in the end: which of its connections were multipath, and whether all echoes were right.
fn report(peer: Process) -> (Vec<bool>, bool) {
    let finished = peer.wait(LIMIT).unwrap();
    let line = finished.stdout.lines().rev().find(|line| line.starts_with('{'));
    let json: serde_json::Value = serde_json::from_str(line.unwrap_or_else(|| panic!("{finished:?}"))).unwrap();
    let multipath = json["multipath"].as_array().unwrap().iter().map(|is| is.as_bool().unwrap()).collect();
    (multipath, json["intact"].as_bool().unwrap())
}

/// A counter of the kernel's TCP.
fn counter(lab: &Lab, name: &str) -> u64 {
    let text = lab.topology.kernel().read("/proc/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let value = names.split_whitespace().zip(values.split_whitespace()).find(|(known, _)| *known == name);
    value.unwrap_or_else(|| panic!("no counter {name}")).1.parse().unwrap()
}

fn info(stream: &MptcpStream) -> ConnInfo {
    stream.info().unwrap()
}

fn message() -> Vec<u8> {
    (0..MESSAGE).map(|number| (number % 251) as u8).collect()
}

#[test]
fn our_data_is_taken_with_the_syn_by_a_kernel() {
    let lab = Lab::new("fast-client", Link::Tap).unwrap();
    let mut peer = peer(&lab, &format!("--listen {PORT} --count {COUNT}"));
    peer.wait_for_output("peer: listening", LIMIT).unwrap();
    let runtime = runtime(&lab);
    let remote = SocketAddr::new(kernel_addr(Family::V4, 0), PORT);
    for round in 0..COUNT {
        let first = message().into();
        let mut stream = runtime.connect_fast(None, remote, ConnConfig::default(), first, Some(LIMIT)).unwrap();
        let known = info(&stream);
        stream.write_all(b" and more").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut echo = Vec::new();
        stream.read_to_end(&mut echo).unwrap();
        assert_eq!(echo, [&message()[..], b" and more"].concat(), "round {round}");
        assert_eq!(known.early_sent, if round == 0 { 0 } else { MESSAGE as u64 }, "round {round}");
        // The kernel's answer to the request of a cookie has no room for both, and leaves MP_CAPABLE out.
        assert!(round == 0 || known.fallback.is_none(), "round {round}: {:?}", known.fallback);
    }
    let (multipath, _) = report(peer);
    assert_eq!(multipath[1..], [true, true], "{:?}", lab.topology.mib().unwrap().nonzero());
    assert_eq!(counter(&lab, "TCPFastOpenPassive"), 2);
    assert_eq!(counter(&lab, "TCPFastOpenPassiveFail"), 0);
}

#[test]
fn data_on_the_syn_of_a_kernel_is_taken() {
    for arguments in ["", "--tcp"] {
        let lab = Lab::new("fast-server", Link::Tap).unwrap();
        let runtime = runtime(&lab);
        let config = ListenConfig { fast_open: 16, ..ListenConfig::default() };
        let listener = runtime.bind_with(SocketAddr::new(stack_addr(Family::V4, 0), PORT), config).unwrap();
        let to = format!("--connect {} {PORT}", stack_addr(Family::V4, 0));
        let peer = peer(&lab, &format!("{to} --count {COUNT} --message {MESSAGE} {arguments}"));
        for round in 0..COUNT {
            let (mut stream, _) = listener.accept_timeout(LIMIT).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            let known = info(&stream);
            stream.write_all(&received).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(received, message(), "round {round}");
            assert_eq!(known.early_received, if round == 0 { 0 } else { MESSAGE as u64 }, "round {round}");
            assert_eq!(known.fallback.is_some(), !arguments.is_empty(), "round {round}: {:?}", known.fallback);
            drop(stream);
        }
        let (multipath, intact) = report(peer);
        assert!(intact);
        assert_eq!(multipath, [arguments.is_empty(); COUNT]);
        assert_eq!(counter(&lab, "TCPFastOpenActive"), 2);
        assert_eq!(counter(&lab, "TCPFastOpenActiveFail"), 0);
    }
}
