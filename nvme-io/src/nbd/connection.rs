//! Connections of clients: a thread that reads requests, and one that writes replies.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use nvme_tcp::pdu::Payload;
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown, sockopt};

use super::admission::Admission;
use super::{ErrorCode, Event, Export, Request, RequestKind, Session, simple_reply};
use crate::net::{Waker, expect_signs_of_life};

/// Connections at a time; further ones are closed at once.
pub const MAX_CONNECTIONS: usize = 64;

/// How long a client may negotiate.
const NEGOTIATION: Duration = Duration::from_secs(30);
/// Bytes that are read at a time.
const BUFFER: usize = 256 * 1024;
/// Pieces that are written at a time.
const PIECES: usize = 64;
/// How long to wait where the process has run out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// A request for the thread that has the host, and where its reply goes.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) replies: ReplyTo,
}

/// A reply to be written.
pub(super) struct Reply {
    cookie: u64,
    result: Result<(), ErrorCode>,
    data: Vec<Payload>,
    /// What the request has taken of the connection's share.
    bytes: u32,
}

/// Where the reply to one request goes.
pub(super) struct ReplyTo {
    writer: Sender<Reply>,
    bytes: u32,
}

impl ReplyTo {
    pub(super) fn reply(self, cookie: u64, result: Result<(), ErrorCode>, data: Vec<Payload>) {
        // Without a writer there is nobody to tell.
        let _ = self.writer.send(Reply { cookie, result, data, bytes: self.bytes });
    }
}

/// What the threads of all connections share.
pub(super) struct Clients {
    export: Arc<Export>,
    jobs: Sender<Job>,
    waker: Waker,
    closed: AtomicBool,
    /// Listeners and connections, so that they can be ended.
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    listeners: Vec<Arc<OwnedFd>>,
    connections: BTreeMap<u64, Accepted>,
    next: u64,
}

/// What ends a connection, wherever its threads are.
#[derive(Clone)]
struct Accepted {
    socket: Arc<OwnedFd>,
    admission: Arc<Admission>,
}

impl Clients {
    pub(super) fn new(export: Arc<Export>, jobs: Sender<Job>, waker: Waker) -> Arc<Self> {
        Arc::new(Self { export, jobs, waker, closed: AtomicBool::new(false), sockets: Mutex::default() })
    }

    /// Accepts connections in a thread of its own.
    pub(super) fn listen(self: &Arc<Self>, listener: OwnedFd) -> io::Result<()> {
        let (listener, clients) = (Arc::new(listener), Arc::clone(self));
        self.sockets().listeners.push(Arc::clone(&listener));
        thread::Builder::new().name("nbd-listener".to_owned()).spawn(move || clients.accept(&listener))?;
        Ok(())
    }

