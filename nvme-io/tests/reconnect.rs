//! A host whose targets go and come back, over the kernel's TCP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nvme_io::net::{KernelNet, Protocol};
use nvme_io::{Host, HostConfig, HostError, Memory, PathChange, PathEvent, Ring, Server, Stopper};
use nvme_tcp::command::{AnaState, BlockRange, IoCommand, Nqn};
use nvme_tcp::host::{ControllerConfig, Finished, HostIdentity, Outcome, Policy, ReconnectPolicy, Request};
use nvme_tcp::pdu::Payload;
use nvme_tcp::target::{
    AllowedHosts, Backend, Completion, MemoryStore, Namespace, Operation, Port, Store, Subsystem, Target, TargetConfig,
    Token,
};

const NQN: &str = "nqn.2026-11.org.example:test";
const BLOCK: usize = 4096;
const BLOCKS: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// A target with a namespace of this UUID, in memory.
fn target(uuid: u8) -> Arc<Target> {
    target_with(uuid, Arc::new(MemoryStore::new(BLOCKS * BLOCK as u64)))
}

fn target_with(uuid: u8, store: Arc<dyn Store>) -> Arc<Target> {
    let target = Target::new(TargetConfig::default()).unwrap();
    let nqn = Nqn::new(NQN).unwrap();
    let (serial, model) = ("1".to_owned(), "test".to_owned());
    target.add_subsystem(Subsystem { nqn: nqn.clone(), serial, model, hosts: AllowedHosts::Any }).unwrap();
    let (nsid, block_size, group, read_only) = (1, BLOCK as u32, 1, false);
    target.add_namespace(&nqn, Namespace { nsid, store, block_size, uuid: [uuid; 16], group, read_only }).unwrap();
    target
}

/// A port of a target, served by a thread of its own until this is dropped.
struct Served {
    stopper: Stopper,
    thread: Option<std::thread::JoinHandle<()>>,
    address: SocketAddr,
}

impl Served {
    /// Port 0 is any that is free.
    fn start(target: &Arc<Target>, port: u16, address: SocketAddr) -> Self {
        Self::start_with(target, port, address, None)
    }

