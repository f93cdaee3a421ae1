//! `mptcp nvme` and targets that are lost: killed, stopped, gone for good.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use common::nvme::{NQN, Target};
use common::{Background, Lines, TempFile, assert_success, free_port, mptcp, wait_until};
use nvme_io::net::{KernelNet, Protocol};
use nvme_io::{Host, HostConfig};
use nvme_tcp::command::{BlockRange, IoCommand, Nqn};
use nvme_tcp::host::{ControllerConfig, HostIdentity, Request};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

/// A host, with what it prints and what it complains of.
struct Running {
    process: Background,
    lines: Lines,
    complaints: Lines,
}

impl Running {
    /// Starts a command against a target.
    fn start(words: &str, port: &str) -> Self {
        let mut command = mptcp(["nvme"]);
        command.args(words.split_whitespace());
        command.args(["--kernel", "tcp", "-a", "127.0.0.1", "-s", port, "-n", NQN]);
        let mut process = Background::start(&mut command);
        let (lines, complaints) = (Lines::of(process.stdout()), Lines::of(process.stderr()));
        Self { process, lines, complaints }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap()
    }
}

/// When something was written to a file for the last time.
fn written(file: &TempFile) -> SystemTime {
    std::fs::metadata(&file.0).unwrap().modified().unwrap()
}

/// Waits until somebody writes to a file.
fn wait_for_writes(file: &TempFile) {
    let before = written(file);
    wait_until("something is written", || written(file) > before);
}

#[test]
fn a_host_says_that_its_target_is_lost_and_back() {
    let target = Target::start(&["--namespace", "null:1M"]);
    let port = target.port.clone();
    // On a machine that stands still for a moment there are more losses than those that are brought about.
    let mut host = Running::start("connect -k 1 -i 2", &port);
    assert!(host.line().starts_with("connected to controller 1 "));
    assert!(host.line().starts_with("namespace 1: "));
    drop(target);
    host.lines.with(&format!("reconnecting to 127.0.0.1:{port}: "));
    let target = Target::start_on(&port, &["--namespace", "null:1M"]);
    let end = format!(" at 127.0.0.1:{port}, I/O queues: 2");
    let line = host.lines.with("live: controller ");
    assert!(line.ends_with(&end), "{line}");
    // The connections stay, but nobody answers.
    let pid = Pid::from_child(&target.process);
    kill_process(pid, Signal::STOP).unwrap();
    host.lines.with("the controller did not answer a Keep Alive in time");
    kill_process(pid, Signal::CONT).unwrap();
    let line = host.lines.with("live: controller ");
    assert!(line.ends_with(&end), "{line}");
}

/// It has nothing of what was written, and must not pass for the disk that has.
#[test]
fn memory_is_another_disk_when_the_target_is_started_again() {
    let target = Target::start(&["--namespace", "memory:1M"]);
    let port = target.port.clone();
    let mut host = Running::start("connect", &port);
    assert!(host.line().starts_with("connected to controller 1 "));
    drop(target);
    let _target = Target::start_on(&port, &["--namespace", "memory:1M"]);
    let end = host.lines.with("is given up");
    assert!(end.ends_with("namespace 1 is another disk than before"), "{end}");
}

#[test]
fn a_target_that_is_gone_for_good_is_given_up() {
    let disk = TempFile::with_len("nvme-gone", 1 << 20);
    let target = Target::start(&["--namespace", &format!("file:{}", disk.path())]);
    let port = target.port.clone();
    // A machine that stands still for a moment leaves time for an attempt.
    let words = "perf --rw randwrite --runtime 600 --ctrl-loss-tmo 5 --reconnect-delay 1";
    let mut host = Running::start(words, &port);
    wait_for_writes(&disk);
    drop(target);
    let started = Instant::now();
    let status = host.process.wait();
    let lines: Vec<String> = host.complaints.collect();
    assert!(started.elapsed() < Duration::from_secs(60) && status.code() == Some(1), "{status}: {lines:?}");
    assert!(lines[0].starts_with(&format!("mptcp: reconnecting to 127.0.0.1:{port}: ")), "{lines:?}");
    let end = format!("mptcp: the controller is lost: 127.0.0.1:{port} is given up: Connection refused");
    assert!(lines.last().unwrap().starts_with(&end), "{lines:?}");
}

