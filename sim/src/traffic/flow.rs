//! A connection with the applications at both of its ends.

use std::net::SocketAddr;

use mptcp_core::{CloseReason, ConnConfig, ConnId, Event, ListenConfig, Recv, TrafficClass};
use tcp_adapter::{ConnectRequest, Frame, Instant, InterfaceId, ListenerId};

use super::TrafficError;
use super::datagram::{self, Datagram, Ends};
use super::figures::Figures;
use super::lane::Lane;
use super::nvme::IoQueue;
use super::work::Worker;
use crate::host::{Host, Side};

/// Bytes given to a stack or taken from it at once.
const PORTION: usize = 256 << 10;

/// One connection.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Index in [`Scenario::traffic`](crate::scenario::Scenario::traffic).
    pub(crate) traffic: usize,
    pub(crate) name: String,
    pub(crate) plan: Plan,
    /// Bytes from the client and from the server.
    pub(crate) lanes: [Lane; 2],
    parties: [Party; 2],
    worker: Worker,
    state: State,
    opened: Option<Instant>,
    /// When everything had arrived, or when it was stopped.
    completed: Option<Instant>,
    fell_back: bool,
    /// Each side has seen a second subflow.
    joined: [bool; 2],
    /// What it has not delivered is counted, as it has failed.
    is_concluded: bool,
}

/// Where a connection begins and ends.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Indices of the hosts.
    pub(crate) hosts: [usize; 2],
    pub(crate) local: std::net::IpAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) multipath: bool,
    pub(crate) class: TrafficClass,
    /// For datagrams: the interfaces, and the ends as either side sees them.
    pub(crate) datagrams: Option<DatagramPlan>,
}

/// The way of datagrams.
#[derive(Clone, Debug)]
pub(crate) struct DatagramPlan {
    pub(super) interfaces: [InterfaceId; 2],
    pub(super) ends: [Ends; 2],
    /// Payload of a datagram at most.
    pub(super) longest: usize,
}

/// One end of a connection.
#[derive(Debug, Default)]
struct Party {
    conn: Option<ConnId>,
    listener: Option<ListenerId>,
    shut: bool,
}

/// How far a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its time has not come.
    Waiting,
    /// Under way.
    Running,
    /// Everything has arrived.
    Complete,
    /// Stopped when its time was over.
    Stopped,
    /// The connection broke.
    Failed(CloseReason),
    /// The connection broke, and others carry on with its work.
    Replaced,
}

impl Flow {
    pub(super) fn new(traffic: usize, name: String, stream: u64, plan: Plan, worker: Worker) -> Self {
        Self {
            traffic,
            name,
            plan,
            lanes: [Lane::new(2 * stream), Lane::new(2 * stream + 1)],
            parties: [Party::default(), Party::default()],
            worker,
            state: State::Waiting,
            opened: None,
            completed: None,
            fell_back: false,
            joined: [false; 2],
            is_concluded: false,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether nothing more will come of it.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state, State::Waiting | State::Running)
    }

    /// When the connection was asked for.
    pub(crate) fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// When everything had arrived, or when it was stopped.
    pub(crate) fn completed(&self) -> Option<Instant> {
        self.completed
    }

    /// Whether an end has gone on as regular TCP.
    pub(crate) fn fell_back(&self) -> bool {
        self.fell_back
    }

    /// Whether both sides have ever had a second subflow.
    pub(crate) fn joined(&self) -> bool {
        self.joined == [true; 2]
    }

    /// The handle of the connection at a side.
    pub(crate) fn conn(&self, side: Side) -> Option<ConnId> {
        self.parties[side.index()].conn
    }

    /// Bytes that have arrived both ways.
    pub(crate) fn delivered(&self) -> u64 {
        self.lanes.iter().map(Lane::delivered).sum()
    }

