//! Links of a guest that are slow and lose packets.

use std::time::Duration;

use super::UmlGuest;
use crate::counters::Mib;
use crate::error::Result;
use crate::process::wait_until;

/// Each link in the words of netem, without its loss.
const LINK: &str = "delay 5ms rate 20mbit limit 200";

/// Socket buffers: least, initial and most bytes. By itself a guest with little memory allows less than what lies
/// out of order behind a loss on one of several links, and Linux 6.12 never takes the missing bytes in once that has filled its buffer.
const BUFFERS: &str = "4096 131072 16777216";

/// Packets that are lost.
const LOSS: &str = "1%";

/// Time in which a command of a few lines ends.
const LIMIT: Duration = Duration::from_secs(60);

/// Time in which all joins are made that are made at all.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Names of the devices that treat what a guest sends: its NICs.
pub const SENDING: [&str; 1] = ["vec"];

/// Names of the devices that treat what a guest sends and what it receives.
pub const BOTH: [&str; 2] = ["vec", "in"];

/// Gives NIC `i` of `nics` the address 10.77.i.`host`, slows down what it sends and lets the guest have a subflow on each. Where `signals`,
/// it announces the addresses of all but the first.
///
/// What a NIC receives passes by way of another device, which can be made as bad as the NIC.
///
/// # Errors
/// The guest refuses.
pub fn configure(guest: &UmlGuest, nics: usize, host: u8, signals: bool) -> Result<()> {
    let mut script = String::from("set -e\nip mptcp limits set subflow 8 add_addr_accepted 8\n");
    for queue in ["tcp_rmem", "tcp_wmem"] {
        script += &format!("echo {BUFFERS} >/proc/sys/net/ipv4/{queue}\n");
    }
    for nic in 0..nics {
        script += &format!("ip addr add 10.77.{nic}.{host}/24 dev vec{nic}; ip link set vec{nic} up\n");
        script += &format!("ip link add in{nic} type ifb; ip link set in{nic} up\n");
        script += &format!("tc qdisc add dev vec{nic} handle ffff: ingress\n");
        let redirect = "matchall action mirred egress redirect";
        script += &format!("tc filter add dev vec{nic} parent ffff: {redirect} dev in{nic}\n");
        script += &format!("tc qdisc add dev vec{nic} root netem {LINK}\n");
        if nic > 0 && signals {
            script += &format!("ip mptcp endpoint add 10.77.{nic}.{host} dev vec{nic} signal\n");
        }
    }
    guest.exec(&script, LIMIT).map(drop)
}

/// Waits for a join on each NIC but the first, and returns how many there were in the end. From then on the devices of this kind lose
/// packets: a kernel does not try again what the loss of a handshake has prevented.
///
/// # Errors
/// The guest refuses.
pub fn lose_after_joins(guest: &UmlGuest, nics: usize, devices: &[&str]) -> Result<u64> {
    let joins = || mib(guest).map(|mib| mib["MPJoinAckRx"] + mib["MPJoinSynAckRx"]);
    // A test that expects all of them has more to say of fewer.
    let _ = wait_until("the joins", JOIN_LIMIT, || Ok(joins()? + 1 >= nics as u64));
    let mut script = String::from("set -e\n");
    for (device, nic) in devices.iter().flat_map(|device| (0..nics).map(move |nic| (device, nic))) {
        script += &format!("tc qdisc replace dev {device}{nic} root netem {LINK} loss {LOSS}\n");
    }
    guest.exec(&script, LIMIT)?;
    joins()
}

/// Waits until a program in the guest listens on a TCP port.
///
/// # Errors
/// None does in time.
pub fn wait_for_listener(guest: &UmlGuest, port: u16) -> Result<()> {
    guest.exec(&format!("while ! ss -Hltn | grep -q :{port}; do sleep 0.02; done"), LIMIT).map(drop)
}

/// What the guest's kernel has counted.
///
/// # Errors
/// The guest is gone.
pub fn mib(guest: &UmlGuest) -> Result<Mib> {
    Mib::parse(&guest.exec("cat /proc/net/netstat", LIMIT)?)
}
