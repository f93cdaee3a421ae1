//! The thread that owns the engine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use bytes::Buf;
use crossbeam_queue::ArrayQueue;
use hashbrown::HashMap;
use mptcp_core::{CloseReason, ConnId, Event, Recv, RecvError, SendError};
use tcp_adapter::ListenerId;

use super::gate::{AnswerSender, Gate};
use super::listener::{Backlog, Incoming};
use super::pipe::{End, Pipe, Wish, Written};
use super::{Command, Connected, OpenFailure, Opened, Shared, Work};
use crate::Engine;

/// The driver: moves bytes between the streams and the engine, and the engine's frames.
pub(super) struct Driver {
    engine: Engine,
    shared: Arc<Shared>,
    streams: HashMap<ConnId, Stream>,
    listeners: HashMap<ListenerId, Arc<Backlog>>,
    /// Streams to look at, each at most once.
    ready: VecDeque<ConnId>,
    /// When to leave at the latest; set once it is told to stop.
    leave_by: Option<Instant>,
    /// What to do before leaving.
    last: Vec<Work>,
}

/// What the driver knows of a stream.
struct Stream {
    pipe: Arc<Pipe>,
    stage: Stage,
    /// Bytes that the stack has had no room for yet.
    pending: Written,
    /// It is in the queue of streams to look at.
    queued: bool,
}

/// How far a stream is.
enum Stage {
    /// Somebody waits for the handshake.
    Opening(AnswerSender<Connected>),
    /// Bytes flow.
    Open,
    /// The sending direction is closed.
    HalfClosed,
    /// The connection is over; received bytes may be left.
    Over,
}

/// How long the resets at the end may wait for room in their devices.
const FAREWELL: Duration = Duration::from_millis(200);

/// Bytes taken from the stack at a time.
const MAX_RECV: usize = 64 << 10;

impl Driver {
    pub(super) fn new(engine: Engine, shared: Arc<Shared>) -> Self {
        Self {
            engine,
            shared,
            streams: HashMap::new(),
            listeners: HashMap::new(),
            ready: VecDeque::new(),
            leave_by: None,
            last: Vec::new(),
        }
    }

    /// Runs until it is told to stop and everything is closed.
    pub(super) fn run(mut self) {
        loop {
            let progress = self.engine.poll();
            let mut worked = progress.more;
            while let Some(event) = self.engine.poll_event() {
                worked = true;
                self.handle_event(event);
            }
            // No more than were there at the start, so that busy threads cannot keep the driver from the network.
            for _ in 0..self.shared.commands.len() {
                let Some(command) = self.shared.commands.pop() else { break };
                worked = true;
                self.handle_command(command);
            }
            for _ in 0..self.ready.len() {
                let Some(conn) = self.ready.pop_front() else { break };
                worked = true;
                self.serve(conn);
            }
            if self.leave_by.is_some_and(|leave_by| self.is_done() || Instant::now() >= leave_by) {
                break;
            }
            if !worked {
                self.sleep();
            }
        }
        self.leave();
    }

    fn sleep(&mut self) {
        self.shared.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.shared.commands.is_empty() {
            let left = self.leave_by.map(|leave_by| leave_by.saturating_duration_since(Instant::now()));
            if let Err(error) = self.engine.wait(left) {
                tracing::warn!(%error, "cannot sleep");
            }
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
    }

    /// Whether every connection is closed and forgotten, and the last acknowledgement has left.
    fn is_done(&self) -> bool {
        let forgotten = self.streams.is_empty() && self.engine.stack().connections().next().is_none();
        forgotten && self.engine.unsent_frames() == 0
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Incoming(listener) => self.refill(listener),
            Event::Established(conn) => self.opened(conn),
            Event::Readable(conn) | Event::Writable(conn) | Event::Finished(conn) => self.attend(conn),
            Event::Closed(conn, reason) => self.closed(conn, reason),
            Event::FellBack(conn, cause) => tracing::debug!(%conn, %cause, "the connection goes on as regular TCP"),
            Event::SubflowEstablished(conn, subflow) => tracing::debug!(%conn, %subflow, "subflow established"),
            Event::SubflowClosed(conn, subflow, reason) => tracing::debug!(%conn, %subflow, ?reason, "subflow closed"),
            Event::SubflowPriority(conn, subflow, backup) => {
                tracing::debug!(%conn, %subflow, backup, "the peer has changed a priority");
            }
            Event::AddressAnnounced(conn, id, addr, port) => {
                tracing::debug!(%conn, ?id, %addr, ?port, "the peer has announced an address");
            }
            Event::AddressRemoved(conn, id) => tracing::debug!(%conn, ?id, "the peer has withdrawn an address"),
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Connect { local, remote, config, mut first, pipe, answer } => {
                match self.engine.connect(local, remote, config) {
                    Ok(conn) => {
                        if let Ok(taken) = self.engine.send(conn, first.clone()) {
                            let _ = first.split_to(taken);
                        }
                        self.add(conn, pipe, Stage::Opening(answer));
                        if let Some(stream) = self.streams.get_mut(&conn) {
                            // What the stack has not taken counts like what is written, until it has.
                            stream.pipe.outgoing.charge(first.len());
                            stream.pending.bytes = first;
                        }
                    }
                    Err(error) => answer.send(Err(OpenFailure::Connect(error))),
                }
            }
            Command::Abandon(pipe) => {
                let abandoned = self.streams.iter().find(|(_, stream)| Arc::ptr_eq(&stream.pipe, &pipe));
                if let Some(conn) = abandoned.map(|(conn, _)| *conn) {
                    self.streams.remove(&conn);
                    self.engine.abort(conn);
                }
            }
            Command::Listen { addr, port, config, answer } => {
                let room = config.backlog.max(1);
                let listening = self.engine.listen(addr, port, config).map(|listener| {
                    let backlog = Arc::new(Backlog {
                        listener,
                        incoming: ArrayQueue::new(room),
                        full: AtomicBool::new(false),
                        stopped: AtomicBool::new(false),
                        gate: Gate::default(),
                    });
                    self.listeners.insert(listener, Arc::clone(&backlog));
                    backlog
                });
                answer.send(listening);
            }
            Command::Unlisten(listener) => self.unlisten(listener),
            Command::Refill(listener) => self.refill(listener),
            Command::Attend(conn) => {
                if let Some(stream) = self.streams.get(&conn) {
                    stream.pipe.attention.store(false, Ordering::SeqCst);
                    self.attend(conn);
                }
            }
            Command::Call(work) => work(&mut self.engine),
            Command::Stop(linger, last) => {
                self.last.extend(last);
                self.stop(linger);
            }
        }
    }

