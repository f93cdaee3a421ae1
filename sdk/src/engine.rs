//! Poll mode: one thread's stack with its interfaces and its clock.

mod paths;
mod port;

use std::fs::File;
use std::io::{self, BufWriter};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mptcp_core::{
    ConnConfig, ConnId, ConnInfo, Coupling, CouplingError, Event, ListenConfig, Message, Recv, RecvError, Scheduler,
    SendError, Stack, SubflowInfo, TrafficClass,
};
use rand::TryRng;
use tcp_adapter::device::CaptureFile;
use tcp_adapter::{ConnectError, ConnectRequest, Frame, Instant, InterfaceId, ListenError, ListenerId, TcpStack};

pub(crate) use port::Port;

use crate::follow::Watch;
use crate::network::NetworkMonitor;
use crate::path_log::PathLog;
use crate::readiness::{Readiness, Waker};
use crate::{Config, StartError};

/// A Multipath TCP stack with its interfaces and its clock, driven by the thread that owns it.
///
/// # Driving
///
/// [`poll`](Self::poll) takes what the interfaces have received, does what is due, and sends. Call it whenever the
/// descriptor of [`AsFd`] is readable, and after calls that may have something to send (`connect`, `send`, `recv`,
/// `shutdown` and so on); then take [`poll_event`](Self::poll_event) until it gives nothing. No call blocks, except
/// [`wait`](Self::wait). There are no hidden threads.
///
/// # The descriptor
///
/// The descriptor is an epoll instance, to be watched for input together with the caller's own descriptors by `epoll`,
/// `poll` or `select`. It is level-triggered: readable as long as an interface has frames, the next deadline has
/// passed, or a [`Waker`] has been used, and each of these conditions ends with the `poll` that takes care of it. As
/// `poll` takes at most [`Config::burst`] frames per interface, the descriptor can still be readable after it, and
/// [`Progress::more`] says so. Do not watch it edge-triggered. Do not read from it.
///
/// # Time
///
/// [`Instant`]s count from the creation of the engine, on the monotonic clock.
pub struct Engine {
    pub(crate) stack: Stack<Box<dyn TcpStack + Send>>,
    pub(crate) ports: Vec<Port>,
    readiness: Readiness,
    /// The kernel's interfaces, if any of ours is one of them.
    pub(crate) watch: Option<Watch>,
    /// They are to be followed.
    pub(crate) watches: bool,
    pub(crate) path_log: PathLog,
    capture: Option<CaptureFile<BufWriter<File>>>,
    epoch: std::time::Instant,
    burst: usize,
    poll_interval: Option<Duration>,
    /// How often devices without a descriptor are looked at.
    poll_interval_unwatched: Duration,
    received: Vec<Frame>,
}

/// What one [`Engine::poll`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames received.
    pub received: usize,
    /// Frames sent.
    pub sent: usize,
    /// There is more to do at once.
    pub more: bool,
}

/// A connection with its subflows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnReport {
    /// Which connection.
    pub id: ConnId,
    /// The connection.
    pub info: ConnInfo,
    /// Its subflows, in the order in which they were made.
    pub subflows: Vec<SubflowInfo>,
    /// Those that are gone, the last 65 at most.
    pub past_subflows: Vec<SubflowInfo>,
}

/// When to try again to send through a device that had no room: devices cannot tell when they have.
const RETRY: Duration = Duration::from_micros(200);

