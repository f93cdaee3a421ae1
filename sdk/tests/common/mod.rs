//! Two runtimes, one per host, over wires in memory.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mptcp_sdk::adapter::device::MemoryDevice;
use mptcp_sdk::{Config, DeviceSpec, EndpointFlags, InterfaceSpec, MptcpStream, Runtime, SubflowState};

pub(crate) const PORT: u16 = 5000;
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a wire between the hosts holds.
const WIRE: usize = 512;

pub(crate) fn addr(host: u8, path: usize) -> IpAddr {
    IpAddr::from([10, 0, u8::try_from(path).unwrap() + 1, host])
}

pub(crate) fn server_addr() -> SocketAddr {
    SocketAddr::new(addr(1, 0), PORT)
}

/// A server (host 1) and a client (host 2) with `paths` wires between them, on each of which the client opens a subflow.
pub(crate) fn hosts(paths: usize, change: impl Fn(&mut Config)) -> (Runtime, Runtime) {
    let (mut server, mut client) = (Config::default(), Config::default());
    for path in 0..paths {
        let (a, b) = MemoryDevice::pair(1500, WIRE);
        // Each wire is a network of its own, so the client learns from the server where the others lead.
        let signal = EndpointFlags { signal: path > 0, ..EndpointFlags::default() };
        let subflow = EndpointFlags { subflow: path > 0, ..EndpointFlags::default() };
        server.interfaces.push(interface(a, addr(1, path)).with_flags(signal));
        client.interfaces.push(interface(b, addr(2, path)).with_flags(subflow));
    }
    for config in [&mut server, &mut client] {
        config.seed = Some([7; 32]);
        config.stack.limits.add_addr_accepted = 2;
        change(config);
    }
    // The same secret on both hosts would make them draw the same keys.
    server.seed = Some([8; 32]);
    (Runtime::new(server).unwrap(), Runtime::new(client).unwrap())
}

fn interface(device: MemoryDevice, addr: IpAddr) -> InterfaceSpec {
    let device = DeviceSpec::Custom { device: Box::new(device), name: format!("wire-{addr}") };
    InterfaceSpec::new(device, [format!("{addr}/24").parse().unwrap()])
}

/// A connection: the server's end and the client's.
pub(crate) fn connect(server: &Runtime, client: &Runtime) -> (MptcpStream, MptcpStream) {
    let listener = server.bind(server_addr()).unwrap();
    let near = client.connect_timeout(server_addr(), PATIENCE).unwrap();
    let (far, _) = listener.accept_timeout(PATIENCE).unwrap();
    (far, near)
}

/// Sends a byte, after which the client opens the other subflows, and waits for so many.
pub(crate) fn join_all(mut far: &MptcpStream, mut near: &MptcpStream, paths: usize) {
    near.write_all(b"!").unwrap();
    far.read_exact(&mut [0]).unwrap();
    wait_until("all subflows are established", || {
        let subflows = near.subflows().unwrap();
        subflows.iter().filter(|subflow| subflow.state == SubflowState::Established).count() == paths
    });
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 12) as u8).collect()
}
