//! Large transfers with the kernel, in both directions at once: every kind of device, role, address family and checksum mode.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use interop::cli::Tcp;
use interop::counters::{Mib, Traffic};
use interop::encounter::{Encounter, Role};
use interop::lab::{Lab, PATHS, TRANSFER_LIMIT};
use interop::over_every_tcp;
use interop::topology::{Family, Link};

/// Bytes in each direction.
const LEN: u64 = 64 << 20;

/// What every path must have carried at least: far more than handshakes and signals, far less than an even share.
const SHARE: u64 = 256 << 10;

over_every_tcp!(over_tap_with_ipv4, over_tap_with_ipv6, over_packet_sockets_with_ipv4, over_packet_sockets_with_ipv6,);

fn over_tap_with_ipv4(tcp: Tcp) {
    transfer_in_all_modes(tcp, Link::Tap, Family::V4);
}

fn over_tap_with_ipv6(tcp: Tcp) {
    transfer_in_all_modes(tcp, Link::Tap, Family::V6);
}

fn over_packet_sockets_with_ipv4(tcp: Tcp) {
    transfer_in_all_modes(tcp, Link::Veth, Family::V4);
}

fn over_packet_sockets_with_ipv6(tcp: Tcp) {
    transfer_in_all_modes(tcp, Link::Veth, Family::V6);
}

fn transfer_in_all_modes(tcp: Tcp, link: Link, family: Family) {
    for role in Role::ALL {
        for checksum in [false, true] {
            transfer(tcp, link, family, role, checksum);
        }
    }
}

fn transfer(tcp: Tcp, link: Link, family: Family, role: Role, checksum: bool) {
    let mode = format!("{tcp} {link} {family} {role} checksum {checksum}");
    let lab = Lab::new("bulk", link).unwrap();
    let mut encounter = Encounter::new(tcp, role, family, LEN);
    encounter.admit_joins(&lab).unwrap();
    if checksum {
        lab.topology.kernel().sysctl("net.mptcp.checksum_enabled", "1").unwrap();
        encounter = encounter.options("--checksum");
    }
    let outcome = encounter.run(&lab, TRANSFER_LIMIT).unwrap_or_else(|error| {
        panic!("{mode}: {error}; kernel counters {:?}", lab.topology.mib().unwrap().nonzero());
    });

    assert_eq!(outcome.stack.fallback(), None, "{mode}");
    assert_eq!(outcome.peer.multipath, Some(true), "{mode}");
    let kernel = lab.topology.mib().unwrap();
    assert_joined(role, &kernel, &outcome.stack.mib, &mode);
    for mib in [&kernel, &outcome.stack.mib] {
        assert_eq!(mib.troubles(), [""; 0], "{mode}: {:?}", mib.nonzero());
    }
    for path in 0..PATHS {
        let Traffic { rx, tx } = lab.topology.traffic(path).unwrap();
        assert!(rx.min(tx) > SHARE, "{mode}: the kernel received {rx} bytes on path {path} and sent {tx}");
    }
}

/// Two joins, whose handshakes both sides have counted to the end.
fn assert_joined(role: Role, kernel: &Mib, stack: &Mib, mode: &str) {
    let (client, server) = match role {
        Role::Client => (stack, kernel),
        Role::Server => (kernel, stack),
    };
    let joins = [server["MPJoinSynRx"], server["MPJoinAckRx"], client["MPJoinSynTx"], client["MPJoinSynAckRx"]];
    assert_eq!(joins, [2; 4], "{mode}: kernel {:?}, stack {:?}", kernel.nonzero(), stack.nonzero());
}