    fn start_with(target: &Arc<Target>, port: u16, address: SocketAddr, ring: Option<Ring>) -> Self {
        let mut server = Server::new(KernelNet::new(Protocol::Tcp).unwrap(), Arc::clone(target));
        if let Some(ring) = ring {
            server = server.with_ring(ring);
        }
        let address = server.listen(port, address).unwrap();
        target.add_port(Port { id: port, address });
        let stopper = server.stopper();
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self { stopper, thread: Some(thread), address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

const ANY: &str = "127.0.0.1:0";

/// What stands between a host and its target, and passes on what they say until it is told to meddle.
struct Middle {
    address: SocketAddr,
    connections: Receiver<Meddled>,
}

/// A connection that passes through it.
struct Meddled {
    /// To the host.
    host: TcpStream,
    /// While this is held, nothing that the host says is passed on.
    gate: Arc<Mutex<()>>,
    /// How reading what the host says has ended.
    end: Receiver<io::Result<()>>,
}

impl Middle {
    fn start(target: SocketAddr) -> Self {
        Self::changing(target, |_| ())
    }

    /// It changes what the target says, PDU by PDU.
    fn changing(target: SocketAddr, change: fn(&mut [u8])) -> Self {
        let listener = TcpListener::bind(ANY).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::channel();
        std::thread::spawn(move || {
            for host in listener.incoming().map_while(Result::ok) {
                let Ok(target) = TcpStream::connect(target) else { continue };
                let (gate, (told, end)) = (Arc::new(Mutex::new(())), mpsc::channel());
                let (from, to) = (host.try_clone().unwrap(), target.try_clone().unwrap());
                let passes = Arc::clone(&gate);
                std::thread::spawn(move || pass_on(from, to, &passes, &told));
                let to = host.try_clone().unwrap();
                std::thread::spawn(move || pass_back(target, to, change));
                if sender.send(Meddled { host, gate, end }).is_err() {
                    break;
                }
            }
        });
        Self { address, connections }
    }

    fn next(&self) -> Meddled {
        self.connections.recv_timeout(PATIENCE).unwrap()
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, gate: &Mutex<()>, end: &Sender<io::Result<()>>) {
    let mut bytes = [0; 4096];
    let result = loop {
        match from.read(&mut bytes) {
            Ok(0) => break Ok(()),
            Err(error) => break Err(error),
            Ok(count) => {
                let _open = gate.lock();
                // What nobody takes any more is read nevertheless.
                let _ = to.write_all(&bytes[..count]);
            }
        }
    };
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = end.send(result);
}

/// Passes on what a target says.
fn pass_back(mut from: TcpStream, mut to: TcpStream, change: fn(&mut [u8])) {
    let mut header = [0; 8];
    while from.read_exact(&mut header).is_ok() {
        let mut pdu = header.to_vec();
        // PLEN.
        pdu.resize(u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize, 0);
        if from.read_exact(&mut pdu[8..]).is_err() {
            break;
        }
        change(&mut pdu);
        let _ = to.write_all(&pdu);
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Has Identify say of the first namespace that its blocks have metadata.
fn with_metadata(pdu: &mut [u8]) {
    // NGUID, EUI64 and a format without metadata, of blocks with 2^12 bytes.
    let mut described = [0u8; 28];
    described[..16].fill(1);
    described[26] = 12;
    if let Some(at) = pdu.windows(described.len()).position(|bytes| bytes == described) {
        pdu[at + 24] = 8;
    }
}

/// What the host told of its paths.
type Log = Arc<Mutex<Vec<PathEvent>>>;

fn config(addresses: &[SocketAddr]) -> HostConfig {
    let host = Nqn::new("nqn.2026-11.org.example:host").unwrap();
    let identity = HostIdentity { host_id: [7; 16], host, subsystem: Nqn::new(NQN).unwrap() };
    let mut config = HostConfig::new(addresses[0], ControllerConfig::new(identity, 2));
    config.addresses = addresses.to_vec();
    config.reconnect = ReconnectPolicy {
        first_delay: Duration::from_millis(20),
        max_delay: Duration::from_millis(100),
        ..config.reconnect
    };
    config
}

fn connect(config: HostConfig) -> (Host<KernelNet>, Log) {
    let mut host = Host::connect(KernelNet::new(Protocol::Tcp).unwrap(), config, PATIENCE).unwrap();
    let log = Log::default();
    let told = Arc::clone(&log);
    host.watch(move |event| told.lock().unwrap().push(event.clone()));
    (host, log)
}

/// How often a path was lost, and how often it came back.
fn losses_and_returns(log: &Log, address: SocketAddr) -> (usize, usize) {
    let log = log.lock().unwrap();
    let of = |wanted: fn(&PathChange) -> bool| {
        log.iter().filter(|event| event.address == address && wanted(&event.change)).count()
    };
    (of(|change| matches!(change, PathChange::Lost { .. })), of(|change| matches!(change, PathChange::Live { .. })))
}

/// Reads and writes of blocks, no two of one block at a time, against a model of what they hold.
struct Load {
    model: Vec<u64>,
    /// Of each block: None if nothing is under way, or what is written, or that it is read.
    under_way: Vec<Option<Option<u64>>>,
    random: u64,
    next: u64,
    done: usize,
    resent: usize,
}

impl Load {
    fn new() -> Self {
        let (model, under_way) = (vec![0; BLOCKS as usize], vec![None; BLOCKS as usize]);
        Self { model, under_way, random: 0x1234_5678_9abc_def1, next: 1, done: 0, resent: 0 }
    }

    fn content(value: u64) -> Bytes {
        value.to_le_bytes().repeat(BLOCK / 8).into()
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn submit(&mut self, host: &mut Host<KernelNet>) {
        for _ in 0..8 {
            let (block, queue) = (self.draw(BLOCKS), self.draw(host.queues() as u64) as usize);
            if self.under_way[block as usize].is_some() || host.room(queue) == 0 {
                continue;
            }
            let range = BlockRange { start: block, count: 1 };
            let (request, written) = if self.draw(2) == 0 {
                let value = self.next;
                self.next += 1;
                let sqe = IoCommand::Write { range, force_unit_access: false }.to_sqe(1);
                (Request::new(sqe, block).sending(Self::content(value)), Some(value))
            } else {
                let sqe = IoCommand::Read { range, force_unit_access: false }.to_sqe(1);
                (Request::new(sqe, block).receiving(BLOCK as u32), None)
            };
            host.submit(queue, request).unwrap();
            self.under_way[block as usize] = Some(written);
        }
    }

    fn complete(&mut self, Finished { outcome, request, resent }: Finished<u64>) {
        assert!(outcome.is_success(), "{outcome:?}");
        let block = request.token as usize;
        match self.under_way[block].take().expect("it ends once") {
            Some(written) => self.model[block] = written,
            None => assert_eq!(request.into_received().to_contiguous(), Self::content(self.model[block]), "{block}"),
        }
        self.done += 1;
        self.resent += usize::from(resent > 0);
    }

    /// Runs until so many more commands have ended.
    fn run(&mut self, host: &mut Host<KernelNet>, count: usize) {
        let (end, started) = (self.done + count, Instant::now());
        while self.done < end {
            self.submit(host);
            self.turn(host);
            assert!(started.elapsed() < PATIENCE, "{} of {count} commands have not ended", end - self.done);
        }
    }

    /// Waits for what is under way.
    fn settle(&mut self, host: &mut Host<KernelNet>) {
        let started = Instant::now();
        while self.under_way.iter().any(Option::is_some) {
            self.turn(host);
            assert!(started.elapsed() < PATIENCE);
        }
    }

    fn turn(&mut self, host: &mut Host<KernelNet>) {
        host.turn(Some(Duration::from_millis(10))).unwrap();
        for queue in 0..host.queues() {
            while let Some(finished) = host.poll_finished(queue) {
                self.complete(finished);
            }
        }
    }
}

#[test]
fn commands_outlive_the_loss_of_a_target() {
    let target = target(1);
    let mut served = Served::start(&target, 1, ANY.parse().unwrap());
    let address = served.address;
    let (mut host, log) = connect(config(&[address]));
    let mut load = Load::new();
    let rounds = 8;
    for _ in 0..rounds {
        load.run(&mut host, 300);
        // With commands under way.
        load.submit(&mut host);
        drop(served);
        load.submit(&mut host);
        host.turn(Some(Duration::from_millis(30))).unwrap();
        served = Served::start(&target, 1, address);
    }
    load.run(&mut host, 300);
    load.settle(&mut host);
    assert_eq!(losses_and_returns(&log, address), (rounds, rounds));
    assert!(load.resent > 0, "commands were under way");
    host.shutdown(PATIENCE).unwrap();
    let started = Instant::now();
    while target.controllers() > 0 {
        assert!(started.elapsed() < PATIENCE, "the host leaves controllers behind");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_was_lost_with_a_violation_is_not_sent_after_all() {
    let target = target(1);
    let served = Served::start(&target, 1, ANY.parse().unwrap());
    let middle = Middle::start(served.address);
    let mut config = config(&[middle.address]);
    config.controller.io_queues = 1;
    let (mut host, log) = connect(config);
    let [_admin, mut io] = [middle.next(), middle.next()];
    let write = || {
        let sqe = IoCommand::Write { range: BlockRange { start: 0, count: 1 }, force_unit_access: false }.to_sqe(1);
        Request::new(sqe, 0).sending(Bytes::from(vec![1; BLOCK]))
    };
    for is_busy in [true, false] {
        let stopped = io.gate.lock().unwrap();
        if is_busy {
            host.submit(0, write()).unwrap();
            host.turn(Some(Duration::ZERO)).unwrap();
        }
        let (losses, started) = (losses_and_returns(&log, middle.address).0, Instant::now());
        io.host.write_all(&[0xff; 8]).unwrap();
        while losses_and_returns(&log, middle.address).0 == losses {
            host.turn(Some(Duration::from_millis(10))).unwrap();
            assert!(started.elapsed() < PATIENCE);
        }
        drop(stopped);
        // Without anything under way, the controller is told what is wrong.
        let end = io.end.recv_timeout(PATIENCE).unwrap();
        assert_eq!(end.is_err(), is_busy, "{end:?}, {:?}", log.lock().unwrap());
        let finished = match is_busy {
            true => loop {
                host.turn(Some(Duration::from_millis(10))).unwrap();
                if let Some(finished) = host.poll_finished(0) {
                    break finished;
                }
            },
            false => host.execute(0, write()).unwrap(),
        };
        assert!(finished.outcome.is_success());
        let [_admin, next] = [middle.next(), middle.next()];
        io = next;
    }
}

/// Holds up the thread in each operation until it is let go.
#[derive(Clone)]
struct Slow {
    begun: Arc<AtomicUsize>,
    let_go: Arc<Mutex<Receiver<()>>>,
}

impl Store for Slow {
    fn size(&self) -> u64 {
        BLOCKS * BLOCK as u64
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(SlowBackend { slow: self.clone(), done: Vec::new() })
    }
}

struct SlowBackend {
    slow: Slow,
    done: Vec<Completion>,
}

impl Backend for SlowBackend {
    fn submit(&mut self, token: Token, _: Operation) {
        self.slow.begun.fetch_add(1, Ordering::Relaxed);
        let _ = self.slow.let_go.lock().unwrap().recv();
        self.done.push(Completion { token, result: Ok(()), data: Payload::new() });
    }

    fn poll(&mut self) -> Option<Completion> {
        self.done.pop()
    }
}

#[test]
fn what_a_thread_was_too_slow_for_does_not_begin_once_the_host_is_gone() {
    // What is no file, the thread does itself even if it has a ring.
    for ring in [None, Some(Ring::new(1, Memory::new(1)).unwrap())] {
        let (letter, let_go) = mpsc::channel();
        let slow = Slow { begun: Arc::default(), let_go: Arc::new(Mutex::new(let_go)) };
        let target = target_with(1, Arc::new(slow.clone()));
        let served = Served::start_with(&target, 1, ANY.parse().unwrap(), ring);
        let (mut host, _log) = connect(config(&[served.address]));
        for token in 0..3 {
            host.submit(0, Request::new(IoCommand::Flush.to_sqe(1), token)).unwrap();
        }
        let started = Instant::now();
        while slow.begun.load(Ordering::Relaxed) == 0 {
            host.turn(Some(Duration::from_millis(10))).unwrap();
            assert!(started.elapsed() < PATIENCE);
        }
        drop(host);
        // Long enough for the thread to look around after a single operation.
        std::thread::sleep(Duration::from_millis(200));
        letter.send(()).unwrap();
        while target.controllers() > 0 && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(letter);
        assert_eq!((slow.begun.load(Ordering::Relaxed), target.controllers()), (1, 0));
    }
}

#[test]
fn a_target_that_does_not_come_back_is_given_up() {
    let target = target(1);
    let served = Served::start(&target, 1, ANY.parse().unwrap());
    let mut config = config(&[served.address]);
    // Longer than the machine stands still: at least one attempt is made.
    let patience = Duration::from_secs(5);
    config.reconnect.loss_timeout = Some(patience);
    let (mut host, log) = connect(config);
    let address = served.address;
    drop(served);
    let flush = |token| Request::new(IoCommand::Flush.to_sqe(1), token);
    for token in 0..3 {
        host.submit(1, flush(token)).unwrap();
    }
    let lost = Instant::now();
    let error = loop {
        if let Err(error) = host.turn(None) {
            break error;
        }
        assert!(host.poll_finished(1).is_none(), "it waits");
    };
    assert!((patience..PATIENCE).contains(&lost.elapsed()), "{:?}", lost.elapsed());
    assert!(matches!(&error, HostError::GivenUp { reason, .. } if reason.contains("refused")), "{error}");
    assert!(matches!(log.lock().unwrap().last().unwrap().change, PathChange::GivenUp { .. }));
    let mut ended: Vec<u64> = std::iter::from_fn(|| host.poll_finished(1))
        .inspect(|finished| assert!(matches!(finished.outcome, Outcome::Lost { .. })))
        .map(|finished| finished.request.token)
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, [0, 1, 2]);
    // Nothing waits for it any more, even if it is there.
    let _served = Served::start(&target, 1, address);
    host.submit(0, flush(7)).unwrap();
    assert!(matches!(host.poll_finished(0).unwrap().outcome, Outcome::Lost { sent: false }));
    assert!(matches!(host.execute(0, flush(8)), Err(HostError::GivenUp { .. })));
}

#[test]
fn another_disk_is_not_taken_for_the_one_that_was_lost() {
    let first = target(1);
    let served = Served::start(&first, 1, ANY.parse().unwrap());
    let (mut host, _log) = connect(config(&[served.address]));
    let address = served.address;
    drop(served);
    let other = target(2);
    let _served = Served::start(&other, 1, address);
    let range = BlockRange { start: 0, count: 1 };
    let sqe = IoCommand::Write { range, force_unit_access: false }.to_sqe(1);
    let error = host.execute(0, Request::new(sqe, 0).sending(Bytes::from(vec![1; BLOCK]))).err().unwrap();
    assert!(error.to_string().ends_with("namespace 1 is another disk than before"), "{error}");
}

#[test]
fn changes_that_nobody_takes_are_followed_nevertheless() {
    let target = target(1);
    let served = Served::start(&target, 1, ANY.parse().unwrap());
    let (mut host, _log) = connect(config(&[served.address]));
    let started = Instant::now();
    // More than are kept for the caller.
    for round in 0..100 {
        for state in [AnaState::Inaccessible, AnaState::Optimized] {
            target.set_ana_state(&Nqn::new(NQN).unwrap(), 1, 1, state).unwrap();
            while host.controller().ana().state(1) != state {
                host.turn(Some(Duration::from_millis(10))).unwrap();
                assert!(started.elapsed() < PATIENCE, "{round}");
            }
        }
    }
    target.set_ana_state(&Nqn::new(NQN).unwrap(), 1, 1, AnaState::Inaccessible).unwrap();
    host.submit(0, Request::new(IoCommand::Flush.to_sqe(1), 0)).unwrap();
    host.turn(Some(Duration::from_millis(10))).unwrap();
    target.set_ana_state(&Nqn::new(NQN).unwrap(), 1, 1, AnaState::Optimized).unwrap();
    let finished = loop {
        host.turn(Some(Duration::from_millis(10))).unwrap();
        assert!(started.elapsed() < PATIENCE);
        if let Some(finished) = host.poll_finished(0) {
            break finished;
        }
    };
    assert!(finished.outcome.is_success());
    // What is removed is not waited for either.
    target.remove_namespace(&Nqn::new(NQN).unwrap(), 1).unwrap();
    host.submit(0, Request::new(IoCommand::Flush.to_sqe(1), 0)).unwrap();
    while host.poll_finished(0).map(|finished| assert!(!finished.outcome.is_success())).is_none() {
        host.turn(Some(Duration::from_millis(10))).unwrap();
        assert!(started.elapsed() < PATIENCE);
    }
}

#[test]
fn two_paths_share_the_work_and_stand_in_for_each_other() {
    for policy in Policy::ALL {
        let target = target(1);
        let mut served = [1, 2].map(|port| Some(Served::start(&target, port, ANY.parse().unwrap())));
        let addresses = [0, 1].map(|at: usize| served[at].as_ref().unwrap().address);
        let (mut host, log) = connect(HostConfig { policy, ..config(&addresses) });
        assert_eq!(target.controllers(), 2);
        let mut load = Load::new();
        for round in 0..6 {
            let (at, port) = (round % 2, round as u16 % 2 + 1);
            load.run(&mut host, 200);
            load.submit(&mut host);
            drop(served[at].take());
            load.run(&mut host, 200);
            served[at] = Some(Served::start(&target, port, addresses[at]));
            let started = Instant::now();
            while losses_and_returns(&log, addresses[at]).1 <= round / 2 {
                load.run(&mut host, 1);
                assert!(started.elapsed() < PATIENCE, "{policy}: path {at} does not come back");
            }
            // The other one cannot be used for a while.
            let other = port % 2 + 1;
            target.set_ana_state(&Nqn::new(NQN).unwrap(), other, 1, AnaState::Inaccessible).unwrap();
            load.run(&mut host, 200);
            target.set_ana_state(&Nqn::new(NQN).unwrap(), other, 1, AnaState::Optimized).unwrap();
        }
        load.settle(&mut host);
        for address in addresses {
            assert_eq!(losses_and_returns(&log, address), (3, 3), "{policy}");
        }
        host.shutdown(PATIENCE).unwrap();
    }
}

#[test]
fn one_of_two_paths_is_enough_to_begin() {
    let target = target(1);
    let served = Served::start(&target, 1, ANY.parse().unwrap());
    let late = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let (mut host, log) = connect(config(&[late, served.address]));
    let absent = log.lock().unwrap()[0].clone();
    assert!(absent.address == late && matches!(absent.change, PathChange::Failed { .. }), "{absent:?}");
    assert_eq!(host.controllers().map(|(address, _)| address).collect::<Vec<_>>(), [served.address]);
    let mut load = Load::new();
    load.run(&mut host, 100);
    let _late = Served::start(&target, 2, late);
    let started = Instant::now();
    while losses_and_returns(&log, late) != (0, 1) {
        load.run(&mut host, 1);
        assert!(started.elapsed() < PATIENCE);
    }
    // To the policy it is the nearest.
    drop(served);
    load.run(&mut host, 100);
    load.settle(&mut host);
}

/// Nobody minds that a path is of no use for the namespace before a command is to take it.
#[test]
fn what_a_path_cannot_take_leaves_at_once_over_one_that_had_its_turn() {
    let target = target(1);
    let served = Served::start(&target, 1, ANY.parse().unwrap());
    let middle = Middle::changing(served.address, with_metadata);
    let mut config = config(&[served.address, middle.address]);
    config.policy = Policy::RoundRobin;
    // For long, nothing else happens.
    config.controller.admin.keep_alive = 4 * PATIENCE;
    let (mut host, log) = connect(config);
    assert_eq!(host.controllers().count(), 2);
    let flush = |token| Request::new(IoCommand::Flush.to_sqe(1), token);
    assert!(host.execute(0, flush(0)).unwrap().outcome.is_success());
    assert!(log.lock().unwrap().is_empty(), "the first path has taken it");
    let started = Instant::now();
    let finished = host.execute(0, flush(1)).unwrap();
    assert!(finished.outcome.is_success() && started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    let told = log.lock().unwrap().pop().unwrap();
    let is_given_up = matches!(&told.change, PathChange::GivenUp { reason } if reason.contains("metadata"));
    assert!(told.address == middle.address && is_given_up, "{told:?}");
}
