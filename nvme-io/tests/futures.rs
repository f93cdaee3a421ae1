//! Commands as futures, with tasks and executors of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod ends;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ends::{BLOCK, PATIENCE, Running, SIZE, config, engines};
use nvme_io::net::{KernelNet, Net, Protocol, StackNet};
use nvme_io::{Disk, DiskError, Host, HostConfig, HostDriver, HostError, IoFuture};
use nvme_tcp::command::{BlockRange, IoCommand, StatusCode};
use nvme_tcp::host::{Data, ReconnectPolicy};
use nvme_tcp::pdu::{Digests, Payload};
use nvme_tcp::target::{Backend, Completion, MemoryStore, Operation, Store, Token};

type Ended = Result<Payload, DiskError>;

/// How long the thread waits for something to happen before it looks again.
const A_MOMENT: Duration = Duration::from_millis(10);

/// Futures that are under way at the same time.
struct All(Vec<(IoFuture, Option<Ended>)>);

fn all(futures: impl IntoIterator<Item = IoFuture>) -> All {
    All(futures.into_iter().map(|future| (future, None)).collect())
}

impl Future for All {
    type Output = Vec<Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<Ended>> {
        for (future, end) in self.0.iter_mut().filter(|(_, end)| end.is_none()) {
            if let Poll::Ready(ended) = Pin::new(future).poll(context) {
                *end = Some(ended);
            }
        }
        if self.0.iter().any(|(_, end)| end.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(self.0.drain(..).filter_map(|(_, end)| end).collect())
    }
}

/// A task that notes when it is woken.
struct Task {
    number: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push(self.number);
    }
}

/// An executor of a single task, in its thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let started = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(started.elapsed() < PATIENCE, "nobody wakes the task");
        std::thread::park_timeout(PATIENCE);
    }
}

fn poll(future: &mut IoFuture, waker: &Waker) -> Poll<Ended> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn connect(config: HostConfig) -> HostDriver<KernelNet> {
    HostDriver::new(Host::connect(KernelNet::new(Protocol::Tcp).unwrap(), config, PATIENCE).unwrap())
}

/// How many more commands the queues take.
fn room(driver: &HostDriver<KernelNet>) -> usize {
    (0..driver.host().queues()).map(|queue| driver.host().room(queue)).sum()
}

/// Drives the host in this thread until all these have ended.
fn finish(driver: &mut HostDriver<KernelNet>, futures: impl IntoIterator<Item = IoFuture>) -> Vec<Ended> {
    let (mut all, started) = (all(futures), Instant::now());
    loop {
        if let Poll::Ready(ends) = Pin::new(&mut all).poll(&mut Context::from_waker(Waker::noop())) {
            return ends;
        }
        assert!(started.elapsed() < PATIENCE);
        driver.turn(Some(A_MOMENT)).unwrap();
    }
}

/// A store in which operations wait until there are so many, and then end with the last one first.
#[derive(Clone, Copy)]
struct Backwards(usize);

struct BackwardsBackend {
    count: usize,
    waiting: Vec<Token>,
    done: VecDeque<Token>,
}

impl Store for Backwards {
    fn size(&self) -> u64 {
        SIZE
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(BackwardsBackend { count: self.0, waiting: Vec::new(), done: VecDeque::new() })
    }
}

impl Backend for BackwardsBackend {
    fn submit(&mut self, token: Token, _: Operation) {
        self.waiting.push(token);
        if self.waiting.len() == self.count {
            self.done.extend(self.waiting.drain(..).rev());
        }
    }

    fn poll(&mut self) -> Option<Completion> {
        let token = self.done.pop_front()?;
        Some(Completion { token, result: Ok(()), data: Payload::new() })
    }
}

/// A store in which nothing ends.
const NEVER: Backwards = Backwards(usize::MAX);

fn serve(store: Arc<dyn Store>, address: &str) -> Running {
    Running::with_store(KernelNet::new(Protocol::Tcp).unwrap(), address, store, None)
}

const ANY: &str = "127.0.0.1:0";

#[test]
fn futures_wait_for_queues_with_room() {
    let running = Running::over_the_kernel();
    let mut config = HostConfig::new(running.address, config(2, Digests::NONE));
    // Each queue takes three commands.
    config.controller.io_entries = 4;
    let mut driver = connect(config);
    assert_eq!(room(&driver), 6);
    let disk = driver.disk(1).unwrap();
    assert!(driver.disk(2).is_none());
    assert_eq!(u64::from(disk.namespace().block_size) * disk.namespace().blocks, SIZE);
    let content = |lba: u64| Bytes::from(vec![lba as u8 + 1; BLOCK as usize]);
    let writes = finish(&mut driver, (0..64).map(|lba| disk.write(lba, content(lba))));
    assert!(writes.iter().all(Result::is_ok), "{writes:?}");
    let reads = finish(&mut driver, (0..64).map(|lba| disk.read(lba, 1)));
    for (lba, read) in (0..).zip(reads) {
        assert!(read.unwrap() == Payload::from(content(lba)), "{lba}");
    }
    assert_eq!(room(&driver), 6);
    driver.shutdown(PATIENCE).unwrap();
}

