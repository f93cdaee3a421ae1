mod fences;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};

use nvme_tcp::command::{BlockRange, IoCommand, Nqn};
use nvme_tcp::host::{ControllerConfig, HostIdentity, Request};
use nvme_tcp::pdu::Payload;
use nvme_tcp::target::{AllowedHosts, Backend, Completion, Namespace, Operation, Port, Subsystem, TargetConfig, Token};

use super::*;
use crate::net::{KernelNet, Protocol};
use crate::{Host, HostConfig};

const NQN: &str = "nqn.2026-11.org.example:served";
const PATIENCE: Duration = Duration::from_secs(20);

/// A store that holds up its thread in each flush until it is let go, and never ends a read. It tells of flushes that have begun, and of what it is to forget.
#[derive(Clone)]
struct Obstinate {
    begun: Sender<()>,
    let_go: Arc<Mutex<Receiver<()>>>,
    forgotten: Sender<u32>,
}

struct ObstinateBackend {
    store: Obstinate,
    done: Vec<Completion>,
}

impl Store for Obstinate {
    fn size(&self) -> u64 {
        1 << 20
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(ObstinateBackend { store: self.clone(), done: Vec::new() })
    }
}

impl Backend for ObstinateBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        if matches!(operation, Operation::Flush) {
            let _ = self.store.begun.send(());
            let _ = self.store.let_go.lock().unwrap().recv();
            self.done.push(Completion { token, result: Ok(()), data: Payload::new() });
        }
    }

    fn poll(&mut self) -> Option<Completion> {
        self.done.pop()
    }

    fn forget(&mut self, connection: u32) {
        let _ = self.store.forgotten.send(connection);
    }
}

fn target() -> Arc<Target> {
    let target = Target::new(TargetConfig::default()).unwrap();
    let (serial, model) = ("1".to_owned(), "test".to_owned());
    let nqn = Nqn::new(NQN).unwrap();
    target.add_subsystem(Subsystem { nqn, serial, model, hosts: AllowedHosts::Any }).unwrap();
    target
}

#[test]
fn those_whose_turn_has_come_keep_it_when_the_target_changes() {
    let target = target();
    let mut server = Server::new(KernelNet::new(Protocol::Tcp).unwrap(), Arc::clone(&target));
    let mut storage = Storage::new(Arc::clone(&target), None);
    for link in 1..=4 {
        let settings = ConnectionSettings { id: link, port: 1, local: None };
        let connection = Connection::new(Arc::clone(&target), settings, Duration::ZERO);
        server.sessions.insert(LinkId(link), Session::new(connection));
    }
    for link in [4, 2].map(LinkId) {
        mark(&mut server.dirty, server.sessions.get_mut(&link).unwrap(), link);
    }
    target.add_port(Port { id: 1, address: "127.0.0.1:4420".parse().unwrap() });
    server.follow_changes(&mut storage);
    assert_eq!(server.dirty, [4, 2, 1, 3].map(LinkId));
}

/// What waits for who has broken the protocol must not begin, even if the turn is over before the thread comes to that connection.
#[test]
fn who_has_ended_is_forgotten_whoever_takes_all_the_time() {
    let ((begun, begins), (letter, let_go), (forgotten, forgets)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let store = Arc::new(Obstinate { begun, let_go: Arc::new(Mutex::new(let_go)), forgotten });
    let (target, nqn) = (target(), Nqn::new(NQN).unwrap());
    let namespace = Namespace { nsid: 1, store, block_size: 512, uuid: [1; 16], group: 1, read_only: false };
    target.add_namespace(&nqn, namespace).unwrap();
    let mut server = Server::new(KernelNet::new(Protocol::Tcp).unwrap(), target);
    let address = server.listen(1, "127.0.0.1:0".parse().unwrap()).unwrap();
    let stopper = server.stopper();
    let thread = std::thread::spawn(move || server.run());

    let mut doomed = TcpStream::connect(address).unwrap();
    let host = Nqn::new("nqn.2026-11.org.example:host").unwrap();
    let config = ControllerConfig::new(HostIdentity { host_id: [7; 16], host, subsystem: nqn }, 1);
    let net = KernelNet::new(Protocol::Tcp).unwrap();
    let mut host = Host::connect(net, HostConfig::new(address, config), PATIENCE).unwrap();
    let mut submit = |request: Request<u64>| {
        host.submit(0, request).unwrap();
        host.turn(Some(Duration::ZERO)).unwrap();
    };
    let read = IoCommand::Read { range: BlockRange { start: 0, count: 1 }, force_unit_access: false };
    // So that the store has something under way.
    submit(Request::new(read.to_sqe(1), 0).receiving(512));
    submit(Request::new(IoCommand::Flush.to_sqe(1), 1));
    begins.recv_timeout(PATIENCE).unwrap();
    // Both are seen in the next turn, in this order.
    submit(Request::new(IoCommand::Flush.to_sqe(1), 2));
    doomed.write_all(&[0xff; 8]).unwrap();
    letter.send(()).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    std::thread::sleep(2 * LONGEST_TURN);
    letter.send(()).unwrap();
    // The doomed one was the first to connect. It is not closed: that would take longer than is waited for.
    assert_eq!(forgets.recv_timeout(PATIENCE), Ok(0));
    stopper.stop();
    thread.join().unwrap().unwrap();
}
