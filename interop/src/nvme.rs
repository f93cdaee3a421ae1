//! NVMe/TCP with a kernel as a guest at one end and our program at the other.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::error::Result;
use crate::guest::{GuestBuilder, Nic, UmlGuest, nic_pair};
use crate::netns::Netns;

/// The subsystem of the tests.
pub const NQN: &str = "nqn.2026-11.org.example:mptcp";

/// Where the kernel's target listens, see [`export`].
pub const KERNEL_TARGET: &str = "10.77.0.1";

/// MiB that a guest needs for a disk in memory and what works on it.
const MEMORY: u32 = 256;

/// Time in which a guest gives addresses to its interfaces, many times what it takes on an idle machine.
const SET_UP_LIMIT: Duration = Duration::from_secs(60);

/// A guest with so many cables: 10.77.N.1/24 at its own end of each, N from 0 on. Our ends are in the same order.
///
/// # Errors
/// It does not boot.
pub fn cabled_guest(name: &str, cables: usize) -> Result<(UmlGuest, Vec<OwnedFd>)> {
    let mut guest = UmlGuest::builder(name).memory(MEMORY);
    let mut ours = Vec::new();
    for _ in 0..cables {
        let (theirs, end) = nic_pair()?;
        guest = guest.nic(Nic::Socket(theirs));
        ours.push(end);
    }
    Ok((boot(guest, cables)?, ours))
}

/// A guest on the first of these TAP devices of a new namespace, where it is 10.77.0.1/24. A bridge joins all of them.
///
/// # Errors
/// There are no such devices, or it does not boot.
pub fn bridged_guest(name: &str, taps: &[&str]) -> Result<(UmlGuest, Netns)> {
    let netns = Netns::new(name)?;
    netns.ip("link add bridge type bridge")?;
    netns.ip("link set bridge up")?;
    for tap in taps {
        netns.ip(&format!("tuntap add dev {tap} mode tap"))?;
        netns.ip(&format!("link set {tap} master bridge up"))?;
    }
    let nic = taps.first().map(|tap| Nic::Tap((*tap).to_owned()));
    let guest = UmlGuest::builder(name).memory(MEMORY).netns(&netns);
    let guest = boot(nic.into_iter().fold(guest, GuestBuilder::nic), 1)?;
    Ok((guest, netns))
}

/// Boots, and gives an address to each of so many cards.
fn boot(guest: GuestBuilder<'_>, cards: usize) -> Result<UmlGuest> {
    let guest = guest.boot()?;
    let last = cards.saturating_sub(1);
    let addresses =
        format!("set -e\nfor i in $(seq 0 {last}); do ip addr add 10.77.$i.1/24 dev vec$i; ip link set vec$i up; done");
    guest.exec(&addresses, SET_UP_LIMIT)?;
    Ok(guest)
}

/// A script that has the guest's kernel export a disk in its memory, to every host, at [`KERNEL_TARGET`].
#[must_use]
pub fn export() -> String {
    EXPORT.replace("NQN", NQN).replace("ADDRESS", KERNEL_TARGET)
}

const EXPORT: &str = "set -e
    mount -t configfs none /sys/kernel/config
    mkdir /sys/kernel/config/nullb/disk
    cd /sys/kernel/config/nullb/disk
    echo 64 >size; echo 4096 >blocksize; echo 1 >memory_backed; echo 1 >power
    device=/dev/disk
    [ -b $device ] || device=/dev/nullb$(cat index)
    cd /sys/kernel/config/nvmet
    mkdir subsystems/NQN; echo 1 >subsystems/NQN/attr_allow_any_host
    mkdir subsystems/NQN/namespaces/1
    echo -n $device >subsystems/NQN/namespaces/1/device_path
    echo 1 >subsystems/NQN/namespaces/1/enable
    mkdir ports/1
    echo ipv4 >ports/1/addr_adrfam; echo tcp >ports/1/addr_trtype
    echo ADDRESS >ports/1/addr_traddr; echo 4420 >ports/1/addr_trsvcid
    ln -s /sys/kernel/config/nvmet/subsystems/NQN ports/1/subsystems/NQN";
