//! The laboratory itself, proven with kernels at both ends: what the other tests build on works without the
//! stack under test, and its instruments show what they should.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::time::Duration;

use interop::capture::Capture;
use interop::counters::{Mib, Traffic};
use interop::decoded::Decoded;
use interop::endpoints;
use interop::guest::{Nic, UmlGuest, links, nic_pair};
use interop::lab::{Lab, PATHS, PORT, TRANSFER_LIMIT};
use interop::payload::Payload;
use interop::peer::{Peer, PeerReport};
use interop::process::{Process, wait_until};
use interop::slots::Slot;
use interop::topology::{End, Family, Link, kernel_addr};

/// Network cards of a guest.
const NICS: usize = 4;

const MEBIBYTE: u64 = 1 << 20;

/// Bytes in each direction.
const LEN: u64 = 8 * MEBIBYTE;

/// Starts a server in the kernel namespace and a client in the stack's, with a subflow on every path.
fn start_kernel_pair(lab: &Lab, family: Family, rate: u32) -> (Process, Process) {
    let Lab { topology, dir, .. } = lab;
    topology.use_kernel_as_stack().unwrap();
    for netns in [topology.kernel(), topology.stack()] {
        endpoints::set_limits(netns, 2, 2).unwrap();
    }
    for path in 1..PATHS {
        let interface = topology.kernel_interface(path);
        endpoints::add(topology.kernel(), kernel_addr(family, path), &interface, "signal").unwrap();
    }
    let (down, up) = (lab.payload("down", LEN).unwrap(), lab.payload("up", LEN).unwrap());
    let addr = kernel_addr(family, 0);
    let server = Peer::listen(PORT, addr).send(&down).rate(rate).spawn(topology.kernel(), "server", dir.path());
    let client = Peer::connect(addr, PORT).send(&up).rate(rate).spawn(topology.stack(), "client", dir.path());
    (server.unwrap(), client.unwrap())
}

fn assert_transferred(lab: &Lab, server: Process, client: Process) {
    let client = PeerReport::of(client, TRANSFER_LIMIT).unwrap();
    let server = PeerReport::of(server, TRANSFER_LIMIT).unwrap();
    assert!(server.has(&lab.payload("up", LEN).unwrap()), "{server:?}");
    assert!(client.has(&lab.payload("down", LEN).unwrap()), "{client:?}");
}

#[test]
fn two_kernels_use_all_paths_in_both_families() {
    for family in Family::ALL {
        let lab = Lab::new("pair", Link::Veth).unwrap();
        let capture = Capture::start(lab.topology.kernel(), &["k0", "k1", "k2"], lab.dir.path()).unwrap();
        let (server, client) = start_kernel_pair(&lab, family, 0);
        assert_transferred(&lab, server, client);

        let mib = lab.topology.mib().unwrap();
        assert_eq!((mib["MPCapableACKRX"], mib["MPJoinSynRx"], mib["MPJoinAckRx"]), (1, 2, 2), "{:?}", mib.nonzero());
        assert_eq!(mib.troubles(), [""; 0], "{:?}", mib.nonzero());
        for path in 0..PATHS {
            let Traffic { rx, tx } = lab.topology.traffic(path).unwrap();
            assert!(rx.min(tx) > 100_000, "{family} path {path}: received {rx}, sent {tx}");
        }
        let file = capture.stop().unwrap();
        let decoded = Decoded::read(&file).unwrap();
        assert_eq!(decoded.complaints(), [""; 0]);
        assert_eq!(decoded.join_tokens.len(), 2, "{decoded:?}");
        for end in [1, 2] {
            let finished = decoded.data_fins.iter().any(|from| from.ends_with(&format!("{end}")));
            assert!(finished, "a DATA_FIN from host {end}: {decoded:?}");
        }
    }
}

#[test]
fn a_silent_path_does_not_end_a_transfer() {
    let lab = Lab::new("silent", Link::Veth).unwrap();
    let (server, client) = start_kernel_pair(&lab, Family::V4, 20);
    let first = || lab.topology.traffic(0).unwrap();
    wait_until("the start of the transfer", TRANSFER_LIMIT, || Ok(first().rx.min(first().tx) > MEBIBYTE)).unwrap();
    lab.topology.silence(0).unwrap();
    let silent = first();
    assert_transferred(&lab, server, client);
    assert_eq!(first().rx, silent.rx, "nothing passes a silent path");
}

