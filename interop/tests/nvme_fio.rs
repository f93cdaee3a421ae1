//! fio on the disk of Linux' NVMe/TCP target, by way of our host and its NBD server: what was written comes back, whatever
//! carries it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use interop::capture;
use interop::cli::{Stack, Tcp};
use interop::counters::Traffic;
use interop::fio;
use interop::guest::UmlGuest;
use interop::netns::Netns;
use interop::nvme::{self, NQN};
use interop::over_every_tcp;
use interop::process::{Process, wait_until};
use interop::slots::Slot;
use interop::topology::{Family, kernel_addr, stack_addr};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(180);

/// How often to look what has become of paths.
const PAUSE: Duration = Duration::from_millis(50);

/// Jobs of fio, each with a connection and a quarter of the disk for itself.
const JOBS: usize = 4;

/// I/O queues of the host.
const QUEUES: usize = 4;

/// What Linux takes in a command capsule is 16 KiB: these are not asked for.
const SMALL: u32 = 4 << 10;

/// These are, by R2Ts.
const LARGE: u32 = 128 << 10;

const MIB: u32 = 1 << 20;

/// What carries the bytes of the host.
#[derive(Clone, Copy)]
enum Carrier {
    /// A TCP in user space.
    Stack(Tcp),
    /// The sockets of the kernel.
    Kernel,
}

/// Linux' target, and a machine that is on a network of its own with each of its ports.
struct Target {
    // Before the namespace, which it runs in.
    guest: UmlGuest,
    netns: Netns,
    ports: usize,
    _slot: Slot,
}

impl Target {
    fn new(name: &str, ports: usize) -> Self {
        let slot = Slot::take().unwrap();
        let (guest, netns) = nvme::bridged_guest(name, ports, &["host"]).unwrap();
        guest.exec(&nvme::export(ports), LIMIT).unwrap();
        Self { guest, netns, ports, _slot: slot }
    }

    fn dir(&self) -> &Path {
        self.guest.dir()
    }

    /// Our host, connected to all ports, and the socket at which it offers the disk.
    fn attach(&self, carrier: Carrier, options: &str) -> (Process, PathBuf) {
        let socket = self.dir().join("disk.sock");
        let mut host = Stack::subcommand("nvme nbd").with(&format!("-n {NQN} {options}")).file("--socket", &socket);
        host = match carrier {
            Carrier::Stack(tcp) => host.tcp(tcp),
            Carrier::Kernel => host.with("--kernel tcp"),
        };
        for port in 0..self.ports {
            host = host.with(&format!("-a {}", kernel_addr(Family::V4, port)));
            if let Carrier::Stack(_) = carrier {
                host = host.with(&format!("--path tap:host{port},{}/24", stack_addr(Family::V4, port)));
            }
        }
        let mut host = host.spawn_alone(Some(&self.netns), "host", self.dir()).unwrap();
        host.wait_for_output("listening on", LIMIT).unwrap();
        (host, socket)
    }

    /// Has fio write and verify with so many bytes of each job.
    fn verify(&self, socket: &Path, sizes: &str, bytes: u32) {
        fio::start(socket, &job(sizes, bytes), "fio", self.dir()).unwrap().succeed(LIMIT).unwrap();
    }

    /// Bytes that have passed on the network of a port.
    fn carried(&self, port: usize) -> u64 {
        let Traffic { rx, tx } = Traffic::of(&self.netns, &format!("guest{port}")).unwrap();
        rx + tx
    }

    /// Whether each of these ports has carried this many bytes since the call.
    fn carry(&self, ports: &[usize], bytes: u32) -> impl Fn() -> bool {
        let before: Vec<u64> = ports.iter().map(|port| self.carried(*port)).collect();
        move || ports.iter().zip(&before).all(|(port, before)| self.carried(*port) - before >= u64::from(bytes))
    }

    /// Takes the network of a port away, or gives it back.
    fn set_network(&self, port: usize, state: &str) {
        self.netns.ip(&format!("link set bridge{port} {state}")).unwrap();
    }
}

/// Words for fio: what is to be written and verified by all jobs together.
fn job(sizes: &str, bytes: u32) -> String {
    format!("--rw=randwrite {sizes} --size={bytes} --iodepth=16 --numjobs={JOBS} --offset_increment=16m")
}

fn of_one_size(bytes: u32) -> String {
    format!("--bs={bytes}")
}

fn of_both_sizes() -> String {
    format!("--bssplit={SMALL}/60:{LARGE}/40")
}

/// Ends the host as Ctrl-C does, so that the target forgets it. By then it must have had nothing to tell: no connection was lost.
fn leave(host: Process) {
    assert_eq!(host.stderr(), "");
    host.signal(Signal::INT).unwrap();
    assert_eq!(host.wait(LIMIT).unwrap().status.code(), Some(130));
}

over_every_tcp!(fio_finds_what_it_wrote, fio_notices_nothing_of_ports_that_come_and_go);

fn fio_finds_what_it_wrote(tcp: Tcp) {
    write_and_verify(Carrier::Stack(tcp));
}

#[test]
fn fio_finds_what_it_wrote_over_the_kernels_sockets() {
    write_and_verify(Carrier::Kernel);
}