impl Engine {
    /// Opens the interfaces and starts the stack.
    ///
    /// # Errors
    /// A wrong setting, a device that cannot be opened, or a lack of descriptors; see [`StartError`].
    pub fn new(config: Config) -> Result<Self, StartError> {
        config.validate()?;
        let epoch = std::time::Instant::now();
        let seed = match config.seed {
            Some(seed) => seed,
            None => draw_seed()?,
        };
        let [a, b, c, d, e, f, g, h, ..] = seed;
        let tcp = config.tcp.build(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        let mut engine = Self {
            stack: Stack::new(tcp, config.stack, seed)?,
            ports: Vec::new(),
            readiness: Readiness::new()?,
            watch: None,
            watches: config.watch_network,
            path_log: PathLog::default(),
            capture: None,
            epoch,
            burst: config.burst,
            poll_interval: None,
            poll_interval_unwatched: config.poll_interval,
            received: Vec::with_capacity(config.burst),
        };
        engine.capture = match &config.capture {
            Some(path) => {
                let failed = |source| StartError::Capture { path: path.clone(), source };
                let file = File::create(path).map_err(failed)?;
                Some(CaptureFile::new(BufWriter::new(file), "mptcp"))
            }
            None => None,
        };
        for (index, interface) in config.interfaces.into_iter().enumerate() {
            engine.open_interface(interface, &format!("interfaces[{index}]"))?;
        }
        engine.watch_network();
        engine.follow_all(engine.now());
        Ok(engine)
    }

    /// Follows the kernel's interfaces from now on, if any of ours is one of them. What the kernel does not tell, silence will.
    fn watch_network(&mut self) {
        if !self.watches || self.watch.is_some() || self.ports.iter().all(|port| port.follower.name.is_none()) {
            return;
        }
        let watched = NetworkMonitor::open().map_err(StartError::os("watch the kernel's interfaces"));
        let watched = watched.and_then(|monitor| self.readiness.watch(monitor.as_fd()).map(|()| monitor));
        match watched {
            Ok(monitor) => self.watch = Some(Watch::new(monitor)),
            Err(error) => {
                tracing::warn!(%error, "links that fail are noticed by silence only");
                self.watches = false;
            }
        }
    }

    pub(crate) fn forget_watch(&self, watch: &Watch) {
        self.readiness.forget(watch.monitor().as_fd());
    }

    /// The time since the engine was created.
    pub fn now(&self) -> Instant {
        since(self.epoch)
    }

    /// Receives, does what is due, and sends.
    pub fn poll(&mut self) -> Progress {
        let now = self.now();
        let mut progress = Progress::default();
        self.readiness.clear();
        self.follow_network(now);
        for index in 0..self.ports.len() {
            self.receive(now, InterfaceId(index), &mut progress);
            if !self.ports[index].works() {
                self.settle_link(now, InterfaceId(index));
            }
        }
        if self.stack.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.stack.handle_timeout(now);
        }
        let ports = &mut self.ports;
        self.stack.poll_transmit(now, &mut |InterfaceId(index), frame| {
            if let Some(port) = ports.get_mut(index) {
                port.queue(frame);
            }
        });
        for (index, port) in self.ports.iter_mut().enumerate() {
            let worked = port.works();
            progress.sent += port.flush(&self.readiness);
            progress.more |= worked && !port.works();
            self.stack.set_interface_queue(InterfaceId(index), port.backlog());
        }
        let deadline = self.next_deadline();
        progress.more |= deadline.is_some_and(|deadline| deadline <= now);
        if let Err(error) = self.readiness.arm(now, deadline) {
            // Without the timer the sleeper would miss the deadline, so it must not sleep.
            tracing::warn!(%error, "the timer cannot be set");
            progress.more = true;
        }
        progress
    }

    fn receive(&mut self, now: Instant, interface: InterfaceId, progress: &mut Progress) {
        let port = &mut self.ports[interface.0];
        if port.failed.is_some() {
            return;
        }
        match port.device.receive(self.burst, &mut self.received) {
            Ok(count) => {
                progress.received += count;
                progress.more |= count == self.burst;
            }
            Err(error) => port.fail(error, &self.readiness),
        }
        let stack = &mut self.stack;
        let mut handle = |frame| stack.handle_frame(now, interface, frame);
        match &mut port.coalescer {
            Some(coalescer) => {
                self.received.drain(..).for_each(|frame| coalescer.push(frame, &mut handle));
                coalescer.flush(&mut handle);
            }
            None => self.received.drain(..).for_each(handle),
        }
    }

