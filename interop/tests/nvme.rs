//! Our NVMe/TCP target and host with Linux at the other end: its host over our own TCP, and its Multipath TCP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::time::Duration;

use interop::cli::Stack;
use interop::endpoints;
use interop::guest::{Nic, UmlGuest, nic_pair};
use interop::lab::{Lab, PATHS};
use interop::payload::Payload;
use interop::process::Process;
use interop::slots::Slot;
use interop::topology::{Family, Link, kernel_addr, stack_addr};

const LIMIT: Duration = Duration::from_secs(180);
const NQN: &str = "nqn.2026-11.org.example:mptcp";

/// A guest with two cables to our target, which has a namespace in memory.
fn guest_and_target(listen: &str) -> (UmlGuest, Process) {
    let (mut guest, mut cables) = (UmlGuest::builder("host"), Vec::new());
    for _ in 0..2 {
        let (theirs, ours) = nic_pair().unwrap();
        guest = guest.nic(Nic::Socket(theirs));
        cables.push(ours);
    }
    let guest = guest.memory(256).boot().unwrap();
    let mut target = Stack::subcommand("nvme target --namespace memory:96M").with(listen);
    for (number, cable) in cables.into_iter().enumerate() {
        target = target.socket_path(cable, &format!("10.77.{number}.2/24"));
    }
    let mut target = target.spawn_alone(None, "target", guest.dir()).unwrap();
    target.wait_for_output("listening on 10.77.0.2", LIMIT).unwrap();
    let addresses = "set -e\nfor i in 0 1; do ip addr add 10.77.$i.1/24 dev vec$i; ip link set vec$i up; done";
    guest.exec(addresses, LIMIT).unwrap();
    (guest, target)
}

/// Connects, puts a file system on the disk, has fio write and verify, and checks the file system.
fn use_the_disk(guest: &UmlGuest, options: &str) {
    let script = format!(
        "set -e
        nvme connect -t tcp -a 10.77.0.2 -s 4420 -n {NQN} {options}
        for i in $(seq 100); do [ -b /dev/nvme0n1 ] && break; sleep 0.05; done
        mkfs.ext4 -q /dev/nvme0n1
        mkdir -p /run/disk
        mount /dev/nvme0n1 /run/disk
        fio --name=verify --directory=/run/disk --size=24m --rw=randwrite --bs=4k-64k --ioengine=libaio --iodepth=16 --direct=1 \
            --verify=crc32c --do_verify=1 --verify_fatal=1 --fsync=64 --randseed=7 --output-format=terse
        umount /run/disk
        fsck.ext4 -fn /dev/nvme0n1
        nvme disconnect -n {NQN}"
    );
    guest.exec(&script, LIMIT).unwrap();
}

#[test]
fn linux_discovers_and_uses_our_disk() {
    let _slot = Slot::take().unwrap();
    let (guest, _target) = guest_and_target("--listen 10.77.0.2:4420");
    let log = guest.exec("nvme discover -t tcp -a 10.77.0.2 -s 4420", LIMIT).unwrap();
    assert!(log.contains(NQN) && log.contains("10.77.0.2"), "{log}");
    use_the_disk(&guest, "");
}

#[test]
fn linux_uses_our_disk_with_digests_and_several_queues() {
    let _slot = Slot::take().unwrap();
    let (guest, _target) = guest_and_target("--listen 10.77.0.2:4420");
    use_the_disk(&guest, "--hdr-digest --data-digest --nr-io-queues=2 --nr-write-queues=1");
}

#[test]
fn linux_finds_two_paths_to_one_disk() {
    let _slot = Slot::take().unwrap();
    let (guest, _target) = guest_and_target("--listen 10.77.0.2:4420 --listen 10.77.1.2:4420");
    let script = format!(
        "set -e
        nvme connect -t tcp -a 10.77.0.2 -s 4420 -n {NQN}
        nvme connect -t tcp -a 10.77.1.2 -s 4420 -n {NQN} --ctrl-loss-tmo=-1
        for i in $(seq 100); do [ $(ls -d /sys/class/nvme-subsystem/nvme-subsys0/nvme[0-9] | wc -l) = 2 ] && break; sleep 0.05; done
        for i in $(seq 100); do [ -b /dev/nvme0n1 ] && break; sleep 0.05; done
        echo round-robin >/sys/class/nvme-subsystem/nvme-subsys0/iopolicy
        fio --name=both --filename=/dev/nvme0n1 --size=32m --rw=randwrite --bs=8k --ioengine=libaio --iodepth=16 --direct=1 \
            --verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=3 --output-format=terse >/dev/null
        cat /proc/net/dev
        nvme list-subsys
        nvme disconnect -n {NQN}"
    );
    let output = guest.exec(&script, LIMIT).unwrap();
    assert_eq!(output.matches("live").count(), 2, "{output}");
    for nic in ["vec0", "vec1"] {
        let line = output.lines().find(|line| line.trim_start().starts_with(nic)).unwrap();
        let received: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(received > 8 << 20, "{nic} carries its share: {output}");
    }
}

