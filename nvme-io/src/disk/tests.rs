//! Futures and their commands, with the test in the place of the thread that has the host.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Wake, Waker};

use super::commands::Ended;
use super::*;
use crate::net;

const BLOCK: u32 = 512;

/// A task that counts how often it is woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Task {
    fn woken(&self) -> usize {
        self.0.load(Relaxed)
    }
}

fn poll(future: &mut IoFuture, task: &Arc<impl Wake + Send + Sync + 'static>) -> Poll<Ended> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(task))))
}

/// A disk, and what the thread of its host sees.
struct World {
    disk: Disk,
    commands: Arc<Commands>,
    /// How often that thread was woken.
    host: Arc<Task>,
}

fn world(block_size: u32) -> World {
    let host = Arc::new(Task::default());
    let woken = Arc::clone(&host);
    let commands = Arc::new(Commands::new(net::Waker::new(move || Arc::clone(&woken).wake())));
    let namespace = Namespace {
        nsid: 1,
        blocks: 1 << 20,
        capacity: 1 << 20,
        used: 1 << 20,
        block_size,
        identifiers: Vec::new(),
        ana_group: 1,
        is_shared: true,
        is_write_protected: false,
        reservations: 0,
        copy_limits: (1, 1, 1),
    };
    let disk = Disk { commands: Arc::clone(&commands), namespace: Arc::new(namespace), max_blocks: 256 };
    World { disk, commands, host }
}

fn block() -> Bytes {
    Bytes::from(vec![7; BLOCK as usize])
}

#[test]
fn commands_leave_in_turn_and_end_in_any_order() {
    let World { disk, commands, host } = world(BLOCK);
    for _ in 0..2 {
        let woken = host.woken();
        let mut reads: Vec<(IoFuture, Arc<Task>)> = (0..8).map(|lba| (disk.read(lba, 1), Arc::default())).collect();
        assert!(commands.next().is_none(), "nothing happens before the first poll");
        for (read, task) in &mut reads {
            assert!(poll(read, task).is_pending());
        }
        assert_eq!(host.woken(), woken + 1, "once for all of them");
        let requests: Vec<Request<u64>> = std::iter::from_fn(|| commands.next()).collect();
        let blocks: Vec<u64> = requests.iter().map(|request| request.sqe.cdw10_11()).collect();
        assert_eq!(blocks, [0, 1, 2, 3, 4, 5, 6, 7]);
        for at in [3, 7, 0, 1, 6, 2, 5, 4] {
            let (read, task) = &mut reads[at];
            assert!(poll(read, task).is_pending() && task.woken() == 0);
            // The second time, slots are those of the first.
            let slot = requests[at].token as usize;
            assert!(slot < 8);
            let data = Payload::from(Bytes::from(vec![at as u8; BLOCK as usize]));
            commands.complete(slot, Ok(data.clone()));
            assert_eq!(task.woken(), 1);
            assert_eq!(poll(read, task), Poll::Ready(Ok(data)));
        }
        assert!(reads.iter().all(|(_, task)| task.woken() == 1));
    }
}

#[test]
fn the_host_is_told_of_what_comes_after_it_has_looked() {
    let World { disk, commands, host } = world(BLOCK);
    let task = Arc::new(Task::default());
    let mut flushes = [(); 3].map(|()| disk.flush());
    for (count, flush) in (1..).zip(&mut flushes) {
        assert!(poll(flush, &task).is_pending());
        assert_eq!(host.woken(), count);
        commands.next().unwrap();
    }
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let World { disk, commands, .. } = world(BLOCK);
    let tasks: [Arc<Task>; 4] = Default::default();
    let mut flush = disk.flush();
    assert!(poll(&mut flush, &tasks[0]).is_pending());
    assert!(poll(&mut flush, &tasks[1]).is_pending());
    let slot = commands.next().unwrap().token as usize;
    assert!(poll(&mut flush, &tasks[2]).is_pending());
    commands.complete(slot, Ok(Payload::new()));
    assert_eq!(tasks.each_ref().map(|task| task.woken()), [0, 0, 1, 0]);
    // Whoever asks first has it.
    assert_eq!(poll(&mut flush, &tasks[3]), Poll::Ready(Ok(Payload::new())));
    assert!(tasks.iter().all(|task| Arc::strong_count(task) == 1), "no waker is kept");
}