    /// When [`poll`](Self::poll) must be called next if nothing else happens; the descriptor becomes readable then.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        let retry = self.ports.iter().any(|port| !port.outgoing.is_empty()).then_some(RETRY);
        let wait = [retry, self.poll_interval].into_iter().flatten().min();
        let look = wait.map(|wait| self.now() + wait);
        [self.stack.poll_timeout(), look].into_iter().flatten().min()
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.stack.poll_event()?;
        let epoch = self.epoch;
        self.path_log.note_event(|| since(epoch), event);
        Some(event)
    }

    /// Sleeps until the descriptor is readable: for `timeout` at most, or an hour if that is longer, and without limit if there is none.
    ///
    /// # Errors
    /// The operating system refuses to wait.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.readiness.wait(timeout)
    }

    /// Makes the engine's descriptor readable whenever this one is, from now on until it is closed, so that a thread can sleep for both.
    ///
    /// # Errors
    /// It is nothing that can be waited for.
    pub fn watch(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.readiness.watch(descriptor).map_err(io::Error::other)
    }

    /// What other threads can make the descriptor readable with.
    pub fn waker(&self) -> Waker {
        self.readiness.waker().clone()
    }

    /// The stack, for everything that can be asked of it.
    pub fn stack(&self) -> &Stack<Box<dyn TcpStack + Send>> {
        &self.stack
    }

    /// Listens on `port` of `addr`, or of every address; see [`Stack::listen`].
    ///
    /// # Errors
    /// The port is taken or zero, or the address is not one of the interfaces'.
    pub fn listen(&mut self, addr: Option<IpAddr>, port: u16, config: ListenConfig) -> Result<ListenerId, ListenError> {
        self.stack.listen(addr, port, config)
    }

    /// Stops listening; see [`Stack::unlisten`].
    pub fn unlisten(&mut self, listener: ListenerId) {
        self.stack.unlisten(self.now(), listener);
    }

    /// The next connection of a listener; see [`Stack::accept`].
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnId> {
        self.stack.accept(listener)
    }

    /// Starts a connection from `local`, or from the first address that reaches `remote`; see [`Stack::connect`].
    ///
    /// # Errors
    /// Addresses or ports that cannot be used.
    pub fn connect(
        &mut self,
        local: Option<IpAddr>,
        remote: SocketAddr,
        config: ConnConfig,
    ) -> Result<ConnId, ConnectError> {
        let local = local.or_else(|| self.source_for(remote.ip()));
        let Some(local) = local else {
            // The first address of the family makes the better error: it tells what is missing.
            let local = self.own_addrs().find(|addr| addr.is_ipv4() == remote.is_ipv4());
            let unspecified = || IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
            return Err(ConnectError::Unreachable { local: local.unwrap_or_else(unspecified), remote });
        };
        let request = ConnectRequest { local, local_port: None, remote };
        self.stack.connect(self.now(), &request, config)
    }

    /// The address that a connection to `remote` starts from unless told otherwise; see [`Stack::source_for`].
    pub fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        self.stack.source_for(remote)
    }

    fn own_addrs(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.stack.tcp().interfaces().iter().flat_map(|interface| interface.addrs.iter().map(|own| own.addr))
    }

    /// Queues a prefix of `bytes` and returns its length; see [`Stack::send`].
    ///
    /// # Errors
    /// The connection is over, or this side was shut down.
    pub fn send(&mut self, conn: ConnId, bytes: Bytes) -> Result<usize, SendError> {
        self.stack.send(self.now(), conn, bytes)
    }

    /// The same with what the bytes are to the scheduler; see [`Stack::send_message`].
    ///
    /// # Errors
    /// The connection is over, or this side was shut down.
    pub fn send_message(&mut self, conn: ConnId, bytes: Bytes, message: Message) -> Result<usize, SendError> {
        self.stack.send_message(self.now(), conn, bytes, message)
    }

    /// Gives the class of bytes that belong to no message; see [`Stack::set_class`]. Returns whether there is such a connection.
    pub fn set_class(&mut self, conn: ConnId, class: TrafficClass) -> bool {
        self.stack.set_class(self.now(), conn, class)
    }

    /// Corks a connection, so that what does not fill a segment waits for more, or uncorks it; see [`Stack::set_cork`]. Returns whether there is such a connection.
    pub fn set_cork(&mut self, conn: ConnId, corked: bool) -> bool {
        self.stack.set_cork(self.now(), conn, corked)
    }

    /// Has a connection send no more than so many bytes per second, on all its subflows together; see [`Stack::set_max_pacing_rate`]. Returns whether there
    /// is such a connection.
    pub fn set_max_pacing_rate(&mut self, conn: ConnId, bytes_per_second: Option<u64>) -> bool {
        self.stack.set_max_pacing_rate(self.now(), conn, bytes_per_second)
    }

    /// Takes at most `max` received bytes; see [`Stack::recv`].
    ///
    /// # Errors
    /// The connection ended before the peer had closed its side.
    pub fn recv(&mut self, conn: ConnId, max: usize) -> Result<Recv, RecvError> {
        self.stack.recv(self.now(), conn, max)
    }

    /// Has another scheduler choose the subflows of a connection from now on: one of a [`SchedulerKind`](crate::SchedulerKind), or one of the
    /// caller's own. Returns whether there is such a connection.
    pub fn set_scheduler(&mut self, conn: ConnId, scheduler: impl Into<Box<dyn Scheduler>>) -> bool {
        self.stack.set_scheduler(self.now(), conn, scheduler.into())
    }

    /// Closes this side's direction; see [`Stack::shutdown`].
    pub fn shutdown(&mut self, conn: ConnId) {
        self.stack.shutdown(self.now(), conn);
    }

    /// Closes and gives the handle back; see [`Stack::close`].
    pub fn close(&mut self, conn: ConnId) {
        self.stack.close(self.now(), conn);
    }

    /// Aborts and gives the handle back; see [`Stack::abort`].
    pub fn abort(&mut self, conn: ConnId) {
        self.stack.abort(self.now(), conn);
    }

    /// Couples the congestion windows of a connection's subflows in another way; see [`Stack::set_coupling`].
    ///
    /// # Errors
    /// There is no such connection, or the TCP beneath has congestion controls of its own only.
    pub fn set_coupling(&mut self, conn: ConnId, coupling: Coupling) -> Result<(), CouplingError> {
        self.stack.set_coupling(self.now(), conn, coupling)
    }

    /// A connection with its subflows; `None` once it is forgotten.
    pub fn report(&self, id: ConnId) -> Option<ConnReport> {
        let info = self.stack.info(id)?;
        let past_subflows = self.stack.past_subflows(id).to_vec();
        Some(ConnReport { id, info, subflows: self.stack.subflows(id), past_subflows })
    }
}

impl AsFd for Engine {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readiness.as_fd()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let interfaces: Vec<&str> = self.ports.iter().map(|port| port.name.as_str()).collect();
        f.debug_struct("Engine").field("interfaces", &interfaces).finish_non_exhaustive()
    }
}

fn draw_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    let drawn = rand::rngs::SysRng.try_fill_bytes(&mut seed);
    drawn.map_err(|error| StartError::os("draw random numbers")(io::Error::other(error)))?;
    Ok(seed)
}

fn since(epoch: std::time::Instant) -> Instant {
    Instant::from_nanos(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
