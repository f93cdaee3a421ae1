//! An NBD client of the test's own, `NbdServer`, and a target, over the kernel's TCP and a unix socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nvme_io::nbd::{MAX_REQUESTS, NbdServer};
use nvme_io::net::{KernelNet, Protocol};
use nvme_io::{Host, HostConfig, Server, Stopper};
use nvme_tcp::command::Nqn;
use nvme_tcp::host::{ControllerConfig, HostIdentity};
use nvme_tcp::target::{AllowedHosts, MemoryStore, Namespace, Port, Subsystem, Target, TargetConfig};

const NQN: &str = "nqn.2026-11.org.example:nbd";
const BLOCK: u32 = 4096;
const SIZE: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// READ, WRITE, DISC and FLUSH.
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISC: u16 = 2;
const FLUSH: u16 = 3;

/// A disk: a target and an NBD server, each in a thread of its own, which end with this.
struct Disk {
    target: (Stopper, JoinHandle<()>),
    nbd: (Stopper, JoinHandle<()>),
    socket: PathBuf,
}

impl Disk {
    fn new(name: &str) -> Self {
        let target = Target::new(TargetConfig::default()).unwrap();
        let nqn = Nqn::new(NQN).unwrap();
        let (serial, model) = ("1".to_owned(), "test".to_owned());
        target.add_subsystem(Subsystem { nqn: nqn.clone(), serial, model, hosts: AllowedHosts::Any }).unwrap();
        let store = Arc::new(MemoryStore::new(SIZE));
        let namespace = Namespace { nsid: 1, store, block_size: BLOCK, uuid: [1; 16], group: 1, read_only: false };
        target.add_namespace(&nqn, namespace).unwrap();
        let mut server = Server::new(KernelNet::new(Protocol::Tcp).unwrap(), Arc::clone(&target));
        let address = server.listen(1, "127.0.0.1:0".parse().unwrap()).unwrap();
        target.add_port(Port { id: 1, address });
        let target = (server.stopper(), std::thread::spawn(move || server.run().unwrap()));

        let host = Nqn::new("nqn.2026-11.org.example:host").unwrap();
        let config = ControllerConfig::new(HostIdentity { host_id: [7; 16], host, subsystem: nqn }, 2);
        let host =
            Host::connect(KernelNet::new(Protocol::Tcp).unwrap(), HostConfig::new(address, config), PATIENCE).unwrap();
        let namespace = host.controller().namespaces()[&1].clone();
        let socket = std::env::temp_dir().join(format!("nvme-io-nbd-{}-{name}", std::process::id()));
        let mut server = NbdServer::new(host, &namespace, String::new(), false);
        server.listen(UnixListener::bind(&socket).unwrap()).unwrap();
        let nbd = (server.stopper(), std::thread::spawn(move || server.run().unwrap()));
        Self { target, nbd, socket }
    }

    fn client(&self) -> Client {
        let mut client = Client(UnixStream::connect(&self.socket).unwrap());
        client.0.set_read_timeout(Some(PATIENCE)).unwrap();
        client.take(18);
        // Flags, then EXPORT_NAME with the empty name.
        client.0.write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\0").unwrap();
        assert_eq!(client.take(10)[..8], SIZE.to_be_bytes());
        client
    }

    /// Ends everything.
    fn end(self) {
        self.nbd.0.stop();
        self.nbd.1.join().unwrap();
        self.target.0.stop();
        self.target.1.join().unwrap();
        let _ = std::fs::remove_file(&self.socket);
    }
}

struct Client(UnixStream);

impl Client {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn ask(&mut self, kind: u16, cookie: u64, offset: u64, length: u32) {
        let kind_and_cookie = [&kind.to_be_bytes()[..], &cookie.to_be_bytes(), &offset.to_be_bytes()].concat();
        let request = [&[0x25, 0x60, 0x95, 0x13, 0, 0], &kind_and_cookie[..], &length.to_be_bytes()].concat();
        self.0.write_all(&request).unwrap();
    }