#[test]
fn one_of_two_paths_may_be_lost() {
    let disk = TempFile::with_len("nvme-paths", 4 << 20);
    let arguments = ["--namespace", &format!("file:{}", disk.path())];
    // Two processes that export one file, as the two controllers of a disk would.
    let port = free_port().to_string();
    let mut here = Target::start_on(&port, &arguments);
    let there = Target::start_at("127.0.0.2", &port, &arguments);
    let mut host = Running::start("connect -a 127.0.0.2", &port);
    let lines = [host.line(), host.line(), host.line()].map(|line| line.split(' ').next().unwrap().to_owned());
    assert_eq!(lines, ["connected", "connected", "namespace"]);
    let words = "perf --rw randwrite --runtime 15 --json --iopolicy round-robin -c 1 -a 127.0.0.2";
    let mut perf = Running::start(words, &port);
    wait_for_writes(&disk);
    drop(here);
    assert_eq!(host.line().split(": ").next().unwrap(), format!("reconnecting to 127.0.0.1:{port}"));
    let mut told = Vec::new();
    let mut until = |part: &str| {
        while !told.last().is_some_and(|line: &String| line.contains(part)) {
            told.push(perf.complaints.next().unwrap_or_else(|| panic!("without {part:?}: {told:?}")));
        }
    };
    until("reconnecting to 127.0.0.1:");
    here = Target::start_on(&port, &arguments);
    assert!(host.lines.with("live: ").ends_with(&format!(" at 127.0.0.1:{port}, I/O queues: 1")));
    until("live: ");
    let status = perf.process.wait();
    told.extend(perf.complaints);
    assert!(status.success() && told.iter().all(|line| !line.contains("127.0.0.2")), "{told:?}");
    drop((here, there));
}

const BLOCK: usize = 512;
const BLOCKS: usize = 512;

/// Writes of blocks that say which write they are, and flushes, and how much of it must be there whatever happens.
struct Load {
    /// Of each block: the latest write that was begun, the latest that was acknowledged, and the one that a flush, or FUA, has made durable.
    begun: Vec<u64>,
    acknowledged: Vec<u64>,
    durable: Vec<u64>,
    /// Of the flush that is under way: what was acknowledged when it began.
    flushing: Option<Vec<u64>>,
    next: u64,
    random: u64,
    writes: usize,
    flushes: usize,
}

/// The token of flushes; that of writes is the block, and a bit for FUA.
const FLUSH: u64 = u64::MAX;
const FUA: u64 = 1 << 32;

impl Load {
    fn new() -> Self {
        let none = vec![0; BLOCKS];
        let (begun, acknowledged, durable) = (none.clone(), none.clone(), none);
        Self { begun, acknowledged, durable, flushing: None, next: 1, random: 0x9e37_79b9, writes: 0, flushes: 0 }
    }

