use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nvme_tcp::Blocks;
use nvme_tcp::command::{AcquireAction, BlockRange, IoCommand, Nqn, RegisterAction, ReservationType, StatusCode};
use nvme_tcp::host::{ControllerConfig, HostIdentity, Request};
use nvme_tcp::pdu::Payload;
use nvme_tcp::target::{
    AllowedHosts, Completion, Extent, Namespace, Operation, Subsystem, Target, TargetConfig, Token,
};
use rustix::io::Errno;
use uring::{Memory, Ring};

use super::task::{Outcome, Task};
use super::*;
use crate::net::{KernelNet, Net, Protocol};
use crate::{Host, HostConfig, Server, Stopper};

const TOKEN: Token = Token { connection: 1, slot: 2 };
const BLOCK: u64 = 512;
const PATIENCE: Duration = Duration::from_secs(60);

/// A store in a file, which is gone with this.
struct Disk {
    store: FileStore,
    path: PathBuf,
}

impl Disk {
    fn new(name: &str, size: u64, direct: bool) -> Self {
        let path = std::env::temp_dir().join(format!("nvme-io-{}-{name}-{direct}", std::process::id()));
        File::create(&path).unwrap().set_len(size).unwrap();
        let store = FileStore::open(&path, FileOptions { read_only: false, block_size: 512, direct }).unwrap();
        Self { store, path }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A store as a thread uses it.
struct Opened {
    backend: Box<dyn Backend>,
    ring: Option<FileRing>,
}

impl Opened {
    fn new(store: &FileStore, over_a_ring: bool) -> Self {
        if !over_a_ring {
            return Self { backend: Store::open(store), ring: None };
        }
        let ring = file_ring(64, 4 << 20);
        Self { backend: ring.open(store), ring: Some(ring) }
    }

    fn run(&mut self, operation: Operation) -> (Result<(), StatusCode>, Vec<u8>) {
        self.backend.submit(TOKEN, operation);
        let Completion { token, result, data } = self.wait();
        assert_eq!(token, TOKEN);
        assert!(self.ring.as_ref().is_none_or(|ring| ring.pending() == 0));
        (result, data.pieces().flatten().copied().collect())
    }

    fn wait(&mut self) -> Completion {
        let started = Instant::now();
        loop {
            if let Some(ring) = &self.ring {
                ring.turn().unwrap();
            }
            if let Some(completion) = self.backend.poll() {
                return completion;
            }
            assert!(started.elapsed() < PATIENCE, "nothing ends");
            std::thread::yield_now();
        }
    }

    fn succeed(&mut self, operation: Operation) -> Vec<u8> {
        let (result, data) = self.run(operation);
        result.unwrap();
        data
    }

    fn read(&mut self, offset: u64, length: u64) -> Vec<u8> {
        self.succeed(Operation::Read { extent: Extent { offset, length }, into: Payload::new() })
    }

    fn write(&mut self, offset: u64, data: &[u8], force_unit_access: bool) {
        self.succeed(Operation::Write { offset, data: payload(data), force_unit_access });
    }
}

fn file_ring(depth: u32, memory: usize) -> FileRing {
    let waker = KernelNet::new(Protocol::Tcp).unwrap().waker();
    FileRing::new(Ring::new(depth, Memory::new(memory)).unwrap(), waker)
}

/// Runs a test on a thread's own and on a ring, through the page cache and past it, where the file system can.
fn everywhere(name: &str, size: u64, test: impl Fn(&mut Opened)) {
    for direct in [false, true] {
        for over_a_ring in [false, true] {
            let disk = Disk::new(&format!("{name}-{over_a_ring}"), size, direct);
            test(&mut Opened::new(&disk.store, over_a_ring));
        }
    }
}

/// In pieces as they come from a network.
fn payload(data: &[u8]) -> Payload {
    data.chunks(1460).map(Bytes::copy_from_slice).collect()
}

fn pattern(length: u64, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8 ^ (index >> 12) as u8 ^ seed).collect()
}

#[test]
fn what_is_written_is_read() {
    everywhere("written", 8 << 20, |disk| {
        // The second takes several steps.
        for (offset, length, durable) in [(3 * BLOCK, 5 * BLOCK, false), (BLOCK, 3 << 20, true)] {
            let data = pattern(length, 7);
            disk.write(offset, &data, durable);
            assert!(disk.read(offset, length) == data);
            assert!(disk.succeed(Operation::Flush).is_empty());
        }
        assert_eq!(disk.read(0, BLOCK), [0; BLOCK as usize]);
        disk.succeed(Operation::Verify { extent: Extent { offset: 0, length: 8 << 20 } });
    });
}

#[test]
fn what_a_file_has_storage_for_is_in_use() {
    let disk = Disk::new("used", 8 << 20, false);
    let before = disk.store.used().unwrap();
    assert!(before < 1 << 20, "{before} bytes of a file that is a hole");
    Opened::new(&disk.store, false).write(0, &pattern(3 << 20, 7), true);
    let after = disk.store.used().unwrap();
    assert!((3 << 20..=8 << 20).contains(&after), "{after}");
    let device = FileStore::new(File::open("/dev/null").unwrap(), 4096, Caching::Direct);
    assert_eq!(device.used(), None);
}

#[test]
fn what_lies_beyond_the_end_cannot_be_read() {
    everywhere("beyond", 8192, |disk| {
        let extent = Extent { offset: 4096, length: 8192 };
        for operation in [Operation::Verify { extent }, Operation::Read { extent, into: Payload::new() }] {
            assert_eq!(disk.run(operation).0, Err(StatusCode::UnrecoveredRead));
        }
    });
}

#[test]
fn copying_reads_everything_before_it_writes() {
    everywhere("copied", 8 << 20, |disk| {
        let data = pattern(3 << 20, 1);
        disk.write(0, &data, false);
        let sources = vec![Extent { offset: 0, length: 2 << 20 }, Extent { offset: 512, length: 1024 }];
        let copy = Operation::Copy { sources, destination: 1024, force_unit_access: true };
        let copied = disk.succeed(copy);
        let expected = [&data[..2 << 20], &data[512..1536]].concat();
        assert!(copied == expected && disk.read(1024, expected.len() as u64) == expected);
    });
}

#[test]
fn zeroes_are_zeroes() {
    everywhere("zeroes", 1 << 20, |disk| {
        for (deallocate, force_unit_access) in [(false, true), (true, false)] {
            disk.write(0, &pattern(65_536, 9), false);
            let extent = Extent { offset: 1024, length: 8192 };
            disk.succeed(Operation::WriteZeroes { extent, deallocate, force_unit_access });
            let mut expected = pattern(65_536, 9);
            expected[1024..1024 + 8192].fill(0);
            assert!(disk.read(0, 65_536) == expected);
        }
        let extents = vec![Extent { offset: 32_768, length: 4096 }, Extent { offset: 40_960, length: 4096 }];
        disk.succeed(Operation::Deallocate { extents });
        let after = disk.read(32_768, 16_384);
        assert!(after[..4096].iter().chain(&after[8192..12_288]).all(|byte| *byte == 0));
        assert!(after[4096..8192] == pattern(65_536, 9)[36_864..40_960]);
    });
}

#[test]
fn zeroes_are_written_where_the_file_system_has_none() {
    for over_a_ring in [false, true] {
        let memory = rustix::fs::memfd_create("nvme-io", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let unable = rustix::fs::fallocate(&memory, rustix::fs::FallocateFlags::ZERO_RANGE, 0, 4096);
        assert_eq!(unable, Err(rustix::io::Errno::OPNOTSUPP));
        let file = File::from(memory);
        file.set_len(1 << 20).unwrap();
        let store = FileStore::new(file, 1 << 20, Caching::Direct);
        let mut disk = Opened::new(&store, over_a_ring);
        disk.write(0, &pattern(1 << 20, 5), false);
        let extent = Extent { offset: 512, length: 200_192 };
        disk.succeed(Operation::WriteZeroes { extent, deallocate: false, force_unit_access: true });
        let mut expected = pattern(1 << 20, 5);
        expected[512..512 + 200_192].fill(0);
        assert!(disk.read(0, 1 << 20) == expected);
    }
}

#[test]
fn what_is_compared_and_written_is_as_expected() {
    everywhere("compared", 4 << 20, |disk| {
        let (old, new) = (pattern(2 << 20, 3), pattern(2 << 20, 4));
        disk.write(512, &old, false);
        disk.succeed(Operation::Compare { offset: 512, data: payload(&old) });
        let exchange = |expected: &[u8], data: &[u8]| Operation::CompareAndWrite {
            offset: 512,
            expected: payload(expected),
            data: payload(data),
            force_unit_access: true,
        };
        let mut other = old.clone();
        *other.last_mut().unwrap() ^= 1;
        let compare = Operation::Compare { offset: 512, data: payload(&other) };
        for operation in [compare, exchange(&other, &new)] {
            assert_eq!(disk.run(operation).0, Err(StatusCode::CompareFailure));
        }
        assert!(disk.read(512, 2 << 20) == old);
        disk.succeed(exchange(&old, &new));
        assert!(disk.read(512, 2 << 20) == new);
    });
}

#[test]
fn comparing_and_writing_is_alone_on_all_threads() {
    const ROUNDS: u64 = 150;
    let disk = Disk::new("alone", 4096, true);
    std::thread::scope(|scope| {
        for over_a_ring in [true, true, true, false] {
            let store = &disk.store;
            scope.spawn(move || {
                let mut disk = Opened::new(store, over_a_ring);
                let mut done = 0;
                while done < ROUNDS {
                    let before = disk.read(0, BLOCK);
                    let value = u64::from_le_bytes(*before.first_chunk().unwrap()) + 1;
                    let mut after = vec![0; BLOCK as usize];
                    after[..8].copy_from_slice(&value.to_le_bytes());
                    let (expected, data) = (payload(&before), payload(&after));
                    let exchange = Operation::CompareAndWrite { offset: 0, expected, data, force_unit_access: false };
                    match disk.run(exchange).0 {
                        Ok(()) => done += 1,
                        other => assert_eq!(other, Err(StatusCode::CompareFailure)),
                    }
                }
            });
        }
    });
    let counted = Opened::new(&disk.store, false).read(0, BLOCK);
    assert_eq!(u64::from_le_bytes(*counted.first_chunk().unwrap()), 4 * ROUNDS);
}

#[test]
fn more_operations_than_there_is_room_for_wait() {
    let disk = Disk::new("many", 4 << 20, true);
    // Room for eight requests, and memory for two of the long ones.
    let ring = file_ring(8, 2 << 20);
    let mut opened = Opened { backend: ring.open(&disk.store), ring: Some(ring.clone()) };
    for slot in 0..200 {
        let length = if slot % 10 == 0 { 1 << 20 } else { 4096 };
        let data = payload(&vec![slot as u8; length]);
        let operation = Operation::Write { offset: u64::from(slot) * 4096, data, force_unit_access: false };
        opened.backend.submit(Token { connection: 1, slot }, operation);
    }
    let mut slots: Vec<u32> = (0..200).map(|_| opened.wait()).map(|done| done.token.slot).collect();
    slots.sort_unstable();
    assert_eq!((slots, ring.pending()), ((0..200).collect(), 0));
}

#[test]
fn a_flush_that_fails_fails_for_all() {
    let write = |force_unit_access| Operation::Write { offset: 0, data: payload(&[1; 512]), force_unit_access };
    let shared = || Arc::clone(&Disk::new("doubtful", 4096, false).store.shared);
    let mut blocks = Blocks::new(READ_BLOCK, READ_BLOCKS);
    // The last of these steps has this end.
    let mut end = |shared: &Arc<Shared>, operation: Operation, steps: usize, error: Option<Errno>| {
        let mut task = Task::new(TOKEN, Arc::clone(shared), operation);
        task.buffer = task.room().and_then(|room| Memory::new(room).allocate(room));
        for _ in 1..steps {
            let action = task.step().unwrap();
            assert!(matches!(task.advance(action, Ok(512), &mut blocks), Outcome::Continue));
        }
        let result = error.map_or(Ok(512), |error| Err(error.into()));
        match task.step().map(|action| task.advance(action, result, &mut blocks)) {
            Ok(Outcome::Ended(result)) => result,
            other => panic!("{other:?}"),
        }
    };
    let (lost, full) = (Err(StatusCode::WriteFault), Err(StatusCode::CapacityExceeded));
    // Of these it is known what has become of them: the host was told.
    let known = shared();
    assert_eq!(end(&known, write(true), 1, Some(Errno::NOSPC)), full);
    assert_eq!(end(&known, write(false), 1, Some(Errno::IO)), lost);
    assert_eq!(end(&known, Operation::Flush, 1, None), Ok(()));
    let past_the_cache = FileStore::new(File::open("/dev/null").unwrap(), 4096, Caching::Direct).shared;
    assert_eq!(end(&past_the_cache, write(true), 1, Some(Errno::IO)), lost);
    assert_eq!(end(&past_the_cache, Operation::Flush, 1, None), Ok(()));
    // The kernel tells one of them that it has lost what any of them has written, whatever its reason.
    let zeroes = || {
        let extent = Extent { offset: 0, length: 512 };
        Operation::WriteZeroes { extent, deallocate: false, force_unit_access: true }
    };
    for (operation, steps, error, told) in [
        (Operation::Flush, 1, Errno::IO, lost),
        (Operation::Flush, 1, Errno::NOSPC, full),
        (write(true), 2, Errno::IO, lost),
        (write(true), 2, Errno::NOSPC, full),
        (zeroes(), 2, Errno::NOSPC, full),
    ] {
        let shared = shared();
        assert_eq!(end(&shared, Operation::Flush, 1, None), Ok(()));
        assert_eq!(end(&shared, operation, steps, Some(error)), told);
        assert_eq!(end(&shared, Operation::Flush, 1, None), lost);
        assert_eq!(end(&shared, write(true), 2, None), Ok(()));
    }
}

/// Between a durable write and its sync others may be told what has become of it.
#[test]
fn a_durable_write_counts_what_was_lost_since_it_was_written() {
    let disk = Disk::new("between", 4096, false);
    let mut blocks = Blocks::new(READ_BLOCK, READ_BLOCKS);
    let write = Operation::Write { offset: 0, data: payload(&[1; 512]), force_unit_access: true };
    let mut task = Task::new(TOKEN, Arc::clone(&disk.store.shared), write);
    task.buffer = Memory::new(512).allocate(512);
    let action = task.step().unwrap();
    assert!(matches!(task.advance(action, Ok(512), &mut blocks), Outcome::Continue));
    disk.store.shared.syncs.begin().fail();
    let action = task.step().unwrap();
    let outcome = task.advance(action, Ok(0), &mut blocks);
    assert!(matches!(outcome, Outcome::Ended(Err(StatusCode::WriteFault))), "{outcome:?}");
}

/// Others may be told of losses before anything is written, or when what is written is durable without a sync.
#[test]
fn only_losses_of_what_was_written_count() {
    let mut blocks = Blocks::new(READ_BLOCK, READ_BLOCKS);
    let extent = Extent { offset: 0, length: 512 };
    let begin = |shared: &Arc<Shared>, operation| {
        let mut task = Task::new(TOKEN, Arc::clone(shared), operation);
        task.buffer = Memory::new(512).allocate(512);
        task
    };
    let disk = Disk::new("lost-before", 4096, false);
    let copy = Operation::Copy { sources: vec![extent], destination: 512, force_unit_access: true };
    let past_the_cache = FileStore::new(File::open("/dev/null").unwrap(), 4096, Caching::Direct);
    let zeroes = Operation::WriteZeroes { extent, deallocate: false, force_unit_access: true };
    // What has been read, and what the file system cannot do.
    for (shared, operation, steps, first) in [
        (&disk.store.shared, copy, 3, Ok(512)),
        (&past_the_cache.shared, zeroes, 2, Err(io::Error::from(Errno::OPNOTSUPP))),
    ] {
        let mut task = begin(shared, operation);
        let action = task.step().unwrap();
        let mut outcome = task.advance(action, first, &mut blocks);
        shared.syncs.begin().fail();
        for _ in 1..steps {
            assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
            let action = task.step().unwrap();
            outcome = task.advance(action, Ok(512), &mut blocks);
        }
        assert!(matches!(outcome, Outcome::Ended(Ok(()))), "{outcome:?}");
    }
}

#[test]
fn who_syncs_keeps_neither_memory_nor_others_out() {
    let disk = Disk::new("syncing", 4096, false);
    let shared = &disk.store.shared;
    let mut blocks = Blocks::new(READ_BLOCK, READ_BLOCKS);
    let [expected, data] = [0, 1].map(|byte| payload(&[byte; 512]));
    let exchange = Operation::CompareAndWrite { offset: 0, expected, data, force_unit_access: true };
    let mut task = Task::new(TOKEN, Arc::clone(shared), exchange);
    (task.buffer, task.pass) = (Memory::new(512).allocate(512), shared.gate.close());
    task.buffer.as_mut().unwrap().fill(0);
    for _ in ["it is read", "it is written"] {
        assert!(task.buffer.is_some() && shared.gate.enter().is_none());
        let action = task.step().unwrap();
        assert!(matches!(task.advance(action, Ok(512), &mut blocks), Outcome::Continue));
    }
    assert!(task.buffer.is_none() && shared.gate.enter().is_some());
}

/// Whoever is told that all is well, though the kernel has told another of what was lost, must not say so.
#[test]
fn of_flushes_beside_each_other_none_is_believed_alone() {
    let disk = Disk::new("beside", 4096, false);
    let flush = || Task::new(TOKEN, Arc::clone(&disk.store.shared), Operation::Flush);
    let mut blocks = Blocks::new(READ_BLOCK, READ_BLOCKS);
    for lost in [false, true] {
        let (mut one, mut two) = (flush(), flush());
        let [first, second] = [one.step().unwrap(), two.step().unwrap()];
        assert!(matches!(two.advance(second, Ok(0), &mut blocks), Outcome::Waits));
        assert_eq!(two.verdict(), None);
        let (result, expected) =
            if lost { (Err(Errno::IO.into()), Err(StatusCode::WriteFault)) } else { (Ok(0), Ok(())) };
        assert!(matches!(one.advance(first, result, &mut blocks), Outcome::Ended(found) if found == expected));
        assert_eq!(two.verdict(), Some(expected));
    }
}

/// A durable write waits for what another thread has under way. What comes after it needs its memory, and begins nevertheless.
#[test]
fn who_waits_for_others_to_sync_keeps_no_memory() {
    let disk = Disk::new("unsure", 1 << 20, false);
    let ring = file_ring(8, 1);
    let mut opened = Opened { backend: ring.open(&disk.store), ring: Some(ring.clone()) };
    let write =
        |force_unit_access| Operation::Write { offset: 0, data: payload(&pattern(1 << 20, 1)), force_unit_access };
    let other = disk.store.shared.syncs.begin();
    opened.backend.submit(Token { slot: 1, ..TOKEN }, write(true));
    opened.backend.submit(Token { slot: 2, ..TOKEN }, write(false));
    let first = opened.wait();
    assert_eq!((first.token.slot, first.result), (2, Ok(())));
    // It waits for nobody but the other one.
    wait_for("the sync", || {
        ring.turn().unwrap();
        disk.store.shared.syncs.under_way() == 1
    });
    assert!(opened.backend.poll().is_none() && ring.pending() == 1);
    drop(other);
    // One turn is enough: nobody wakes the thread again.
    ring.turn().unwrap();
    let second = opened.backend.poll().expect("settled");
    assert_eq!((second.token.slot, second.result), (1, Ok(())));
}

/// Of many threads that flush at the same time, none waits for ever.
#[test]
fn flushes_beside_each_other_end() {
    let disk = Disk::new("many", 1 << 20, false);
    std::thread::scope(|scope| {
        for over_a_ring in [false, true, false, true] {
            let store = &disk.store;
            scope.spawn(move || {
                let mut opened = Opened::new(store, over_a_ring);
                for turn in 0..50 {
                    opened.write(turn * 512, &[turn as u8; 512], turn % 3 == 0);
                    opened.succeed(Operation::Flush);
                }
            });
        }
    });
}

#[test]
fn who_waits_to_be_let_in_keeps_no_memory_from_others() {
    let disks = ["shut", "open"].map(|name| Disk::new(name, 1 << 20, true));
    let ring = file_ring(8, 1);
    let mut opened = disks.each_ref().map(|disk| Opened { backend: ring.open(&disk.store), ring: Some(ring.clone()) });
    // Each takes all the memory that there is.
    let write = || Operation::Write { offset: 0, data: payload(&pattern(1 << 20, 1)), force_unit_access: false };
    let alone = disks[0].store.shared.gate.close().unwrap();
    opened[0].backend.submit(TOKEN, write());
    ring.turn().unwrap();
    opened[1].backend.submit(TOKEN, write());
    opened[1].wait().result.unwrap();
    drop(alone);
    opened[0].wait().result.unwrap();
}

#[test]
fn who_closes_a_file_gets_nothing_of_what_was_under_way() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let pipe = FileStore::new(File::from(OwnedFd::from(reader)), 1 << 20, Caching::Direct);
    let ring = file_ring(1, 2 << 20);
    let mut backend = ring.open(&pipe);
    for slot in 0..3 {
        let extent = Extent { offset: 0, length: BLOCK };
        backend.submit(Token { connection: 0, slot }, Operation::Read { extent, into: Payload::new() });
    }
    ring.turn().unwrap();
    drop(backend);
    assert_eq!(ring.pending(), 1, "what has not begun is forgotten");
    let mut again = Opened { backend: ring.open(&pipe), ring: Some(ring.clone()) };
    again.backend.submit(TOKEN, Operation::Read { extent: Extent { offset: 0, length: BLOCK }, into: Payload::new() });
    writer.write_all(&[1; 512]).unwrap();
    writer.write_all(&[2; 512]).unwrap();
    let completion = again.wait();
    assert_eq!((completion.token, completion.data.to_contiguous()), (TOKEN, Bytes::from_static(&[2; 512])));
    assert!(again.backend.poll().is_none() && ring.pending() == 0);
}

#[test]
fn nothing_more_begins_for_a_connection_that_has_ended() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let pipe = FileStore::new(File::from(OwnedFd::from(reader)), 1 << 20, Caching::Direct);
    let ring = file_ring(1, 2 << 20);
    let mut opened = Opened { backend: ring.open(&pipe), ring: Some(ring.clone()) };
    let tokens = [(5, 0), (5, 1), (6, 0)].map(|(connection, slot)| Token { connection, slot });
    // The first has begun, but takes two steps.
    for (token, length) in tokens.into_iter().zip([2 * BLOCK, BLOCK, BLOCK]) {
        opened.backend.submit(token, Operation::Read { extent: Extent { offset: 0, length }, into: Payload::new() });
    }
    ring.turn().unwrap();
    opened.backend.forget(5);
    assert_eq!(ring.pending(), 2, "what has not begun is gone, with its data");
    for byte in [1, 2] {
        writer.write_all(&[byte; BLOCK as usize]).unwrap();
    }
    let ended = tokens.map(|_| opened.wait()).map(|done| (done.token, done.result));
    let aborted = Err(StatusCode::AbortedSqDeletion);
    assert_eq!(ended, [(tokens[1], aborted), (tokens[0], aborted), (tokens[2], Ok(()))]);
    assert_eq!(ring.pending(), 0);
}