#[test]
fn statuses_are_told() {
    let running = Running::over_the_kernel();
    let mut driver = connect(HostConfig::new(running.address, config(1, Digests::NONE)));
    let disk = driver.disk(1).unwrap();
    let mut run = |future: IoFuture| finish(&mut driver, [future]).remove(0);
    let content = Bytes::from(vec![1; 2 * BLOCK as usize]);
    let zeroes = Bytes::from(vec![0; BLOCK as usize]);
    assert!(run(disk.write(0, content.clone())).is_ok());
    assert!(run(disk.compare(0, content.clone())).is_ok());
    assert!(run(disk.write_zeroes(0, 1)).is_ok());
    assert!(run(disk.compare(0, zeroes.clone())).is_ok());
    assert!(run(disk.discard(1, 1)).is_ok());
    assert!(run(disk.compare(1, zeroes)).is_ok());
    assert!(run(disk.flush()).is_ok());
    let range = BlockRange { start: 0, count: 8 };
    assert!(run(disk.execute(IoCommand::Verify { range }, Data::None)).is_ok());
    let code = |ended: Ended| match ended {
        Err(DiskError::Status(status)) => status.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(run(disk.compare(0, content))), StatusCode::CompareFailure);
    assert_eq!(code(run(disk.read(disk.namespace().blocks, 1))), StatusCode::LbaOutOfRange);
}

#[test]
fn commands_end_in_the_order_of_the_target() {
    const COUNT: usize = 8;
    let running = serve(Arc::new(Backwards(COUNT)), ANY);
    let mut driver = connect(HostConfig::new(running.address, config(1, Digests::NONE)));
    let disk = driver.disk(1).unwrap();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let wakers: Vec<Waker> =
        (0..COUNT).map(|number| Arc::new(Task { number, woken: Arc::clone(&woken) }).into()).collect();
    let mut flushes: Vec<IoFuture> = wakers.iter().map(|_| disk.flush()).collect();
    for (flush, waker) in flushes.iter_mut().zip(&wakers) {
        assert!(poll(flush, waker).is_pending());
    }
    let started = Instant::now();
    while woken.lock().unwrap().len() < COUNT {
        driver.turn(Some(A_MOMENT)).unwrap();
        assert!(started.elapsed() < PATIENCE);
    }
    assert!(woken.lock().unwrap().iter().copied().eq((0..COUNT).rev()), "{woken:?}");
    for flush in &mut flushes {
        assert!(matches!(poll(flush, Waker::noop()), Poll::Ready(Ok(_))));
    }
    assert_eq!(woken.lock().unwrap().len(), COUNT);
}

#[test]
fn futures_outlive_the_loss_of_the_target() {
    // It answers nothing, so that everything is under way when it is lost.
    let mut running = serve(Arc::new(NEVER), ANY);
    let address = running.address;
    let mut config = HostConfig::new(address, config(2, Digests::NONE));
    let (first_delay, max_delay) = (Duration::from_millis(20), Duration::from_millis(100));
    config.reconnect = ReconnectPolicy { first_delay, max_delay, ..config.reconnect };
    let mut driver = connect(config);
    let disk = driver.disk(1).unwrap();
    let free = room(&driver);
    let content = Bytes::from(vec![7; BLOCK as usize]);
    let mut futures: Vec<IoFuture> = (0..8).map(|lba| disk.write(lba, content.clone())).collect();
    for future in &mut futures {
        assert!(poll(future, Waker::noop()).is_pending());
    }
    driver.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(driver.host().room(0), driver.host().room(1), "queues take turns");
    drop(running);
    driver.turn(Some(A_MOMENT)).unwrap();
    // One that has left goes on, though nobody waits for it; one that comes meanwhile waits.
    drop(futures.pop());
    futures.push(disk.write(8, content.clone()));
    running = serve(Arc::new(MemoryStore::new(SIZE)), &address.to_string());
    let ends = finish(&mut driver, futures);
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    let started = Instant::now();
    while room(&driver) < free {
        driver.turn(Some(A_MOMENT)).unwrap();
        assert!(started.elapsed() < PATIENCE, "the one that was dropped has not ended");
    }
    let reads = finish(&mut driver, (0..9).map(|lba| disk.read(lba, 1)));
    for (lba, read) in reads.into_iter().enumerate() {
        assert!(read.unwrap() == Payload::from(content.clone()), "{lba}");
    }
    driver.shutdown(PATIENCE).unwrap();
    drop(running);
}