#[test]
#[should_panic(expected = "is polled again")]
fn an_end_comes_once() {
    let World { disk, .. } = world(BLOCK);
    let task = Arc::new(Task::default());
    let mut read = disk.read(0, 0);
    assert!(poll(&mut read, &task).is_ready());
    let _ = poll(&mut read, &task);
}

#[test]
fn what_is_dropped_while_it_waits_does_not_leave() {
    let World { disk, commands, .. } = world(BLOCK);
    let (task, data) = (Arc::new(Task::default()), block());
    let mut dropped = disk.write(0, data.clone());
    let mut kept = disk.flush();
    assert!(poll(&mut dropped, &task).is_pending() && poll(&mut kept, &task).is_pending());
    drop(dropped);
    assert!(data.is_unique());
    assert_eq!(commands.next().unwrap().token, 1);
    assert!(commands.next().is_none());
    let mut next = disk.flush();
    assert!(poll(&mut next, &task).is_pending());
    assert_eq!(commands.next().unwrap().token, 0, "the slot is used again");
    assert_eq!(task.woken(), 0);
}

#[test]
fn what_is_dropped_later_keeps_its_data_and_its_slot_until_the_end() {
    let World { disk, commands, .. } = world(BLOCK);
    let (task, data) = (Arc::new(Task::default()), block());
    let mut write = disk.write(0, data.clone());
    assert!(poll(&mut write, &task).is_pending());
    let request = commands.next().unwrap();
    drop(write);
    assert_eq!(Arc::strong_count(&task), 1, "nobody waits for it");
    let mut other = disk.flush();
    assert!(poll(&mut other, &task).is_pending());
    assert_eq!(commands.next().unwrap().token, 1);
    assert!(!data.is_unique(), "the host has it");
    let Data::Send(list) = request.data else { panic!("a write sends") };
    commands.complete(0, Ok(list));
    assert!(data.is_unique() && task.woken() == 0);
    let mut next = disk.flush();
    assert!(poll(&mut next, &task).is_pending());
    assert_eq!(commands.next().unwrap().token, 0);
    // Its end has come, and is not taken.
    commands.complete(1, Ok(Payload::new()));
    drop(other);
    assert!(poll(&mut disk.flush(), &task).is_pending());
    assert_eq!(task.woken(), 1);
}

/// A task that begins a command when it is woken, and drops commands when it is dropped.
struct Restless {
    disk: Disk,
    flushes: Mutex<Vec<IoFuture>>,
}

impl Restless {
    fn new(disk: &Disk) -> Arc<Self> {
        Arc::new(Self { disk: disk.clone(), flushes: Mutex::default() })
    }
}

impl Wake for Restless {
    fn wake(self: Arc<Self>) {
        let mut flush = self.disk.flush();
        assert!(poll(&mut flush, &Arc::new(Task::default())).is_pending());
        self.flushes.lock().unwrap().push(flush);
    }
}

/// With the lock held, this would not come to an end.
#[test]
fn tasks_may_do_anything_when_they_are_woken_or_dropped() {
    let World { disk, commands, .. } = world(BLOCK);
    let restless = Restless::new(&disk);
    let mut flush = disk.flush();
    assert!(poll(&mut flush, &restless).is_pending());
    commands.complete(commands.next().unwrap().token as usize, Ok(Payload::new()));
    assert_eq!(poll(&mut flush, &restless), Poll::Ready(Ok(Payload::new())));
    // The waker is the last that has the task, and with it the command that it has begun.
    let mut other = disk.flush();
    assert!(poll(&mut other, &restless).is_pending());
    drop(restless);
    assert!(poll(&mut other, &Arc::new(Task::default())).is_pending());
    assert_eq!(commands.next().unwrap().token, 0);
    assert!(commands.next().is_none(), "what the task had begun was dropped");
    // The same with a future that is dropped.
    let restless = Restless::new(&disk);
    Arc::clone(&restless).wake();
    let mut last = disk.flush();
    assert!(poll(&mut last, &restless).is_pending());
    drop(restless);
    drop(last);
    assert!(commands.next().is_none());
}

