//! Blocking streams over an engine on a thread of its own.
//!
//! The driver thread owns the engine. Application threads reach it through one bounded queue of commands and,
//! per stream, two bounded queues of bytes; they wake it through the engine's descriptor, and it wakes them
//! where they sleep. No lock is held while either side works.

mod driver;
mod gate;
mod listener;
mod message;
mod pipe;
mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use mptcp_core::{ConnConfig, ConnId, ListenConfig};
use tcp_adapter::{ConnectError, ListenError, ListenerId};

use self::driver::Driver;
use self::gate::{Answer, AnswerSender};
use self::listener::Backlog;
pub use self::listener::MptcpListener;
pub use self::message::StreamMessage;
use self::pipe::Pipe;
pub use self::stream::MptcpStream;
use crate::readiness::Waker;
use crate::{Config, ConnReport, Engine, StartError};

/// An engine on a thread of its own, and what makes connections with it. Clones are handles to the same one.
///
/// The last handle that is dropped stops the runtime: listeners stop listening, streams are closed as if they had been
/// dropped, and the drop blocks until every connection is closed, at most for [`Config::linger`]. Streams and listeners
/// that are still held then fail with [`io::ErrorKind::NotConnected`].
#[derive(Debug)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// A handle that does not keep the runtime running.
#[derive(Clone, Debug)]
pub struct WeakRuntime {
    shared: Arc<Shared>,
}

/// What all handles and the driver share.
#[derive(Debug)]
struct Shared {
    commands: ArrayQueue<Command>,
    /// The driver sleeps, or is about to.
    asleep: AtomicBool,
    waker: Waker,
    /// The driver has left, or is about to; commands are no longer looked at.
    stopped: AtomicBool,
    handles: AtomicUsize,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: Mutex<Option<ThreadId>>,
    stream_buffer: usize,
    linger: Duration,
}

/// What application threads ask of the driver.
enum Command {
    /// Start a connection.
    Connect {
        local: Option<IpAddr>,
        remote: SocketAddr,
        config: ConnConfig,
        /// What is written before anything leaves.
        first: Bytes,
        pipe: Arc<Pipe>,
        answer: AnswerSender<Connected>,
    },
    /// Nobody waits any more for the connection with this pipe.
    Abandon(Arc<Pipe>),
    /// Start listening.
    Listen { addr: Option<IpAddr>, port: u16, config: ListenConfig, answer: AnswerSender<Listening> },
    /// Nobody holds the listener any more.
    Unlisten(ListenerId),
    /// A listener's backlog has room again.
    Refill(ListenerId),
    /// Look at a stream.
    Attend(ConnId),
    /// Do something with the engine.
    Call(Work),
    /// Close everything within this time, do this last, and leave.
    Stop(Duration, Option<Work>),
}

type Work = Box<dyn FnOnce(&mut Engine) + Send>;
type Connected = Result<Opened, OpenFailure>;
type Listening = Result<Arc<Backlog>, ListenError>;

/// A connection that the application can use.
#[derive(Debug)]
struct Opened {
    conn: ConnId,
    local: SocketAddr,
    remote: SocketAddr,
}

/// Why a connection could not be opened.
#[derive(Debug)]
enum OpenFailure {
    /// At once.
    Connect(ConnectError),
    /// After trying.
    Closed(mptcp_core::CloseReason),
}

/// Commands that wait for the driver at most; whoever has one more waits.
const MAX_COMMANDS: usize = 1024;