/// A disk that answers when it is told to.
struct SlowDisk {
    writer: std::io::PipeWriter,
    reader: std::io::PipeReader,
}

/// A target with slow disks, numbered from 1, which a server with a ring serves.
struct SlowServer {
    target: Arc<Target>,
    disks: Vec<SlowDisk>,
    address: SocketAddr,
    stopper: Stopper,
    thread: JoinHandle<io::Result<()>>,
}

fn serve_slowly(disks: u32, ring: Ring) -> SlowServer {
    let target = Target::new(TargetConfig::default()).unwrap();
    let nqn = Nqn::new("nqn.2026-11.org.example:slow").unwrap();
    let (serial, model) = ("1".to_owned(), "test".to_owned());
    target.add_subsystem(Subsystem { nqn: nqn.clone(), serial, model, hosts: AllowedHosts::Any }).unwrap();
    let slow = (1..=disks).map(|nsid| {
        let (reader, writer) = std::io::pipe().unwrap();
        let file = File::from(OwnedFd::from(reader.try_clone().unwrap()));
        let store = Arc::new(FileStore::new(file, 1 << 20, Caching::Direct));
        let namespace = Namespace { nsid, store, block_size: 512, uuid: [1; 16], group: 1, read_only: false };
        target.add_namespace(&nqn, namespace).unwrap();
        SlowDisk { writer, reader }
    });
    let disks = slow.collect();
    let mut server = Server::new(KernelNet::new(Protocol::Tcp).unwrap(), Arc::clone(&target)).with_ring(ring);
    let address = server.listen(1, "127.0.0.1:0".parse().unwrap()).unwrap();
    let stopper = server.stopper();
    let thread = std::thread::spawn(move || server.run());
    SlowServer { target, disks, address, stopper, thread }
}