#[test]
fn a_kernel_without_multipath_falls_back() {
    let lab = Lab::new("fallback", Link::Veth).unwrap();
    lab.topology.kernel().sysctl("net.mptcp.enabled", "0").unwrap();
    lab.topology.use_kernel_as_stack().unwrap();
    let addr = kernel_addr(Family::V4, 0);
    let up = lab.payload("up", MEBIBYTE).unwrap();
    let server = Peer::listen(PORT, addr).tcp().spawn(lab.topology.kernel(), "server", lab.dir.path()).unwrap();
    let client = Peer::connect(addr, PORT).send(&up).spawn(lab.topology.stack(), "client", lab.dir.path()).unwrap();
    let client = PeerReport::of(client, TRANSFER_LIMIT).unwrap();
    assert!(PeerReport::of(server, TRANSFER_LIMIT).unwrap().has(&up));
    assert_eq!(client.multipath, Some(false));
    assert_eq!(Mib::of(lab.topology.stack()).unwrap()["MPCapableFallbackSYNACK"], 1);
}

#[test]
fn a_shaped_path_is_as_slow_as_it_should_be() {
    let lab = Lab::new("shape", Link::Veth).unwrap();
    lab.topology.use_kernel_as_stack().unwrap();
    for end in [End::Kernel, End::Stack] {
        lab.topology.shape(0, end, 20, Duration::from_millis(50)).unwrap();
    }
    let (down, up) = (lab.payload("down", 5 * MEBIBYTE).unwrap(), lab.payload("up", 5 * MEBIBYTE).unwrap());
    let addr = kernel_addr(Family::V4, 0);
    let server =
        Peer::listen(PORT, addr).tcp().send(&down).spawn(lab.topology.kernel(), "server", lab.dir.path()).unwrap();
    let start = std::time::Instant::now();
    let client =
        Peer::connect(addr, PORT).tcp().send(&up).spawn(lab.topology.stack(), "client", lab.dir.path()).unwrap();
    let client = PeerReport::of(client, TRANSFER_LIMIT).unwrap();
    let server = PeerReport::of(server, TRANSFER_LIMIT).unwrap();
    assert!(server.has(&up) && client.has(&down));
    // 5 MiB at 20 Mbit/s are 2.1 s; a shaper that does nothing needs a few hundredths.
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1900), "{took:?}");
}

#[test]
fn two_guests_transfer_over_four_bad_links() {
    let _slot = Slot::take().unwrap();
    let (mut left, mut right) = (UmlGuest::builder("left"), UmlGuest::builder("right"));
    for _ in 0..NICS {
        let (a, b) = nic_pair().unwrap();
        (left, right) = (left.nic(Nic::Socket(a)), right.nic(Nic::Socket(b)));
    }
    let (left, right) = (left.boot().unwrap(), right.boot().unwrap());
    links::configure(&left, NICS, 1, true).unwrap();
    links::configure(&right, NICS, 2, false).unwrap();

    let addr = "10.77.0.1".parse().unwrap();
    let down = Payload::create(left.dir().join("down"), LEN, 1).unwrap();
    let up = Payload::create(right.dir().join("up"), LEN, 2).unwrap();
    let serve = Peer::listen(PORT, addr).send(&down).guest_command(left.dir()).unwrap();
    let server = left.start(&serve, TRANSFER_LIMIT).unwrap();
    let connect = Peer::connect(addr, PORT).send(&up).guest_command(right.dir()).unwrap();
    links::wait_for_listener(&left, PORT).unwrap();
    let client = right.start(&connect, TRANSFER_LIMIT).unwrap();
    assert_eq!(links::lose_after_joins(&left, NICS, &links::SENDING).unwrap(), NICS as u64 - 1);
    links::lose_after_joins(&right, NICS, &links::SENDING).unwrap();
    let client = PeerReport::parse(&client.succeed().unwrap()).unwrap();
    let server = PeerReport::parse(&server.succeed().unwrap()).unwrap();
    assert!(server.has(&up) && client.has(&down), "{server:?} {client:?}");
    assert_eq!(client.multipath, Some(true));
}