fn write_and_verify(carrier: Carrier) {
    let target = Target::new("nvme-fio", 1);
    for digests in ["", "--hdr-digest --data-digest"] {
        let (host, socket) = target.attach(carrier, &format!("--nr-io-queues {QUEUES} --keep-alive-tmo 60 {digests}"));
        target.verify(&socket, &of_one_size(SMALL), 4 * MIB);
        target.verify(&socket, &of_one_size(LARGE), 8 * MIB);
        target.verify(&socket, &of_both_sizes(), 8 * MIB);
        let received = "ss -Htin state established sport = :4420 | grep -o 'bytes_received:[0-9]*'";
        let received = target.guest.exec(received, LIMIT).unwrap();
        let bytes = received.lines().filter_map(|line| line.split_once(':')?.1.parse::<u32>().ok());
        assert_eq!(bytes.filter(|bytes| *bytes > MIB).count(), QUEUES, "each queue carries its share: {received}");
        leave(host);
    }
}

#[test]
fn small_writes_are_in_their_capsules_and_large_ones_wait_for_r2ts() {
    let target = Target::new("nvme-pdus", 1);
    for (digests, agreed) in [("", "0"), ("--hdr-digest --data-digest", "3")] {
        let pcap = target.dir().join("host.pcapng");
        let options = format!("--nr-io-queues {QUEUES} --keep-alive-tmo 60 --pcap {} {digests}", pcap.display());
        let (host, socket) = target.attach(Carrier::Stack(Tcp::Native), &options);
        target.verify(&socket, &of_one_size(SMALL), MIB);
        target.verify(&socket, &of_one_size(LARGE), 2 * MIB);
        leave(host);

        let fields = ["nvme-tcp.type", "nvme-tcp.icresp.digest", "nvme-tcp.hdgst.status", "nvme-tcp.ddgst.status"];
        let frames = capture::nvme_pdus(&pcap, &fields).unwrap();
        // A frame may have the ends of several PDUs.
        let values = |field: usize| {
            frames.iter().flat_map(move |frame| frame[field].split(',')).filter(|value| !value.is_empty())
        };
        let answers: Vec<&str> = values(1).collect();
        assert_eq!(answers, [agreed; QUEUES + 1], "with the admin queue");
        // Some are overlooked where segments were lost; but a single one for each small write would be many more.
        let [r2ts, data] = ["9", "6"].map(|kind| values(0).filter(|value| *value == kind).count());
        let large = JOBS * 2 * MIB as usize / LARGE as usize;
        assert!((large / 2..=large).contains(&r2ts), "{r2ts} R2Ts for {large} writes");
        assert!((large / 2..=large).contains(&data), "{data} H2CData for {large} writes");
        let digests: Vec<&str> = values(2).chain(values(3)).collect();
        let sound = digests.iter().filter(|status| **status == "1").count();
        assert_eq!(sound, digests.len(), "digests that are right");
        assert_eq!(digests.is_empty(), agreed == "0");
    }
}

fn fio_notices_nothing_of_ports_that_come_and_go(tcp: Tcp) {
    outlast_outages(Carrier::Stack(tcp));
}

#[test]
fn fio_notices_nothing_of_ports_that_come_and_go_over_the_kernels_sockets() {
    outlast_outages(Carrier::Kernel);
}

/// NVMe's own multipath over two ports, by both policies that use them at once. What is waited for is bounded, but nothing depends on how long it
/// takes.
fn outlast_outages(carrier: Carrier) {
    let target = Target::new("nvme-ports", 2);
    for (policy, away) in [("round-robin", 1), ("queue-depth", 0)] {
        let options = format!("--iopolicy {policy} --nr-io-queues 2 --reconnect-delay 1");
        let (mut host, socket) = target.attach(carrier, &options);
        let mut load = Load::start(&socket, target.dir());
        outlast_an_outage(&target, &host, &mut load, away);
        load.finish();
        assert!(host.is_running(), "{}", host.stderr());
        host.signal(Signal::INT).unwrap();
        assert_eq!(host.wait(LIMIT).unwrap().status.code(), Some(130));
    }
}

fn outlast_an_outage(target: &Target, host: &Process, load: &mut Load<'_>, away: usize) {
    // More than what a controller says when it is connected.
    let share = 4 * MIB;
    let address = format!("{}:4420", kernel_addr(Family::V4, away));
    let told = |what: String| {
        let before = host.stderr().len();
        move || host.stderr()[before..].contains(&what)
    };
    load.until("I/O on both ports", target.carry(&[0, 1], share));
    let lost = told(format!("reconnecting to {address}"));
    target.set_network(away, "down");
    load.until("the loss of a port", lost);
    load.until("I/O on the other port", target.carry(&[1 - away], share));
    let live = told(format!("at {address}, I/O queues: 2"));
    target.set_network(away, "up");
    load.until("the return of the port", live);
    load.until("I/O on both ports again", target.carry(&[0, 1], share));
}

/// fio, which writes and verifies again and again.
struct Load<'a> {
    socket: &'a Path,
    dir: &'a Path,
    round: u32,
    fio: Process,
}

impl<'a> Load<'a> {
    fn start(socket: &'a Path, dir: &'a Path) -> Self {
        Self { socket, dir, round: 0, fio: Self::round(socket, dir, 0) }
    }

    fn round(socket: &Path, dir: &Path, number: u32) -> Process {
        // Slow enough to last for a while.
        let words = format!("{} --rate=8m --randseed={number}", job(&of_both_sizes(), 8 * MIB));
        fio::start(socket, &words, &format!("fio{number}"), dir).unwrap()
    }

    /// Goes on until this has happened.
    fn until(&mut self, what: &str, happened: impl Fn() -> bool) {
        wait_until(what, LIMIT, || {
            if !self.fio.is_running() {
                self.round += 1;
                let next = Self::round(self.socket, self.dir, self.round);
                std::mem::replace(&mut self.fio, next).succeed(LIMIT)?;
            }
            thread::sleep(PAUSE);
            Ok(happened())
        })
        .unwrap();
    }

    fn finish(self) {
        self.fio.succeed(LIMIT).unwrap();
    }
}