impl SlowServer {
    /// Where one read of the only disk has begun for a host that is dead by now, and others have not.
    fn next_read_is_of_the_living(mut self) {
        let mut host = connect(self.address);
        read_all(&mut host, 1);
        for byte in [0xdd, 7] {
            self.disks[0].writer.write_all(&[byte; 512]).unwrap();
        }
        assert_eq!(next(&mut host), (1, Bytes::from(vec![7; 512])));
        self.stop();
    }

    fn stop(self) {
        self.stopper.stop();
        self.thread.join().unwrap().unwrap();
    }
}

fn connect(address: SocketAddr) -> Host<KernelNet> {
    connect_as([7; 16], address)
}

fn connect_as(host_id: [u8; 16], address: SocketAddr) -> Host<KernelNet> {
    let host = Nqn::new("nqn.2026-11.org.example:host").unwrap();
    let subsystem = Nqn::new("nqn.2026-11.org.example:slow").unwrap();
    let config = ControllerConfig::new(HostIdentity { host_id, host, subsystem }, 1);
    Host::connect(KernelNet::new(Protocol::Tcp).unwrap(), HostConfig::new(address, config), PATIENCE).unwrap()
}

/// Has a host read a block of each disk.
fn read_all(host: &mut Host<KernelNet>, disks: u32) {
    for nsid in 1..=disks {
        let range = BlockRange { start: 0, count: 1 };
        let read = IoCommand::Read { range, force_unit_access: false }.to_sqe(nsid);
        host.submit(0, Request::new(read, nsid.into()).receiving(512)).unwrap();
    }
    // The commands leave.
    host.turn(Some(Duration::from_millis(50))).unwrap();
}