    fn content(block: usize, write: u64) -> Bytes {
        [block as u64, write].map(u64::to_le_bytes).concat().repeat(BLOCK / 16).into()
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn write(&mut self, host: &mut Host<KernelNet>, block: usize, force_unit_access: bool) {
        let range = BlockRange { start: block as u64, count: 1 };
        let sqe = IoCommand::Write { range, force_unit_access }.to_sqe(1);
        let token = block as u64 | if force_unit_access { FUA } else { 0 };
        let queue = block % host.queues();
        host.submit(queue, Request::new(sqe, token).sending(Self::content(block, self.next))).unwrap();
        self.begun[block] = self.next;
        self.next += 1;
    }

    /// Keeps some writes under way, no two of one block, and a flush now and then.
    fn submit(&mut self, host: &mut Host<KernelNet>) {
        for _ in 0..16 {
            let (block, force_unit_access) = (self.draw() as usize % BLOCKS, self.draw().is_multiple_of(16));
            // Some room is left for the flush.
            if self.begun[block] == self.acknowledged[block] && host.room(block % host.queues()) > 1 {
                self.write(host, block, force_unit_access);
            }
        }
        if self.flushing.is_none() && self.draw().is_multiple_of(4) {
            host.submit(0, Request::new(IoCommand::Flush.to_sqe(1), FLUSH)).unwrap();
            self.flushing = Some(self.acknowledged.clone());
        }
    }

    fn turn(&mut self, host: &mut Host<KernelNet>) {
        host.turn(Some(Duration::from_millis(5))).unwrap();
        for queue in 0..host.queues() {
            while let Some(finished) = host.poll_finished(queue) {
                assert!(finished.outcome.is_success(), "{:?}", finished.outcome);
                self.complete(finished.request.token);
            }
        }
    }

    fn complete(&mut self, token: u64) {
        if token == FLUSH {
            let flushed = self.flushing.take().expect("one flush ends once");
            self.durable.iter_mut().zip(flushed).for_each(|(durable, flushed)| *durable = (*durable).max(flushed));
            self.flushes += 1;
            return;
        }
        let block = (token & !FUA) as usize;
        assert_ne!(self.begun[block], self.acknowledged[block], "a write of block {block} has ended twice");
        self.acknowledged[block] = self.begun[block];
        if token & FUA != 0 {
            self.durable[block] = self.begun[block];
        }
        self.writes += 1;
    }

    fn settle(&mut self, host: &mut Host<KernelNet>) {
        let started = Instant::now();
        while self.begun != self.acknowledged || self.flushing.is_some() {
            self.turn(host);
            assert!(started.elapsed() < PATIENCE, "something is never acknowledged");
        }
    }

    /// Expects of every block what is durable, or something newer that was begun.
    fn check(&self, disk: &TempFile) {
        let file = std::fs::File::open(&disk.0).unwrap();
        for block in 0..BLOCKS {
            let mut stored = [0; BLOCK];
            file.read_exact_at(&mut stored, (block * BLOCK) as u64).unwrap();
            let word = |at: usize| u64::from_le_bytes(stored[at..at + 8].try_into().unwrap());
            let written = word(8);
            let expected = self.durable[block]..=self.begun[block];
            assert!(expected.contains(&written), "block {block} has write {written}, not one of {expected:?}");
            assert!(written == 0 || stored[..] == Self::content(block, written), "block {block} is torn");
        }
    }
}

#[test]
fn what_was_flushed_is_there_after_each_power_cut_and_the_host_goes_on() {
    let disk = TempFile::with_len("nvme-power", 0);
    std::fs::File::options().write(true).open(&disk.0).unwrap().set_len((BLOCK * BLOCKS) as u64).unwrap();
    let arguments = ["--namespace", &format!("file:{}", disk.path()), "--block-size", &BLOCK.to_string()];
    let mut target = Target::start(&arguments);
    let port = target.port.clone();
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let host = Nqn::new("nqn.2026-11.org.example:host").unwrap();
    let identity = HostIdentity { host_id: [7; 16], host, subsystem: Nqn::new(NQN).unwrap() };
    let mut config = HostConfig::new(address, ControllerConfig::new(identity, 2));
    config.reconnect.first_delay = Duration::from_millis(20);
    let mut host = Host::connect(KernelNet::new(Protocol::Tcp).unwrap(), config, PATIENCE).unwrap();
    let mut load = Load::new();
    for _ in 0..6 {
        let (writes, flushes, started) = (load.writes, load.flushes, Instant::now());
        while load.writes < writes + 400 || load.flushes < flushes + 3 {
            load.submit(&mut host);
            load.turn(&mut host);
            assert!(started.elapsed() < PATIENCE, "the host does not go on");
        }
        load.submit(&mut host);
        // With SIGKILL, and commands under way.
        drop(target);
        load.check(&disk);
        load.turn(&mut host);
        load.check(&disk);
        target = Target::start_on(&port, &arguments);
    }
    load.settle(&mut host);
    for block in 0..BLOCKS {
        while host.room(block % host.queues()) == 0 {
            load.turn(&mut host);
        }
        load.write(&mut host, block, false);
    }
    load.settle(&mut host);
    host.submit(0, Request::new(IoCommand::Flush.to_sqe(1), FLUSH)).unwrap();
    load.flushing = Some(load.acknowledged.clone());
    load.settle(&mut host);
    assert_eq!(load.durable, load.begun);
    drop(target);
    load.check(&disk);
}

#[test]
fn fio_over_nbd_notices_nothing_of_power_cuts() {
    let (disk, socket) = (TempFile::with_len("nvme-nbd", 32 << 20), TempFile::named("nvme-nbd.sock"));
    let arguments = ["--namespace", &format!("file:{}", disk.path())];
    let mut target = Target::start(&arguments);
    let port = target.port.clone();
    let mut nbd = Running::start(&format!("nbd --nr-io-queues 2 --socket {}", socket.path()), &port);
    assert!(nbd.line().starts_with("namespace 1") && nbd.line().starts_with("listening on"));
    let mut fio = Command::new("fio");
    fio.args(["--name=job", "--ioengine=nbd", "--rw=randwrite", "--bsrange=4k-64k", "--iodepth=16", "--size=32M"]);
    // Slow enough to last.
    fio.args(["--rate=4M", "--fsync=16", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0"]);
    fio.arg("--output-format=terse").arg(format!("--uri=nbd+unix:///?socket={}", socket.path()));
    let fio = Background::start(fio.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    for _ in 0..3 {
        wait_for_writes(&disk);
        // So that there are commands under way.
        kill_process(Pid::from_child(&target.process), Signal::STOP).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        drop(target);
        target = Target::start_on(&port, &arguments);
        nbd.complaints.with("live: ");
    }
    assert_success(&fio.output());
    assert!(nbd.process.is_running(), "the host is the same");
    drop(target);
}