#[test]
fn futures_end_when_the_target_is_given_up() {
    let running = serve(Arc::new(NEVER), ANY);
    let mut config = HostConfig::new(running.address, config(1, Digests::NONE));
    config.reconnect.loss_timeout = Some(Duration::ZERO);
    let mut driver = connect(config);
    let disk = driver.disk(1).unwrap();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let waker = Waker::from(Arc::new(Task { number: 0, woken: Arc::clone(&woken) }));
    let mut flush = disk.flush();
    assert!(poll(&mut flush, &waker).is_pending());
    driver.turn(Some(Duration::ZERO)).unwrap();
    drop(running);
    let started = Instant::now();
    let error = loop {
        if let Err(error) = driver.turn(Some(A_MOMENT)) {
            break error;
        }
        assert!(started.elapsed() < PATIENCE);
    };
    assert!(matches!(error, HostError::GivenUp { .. }), "{error}");
    assert_eq!(woken.lock().unwrap().len(), 1);
    assert_eq!(poll(&mut flush, &waker), Poll::Ready(Err(DiskError::Lost { sent: true })));
    assert_eq!(poll(&mut disk.flush(), &waker), Poll::Ready(Err(DiskError::Closed { sent: false })));
}

#[test]
fn futures_end_with_the_driver() {
    let running = serve(Arc::new(NEVER), ANY);
    let woken = Arc::new(Mutex::new(Vec::new()));
    let waker = Waker::from(Arc::new(Task { number: 0, woken: Arc::clone(&woken) }));
    let begin = |driver: &HostDriver<KernelNet>| {
        let disk = driver.disk(1).unwrap();
        let mut flush = disk.flush();
        assert!(poll(&mut flush, &waker).is_pending());
        flush
    };
    let mut driver = connect(HostConfig::new(running.address, config(1, Digests::NONE)));
    let mut flush = begin(&driver);
    driver.turn(Some(Duration::ZERO)).unwrap();
    drop(driver);
    assert_eq!(woken.lock().unwrap().len(), 1);
    assert_eq!(poll(&mut flush, &waker), Poll::Ready(Err(DiskError::Closed { sent: true })));

    let mut driver = connect(HostConfig::new(running.address, config(1, Digests::NONE)));
    let (mut flush, stopper) = (begin(&driver), driver.stopper());
    let thread = std::thread::spawn(move || driver.run());
    stopper.stop();
    thread.join().unwrap().unwrap();
    assert_eq!(woken.lock().unwrap().len(), 2);
    assert!(matches!(poll(&mut flush, &waker), Poll::Ready(Err(DiskError::Closed { .. }))));
}

/// Writes and reads blocks that nobody else uses, many at a time, and begins what it does not wait for.
async fn load(disk: &Disk, task: u64) {
    const BLOCKS: u64 = 16;
    for round in 0..20 {
        let place = |block: u64| task * BLOCKS + block;
        let content = |block: u64| Bytes::from((place(block) << 32 | round).to_le_bytes().repeat(BLOCK as usize / 8));
        for ended in all((0..BLOCKS).map(|block| disk.write(place(block), content(block)))).await {
            ended.unwrap();
        }
        let mut dropped = disk.read(place(0), BLOCKS as u32);
        poll_fn(|context| {
            assert!(Pin::new(&mut dropped).poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(dropped);
        let reads = all((0..BLOCKS).map(|block| disk.read(place(block), 1))).await;
        for (block, read) in (0..).zip(reads) {
            assert!(read.unwrap() == Payload::from(content(block)), "round {round}, block {block} of task {task}");
        }
        disk.flush().await.unwrap();
    }
}

fn share<N: Net + Send + 'static>(net: N, running: &Running) {
    let config = HostConfig::new(running.address, config(2, Digests::BOTH));
    let mut driver = HostDriver::new(Host::connect(net, config, PATIENCE).unwrap());
    let (disk, stopper) = (driver.disk(1).unwrap(), driver.stopper());
    let thread = std::thread::spawn(move || {
        driver.run().unwrap();
        driver.shutdown(PATIENCE).unwrap();
    });
    std::thread::scope(|scope| {
        for task in 0..4 {
            let disk = disk.clone();
            scope.spawn(move || block_on(load(&disk, task)));
        }
    });
    stopper.stop();
    thread.join().unwrap();
}

#[test]
fn tasks_on_many_threads_share_a_host() {
    share(KernelNet::new(Protocol::Tcp).unwrap(), &Running::over_the_kernel());
    let [ours, theirs] = engines();
    share(StackNet::new(ours), &Running::start(StackNet::new(theirs), "10.9.1.2:4420"));
}