fn next(host: &mut Host<KernelNet>) -> (u64, Bytes) {
    let started = Instant::now();
    loop {
        if let Some(completion) = host.poll_finished(0) {
            assert!(completion.outcome.is_success(), "{:?}", completion.outcome);
            return (completion.request.token, completion.request.into_received().to_contiguous());
        }
        assert!(started.elapsed() < PATIENCE, "nothing ends");
        host.turn(Some(Duration::from_millis(100))).unwrap();
    }
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn slow_disks_answer_in_any_order_and_whoever_dies_meanwhile_harms_nobody() {
    const DISKS: u32 = 32;
    let mut server = serve_slowly(DISKS, Ring::new(2 * DISKS, Memory::new(2 << 20)).unwrap());
    let mut host = connect(server.address);
    read_all(&mut host, DISKS);
    for nsid in (1..=DISKS).rev() {
        server.disks[nsid as usize - 1].writer.write_all(&[nsid as u8; 512]).unwrap();
        assert_eq!(next(&mut host), (nsid.into(), Bytes::from(vec![nsid as u8; 512])));
    }
    // The kernel reads for this one, who is gone before it has anything.
    let mut doomed = connect(server.address);
    read_all(&mut doomed, DISKS);
    drop(doomed);
    wait_for("the controller to go", || server.target.controllers() == 1);
    for disk in &mut server.disks {
        disk.writer.write_all(&[0xdd; 512]).unwrap();
    }
    let is_read = |disk: &SlowDisk| rustix::io::ioctl_fionread(&disk.reader).unwrap() == 0;
    wait_for("reads for the dead", || server.disks.iter().all(is_read));
    read_all(&mut host, DISKS);
    for (disk, nsid) in server.disks.iter_mut().zip(1..) {
        disk.writer.write_all(&[nsid; 512]).unwrap();
    }
    let mut read: Vec<_> = (0..DISKS).map(|_| next(&mut host)).collect();
    read.sort_unstable();
    let expected: Vec<_> = (1..=DISKS).map(|nsid| (nsid.into(), Bytes::from(vec![nsid as u8; 512]))).collect();
    assert!(read == expected, "what was read for the dead is nobody else's");
    // And the server can end while the kernel reads for it.
    read_all(&mut host, DISKS);
    server.stop();
}

#[test]
fn what_a_host_has_not_waited_for_does_not_begin_once_it_is_gone() {
    let server = serve_slowly(1, Ring::new(1, Memory::new(1)).unwrap());
    let mut doomed = connect(server.address);
    (0..3).for_each(|_| read_all(&mut doomed, 1));
    drop(doomed);
    wait_for("the controller to go", || server.target.controllers() == 0);
    server.next_read_is_of_the_living();
}

#[test]
fn what_the_kernel_still_does_for_a_host_that_is_gone_holds_up_who_shuts_it_out() {
    let mut server = serve_slowly(1, Ring::new(4, Memory::new(1 << 20)).unwrap());
    let mut doomed = connect(server.address);
    let mut survivor = connect_as([8; 16], server.address);
    let reserve = |command: IoCommand, keys: [u64; 2]| {
        Request::new(command.to_sqe(1), 0).sending(Bytes::from(keys.map(u64::to_le_bytes).concat()))
    };
    let (action, persist) = (RegisterAction::Register, None);
    let register = IoCommand::ReservationRegister { action, ignore_key: false, persist };
    for (host, key) in [(&mut doomed, 7), (&mut survivor, 8)] {
        assert!(host.execute(0, reserve(register, [0, key])).unwrap().outcome.is_success());
    }
    read_all(&mut doomed, 1);
    drop(doomed);
    wait_for("the controller to go", || server.target.controllers() == 1);
    let (action, kind) = (AcquireAction::PreemptAndAbort, Some(ReservationType::WriteExclusive));
    survivor.submit(0, reserve(IoCommand::ReservationAcquire { action, ignore_key: false, kind }, [8, 7])).unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(200) {
        survivor.turn(Some(Duration::from_millis(20))).unwrap();
        assert!(survivor.poll_finished(0).is_none(), "it waits");
    }
    server.disks[0].writer.write_all(&[0xdd; 512]).unwrap();
    next(&mut survivor);
    server.stop();
}

/// Stands between hosts and a target. Tells the target's end of each connection, and the first byte of whatever comes from there.
fn middle(target: SocketAddr) -> (SocketAddr, Receiver<TcpStream>, Receiver<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ((ends, accepted), (bytes, told)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        for host in listener.incoming().map_while(Result::ok) {
            let target = TcpStream::connect(target).unwrap();
            ends.send(target.try_clone().unwrap()).unwrap();
            let (mut from, mut to) = (host.try_clone().unwrap(), target.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut target, mut host, bytes) = (target, host, bytes.clone());
            std::thread::spawn(move || {
                let mut room = [0; 4096];
                while let Ok(count @ 1..) = target.read(&mut room) {
                    let _ = (bytes.send(room[0]), host.write_all(&room[..count]));
                }
            });
        }
    });
    (address, accepted, told)
}