    fn write(&mut self, cookie: u64, offset: u64, data: &[u8]) {
        self.ask(WRITE, cookie, offset, u32::try_from(data.len()).unwrap());
        self.0.write_all(data).unwrap();
    }

    /// The next reply: whose it is, and the error.
    fn reply(&mut self) -> (u64, u32) {
        let reply = self.take(16);
        assert_eq!(reply[..4], [0x67, 0x44, 0x66, 0x98]);
        let error = u32::from_be_bytes(reply[4..8].try_into().unwrap());
        (u64::from_be_bytes(reply[8..].try_into().unwrap()), error)
    }

    /// Whether the server has closed the connection; waiting in vain is not that.
    fn is_over(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(len) => len == 0,
            Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        }
    }
}

#[test]
fn many_requests_at_a_time_are_all_answered_and_long_ones_are_whole() {
    let disk = Disk::new("many");
    let mut client = disk.client();
    let long = 8 << 20;
    let data: Vec<u8> = (0..long / 4_u32).flat_map(|word| word.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect();
    client.write(1, 4096, &data);
    assert_eq!(client.reply(), (1, 0));
    // More than are executed at a time.
    let count = 3 * MAX_REQUESTS as u64;
    // In a thread: who takes no replies may not ask on and on.
    let mut asker = Client(client.0.try_clone().unwrap());
    let asking = std::thread::spawn(move || {
        for cookie in 0..count {
            asker.ask(READ, cookie, 4096 * (1 + cookie), 4096);
        }
    });
    let mut seen = vec![false; count as usize];
    for _ in 0..count {
        let (cookie, error) = client.reply();
        let at = 4096 * cookie as usize;
        assert!(error == 0 && !std::mem::replace(&mut seen[cookie as usize], true));
        assert!(client.take(4096) == data[at..at + 4096], "block {cookie} is another");
    }
    asking.join().unwrap();
    let mut other = disk.client();
    other.ask(READ, 9, 4096, long);
    assert_eq!(other.reply(), (9, 0));
    assert!(other.take(data.len()) == data);
    disk.end();
}

#[test]
fn who_takes_leave_is_answered_first() {
    let disk = Disk::new("leave");
    let mut client = disk.client();
    client.write(1, 0, &[7; 1 << 20]);
    client.ask(FLUSH, 2, 0, 0);
    client.ask(READ, 3, 1, 4096);
    client.ask(DISC, 4, 0, 0);
    let mut replies = [(); 3].map(|()| client.reply());
    replies.sort_unstable();
    assert_eq!(replies, [(1, 0), (2, 0), (3, 22)]);
    assert!(client.is_over());
    disk.end();
}

#[test]
fn who_takes_no_replies_or_makes_no_sense_harms_nobody_else() {
    let disk = Disk::new("hostile");
    let mut deaf = disk.client();
    let reader = deaf.0.try_clone().unwrap();
    // Far more than the connection and its share of memory hold: writing the requests blocks.
    let asking = std::thread::spawn(move || {
        for cookie in 0..200_000 {
            let request = [&[0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0][..], &[0; 16], &(1_u32 << 20).to_be_bytes()].concat();
            if deaf.0.write_all(&request).is_err() {
                return cookie;
            }
        }
        u64::MAX
    });
    let mut senseless = disk.client();
    senseless.0.write_all(&[0xff; 28]).unwrap();
    assert!(senseless.is_over());
    let mut client = disk.client();
    client.write(1, 0, &[7; 4096]);
    assert_eq!(client.reply(), (1, 0));
    client.ask(READ, 2, 0, 4096);
    assert_eq!(client.reply(), (2, 0));
    assert_eq!(client.take(4096), [7; 4096]);
    disk.end();
    assert!(asking.join().unwrap() < 200_000, "all requests were taken, though no reply was");
    drop(reader);
}
