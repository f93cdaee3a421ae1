//! NVMe/TCP with a kernel as a guest at one end and our program at the other.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::error::Result;
use crate::guest::{GuestBuilder, Nic, UmlGuest, nic_pair};
use crate::netns::Netns;
use crate::topology::{Family, kernel_addr, plain};

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

/// A guest in a new namespace, with so many networks there: 10.77.N.1/24 on network N, from 0 on. Each has a TAP device for each of `others`, which
/// is called by that name and the number, such as `host0`, and what joins them is `bridgeN`, where the kernel of the namespace is 10.77.N.4/24.
///
/// # Errors
/// There are no such devices, or it does not boot.
pub fn bridged_guest(name: &str, networks: usize, others: &[&str]) -> Result<(UmlGuest, Netns)> {
    let netns = Netns::new(name)?;
    let mut guest = UmlGuest::builder(name).memory(MEMORY).netns(&netns);
    for network in 0..networks {
        let bridge = format!("bridge{network}");
        netns.ip(&format!("link add {bridge} type bridge"))?;
        // The guest takes no frames that are longer than its network allows.
        plain(&netns, &bridge)?;
        netns.ip(&format!("addr add 10.77.{network}.4/24 dev {bridge}"))?;
        netns.ip(&format!("link set {bridge} up"))?;
        for end in ["guest"].iter().chain(others) {
            netns.ip(&format!("tuntap add dev {end}{network} mode tap"))?;
            netns.ip(&format!("link set {end}{network} master {bridge} up"))?;
        }
        guest = guest.nic(Nic::Tap(format!("guest{network}")));
    }
    let guest = boot(guest, networks)?;
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

/// A script that has the guest's kernel export a disk of 64 MiB in its memory, to every host, at so many ports: 10.77.N.1, N from 0 on. The first is
/// [`KERNEL_TARGET`].
#[must_use]
pub fn export(ports: usize) -> String {
    let mut script = DISK.replace("NQN", NQN);
    for port in 0..ports {
        let address = kernel_addr(Family::V4, port).to_string();
        // A port has a number that is not 0.
        let number = (port + 1).to_string();
        script += &PORT.replace("NQN", NQN).replace("NUMBER", &number).replace("ADDRESS", &address);
    }
    script
}

const DISK: &str = "set -e
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
";

const PORT: &str = "
    mkdir ports/NUMBER
    echo ipv4 >ports/NUMBER/addr_adrfam; echo tcp >ports/NUMBER/addr_trtype
    echo ADDRESS >ports/NUMBER/addr_traddr; echo 4420 >ports/NUMBER/addr_trsvcid
    ln -s /sys/kernel/config/nvmet/subsystems/NQN ports/NUMBER/subsystems/NQN
";