/// Bytes that are written and read back.
const LEN: u64 = 24 << 20;

/// Writes a file to a disk and reads it back, with commands that `host` begins, and expects every path to have had a part in it.
fn write_and_read(lab: &Lab, host: impl Fn(&str) -> Process) {
    let sent = lab.payload("sent", LEN).unwrap();
    let received = lab.dir.path().join("received");
    let carried = |path: usize| lab.topology.traffic(path).map(|traffic| traffic.rx + traffic.tx).unwrap();
    let before: Vec<u64> = (0..PATHS).map(carried).collect();
    host(&format!("nvme write -d {}", sent.path.display())).succeed(LIMIT).unwrap();
    host(&format!("nvme read -z {LEN} -d {}", received.display())).succeed(LIMIT).unwrap();
    assert_eq!(sent.bytes().unwrap(), std::fs::read(&received).unwrap());
    for (path, before) in before.into_iter().enumerate() {
        let new = carried(path) - before;
        assert!(new > LEN / 20, "path {path} carried {new} bytes");
    }
}

#[test]
fn our_host_on_linux_mptcp_uses_our_target_over_three_paths() {
    let lab = Lab::new("nvme-host", Link::Veth).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 8, 8).unwrap();
    let address = stack_addr(Family::V4, 0);
    let target = Stack::subcommand("nvme target --namespace memory:64M").with(&format!("--listen {address}:4420"));
    let target = target.paths(&lab.topology, Family::V4, ",signal");
    let mut target = target.spawn_alone(Some(lab.topology.stack()), "target", lab.dir.path()).unwrap();
    target.wait_for_output("listening on", LIMIT).unwrap();
    write_and_read(&lab, |words| {
        let host = Stack::subcommand(words).with(&format!("-a {address} -n {NQN} --kernel mptcp"));
        host.spawn_alone(Some(lab.topology.kernel()), "host", lab.dir.path()).unwrap()
    });
    assert!(target.is_running());
}

#[test]
fn our_host_uses_our_target_on_linux_mptcp_over_three_paths() {
    let lab = Lab::new("nvme-target", Link::Veth).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 8, 8).unwrap();
    let address = kernel_addr(Family::V4, 0);
    let target = Stack::subcommand("nvme target --namespace memory:64M --kernel mptcp");
    let target = target.with(&format!("--listen {address}:4420"));
    let mut target = target.spawn_alone(Some(lab.topology.kernel()), "target", lab.dir.path()).unwrap();
    target.wait_for_output("listening on", LIMIT).unwrap();
    write_and_read(&lab, |words| {
        let host = Stack::subcommand(words).with(&format!("-a {address} -n {NQN}"));
        let host = host.paths(&lab.topology, Family::V4, "");
        host.spawn_alone(Some(lab.topology.stack()), "host", lab.dir.path()).unwrap()
    });
    assert!(target.is_running());
}

/// Exports a disk in the guest's memory with the kernel's own target.
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
    echo 10.77.0.1 >ports/1/addr_traddr; echo 4420 >ports/1/addr_trsvcid
    ln -s /sys/kernel/config/nvmet/subsystems/NQN ports/1/subsystems/NQN";

#[test]
fn our_host_uses_a_disk_of_linux() {
    let _slot = Slot::take().unwrap();
    let (theirs, ours) = nic_pair().unwrap();
    let guest = UmlGuest::builder("target").memory(256).nic(Nic::Socket(theirs)).boot().unwrap();
    guest.exec("ip addr add 10.77.0.1/24 dev vec0; ip link set vec0 up", LIMIT).unwrap();
    guest.exec(&EXPORT.replace("NQN", NQN), LIMIT).unwrap();
    let host = |words: &str| {
        let host = Stack::subcommand(words).with("-a 10.77.0.1").socket_path(ours.try_clone().unwrap(), "10.77.0.2/24");
        host.spawn_alone(None, "host", guest.dir()).unwrap().succeed(LIMIT).unwrap()
    };
    let log = host("nvme discover").stdout;
    assert!(log.contains(NQN), "{log}");
    let sent = Payload::create(guest.dir().join("sent"), LEN, 5).unwrap();
    let received = guest.dir().join("received");
    for options in ["", "-g -G -i 2"] {
        host(&format!("nvme write -n {NQN} -d {} {options}", sent.path.display()));
        host(&format!("nvme read -n {NQN} -z {LEN} -d {} {options}", received.display()));
        assert_eq!(sent.bytes().unwrap(), std::fs::read(&received).unwrap());
    }
    let figures = host(&format!("nvme perf -n {NQN} --rw randrw --runtime 1 --json")).stdout;
    assert!(figures.contains("\"iops\""), "{figures}");
}
