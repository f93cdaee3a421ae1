//! Our NVMe/TCP target and host with Linux at the other end: its host over our own TCP, and its Multipath TCP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::time::Duration;

use interop::cli::Stack;
use interop::endpoints;
use interop::fio;
use interop::guest::UmlGuest;
use interop::lab::{Lab, PATHS};
use interop::nvme::{self, KERNEL_TARGET, NQN};
use interop::payload::Payload;
use interop::process::Process;
use interop::slots::Slot;
use interop::topology::{End, Family, Link, kernel_addr, stack_addr};

const LIMIT: Duration = Duration::from_secs(180);
/// A guest with two cables to our target, which has a namespace in memory.
fn guest_and_target(listen: &str) -> (UmlGuest, Process) {
    let (guest, cables) = nvme::cabled_guest("host", 2).unwrap();
    let mut target = Stack::subcommand("nvme target --namespace memory:96M").with(listen);
    for (number, cable) in cables.into_iter().enumerate() {
        target = target.socket_path(cable, &format!("10.77.{number}.2/24"));
    }
    let mut target = target.spawn_alone(None, "target", guest.dir()).unwrap();
    target.wait_for_output("listening on 10.77.0.2", LIMIT).unwrap();
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

/// The same over TAP devices, which is how a stack of ours meets the kernel of its own machine; and the other way round.
#[test]
fn both_roles_over_tap_devices() {
    let _slot = Slot::take().unwrap();
    let (guest, netns) = nvme::bridged_guest("nvme-tap", 1, &["target", "host"]).unwrap();
    let spawn = |words: &str, label: &str, path: &str| {
        Stack::subcommand(words).with(path).spawn_alone(Some(&netns), label, guest.dir()).unwrap()
    };
    let target = "nvme target --namespace memory:96M --listen 10.77.0.2:4420";
    let mut target = spawn(target, "target", "--path tap:target0,10.77.0.2/24");
    target.wait_for_output("listening on 10.77.0.2", LIMIT).unwrap();
    use_the_disk(&guest, "--hdr-digest --data-digest --nr-io-queues=2");
    assert!(target.is_running());
    guest.exec(&nvme::export(1), LIMIT).unwrap();
    let host = |words: &str| {
        let words = format!("{words} -a {KERNEL_TARGET} -n {NQN}");
        spawn(&words, "host", "--path tap:host0,10.77.0.3/24").succeed(LIMIT).unwrap();
    };
    there_and_back(&guest, host, "");
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

/// Time for which a path is away, and then back.
const AWAY: Duration = Duration::from_secs(2);

/// Megabits (10^6) per second of each path: slow enough for all of them to be needed.
const RATE: u32 = 40;

/// Bytes that fio writes and verifies; at most, all paths together carry 15 MB/s.
const VERIFIED: &str = "72m";

#[test]
fn fio_notices_nothing_of_paths_that_come_and_go() {
    let lab = Lab::new("nvme-nbd", Link::Veth).unwrap();
    let (topology, dir) = (&lab.topology, lab.dir.path());
    let address = kernel_addr(Family::V4, 0);
    let mut target = Stack::subcommand("nvme target --subflows 8 --namespace memory:128M");
    target = target.with(&format!("--listen {address}:4420"));
    for path in 0..PATHS {
        for end in [End::Kernel, End::Stack] {
            topology.shape(path, end, RATE, Duration::from_millis(100)).unwrap();
        }
        // Our stack takes the kernel's place.
        let interface = topology.kernel_interface(path);
        topology.kernel().ip(&format!("addr flush dev {interface}")).unwrap();
        let flags = if path == 0 { "" } else { ",signal" };
        target = target.with(&format!("--path eth:{interface},{}/24{flags}", kernel_addr(Family::V4, path)));
    }
    let mut target = target.spawn_alone(Some(topology.kernel()), "target", dir).unwrap();
    target.wait_for_output("listening on", LIMIT).unwrap();
    let socket = lab.dir.file("disk.sock");
    let host = Stack::subcommand("nvme nbd --subflows 8 --nr-io-queues 2").with(&format!("-a {address} -n {NQN}"));
    let host = host.paths(topology, Family::V4, "").file("--socket", &socket);
    let mut host = host.spawn_alone(Some(topology.stack()), "host", dir).unwrap();
    host.wait_for_output("listening on", LIMIT).unwrap();

    let carried = |path: usize| topology.traffic(path).map(|traffic| traffic.rx + traffic.tx).unwrap();
    let before: Vec<u64> = (0..PATHS).map(carried).collect();
    let job = format!("--rw=randwrite --bsrange=4k-128k --iodepth=32 --fsync=64 --randseed=11 --size={VERIFIED}");
    let mut fio = fio::start(&socket, &job, "fio", dir).unwrap();
    let mut outages = 0;
    while fio.is_running() {
        // Each path in turn, now at this end and now at the other.
        let set = |up: bool| match outages % 2 {
            0 => topology.set_stack_link(outages % PATHS, up),
            _ => topology.set_kernel_link(outages % PATHS, up),
        };
        for up in [false, true] {
            set(up).unwrap();
            std::thread::sleep(AWAY);
        }
        outages += 1;
        assert!(outages < 30, "fio does not end: {}", host.stderr());
    }
    fio.succeed(LIMIT).unwrap();
    assert!(outages >= 3, "{outages} outages");
    for (path, before) in before.into_iter().enumerate() {
        let new = carried(path) - before;
        assert!(new > 8 << 20, "path {path} carried {new} bytes");
    }
    // Multipath TCP has hidden it: no connection was lost.
    assert!(host.is_running() && target.is_running());
    assert_eq!(host.stderr(), "");
}

/// Writes a file to a disk and reads it back, with what `host` does.
fn there_and_back(guest: &UmlGuest, host: impl Fn(&str), options: &str) {
    let sent = Payload::create(guest.dir().join("sent"), LEN, 5).unwrap();
    let received = guest.dir().join("received");
    host(&format!("nvme write -d {} {options}", sent.path.display()));
    host(&format!("nvme read -z {LEN} -d {} {options}", received.display()));
    assert_eq!(sent.bytes().unwrap(), std::fs::read(&received).unwrap());
}

#[test]
fn our_host_uses_a_disk_of_linux() {
    let _slot = Slot::take().unwrap();
    let (guest, cables) = nvme::cabled_guest("target", 1).unwrap();
    guest.exec(&nvme::export(1), LIMIT).unwrap();
    let host = |words: &str| {
        let cable = cables[0].try_clone().unwrap();
        let host = Stack::subcommand(words).with(&format!("-a {KERNEL_TARGET}")).socket_path(cable, "10.77.0.2/24");
        host.spawn_alone(None, "host", guest.dir()).unwrap().succeed(LIMIT).unwrap()
    };
    let log = host("nvme discover").stdout;
    assert!(log.contains(NQN), "{log}");
    for options in ["", "-g -G -i 2"] {
        there_and_back(&guest, |words| drop(host(&format!("{words} -n {NQN}"))), options);
    }
    let figures = host(&format!("nvme perf -n {NQN} --rw randrw --runtime 1 --json")).stdout;
    assert!(figures.contains("\"iops\""), "{figures}");
}
