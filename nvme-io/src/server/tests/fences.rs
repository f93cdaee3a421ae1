//! Preempt and Abort, where each queue has a thread of its own.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use nvme_tcp::command::{AcquireAction, RegisterAction, ReservationType};
use nvme_tcp::host::Finished;

use super::*;

/// Long enough for threads to do what they should not do.
const A_WHILE: Duration = Duration::from_millis(200);
const FENCING: u64 = 100;

/// A store whose writes end once they may, and everything else at once. It tells of writes that have begun.
#[derive(Clone)]
struct Slow {
    begun: Sender<()>,
    may_end: Arc<AtomicBool>,
}

struct SlowBackend {
    store: Slow,
    writes: Vec<Token>,
    done: Vec<Token>,
}

impl Store for Slow {
    fn size(&self) -> u64 {
        1 << 20
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(SlowBackend { store: self.clone(), writes: Vec::new(), done: Vec::new() })
    }
}

impl Backend for SlowBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        if matches!(operation, Operation::Write { .. }) {
            self.writes.push(token);
            let _ = self.store.begun.send(());
        } else {
            self.done.push(token);
        }
    }

    fn poll(&mut self) -> Option<Completion> {
        let may_end = self.store.may_end.load(Relaxed);
        let token = self.done.pop().or_else(|| self.writes.pop_if(|_| may_end))?;
        Some(Completion { token, result: Ok(()), data: Payload::new() })
    }
}

struct Thread {
    address: SocketAddr,
    stopper: Stopper,
    thread: JoinHandle<io::Result<()>>,
}

fn serve(target: &Arc<Target>) -> Thread {
    let mut server = Server::new(KernelNet::new(Protocol::Tcp).unwrap(), Arc::clone(target));
    let address = server.listen(1, "127.0.0.1:0".parse().unwrap()).unwrap();
    let stopper = server.stopper();
    Thread { address, stopper, thread: std::thread::spawn(move || server.run()) }
}

fn connect(thread: &Thread, id: u8) -> Host<KernelNet> {
    let host = Nqn::new(&format!("nqn.2026-11.org.example:host{id}")).unwrap();
    let config = ControllerConfig::new(HostIdentity { host_id: [id; 16], host, subsystem: Nqn::new(NQN).unwrap() }, 1);
    let net = KernelNet::new(Protocol::Tcp).unwrap();
    Host::connect(net, HostConfig::new(thread.address, config), PATIENCE).unwrap()
}

fn keys(keys: [u64; 2]) -> Bytes {
    keys.map(u64::to_le_bytes).concat().into()
}

/// Registers with its number as the key.
fn register(host: &mut Host<KernelNet>, id: u8) {
    let (action, persist) = (RegisterAction::Register, None);
    let command = IoCommand::ReservationRegister { action, ignore_key: false, persist };
    let request = Request::new(command.to_sqe(1), 0).sending(keys([0, id.into()]));
    assert!(host.execute(0, request).unwrap().outcome.is_success());
}

fn preempt_and_abort(host: &mut Host<KernelNet>, own: u64, preempted: u64) {
    let (action, kind) = (AcquireAction::PreemptAndAbort, Some(ReservationType::WriteExclusive));
    let command = IoCommand::ReservationAcquire { action, ignore_key: false, kind };
    host.submit(0, Request::new(command.to_sqe(1), FENCING).sending(keys([own, preempted]))).unwrap();
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The next command that ends within this time.
fn next_within(host: &mut Host<KernelNet>, time: Duration) -> Option<Finished<u64>> {
    let started = Instant::now();
    loop {
        let finished = host.poll_finished(0);
        if finished.is_some() {
            return finished;
        }
        let left = time.checked_sub(started.elapsed())?;
        host.turn(Some(left)).unwrap();
    }
}

#[test]
fn who_shuts_a_host_out_is_answered_when_its_last_write_has_ended() {
    for is_lost in [false, true] {
        let (begun, begins) = mpsc::channel();
        let slow = Slow { begun, may_end: Arc::default() };
        let (target, may_end) = (target(), Arc::clone(&slow.may_end));
        let namespace =
            Namespace { nsid: 1, store: Arc::new(slow), block_size: 512, uuid: [1; 16], group: 1, read_only: false };
        target.add_namespace(&Nqn::new(NQN).unwrap(), namespace).unwrap();
        let threads = [serve(&target), serve(&target), serve(&target)];

        let mut shut_out = connect(&threads[0], 1);
        // The thread of this one sleeps, as nothing happens there.
        let _idle = connect(&threads[1], 1);
        let mut survivor = connect(&threads[2], 2);
        register(&mut shut_out, 1);
        register(&mut survivor, 2);
        let write = IoCommand::Write { range: BlockRange { start: 0, count: 1 }, force_unit_access: false };
        shut_out.submit(0, Request::new(write.to_sqe(1), 1).sending(Bytes::from_static(&[1; 512]))).unwrap();
        shut_out.turn(Some(Duration::ZERO)).unwrap();
        begins.recv_timeout(PATIENCE).unwrap();

        preempt_and_abort(&mut survivor, 2, 1);
        assert!(next_within(&mut survivor, A_WHILE).is_none(), "it waits");
        survivor.submit(0, Request::new(IoCommand::Flush.to_sqe(1), 7)).unwrap();
        assert_eq!(next_within(&mut survivor, PATIENCE).unwrap().request.token, 7, "its queue goes on");
        let controllers = target.controllers();
        let shut_out = Some(shut_out).filter(|_| !is_lost);
        wait_for("the controller to go", || target.controllers() == controllers - usize::from(is_lost));
        assert!(next_within(&mut survivor, A_WHILE).is_none(), "it waits");
        may_end.store(true, Relaxed);
        let finished = next_within(&mut survivor, PATIENCE).unwrap();
        assert_eq!((finished.request.token, finished.outcome.is_success()), (FENCING, true));
        let written = shut_out.map(|mut host| next_within(&mut host, PATIENCE).unwrap().outcome.is_success());
        assert_ne!(written, Some(false));
        for Thread { stopper, thread, .. } in threads {
            stopper.stop();
            thread.join().unwrap().unwrap();
        }
    }
}