impl Runtime {
    /// Starts an engine on a thread of its own.
    ///
    /// # Errors
    /// As [`Engine::new`], and if no thread can be started.
    pub fn new(config: Config) -> Result<Self, StartError> {
        let (stream_buffer, linger, name) = (config.stream_buffer, config.linger, config.thread_name.clone());
        let engine = Engine::new(config)?;
        let shared = Arc::new(Shared {
            commands: ArrayQueue::new(MAX_COMMANDS),
            asleep: AtomicBool::new(false),
            waker: engine.waker(),
            stopped: AtomicBool::new(false),
            handles: AtomicUsize::new(1),
            thread: Mutex::new(None),
            thread_id: Mutex::new(None),
            stream_buffer,
            linger,
        });
        let driver = Driver::new(engine, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name(name).spawn(move || driver.run());
        let thread = thread.map_err(StartError::os("start a thread"))?;
        *shared.thread_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread.thread().id());
        *shared.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Self { shared })
    }

    /// Connects from the first interface that reaches `remote`, waiting for the handshake.
    ///
    /// # Errors
    /// `AddrNotAvailable` or `HostUnreachable` without an address or a route to connect from; `ConnectionRefused`,
    /// `ConnectionReset`, `TimedOut` as the peer answers; `NotConnected` if the runtime has stopped.
    pub fn connect(&self, remote: SocketAddr) -> io::Result<MptcpStream> {
        self.open(None, remote, ConnConfig::default(), Bytes::new(), None)
    }

    /// The same, waiting for `timeout` at most.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); `TimedOut` also after `timeout`.
    pub fn connect_timeout(&self, remote: SocketAddr, timeout: Duration) -> io::Result<MptcpStream> {
        self.open(None, remote, ConnConfig::default(), Bytes::new(), Some(timeout))
    }

    /// Connects from `local`, if that is given, with settings of the connection's own.
    ///
    /// # Errors
    /// As [`connect_timeout`](Self::connect_timeout).
    pub fn connect_with(
        &self,
        local: Option<IpAddr>,
        remote: SocketAddr,
        config: ConnConfig,
        timeout: Option<Duration>,
    ) -> io::Result<MptcpStream> {
        self.open(local, remote, config, Bytes::new(), timeout)
    }

    /// Connects by TCP Fast Open (RFC 7413): `first`, the first bytes of the stream, is on its way with the SYN as far as the peer is
    /// known to take it there, and follows the handshake otherwise. The first connection to a peer asks it for the cookie
    /// that the next ones need.
    ///
    /// What a SYN carries may reach the peer's application twice, in two connections (section 6.1).
    ///
    /// # Errors
    /// As [`connect_timeout`](Self::connect_timeout); `Unsupported` if the TCP beneath cannot do it.
    pub fn connect_fast(
        &self,
        local: Option<IpAddr>,
        remote: SocketAddr,
        config: ConnConfig,
        first: Bytes,
        timeout: Option<Duration>,
    ) -> io::Result<MptcpStream> {
        if !self.call(|engine| engine.stack().tcp().capabilities().fast_open)? {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the TCP beneath has no Fast Open"));
        }
        self.open(local, remote, ConnConfig { fast_open: true, ..config }, first, timeout)
    }

    fn open(
        &self,
        local: Option<IpAddr>,
        remote: SocketAddr,
        config: ConnConfig,
        first: Bytes,
        timeout: Option<Duration>,
    ) -> io::Result<MptcpStream> {
        let pipe = Arc::new(Pipe::new(self.shared.stream_buffer));
        let (answer, answered) = Answer::channel();
        self.shared.command(Command::Connect { local, remote, config, first, pipe: Arc::clone(&pipe), answer })?;
        match answered.wait(timeout.and_then(deadline)) {
            None => {
                self.shared.command(Command::Abandon(pipe))?;
                Err(io::ErrorKind::TimedOut.into())
            }
            Some(None) => Err(stopped()),
            Some(Some(Ok(Opened { conn, local, remote }))) => {
                Ok(MptcpStream::new(Arc::clone(&self.shared), conn, pipe, local, remote))
            }
            Some(Some(Err(failure))) => Err(failure.into()),
        }
    }

    /// Listens on `addr`; an unspecified address stands for all addresses of both families.
    ///
    /// # Errors
    /// `AddrInUse` if the port is taken, `AddrNotAvailable` if the address is not one of the interfaces',
    /// `InvalidInput` for port 0, `NotConnected` if the runtime has stopped.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<MptcpListener> {
        self.bind_with(addr, ListenConfig::default())
    }

    /// The same with settings.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_with(&self, addr: SocketAddr, config: ListenConfig) -> io::Result<MptcpListener> {
        let only = Some(addr.ip()).filter(|ip| !ip.is_unspecified());
        let (answer, answered) = Answer::channel();
        self.shared.command(Command::Listen { addr: only, port: addr.port(), config, answer })?;
        match answered.wait(None).flatten() {
            None => Err(stopped()),
            Some(Ok(backlog)) => Ok(MptcpListener::new(Arc::clone(&self.shared), backlog, addr)),
            Some(Err(error)) => Err(listen_error(error)),
        }
    }

    /// Runs `work` on the driver's thread, with the engine, and waits for what it gives.
    ///
    /// This is how to reach everything that has no method here: endpoints, limits, counters, connections. The driver
    /// does nothing else meanwhile, so `work` should be short. It must leave alone the connections that streams
    /// and listeners stand for, except for their subflows, and must not use or drop streams, listeners and handles.
    ///
    /// # Errors
    /// `NotConnected` if the runtime has stopped; `WouldBlock` on the driver's own thread.
    pub fn call<R: Send + 'static>(&self, work: impl FnOnce(&mut Engine) -> R + Send + 'static) -> io::Result<R> {
        self.shared.call(work)
    }

    /// All connections with their subflows.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn connections(&self) -> io::Result<Vec<ConnReport>> {
        self.shared.call(all_connections)
    }

    /// Stops the runtime for all handles, as the drop of the last one does, but waits for `linger` at most.
    pub fn shutdown(&self, linger: Duration) {
        self.shared.shut_down(linger, None);
    }

    /// The same, and runs `last` on the engine when everything is closed: the moment for final counters.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn shutdown_then<R: Send + 'static>(
        &self,
        linger: Duration,
        last: impl FnOnce(&mut Engine) -> R + Send + 'static,
    ) -> io::Result<R> {
        let (sender, answer) = Answer::channel();
        self.shared.shut_down(linger, Some(Box::new(move |engine| sender.send(last(engine)))));
        answer.wait(Some(Instant::now())).flatten().ok_or_else(stopped)
    }

    /// A handle that does not keep the runtime running.
    pub fn downgrade(&self) -> WeakRuntime {
        WeakRuntime { shared: Arc::clone(&self.shared) }
    }
}