#[test]
fn everything_ends_with_the_host() {
    let World { disk, commands, host } = world(BLOCK);
    let tasks: [Arc<Task>; 4] = Default::default();
    let mut flushes = [(); 4].map(|()| disk.flush());
    for (flush, task) in flushes.iter_mut().zip(&tasks) {
        assert!(poll(flush, task).is_pending());
    }
    for slot in 0..3 {
        assert_eq!(commands.next().unwrap().token, slot);
    }
    commands.complete(0, Ok(Payload::new()));
    let [ended, submitted, dropped, waiting] = flushes;
    drop(dropped);
    commands.close();
    assert_eq!(tasks.each_ref().map(|task| task.woken()), [1, 1, 0, 1]);
    let ends = [ended, submitted, waiting].map(|mut flush| poll(&mut flush, &tasks[0]));
    let closed = |sent| Poll::Ready(Err(DiskError::Closed { sent }));
    assert_eq!(ends, [Poll::Ready(Ok(Payload::new())), closed(true), closed(false)]);
    // What the host has to say yet is for nobody, and nothing is for the host.
    for slot in [1, 2] {
        commands.complete(slot, Ok(Payload::new()));
    }
    assert_eq!(poll(&mut disk.flush(), &tasks[0]), closed(false));
    assert!(commands.next().is_none() && host.woken() == 1);
    assert_eq!(tasks.each_ref().map(|task| task.woken()), [1, 1, 0, 1]);
}

#[test]
fn commands_are_what_they_are_called() {
    let World { disk, commands, .. } = world(BLOCK);
    let task = Arc::new(Task::default());
    let range = BlockRange { start: 5, count: 2 };
    let data = Bytes::from(vec![1; 2 * BLOCK as usize]);
    let discarded = Bytes::copy_from_slice(DatasetRange::new(range).as_bytes());
    let force_unit_access = false;
    for (mut future, command, sent) in [
        (disk.write(5, data.clone()), IoCommand::Write { range, force_unit_access }, Some(data.clone())),
        (disk.compare(5, data.clone()), IoCommand::Compare { range }, Some(data)),
        (disk.write_zeroes(5, 2), IoCommand::WriteZeroes { range, force_unit_access, deallocate: false }, None),
        (disk.discard(5, 2), IoCommand::DatasetManagement { ranges: 1, deallocate: true }, Some(discarded)),
        (disk.flush(), IoCommand::Flush, None),
        (disk.execute(IoCommand::Verify { range }, Data::None), IoCommand::Verify { range }, None),
    ] {
        assert!(poll(&mut future, &task).is_pending());
        let request = commands.next().unwrap();
        assert_eq!((IoCommand::parse(&request.sqe), request.sqe.nsid.get()), (Ok(command), 1));
        assert_eq!(request.payload(), sent.map(Payload::from).as_ref());
    }
    let mut read = disk.read(5, 2);
    assert!(poll(&mut read, &task).is_pending());
    let request = commands.next().unwrap();
    assert_eq!(IoCommand::parse(&request.sqe), Ok(IoCommand::Read { range, force_unit_access }));
    let Data::Receive { length, .. } = request.data else { panic!("a read receives") };
    assert_eq!(length, 2 * BLOCK);
}

#[test]
fn what_no_command_can_be_is_refused() {
    let World { disk, commands, .. } = world(BLOCK);
    let task = Arc::new(Task::default());
    for mut future in [
        disk.read(0, 0),
        disk.read(0, BlockRange::MOST + 1),
        disk.write_zeroes(0, 0),
        disk.write(0, Bytes::new()),
        disk.write(0, Bytes::from(vec![0; BLOCK as usize + 1])),
        disk.compare(0, Bytes::from(vec![0; BLOCK as usize - 1])),
    ] {
        assert_eq!(poll(&mut future, &task), Poll::Ready(Err(DiskError::Length)));
    }
    assert!(poll(&mut disk.read(0, BlockRange::MOST), &task).is_pending());
    let large = world(1 << 20).disk;
    assert_eq!(poll(&mut large.read(0, 4096), &task), Poll::Ready(Err(DiskError::Refused(Refusal::TooLong))));
    assert!(poll(&mut large.read(0, 4095), &task).is_pending());
    assert!(commands.next().is_none(), "all were dropped");
}

#[test]
fn futures_go_to_any_thread() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<IoFuture>();
    check::<Disk>();
}