    fn add(&mut self, conn: ConnId, pipe: Arc<Pipe>, stage: Stage) {
        self.streams.insert(conn, Stream { pipe, stage, pending: Written::default(), queued: false });
    }

    fn attend(&mut self, conn: ConnId) {
        if let Some(stream) = self.streams.get_mut(&conn).filter(|stream| !stream.queued) {
            stream.queued = true;
            self.ready.push_back(conn);
        }
    }

    /// An active open has succeeded.
    fn opened(&mut self, conn: ConnId) {
        let Some(info) = self.engine.stack().info(conn) else { return };
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        if let Stage::Opening(answer) = std::mem::replace(&mut stream.stage, Stage::Open) {
            answer.send(Ok(Opened { conn, local: info.local, remote: info.remote }));
        }
        self.attend(conn);
    }

    /// A connection is over; what was received can still be read.
    fn closed(&mut self, conn: ConnId, reason: CloseReason) {
        let report = self.engine.report(conn);
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        match std::mem::replace(&mut stream.stage, Stage::Over) {
            Stage::Opening(answer) => {
                answer.send(Err(OpenFailure::Closed(reason)));
                self.streams.remove(&conn);
                self.engine.close(conn);
            }
            _ => {
                stream.pipe.set_last(report);
                stream.pipe.outgoing.finish(reason.into());
                self.attend(conn);
            }
        }
    }

    /// Moves accepted connections to where the application finds them.
    fn refill(&mut self, listener: ListenerId) {
        let Some(backlog) = self.listeners.get(&listener).map(Arc::clone) else { return };
        loop {
            if backlog.incoming.is_full() {
                backlog.full.store(true, Ordering::SeqCst);
                // The application may have taken one just before it could see the flag.
                if backlog.incoming.is_full() || !backlog.full.swap(false, Ordering::SeqCst) {
                    break;
                }
            }
            let Some(conn) = self.engine.accept(listener) else { break };
            let Some(info) = self.engine.stack().info(conn) else { continue };
            let pipe = Arc::new(Pipe::new(self.shared.stream_buffer));
            self.add(conn, Arc::clone(&pipe), Stage::Open);
            // Bytes may have come with the handshake.
            self.attend(conn);
            let incoming = Incoming { conn, pipe, local: info.local, remote: info.remote };
            if let Err(refused) = backlog.incoming.push(incoming) {
                // Only this thread pushes, so there is room; a connection that finds none is not left hanging.
                self.engine.abort(refused.conn);
            }
        }
        backlog.gate.tell();
    }

    fn unlisten(&mut self, listener: ListenerId) {
        let Some(backlog) = self.listeners.remove(&listener) else { return };
        self.engine.unlisten(listener);
        while let Some(Incoming { conn, .. }) = backlog.incoming.pop() {
            self.streams.remove(&conn);
            self.engine.abort(conn);
        }
        backlog.stop();
    }