    /// Ends listeners and connections.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let sockets = self.sockets();
        for Accepted { admission, .. } in sockets.connections.values() {
            // A reader that waits for room, which only replies would make, does not look at its socket.
            admission.close();
        }
        let connections = sockets.connections.values().map(|accepted| &accepted.socket);
        for socket in sockets.listeners.iter().chain(connections) {
            // One that has ended already is as good.
            let _ = shutdown(&**socket, Shutdown::Both);
        }
    }

    fn accept(self: &Arc<Self>, listener: &OwnedFd) {
        while !self.closed.load(Ordering::Acquire) {
            match accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(socket) => {
                    if let Err(error) = self.start(socket) {
                        tracing::warn!(%error, "an NBD client cannot be served");
                    }
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::INVAL | Errno::BADF) => return,
                Err(error) => {
                    tracing::warn!(%error, "an NBD client cannot be accepted");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn start(self: &Arc<Self>, socket: OwnedFd) -> io::Result<()> {
        // Sockets without TCP have no such thing.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        // A client that has lost its power would keep its place.
        expect_signs_of_life(&socket);
        let accepted = Accepted { socket: Arc::new(socket), admission: Arc::default() };
        let id = {
            let mut sockets = self.sockets();
            if self.closed.load(Ordering::Acquire) {
                return Ok(());
            }
            if sockets.connections.len() >= MAX_CONNECTIONS {
                tracing::warn!("too many NBD clients");
                return Ok(());
            }
            let id = sockets.next;
            sockets.next += 1;
            sockets.connections.insert(id, accepted.clone());
            id
        };
        let clients = Arc::clone(self);
        let reader = thread::Builder::new().name("nbd-reader".to_owned()).spawn(move || {
            if let Err(error) = clients.serve(&accepted) {
                tracing::debug!(%error, "an NBD client has gone");
            }
            clients.sockets().connections.remove(&id);
        });
        if let Err(error) = reader {
            self.sockets().connections.remove(&id);
            return Err(error);
        }
        Ok(())
    }

    /// Serves a client until it leaves and everything is replied to.
    fn serve(&self, Accepted { socket, admission }: &Accepted) -> io::Result<()> {
        let (mut session, greeting) = Session::new(Arc::clone(&self.export));
        write_all(socket, &mut vec![Bytes::copy_from_slice(&greeting)])?;
        let (writer, replies) = mpsc::channel();
        let thread = {
            let (socket, admission) = (Arc::clone(socket), Arc::clone(admission));
            thread::Builder::new()
                .name("nbd-writer".to_owned())
                .spawn(move || write_replies(&socket, &replies, &admission))?
        };
        let result = self.read(socket, &mut session, admission, &writer);
        // The writer ends once the last request is replied to.
        drop(writer);
        let _ = thread.join();
        let _ = shutdown(&**socket, Shutdown::Both);
        result
    }

    fn read(
        &self,
        socket: &OwnedFd,
        session: &mut Session,
        admission: &Admission,
        writer: &Sender<Reply>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let end = Instant::now() + NEGOTIATION;
        let mut is_transmitting = false;
        loop {
            if !is_transmitting {
                is_transmitting = session.is_transmitting();
                let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                let timeout = (!is_transmitting).then_some(left);
                sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, timeout)?;
            }
            let count = match rustix::io::read(socket, &mut buffer[..]) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut input = &buffer[..count];
            while let Some(event) = session.receive(&mut input) {
                let (cookie, refusal, request) = match event {
                    Event::End => return Ok(()),
                    Event::Send(bytes) => {
                        write_all(socket, &mut vec![bytes.into()])?;
                        continue;
                    }
                    Event::Refused { cookie, error } => (cookie, Some(error), None),
                    Event::Request(request) => (request.cookie, None, Some(request)),
                };
                let bytes = request.as_ref().map_or(0, Request::data_len);
                if !admission.enter(bytes) {
                    return Ok(());
                }
                let replies = ReplyTo { writer: writer.clone(), bytes };
                match (request, refusal) {
                    (Some(request), _) => {
                        if self.jobs.send(Job { request, replies }).is_err() {
                            return Ok(());
                        }
                        self.waker.wake();
                    }
                    (None, refusal) => replies.reply(cookie, refusal.map_or(Ok(()), Err), Vec::new()),
                }
            }
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    /// Bytes of data, in either direction.
    fn data_len(&self) -> u32 {
        match self.kind {
            RequestKind::Read | RequestKind::Write(_) => self.length,
            _ => 0,
        }
    }
}

fn write_replies(socket: &OwnedFd, replies: &Receiver<Reply>, admission: &Admission) {
    let mut pieces = Vec::new();
    let mut failed = false;
    while let Ok(first) = replies.recv() {
        let (mut requests, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(reply) = next {
            requests += 1;
            bytes += u64::from(reply.bytes);
            pieces.push(Bytes::copy_from_slice(&simple_reply(reply.cookie, reply.result)));
            for mut data in reply.data {
                pieces.extend_from_slice(data.as_bytes());
            }
            next = if pieces.len() < PIECES { replies.try_recv().ok() } else { None };
        }
        if !failed && let Err(error) = write_all(socket, &mut pieces) {
            tracing::debug!(%error, "an NBD client takes no replies");
            failed = true;
            // Its reader ends too.
            admission.close();
            let _ = shutdown(socket, Shutdown::Both);
        }
        pieces.clear();
        admission.leave(requests, bytes);
    }
}

/// Writes all pieces, and takes them out.
fn write_all(socket: &OwnedFd, pieces: &mut Vec<Bytes>) -> io::Result<()> {
    let mut done = 0;
    while done < pieces.len() {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&pieces[done..]) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let mut sent = match rustix::io::writev(socket, &slices[..count]) {
            Ok(sent) => sent,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        while done < pieces.len() && sent >= pieces[done].len() {
            sent -= pieces[done].len();
            done += 1;
        }
        if let Some(piece) = pieces.get_mut(done) {
            piece.advance(sent);
        }
    }
    pieces.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::nbd::MAX_REQUESTS;
    use crate::net::{KernelNet, Net, Protocol};

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn threads_end_with_the_server_whatever_they_wait_for() {
        let export = Export {
            name: String::new(),
            size: 1 << 20,
            block_size: 512,
            is_read_only: true,
            can_trim: false,
            can_write_zeroes: false,
        };
        let (sender, jobs) = mpsc::channel();
        let clients = Clients::new(Arc::new(export), sender, KernelNet::new(Protocol::Tcp).unwrap().waker());
        let path = std::env::temp_dir().join(format!("nvme-io-nbd-{}", std::process::id()));
        clients.listen(UnixListener::bind(&path).unwrap().into()).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        // Flags, and EXPORT_NAME without a name.
        client.write_all(&3_u32.to_be_bytes()).unwrap();
        client.write_all(&[&b"IHAVEOPT"[..], &1_u32.to_be_bytes(), &0_u32.to_be_bytes()].concat()).unwrap();
        client.read_exact(&mut [0; 18 + 10]).unwrap();
        // One more than is executed at a time, none of which is replied to.
        let head = [&0x2560_9513_u32.to_be_bytes()[..], &[0; 20], &512_u32.to_be_bytes()].concat();
        client.write_all(&head.repeat(MAX_REQUESTS + 1)).unwrap();
        let waiting: Vec<Job> = (0..MAX_REQUESTS).map(|_| jobs.recv_timeout(PATIENCE).unwrap()).collect();
        clients.close();
        drop((waiting, jobs));
        let started = Instant::now();
        while Arc::strong_count(&clients) > 1 {
            assert!(started.elapsed() < PATIENCE, "a thread is left behind");
            thread::sleep(Duration::from_millis(2));
        }
    }
}