impl Clone for Runtime {
    fn clone(&self) -> Self {
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        self.shared.shut_down(self.shared.linger, None);
    }
}

impl WeakRuntime {
    /// As [`Runtime::call`].
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn call<R: Send + 'static>(&self, work: impl FnOnce(&mut Engine) -> R + Send + 'static) -> io::Result<R> {
        self.shared.call(work)
    }

    /// As [`Runtime::connections`].
    ///
    /// # Errors
    /// As [`Runtime::call`].
    pub fn connections(&self) -> io::Result<Vec<ConnReport>> {
        self.call(all_connections)
    }
}

/// Every connection of an engine, in the order of their handles.
pub(crate) fn all_connections(engine: &mut Engine) -> Vec<ConnReport> {
    let mut ids: Vec<ConnId> = engine.stack().connections().collect();
    ids.sort_unstable();
    ids.into_iter().filter_map(|id| engine.report(id)).collect()
}

impl Shared {
    /// Queues a command, waiting for room if there is none, and wakes the driver.
    fn command(&self, command: Command) -> io::Result<()> {
        let mut command = command;
        loop {
            if self.stopped.load(Ordering::SeqCst) {
                return Err(stopped());
            }
            match self.commands.push(command) {
                Ok(()) => break,
                Err(back) => command = back,
            }
            if self.on_driver_thread() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // The driver empties the queue whenever it is awake, so this is over within one of its turns.
            self.wake();
            std::thread::yield_now();
        }
        if self.stopped.load(Ordering::SeqCst) {
            // The driver may have emptied the queue for the last time just before.
            self.stop();
            return Err(stopped());
        }
        self.wake();
        Ok(())
    }

    fn shut_down(&self, linger: Duration, last: Option<Work>) {
        // A driver that has already left needs no telling.
        let _ = self.command(Command::Stop(linger, last));
        if self.on_driver_thread() {
            return;
        }
        // Whoever comes second waits here for the first.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A driver that has panicked has said so already.
            let _ = thread.join();
        }
    }

    /// Refuses commands from now on, and drops those that wait, which tells whoever waits for their answers.
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        while self.commands.pop().is_some() {}
    }

    fn wake(&self) {
        // With the fence of the driver: either it sees the command before it sleeps, or this sees it asleep.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    /// Has the driver look at a stream.
    fn attend(&self, conn: ConnId, pipe: &Pipe) {
        if !pipe.attention.swap(true, Ordering::SeqCst) {
            // If the driver has left, the stream has ended, which its user sees by itself.
            let _ = self.command(Command::Attend(conn));
        }
    }

    fn call<R: Send + 'static>(&self, work: impl FnOnce(&mut Engine) -> R + Send + 'static) -> io::Result<R> {
        if self.on_driver_thread() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (sender, answer) = Answer::channel();
        self.command(Command::Call(Box::new(move |engine| sender.send(work(engine)))))?;
        answer.wait(None).flatten().ok_or_else(stopped)
    }

    fn on_driver_thread(&self) -> bool {
        let id = *self.thread_id.lock().unwrap_or_else(PoisonError::into_inner);
        id == Some(std::thread::current().id())
    }
}

impl From<OpenFailure> for io::Error {
    fn from(failure: OpenFailure) -> Self {
        match failure {
            OpenFailure::Connect(error) => connect_error(error),
            OpenFailure::Closed(reason) => {
                pipe::End::from(reason).error().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
            }
        }
    }
}

fn connect_error(error: ConnectError) -> io::Error {
    let kind = match error {
        ConnectError::NotLocal(_) | ConnectError::NoPort(_) => io::ErrorKind::AddrNotAvailable,
        ConnectError::Unreachable { .. } => io::ErrorKind::HostUnreachable,
        ConnectError::InUse(_) => io::ErrorKind::AddrInUse,
        ConnectError::PortZero => io::ErrorKind::InvalidInput,
        ConnectError::TooMany(_) => io::ErrorKind::QuotaExceeded,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

fn listen_error(error: ListenError) -> io::Error {
    let kind = match error {
        ListenError::InUse(_) => io::ErrorKind::AddrInUse,
        ListenError::NotLocal(_) => io::ErrorKind::AddrNotAvailable,
        ListenError::PortZero => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// What everything fails with once the driver has left.
fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the runtime has stopped")
}

/// When a timeout from now on ends; `None` if that is beyond all time.
fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect { .. } => "Connect",
            Self::Abandon(_) => "Abandon",
            Self::Listen { .. } => "Listen",
            Self::Unlisten(_) => "Unlisten",
            Self::Refill(_) => "Refill",
            Self::Attend(_) => "Attend",
            Self::Call(_) => "Call",
            Self::Stop(..) => "Stop",
        })
    }
}
