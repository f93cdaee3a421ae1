//! A guest kernel with four bad links: 5 ms, 1 % loss and 20 Mbit/s each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::time::Duration;

use interop::guest::{Nic, UmlGuest, nic_pair};
use interop::lab::PORT;
use interop::payload::Payload;
use interop::peer::{Peer, PeerReport};
use interop::slots::Slot;

const LIMIT: Duration = Duration::from_secs(120);
const NICS: usize = 4;

/// Addresses, limits and bad links of a guest; it announces the addresses of all NICs but the first.
fn configure(guest: &UmlGuest, host: u8) {
    let mut script = String::from("set -e\nip mptcp limits set subflow 8 add_addr_accepted 8\n");
    for nic in 0..NICS {
        script += &format!("ip addr add 10.77.{nic}.{host}/24 dev vec{nic}; ip link set vec{nic} up\n");
        script += &format!("tc qdisc add dev vec{nic} root netem delay 5ms loss 1% rate 20mbit limit 200\n");
        if nic > 0 {
            script += &format!("ip mptcp endpoint add 10.77.{nic}.{host} dev vec{nic} signal\n");
        }
    }
    guest.exec(&script, LIMIT).unwrap();
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
    configure(&left, 1);
    configure(&right, 2);

    let addr = "10.77.0.1".parse().unwrap();
    let down = Payload::create(left.dir().join("down"), 16 << 20, 1).unwrap();
    let up = Payload::create(right.dir().join("up"), 16 << 20, 2).unwrap();
    let serve = Peer::listen(PORT, addr).send(&down).guest_command(left.dir()).unwrap();
    let server = left.start(&serve, LIMIT).unwrap();
    let connect = Peer::connect(addr, PORT).send(&up).guest_command(right.dir()).unwrap();
    let wait = "while ! ss -Hltn | grep -q :7700; do sleep 0.02; done";
    left.exec(wait, LIMIT).unwrap();
    let client = PeerReport::parse(&right.exec(&connect, LIMIT).unwrap()).unwrap();
    let server = PeerReport::parse(&server.succeed().unwrap()).unwrap();
    assert!(server.has(&up) && client.has(&down), "{server:?} {client:?}");
    assert_eq!(client.multipath, Some(true));
    let joins = left.exec("nstat -asz MPTcpExtMPJoinAckRx | awk 'END { print $2 }'", LIMIT).unwrap();
    assert_eq!(joins.trim(), "3");
}