#[test]
fn what_waits_does_not_begin_once_its_host_has_broken_the_protocol() {
    let server = serve_slowly(1, Ring::new(1, Memory::new(1)).unwrap());
    let (between, ends, told) = middle(server.address);
    let mut doomed = connect(between);
    (0..3).for_each(|_| read_all(&mut doomed, 1));
    let [_admin, mut io] = [ends.recv().unwrap(), ends.recv().unwrap()];
    io.write_all(&[0xff; 8]).unwrap();
    const C2H_TERM_REQ: u8 = 3;
    while told.recv_timeout(PATIENCE).unwrap() != C2H_TERM_REQ {}
    // Though the connection is not closed.
    server.next_read_is_of_the_living();
}

#[test]
fn the_cache_is_passed_by_only_where_blocks_allow_it() {
    let disk = Disk::new("direct", 1 << 20, true);
    let open = |block_size, direct| {
        FileStore::open(&disk.path, FileOptions { read_only: false, block_size, direct }).unwrap().caching().clone()
    };
    assert_eq!(open(4096, false), Caching::Buffered("asked for".to_owned()));
    assert!(matches!(open(100, true), Caching::Buffered(reason) if reason.contains("O_DIRECT")));
}

#[test]
fn an_empty_file_is_refused() {
    let path = std::env::temp_dir().join(format!("nvme-io-empty-{}", std::process::id()));
    File::create(&path).unwrap();
    let options = FileOptions { read_only: true, block_size: 512, direct: true };
    assert_eq!(FileStore::open(&path, options).unwrap_err().to_string(), "it is empty");
    std::fs::remove_file(path).unwrap();
}