    /// What became of it if it was not stopped and has not delivered everything. Datagrams under way promise nothing.
    pub(super) fn shortfall(&self) -> Option<String> {
        match self.state {
            State::Waiting => Some("it was never opened".to_owned()),
            State::Running if self.plan.datagrams.is_none() => {
                Some(format!("still open, {} bytes delivered", self.delivered()))
            }
            State::Failed(reason) => Some(format!("{reason}, {} bytes delivered", self.delivered())),
            State::Running | State::Complete | State::Stopped | State::Replaced => None,
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        (self.state == State::Running).then(|| self.worker.next_tick()).flatten()
    }

    /// Opens the listener, long before the client connects.
    ///
    /// # Errors
    /// The stack refuses it.
    pub(super) fn listen(&mut self, number: usize, hosts: &mut [Host]) -> Result<(), TrafficError> {
        if self.plan.datagrams.is_some() {
            return Ok(());
        }
        let server = &mut hosts[self.plan.hosts[1]];
        // Announced addresses are joined at the same port.
        let listener = server.stack.listen(None, self.plan.remote.port(), ListenConfig::default());
        let listener =
            listener.map_err(|error| TrafficError::Listen { flow: self.name.clone(), reason: error.to_string() })?;
        server.own_listener(listener, number);
        self.parties[1].listener = Some(listener);
        Ok(())
    }

    /// Connects.
    pub(super) fn start(&mut self, number: usize, now: Instant, hosts: &mut [Host]) {
        let client = &mut hosts[self.plan.hosts[0]];
        let request = ConnectRequest { local: self.plan.local, local_port: None, remote: self.plan.remote };
        let config = ConnConfig { mptcp: Some(self.plan.multipath), ..ConnConfig::default() };
        self.opened = Some(now);
        self.state = State::Running;
        self.worker.start(now, &mut self.lanes);
        if self.plan.datagrams.is_some() {
            self.write_datagrams(now, hosts);
            return;
        }
        match client.stack.connect(now, &request, config) {
            Ok(conn) => {
                client.own_conn(conn, number, Side::Client);
                client.stack.set_class(now, conn, self.plan.class);
                self.parties[0].conn = Some(conn);
                self.write(now, Side::Client, client);
            }
            Err(_) => self.state = State::Failed(CloseReason::Refused),
        }
    }

    /// The I/O queue that the connection carries, with its lanes.
    pub(super) fn queue_and_lanes(&mut self) -> Option<(&mut IoQueue, &mut [Lane; 2])> {
        match &mut self.worker {
            Worker::Nvme(queue) => Some((queue, &mut self.lanes)),
            _ => None,
        }
    }

    /// Writes what has become due.
    pub(super) fn tick(&mut self, now: Instant, hosts: &mut [Host]) {
        self.worker.tick(now, &mut self.lanes);
        self.look_for_breach(CloseReason::TimedOut);
        if self.plan.datagrams.is_some() {
            self.write_datagrams(now, hosts);
            return;
        }
        for side in [Side::Client, Side::Server] {
            self.write(now, side, &mut hosts[self.plan.hosts[side.index()]]);
        }
    }

    /// Ends the connection, as its time is over.
    pub(super) fn stop(&mut self, now: Instant, figures: &mut Figures, hosts: &mut [Host]) {
        self.conclude_failed(now, figures);
        if self.is_over() {
            return;
        }
        self.worker.conclude(now, &self.lanes, figures);
        self.state = State::Stopped;
        self.completed = Some(now);
        self.lanes.iter_mut().for_each(|lane| lane.halt(now));
        if let Some(conn) = self.parties[0].conn {
            let client = &mut hosts[self.plan.hosts[0]];
            client.disown(conn);
            client.stack.abort(now, conn);
        }
    }

    /// Ends the connection, as its path has failed; whether it was in use. `is_replaced` if others carry on with its work.
    pub(super) fn give_up(&mut self, now: Instant, is_replaced: bool, host: &mut Host) -> bool {
        let was_running = self.state == State::Running;
        if !was_running && !matches!(self.state, State::Failed(_)) {
            return false;
        }
        if is_replaced {
            self.state = State::Replaced;
        } else if was_running {
            self.state = State::Failed(CloseReason::Aborted);
        }
        self.lanes.iter_mut().for_each(|lane| lane.halt(now));
        if let Some(conn) = self.parties[Side::Client.index()].conn.take() {
            host.disown(conn);
            host.stack.abort(now, conn);
        }
        was_running
    }

    /// Gives both ends back, whatever has become of them.
    pub(super) fn close(&mut self, now: Instant, hosts: &mut [Host]) {
        for (party, host) in self.parties.iter_mut().zip(self.plan.hosts) {
            if let Some(conn) = party.conn.take() {
                hosts[host].disown(conn);
                hosts[host].stack.close(now, conn);
            }
        }
        if !self.is_over() {
            self.state = State::Stopped;
        }
    }

    /// Counts what is unfinished when the run ends, whose traffic was to go on until `until`.
    pub(super) fn conclude(&mut self, now: Instant, until: Instant, figures: &mut Figures) {
        self.conclude_failed(until, figures);
        if self.state == State::Running {
            self.worker.conclude(now, &self.lanes, figures);
        }
    }

    /// Counts once what a failed connection has not delivered.
    fn conclude_failed(&mut self, now: Instant, figures: &mut Figures) {
        if matches!(self.state, State::Failed(_)) && !std::mem::replace(&mut self.is_concluded, true) {
            self.worker.conclude_failed(now, &mut self.lanes, figures);
        }
    }

    /// A connection has come in.
    pub(super) fn accept(
        &mut self,
        number: usize,
        now: Instant,
        figures: &mut Figures,
        host: &mut Host,
        listener: ListenerId,
    ) {
        let Some(conn) = host.stack.accept(listener) else { return };
        if self.parties[1].conn.is_some() || self.state != State::Running {
            // A SYN that somebody has sent again after the connection was over.
            host.stack.abort(now, conn);
            return;
        }
        host.own_conn(conn, number, Side::Server);
        host.stack.set_class(now, conn, self.plan.class);
        self.parties[1].conn = Some(conn);
        self.read(now, Side::Server, figures, host);
        self.write(now, Side::Server, host);
    }

    /// Something has happened at a side: reads and writes what can be.
    pub(super) fn serve(&mut self, now: Instant, side: Side, event: Event, figures: &mut Figures, host: &mut Host) {
        self.fell_back |= matches!(event, Event::FellBack(..));
        self.joined[side.index()] |= matches!(event, Event::SubflowEstablished(..));
        self.read(now, side, figures, host);
        let is_queue = matches!(self.worker, Worker::Nvme(_));
        // To a queue its host writes when the jobs have seen what has completed.
        if side == Side::Server || !is_queue {
            self.write(now, side, host);
        }
        if let Event::Closed(conn, reason) = event {
            // What has become of a queue is for its host to find out.
            let is_elsewhere = is_queue && side == Side::Server;
            let expected = is_elsewhere || self.is_over() || self.lanes.iter().all(|lane| lane.is_over());
            if reason != CloseReason::Normal && !expected {
                self.state = State::Failed(reason);
            }
            if self.parties[side.index()].conn == Some(conn) && self.is_over() {
                host.disown(conn);
                host.stack.close(now, conn);
            }
        }
    }

    /// A datagram has come to a side.
    pub(super) fn take_datagram(&mut self, now: Instant, side: Side, frame: &Frame, figures: &mut Figures) {
        let lane = &mut self.lanes[side.other().index()];
        let Some(Datagram { len, wrong, written }) = datagram::parse(frame, lane.pattern()) else { return };
        lane.deliver_datagram(now, len, wrong);
        if let Some(written) = written {
            figures.message(now, now - written, None);
        }
    }

    fn write_datagrams(&mut self, now: Instant, hosts: &mut [Host]) {
        let Some(DatagramPlan { interfaces, ends, longest }) = &self.plan.datagrams else { return };
        for side in [0, 1] {
            let lane = &mut self.lanes[side];
            while let Some((mut position, mut left)) = lane.take_message() {
                while left > 0 {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(*longest);
                    let frame = datagram::build(&ends[side], lane.pattern(), position, len, now);
                    hosts[self.plan.hosts[side]].send_datagram(interfaces[side], frame);
                    position += len as u64;
                    left -= len as u64;
                }
            }
        }
    }

    fn read(&mut self, now: Instant, side: Side, figures: &mut Figures, host: &mut Host) {
        let Some(conn) = self.conn(side) else { return };
        let lane = side.other().index();
        let mut progress = false;
        while let Ok(received) = host.stack.recv(now, conn, PORTION) {
            match received {
                Recv::Data(bytes) => {
                    match &mut self.worker {
                        Worker::Nvme(queue) => queue.receive(now, side, bytes),
                        _ => _ = self.lanes[lane].deliver(now, &bytes),
                    }
                    progress = true;
                }
                Recv::WouldBlock => break,
                Recv::Finished => {
                    self.lanes[lane].finish();
                    break;
                }
            }
        }
        if progress {
            let waiting = host.stack.out_of_order(conn).map_or(0, |bytes| bytes as u64);
            figures.most_out_of_order = figures.most_out_of_order.max(waiting);
            self.worker.progress(now, side, &mut self.lanes, figures);
        }
        self.look_for_breach(CloseReason::Aborted);
        let own = side.index();
        if self.lanes[lane].is_finished() && !self.lanes[own].is_sealed() {
            // Nobody is left to send something for.
            self.lanes[own].seal();
        }
        if self.state == State::Running && self.lanes.iter().all(Lane::is_over) {
            self.state = State::Complete;
            self.completed = self.lanes.iter().filter_map(Lane::last_delivery).max().or(Some(now));
        }
    }

    /// Notes if the host has given its queue up.
    fn look_for_breach(&mut self, reason: CloseReason) {
        if let Worker::Nvme(queue) = &self.worker
            && queue.is_broken()
            && self.state == State::Running
        {
            self.state = State::Failed(reason);
        }
    }

    /// Writes what there is to be written at a side.
    pub(super) fn write(&mut self, now: Instant, side: Side, host: &mut Host) {
        let party = &mut self.parties[side.index()];
        let Some(conn) = party.conn else { return };
        if let Worker::Nvme(queue) = &mut self.worker {
            let stack = &mut host.stack;
            queue.send(side, |bytes, message| stack.send_message(now, conn, bytes, message).unwrap_or(0));
        }
        let lane = &mut self.lanes[side.index()];
        while let Some(bytes) = lane.unwritten(PORTION) {
            let offered = bytes.len();
            match host.stack.send(now, conn, bytes) {
                Ok(taken) => {
                    lane.wrote(taken);
                    if taken < offered {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        if lane.is_written() && !party.shut {
            party.shut = true;
            host.stack.shutdown(now, conn);
        }
    }
}
