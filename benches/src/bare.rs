//! A yardstick for the simulator: smoltcp by itself on a modelled link, with nothing around it that it could do without.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

/// Microseconds that a packet travels.
const DELAY: i64 = 10_000;

/// Nanoseconds of a byte at 1 Gbit/s.
const NANOS_PER_BYTE: u64 = 8;

/// The first port that is listened on, a port for each connection.
const FIRST_PORT: u16 = 1_000;

/// One direction of the link. Whatever windows allow finds room before it: without congestion control a first burst longer than
/// the queue would be lost, and what smoltcp then does is to wait.
#[derive(Default)]
struct Line {
    /// When the transmitter is free, in nanoseconds.
    free_at: u64,
    travelling: VecDeque<(Instant, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    packets: u64,
}

impl Line {
    fn send(&mut self, now: Instant, packet: Vec<u8>) {
        let now = now.total_micros() as u64 * 1_000;
        self.free_at = self.free_at.max(now) + packet.len() as u64 * NANOS_PER_BYTE;
        let arrives = Instant::from_micros(self.free_at.div_ceil(1_000) as i64 + DELAY);
        self.travelling.push_back((arrives, packet));
        self.packets += 1;
    }
}

/// An end of the link.
struct Nic {
    now: Instant,
    incoming: Rc<RefCell<Line>>,
    outgoing: Rc<RefCell<Line>>,
}

struct Received<'a>(Vec<u8>, &'a RefCell<Line>);

struct Sending<'a>(Instant, &'a RefCell<Line>);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let result = read(&self.0);
        self.1.borrow_mut().spare.push(self.0);
        result
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = self.1.borrow_mut().spare.pop().unwrap_or_default();
        packet.resize(len, 0);
        let result = write(&mut packet);
        self.1.borrow_mut().send(self.0, packet);
        result
    }
}

impl Device for Nic {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        let mut incoming = self.incoming.borrow_mut();
        incoming.travelling.front().filter(|(at, _)| *at <= self.now)?;
        let (_, packet) = incoming.travelling.pop_front()?;
        Some((Received(packet, &self.incoming), Sending(self.now, &self.outgoing)))
    }

    fn transmit(&mut self, now: Instant) -> Option<Sending<'_>> {
        Some(Sending(now, &self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1_514;
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}

/// A host: the stack, its sockets, and the application, which writes or reads whatever it can.
struct Host {
    nic: Nic,
    interface: Interface,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
    block: Vec<u8>,
}

impl Host {
    fn new(number: u8, flows: u16, buffer: usize, incoming: &Rc<RefCell<Line>>, outgoing: &Rc<RefCell<Line>>) -> Self {
        let mut nic = Nic { now: Instant::ZERO, incoming: Rc::clone(incoming), outgoing: Rc::clone(outgoing) };
        let config = Config::new(EthernetAddress([2, 0, 0, 0, 0, number]).into());
        let mut interface = Interface::new(config, &mut nic, Instant::ZERO);
        interface.update_ip_addrs(|addrs| {
            addrs.push(IpCidr::new(IpAddress::v4(10, 0, 0, number), 24)).expect("room for an address");
        });
        let mut sockets = SocketSet::new(Vec::new());
        let ring = |len: usize| SocketBuffer::new(vec![0; len]);
        let mut socket = || {
            let (receive, send) = if number == SERVER { (buffer, 1) } else { (1, buffer) };
            let mut socket = Socket::new(ring(receive), ring(send));
            // What a window limits, and nothing else, is the most that it can do.
            socket.set_congestion_control(CongestionControl::None);
            sockets.add(socket)
        };
        let handles = (0..flows).map(|_| socket()).collect();
        Self { nic, interface, sockets, handles, block: vec![0; buffer] }
    }

    fn open(&mut self) {
        for (port, handle) in (FIRST_PORT..).zip(&self.handles) {
            let socket: &mut Socket<'_> = self.sockets.get_mut(*handle);
            let opened = if self.interface.hardware_addr() == EthernetAddress([2, 0, 0, 0, 0, SERVER]).into() {
                socket.listen(port).is_ok()
            } else {
                let remote = (IpAddress::v4(10, 0, 0, SERVER), port);
                socket.connect(self.interface.context(), remote, port).is_ok()
            };
            assert!(opened, "a fresh socket opens");
        }
    }

    fn work(&mut self, now: Instant) {
        self.nic.now = now;
        self.interface.poll(now, &mut self.nic, &mut self.sockets);
        let mut moved = false;
        for handle in &self.handles {
            let socket: &mut Socket<'_> = self.sockets.get_mut(*handle);
            if socket.can_recv() {
                moved |= socket.recv_slice(&mut self.block).is_ok_and(|len| len > 0);
            }
            if socket.can_send() {
                moved |= socket.send_slice(&self.block).is_ok_and(|len| len > 0);
            }
        }
        if moved {
            self.interface.poll(now, &mut self.nic, &mut self.sockets);
        }
    }

    /// When to [`work`](Self::work) next.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let arrival = self.nic.incoming.borrow().travelling.front().map(|(at, _)| *at);
        let timer = self.interface.poll_at(now, &self.sockets);
        [arrival, timer].into_iter().flatten().min()
    }
}

/// Numbers of the hosts.
const CLIENT: u8 = 1;
const SERVER: u8 = 2;

/// Packets, data and acknowledgements, that so many bulk flows send over a link of 1 Gbit/s and 10 ms each way in so many virtual milliseconds.
///
/// Buffers are those of [`bottleneck`](crate::bottleneck). No checksum is computed, and what is read is not looked at.
pub fn bare_smoltcp(flows: u16, millis: i64) -> u64 {
    let (up, down) = (Rc::default(), Rc::default());
    let buffer = (16 << 20) / usize::from(flows.clamp(4, 256));
    let mut hosts = [Host::new(CLIENT, flows, buffer, &down, &up), Host::new(SERVER, flows, buffer, &up, &down)];
    hosts.iter_mut().rev().for_each(Host::open);
    let (mut now, end) = (Instant::ZERO, Instant::from_millis(millis));
    let mut due = [Some(now); 2];
    while now <= end {
        for (host, due) in hosts.iter_mut().zip(&mut due) {
            if due.is_some_and(|at| at <= now) {
                host.work(now);
            }
        }
        for (host, due) in hosts.iter_mut().zip(&mut due) {
            *due = host.due(now);
        }
        let Some(next) = due.into_iter().flatten().min() else { break };
        now = next.max(now + Duration::from_micros(1));
    }
    hosts.iter().map(|host| host.nic.outgoing.borrow().packets).sum()
}
