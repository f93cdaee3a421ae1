//! The stack and a guest kernel over four bad links: 5 ms, 20 Mbit/s and 1 % loss in each direction.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::time::Duration;

use interop::cli::{Stack, Tcp};
use interop::encounter::Role;
use interop::guest::{Nic, UmlGuest, links, nic_pair};
use interop::lab::PORT;
use interop::over_every_tcp;
use interop::payload::Payload;
use interop::peer::{Peer, PeerReport};
use interop::slots::Slot;

const LIMIT: Duration = Duration::from_secs(120);

/// Network cards of the guest.
const NICS: usize = 4;

/// Bytes in each direction: some two seconds at the rate of all links.
const LEN: u64 = 16 << 20;

/// A guest with bad links, and our program with the other ends of its cables.
fn meet_the_stack(tcp: Tcp, role: Role) {
    let _slot = Slot::take().unwrap();
    let (mut guest, mut cables) = (UmlGuest::builder("peer"), Vec::new());
    for _ in 0..NICS {
        let (theirs, ours) = nic_pair().unwrap();
        guest = guest.nic(Nic::Socket(theirs));
        cables.push(ours);
    }
    let guest = guest.boot().unwrap();
    links::configure(&guest, NICS, 1, role == Role::Client).unwrap();
    let (up, down) = (guest.dir().join("up"), guest.dir().join("down"));
    let (up, down) = (Payload::create(up, LEN, 1).unwrap(), Payload::create(down, LEN, 2).unwrap());
    let output = guest.dir().join("received");

    let (stack, peer, flags) = match role {
        Role::Client => {
            let addr = "10.77.0.1".parse().unwrap();
            (Stack::connect(addr, PORT), Peer::listen(PORT, addr), "")
        }
        Role::Server => (Stack::listen(PORT), Peer::connect("10.77.0.2".parse().unwrap(), PORT), ",signal"),
    };
    let capture = guest.dir().join("stack.pcapng");
    let mut stack = stack.tcp(tcp).with("--subflows 3").file("--output", &output).file("--pcap", &capture);
    for (number, cable) in cables.into_iter().enumerate() {
        let flags = if number == 0 { "" } else { flags };
        stack = stack.socket_path(cable, &format!("10.77.{number}.2/24,gw=10.77.{number}.1{flags}"));
    }
    // Joins need a connection that is open in both directions; the guest sends meanwhile.
    let go = guest.dir().join("go");
    let peer = peer.send(&down).hold().guest_command(guest.dir()).unwrap();
    let peer = format!("while [ ! -e {} ]; do sleep 0.02; done | {peer}", go.display());
    let (mut stack, peer) = match role {
        Role::Client => {
            let peer = guest.start(&peer, LIMIT).unwrap();
            links::wait_for_listener(&guest, PORT).unwrap();
            (stack.spawn(None, "stack", guest.dir()).unwrap(), peer)
        }
        Role::Server => {
            let stack = stack.spawn(None, "stack", guest.dir()).unwrap();
            (stack, guest.start(&peer, LIMIT).unwrap())
        }
    };
    let joins = links::lose_after_joins(&guest, NICS, &links::BOTH).unwrap();
    std::fs::write(&go, "").unwrap();
    stack.process.feed(&up.bytes().unwrap()).unwrap();
    stack.process.finish_input();
    let stack = stack.succeed(LIMIT).unwrap();
    let peer = PeerReport::parse(&peer.succeed().unwrap()).unwrap();
    assert!(peer.has(&up), "{role}: {peer:?}");
    assert!(Payload::of(&output).unwrap().same_content(&down), "{role}: {}", stack.summary);
    assert_eq!((peer.multipath, stack.fallback()), (Some(true), None), "{role}");
    let mib = links::mib(&guest).unwrap();
    assert_eq!(joins, NICS as u64 - 1, "{role}: the guest {:?}, the stack {:?}", mib.nonzero(), stack.mib.nonzero());
}

over_every_tcp!(the_stack_connects_to_a_guest_over_four_bad_links, a_guest_connects_to_the_stack_over_four_bad_links,);

fn the_stack_connects_to_a_guest_over_four_bad_links(tcp: Tcp) {
    meet_the_stack(tcp, Role::Client);
}

fn a_guest_connects_to_the_stack_over_four_bad_links(tcp: Tcp) {
    meet_the_stack(tcp, Role::Server);
}