    /// Does for a stream what can be done now.
    fn serve(&mut self, conn: ConnId) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        stream.queued = false;
        if matches!(stream.stage, Stage::Opening(_)) {
            return;
        }
        if stream.pipe.wants(Wish::Abort) {
            stream.remember(conn, &self.engine);
            stream.pipe.end(End::Aborted);
            self.engine.abort(conn);
            self.streams.remove(&conn);
            return;
        }
        // The wish first: what was written before it is then seen.
        let close = stream.pipe.wants(Wish::Close);
        let flushed = stream.write(conn, &mut self.engine);
        stream.read(conn, &mut self.engine);
        if flushed && close {
            stream.remember(conn, &self.engine);
            // As in TCP, bytes that nobody will read make the close abortive.
            if stream.pipe.incoming.held() > 0 {
                self.engine.abort(conn);
            } else {
                self.engine.close(conn);
            }
            self.streams.remove(&conn);
        }
    }

    /// Closes everything, to leave after `linger` at the latest.
    fn stop(&mut self, linger: Duration) {
        let leave_by = Instant::now() + linger;
        self.leave_by = Some(self.leave_by.map_or(leave_by, |earlier| earlier.min(leave_by)));
        for listener in self.listeners.keys().copied().collect::<Vec<_>>() {
            self.unlisten(listener);
        }
        for conn in self.streams.keys().copied().collect::<Vec<_>>() {
            let Some(stream) = self.streams.get_mut(&conn) else { continue };
            stream.pipe.wish(Wish::Close);
            stream.pipe.end(End::Stopped);
            match stream.stage {
                Stage::Opening(_) => {
                    self.streams.remove(&conn);
                    self.engine.abort(conn);
                }
                _ => self.attend(conn),
            }
        }
    }

    /// Resets what is left.
    fn leave(mut self) {
        for conn in self.engine.stack().connections().collect::<Vec<_>>() {
            self.engine.abort(conn);
        }
        let farewell = Instant::now() + FAREWELL;
        loop {
            self.engine.poll();
            let left = farewell.saturating_duration_since(Instant::now());
            // What cannot be told can be done without: the peers will find out.
            if self.engine.unsent_frames() == 0 || left.is_zero() || self.engine.wait(Some(left)).is_err() {
                break;
            }
        }
        for last in std::mem::take(&mut self.last) {
            last(&mut self.engine);
        }
    }
}

impl Stream {
    /// Keeps what is known of the connection, for those who ask when the engine has forgotten it.
    fn remember(&self, conn: ConnId, engine: &Engine) {
        if self.pipe.last().is_none() {
            self.pipe.set_last(engine.report(conn));
        }
    }

    /// Hands the stack what the application has written. True once nothing is left to write.
    fn write(&mut self, conn: ConnId, engine: &mut Engine) -> bool {
        let lane = &self.pipe.outgoing;
        // First, as in `serve`.
        let wanted = self.pipe.wants(Wish::ShutdownWrite) || self.pipe.wants(Wish::Close);
        let mut sent = 0;
        loop {
            if self.pending.bytes.is_empty() {
                let Some(piece) = lane.pop() else { break };
                self.pending = piece;
            }
            let Written { bytes, message } = &mut self.pending;
            let taken = match message {
                None => engine.send(conn, bytes.clone()),
                Some(message) => engine.send_message(conn, bytes.clone(), message.for_engine(engine)),
            };
            match taken {
                Ok(0) => break,
                Ok(len) => {
                    bytes.advance(len);
                    sent += len;
                }
                Err(error) => {
                    // Bytes that were written while the direction was being closed are nobody's any more.
                    if let SendError::Closed(reason) = error {
                        lane.finish(reason.into());
                    }
                    sent += bytes.len();
                    bytes.clear();
                }
            }
        }
        if sent > 0 {
            lane.release(sent);
            lane.tell();
        }
        let flushed = self.pending.bytes.is_empty() && lane.is_empty();
        if wanted && flushed && matches!(self.stage, Stage::Open) {
            self.stage = Stage::HalfClosed;
            engine.shutdown(conn);
        }
        flushed
    }

    /// Hands the application what the stack has received, as much as there is room for.
    fn read(&mut self, conn: ConnId, engine: &mut Engine) {
        let lane = &self.pipe.incoming;
        let discard = self.pipe.wants(Wish::ShutdownRead);
        while let Some(piece) = discard.then(|| lane.pop()).flatten() {
            // Nobody will read it: it must not make the close abortive.
            lane.release(piece.len());
        }
        let mut received = false;
        while lane.end() == End::Open {
            let room = if discard { MAX_RECV } else { lane.room() };
            if room == 0 {
                if lane.stall() {
                    break;
                }
                continue;
            }
            match engine.recv(conn, room.min(MAX_RECV)) {
                Ok(Recv::Data(bytes)) if discard => drop(bytes),
                Ok(Recv::Data(bytes)) => {
                    received = true;
                    if lane.push(bytes).is_err() {
                        // Only this thread pushes, and there was room.
                        lane.finish(End::Aborted);
                    }
                }
                Ok(Recv::WouldBlock) => break,
                Ok(Recv::Finished) => lane.finish(End::Finished),
                Err(RecvError::Closed(reason)) => lane.finish(reason.into()),
                Err(_) => lane.finish(End::Aborted),
            }
        }
        if received {
            lane.tell();
        }
    }
}

impl Drop for Driver {
    /// Tells everybody that the driver has left, also if it has panicked.
    fn drop(&mut self) {
        self.shared.stop();
        for backlog in self.listeners.values() {
            backlog.stop();
        }
        for stream in self.streams.values() {
            stream.pipe.end(End::Stopped);
        }
    }
}
