//! One connection: from its first byte to its last.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::abort::Appeal;
use super::authentication::Authentication;
use super::backend::Submission;
use super::controller::Controller;
use super::execute::Response;
use super::fence::{Membership, Share};
use super::io::IoQueue;
use super::queue::{Queue, SlotId, Work};
use super::{SuccessPolicy, Target};
use crate::auth::FailureReason;
use crate::command::{Cqe, FabricsCommand};
use crate::pdu::{
    C2hData, CapsuleResp, Decoder, Encoder, Event, H2cData, IcReq, Parameters, Pdu, Role, TermReq, Violation,
};
use crate::{Class, Transmit};

/// SQHD in the completion of Connect when there will be no SQ flow control.
const NO_FLOW_CONTROL: u16 = 0xffff;

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// Its number, which comes back in tokens. It may be given again once all operations of the connection have ended.
    pub id: u32,
    /// The port that it came to: see [`Port`](super::Port).
    pub port: u16,
    /// The address that it came to, if it is known.
    pub local: Option<IpAddr>,
}

/// One queue of one controller.
///
/// Getters tell its state; [`receive`](Self::receive), `handle_*` and the passing of time change it; `poll_*` say what it wants, and are called
/// after each change until they return nothing. See the [module](super) for the order.
///
/// What it keeps is bounded: a queue full of commands, [`max_inbound`](super::TargetConfig::max_inbound) bytes that come for them when asked for and
/// [`max_outbound`](super::TargetConfig::max_outbound) bytes that they return. While a host takes no completions, its commands count as outstanding;
/// more than the queue has entries end the connection.
///
/// Drop it when it is [closed](ConnectionState::Closed) and has no [operations](Self::has_operations) any more. Until then it keeps a record of each command,
/// but no data: that of operations is with their stores.
#[derive(Debug)]
pub struct Connection {
    pub(super) target: Arc<Target>,
    pub(super) settings: ConnectionSettings,
    pub(super) decoder: Decoder,
    encoder: Encoder,
    pub(super) parameters: Option<Parameters>,
    pub(super) phase: Phase,
    /// How the host authenticates, if it has to.
    pub(super) authentication: Option<Box<Authentication>>,
    pub(super) queue: Queue,
    receiving: Receiving,
    pub(super) urgent: VecDeque<Response>,
    /// Commands whose data is to be sent.
    pub(super) bulk: VecDeque<SlotId>,
    pub(super) submissions: VecDeque<Submission>,
    /// How fences find it, if it is an I/O queue, or was one.
    pub(super) membership: Option<Membership>,
    /// Its shares of fences that have not passed.
    pub(super) shares: Vec<Share>,
    /// Commands that Aborts end once their data is out of the way, each with one of these.
    pub(super) appeals: Vec<(SlotId, Appeal)>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// ICReq has to come.
    Initializing {
        deadline: Duration,
    },
    /// Connect has to come, and to succeed.
    Connecting {
        deadline: Duration,
    },
    /// The queue is the admin queue of this controller.
    Admin(Box<Controller>),
    /// The queue is an I/O queue.
    Io(Box<IoQueue>),
    /// Something is still to be sent.
    Closing {
        reason: CloseReason,
        deadline: Duration,
    },
    Closed {
        reason: CloseReason,
    },
}

/// What the data belongs to that comes.
#[derive(Clone, Copy, Debug)]
enum Receiving {
    Nothing,
    Capsule(SlotId),
    Transfer(u16),
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not yet a queue.
    Connecting,
    /// An admin queue.
    Admin,
    /// An I/O queue.
    Io,
    /// It ends: send what [`poll_transmit`](Connection::poll_transmit) still has, then close the transport.
    Closing,
    /// It has ended: close the transport at once, whatever is unsent.
    Closed,
}

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The host broke the protocol; a C2HTermReq says so.
    #[error("the host broke the protocol: {0}")]
    Violation(Violation),
    /// The host says that this end broke it.
    #[error("the host ended the connection: {}", .0.fes)]
    Terminated(TermReq),
    /// Connect did not come in time.
    #[error("the host did not connect a queue in time")]
    SetupTimeout,
    /// The host did not authenticate in time.
    #[error("the host did not authenticate in time")]
    AuthenticationTimeout,
    /// The host did not authenticate, or did not accept how the subsystem did.
    #[error("the host could not be authenticated: {0}")]
    Unauthenticated(FailureReason),
    /// The host was silent for too long.
    #[error("the keep-alive timer ran out")]
    KeepAlive,
    /// The controller was reset or removed, or its admin queue has ended.
    #[error("the controller is gone")]
    ControllerGone,
    /// The host has disconnected the queue.
    #[error("the host disconnected the queue")]
    Disconnected,
    /// The caller has closed it.
    #[error("the transport is closed")]
    Transport,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(target: Arc<Target>, settings: ConnectionSettings, now: Duration) -> Self {
        let deadline = now + target.config().setup_timeout;
        Self {
            settings,
            decoder: Decoder::new(Role::Controller),
            encoder: Encoder::new(Role::Controller),
            parameters: None,
            phase: Phase::Initializing { deadline },
            authentication: None,
            // Until Connect says otherwise: for Connect itself, and the mistake of sending something else.
            queue: Queue::new(2, true, target.config().max_inbound, target.config().max_outbound),
            receiving: Receiving::Nothing,
            urgent: VecDeque::new(),
            bulk: VecDeque::new(),
            submissions: VecDeque::new(),
            membership: None,
            shares: Vec::new(),
            appeals: Vec::new(),
            target,
        }
    }

    /// Where it is.
    pub fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::Initializing { .. } | Phase::Connecting { .. } => ConnectionState::Connecting,
            Phase::Admin(_) => ConnectionState::Admin,
            Phase::Io(_) => ConnectionState::Io,
            Phase::Closing { .. } => ConnectionState::Closing,
            Phase::Closed { .. } => ConnectionState::Closed,
        }
    }

    /// Why it ends, once it does.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match &self.phase {
            Phase::Closing { reason, .. } | Phase::Closed { reason } => Some(reason),
            _ => None,
        }
    }

    /// What ICReq and ICResp have agreed on.
    pub fn parameters(&self) -> Option<&Parameters> {
        self.parameters.as_ref()
    }

    /// Commands that are outstanding.
    pub fn outstanding(&self) -> usize {
        self.queue.len()
    }

    /// Takes bytes of the stream, in order, cut anyhow.
    pub fn receive(&mut self, now: Duration, mut bytes: Bytes) {
        self.leave_if_outdated();
        while !matches!(self.phase, Phase::Closing { .. } | Phase::Closed { .. }) {
            let result = match self.decoder.decode(&mut bytes) {
                Ok(None) => break,
                Ok(Some(event)) => self.on_event(now, event),
                Err(violation) => Err(violation),
            };
            if let Err(violation) = result {
                self.violated(now, violation);
            }
        }
    }

    /// Appends the next PDU to `out`. None if there is nothing to send.
    ///
    /// What leaves makes room for what other commands return: [`poll_submission`](Self::poll_submission) may have something afterwards.
    ///
    /// The caller bounds what it keeps: what it has not asked for stays here as commands, of which the host can have only so many.
    pub fn poll_transmit(&mut self, out: &mut Vec<Bytes>) -> Option<Transmit> {
        if matches!(self.phase, Phase::Closed { .. }) {
            return None;
        }
        let latency = |length| Transmit { class: Class::Latency, length, end_of_message: true };
        match self.urgent.pop_front() {
            Some(Response::Pdu(pdu)) => return Some(latency(self.encoder.encode(&pdu, out))),
            Some(Response::Completion(id)) => {
                self.note_transfer();
                let cqe = self.completion(id);
                self.release(id);
                let pdu = Pdu::CapsuleResp(CapsuleResp { cqe });
                return Some(latency(self.encoder.encode(&pdu, out)));
            }
            None => {}
        }
        let id = *self.bulk.front()?;
        self.note_transfer();
        let max_length = self.target.config().max_c2h_data;
        let can_succeed = self.can_succeed();
        let slot = self.queue.slot(id);
        let (offset, total) = (slot.sent, slot.data.len() as u32);
        let length = max_length.min(total - offset);
        slot.sent += length;
        let last = slot.sent == total;
        let success = last && can_succeed && slot.result == 0;
        let cccid = slot.sqe.cid.get();
        let pdu = Pdu::C2hData(C2hData { cccid, offset, length, last, success });
        let pieces = slot.data.range(offset as usize, length as usize);
        let length = self.encoder.encode_with_data(&pdu, pieces, out);
        if last {
            self.bulk.pop_front();
            if success {
                self.release(id);
            } else {
                self.urgent.push_back(Response::Completion(id));
            }
        }
        Some(Transmit { class: Class::Bulk, length, end_of_message: last })
    }

    /// The next operation that it wants done.
    ///
    /// Ask when it can begin, and not before: if the controller has gone meanwhile, the host may have sent the command again over another one, and newer
    /// ones after it. Then there are no more, and the connection has ended.
    pub fn poll_submission(&mut self) -> Option<Submission> {
        if !self.submissions.is_empty() {
            self.leave_if_outdated();
        }
        let submission = self.submissions.pop_front()?;
        self.queue.begin_operation(submission.token.slot);
        Some(submission)
    }

    /// Whether stores work on what came from [`poll_submission`](Self::poll_submission).
    ///
    /// A connection that has ended is kept as long as they do, and told of their completions and of changes: it may be what a Preempt and Abort of another
    /// host waits for. To drop it is to say that nothing more of it will reach a store.
    pub fn has_operations(&self) -> bool {
        self.queue.has_operations()
    }

    /// Whether [`poll_submission`](Self::poll_submission) has something.
    pub fn has_submissions(&self) -> bool {
        !self.submissions.is_empty()
    }

    /// Looks at the target again, because its [generation](Target::generation) has moved.
    pub fn handle_change(&mut self) {
        match &mut self.phase {
            Phase::Admin(controller) => {
                if controller.association.has_ended() || !controller.refresh(&self.target) {
                    self.leave(Phase::Closed { reason: CloseReason::ControllerGone });
                } else {
                    self.deliver_events();
                }
            }
            Phase::Io(queue) => {
                let view = self.target.view(&queue.association.subsystem);
                match view.filter(|_| queue.is_current()) {
                    Some((_, view)) => queue.refresh(view),
                    None => self.leave(Phase::Closed { reason: CloseReason::ControllerGone }),
                }
            }
            _ => {}
        }
        self.take_fences();
        self.answer_fenced();
        self.take_appeals();
        self.answer_aborts();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, if it is.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let timeout = match &self.phase {
            Phase::Initializing { deadline } | Phase::Connecting { deadline } | Phase::Closing { deadline, .. } => {
                Some(*deadline)
            }
            Phase::Admin(controller) => controller.keep_alive_deadline(),
            Phase::Io(_) | Phase::Closed { .. } => None,
        };
        timeout.into_iter().chain(self.authentication_deadline()).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.authentication_deadline().is_some_and(|deadline| deadline <= now) {
            return self.leave(Phase::Closed { reason: CloseReason::AuthenticationTimeout });
        }
        match &mut self.phase {
            Phase::Initializing { deadline } | Phase::Connecting { deadline } if *deadline <= now => {
                self.leave(Phase::Closed { reason: CloseReason::SetupTimeout });
            }
            Phase::Closing { reason, deadline } if *deadline <= now => {
                let reason = reason.clone();
                self.leave(Phase::Closed { reason });
            }
            Phase::Admin(controller) => {
                let expired = controller.keep_alive_expired(now);
                if expired {
                    self.leave(Phase::Closed { reason: CloseReason::KeepAlive });
                }
            }
            _ => {}
        }
    }

    /// The transport is closed: the host has, or it failed.
    pub fn close(&mut self) {
        if !matches!(self.phase, Phase::Closed { .. }) {
            self.leave(Phase::Closed { reason: self.close_reason().cloned().unwrap_or(CloseReason::Transport) });
        }
    }

    /// Ends what the connection is, and goes on with `next`, the beginning of its end or the end. The end of an admin queue is that of its controller.
    pub(super) fn leave(&mut self, next: Phase) {
        match std::mem::replace(&mut self.phase, next) {
            Phase::Admin(controller) => self.target.disconnect(&controller.association),
            Phase::Io(queue) => queue.association.detach(queue.id),
            _ => {}
        }
        // Nobody will be told how they have ended.
        self.submissions.clear();
        self.queue.drop_held(|_, _| true);
        self.appeals.clear();
        if matches!(self.phase, Phase::Closed { .. }) {
            self.urgent.clear();
            self.bulk.clear();
            // As long as stores work for it, it is kept, and its host may come again and again.
            self.queue.drop_data();
        }
    }

    /// An I/O queue ends with the controller that it was connected to.
    fn leave_if_outdated(&mut self) {
        if let Phase::Io(queue) = &self.phase
            && !queue.is_current()
        {
            self.leave(Phase::Closed { reason: CloseReason::ControllerGone });
        }
    }

    fn on_event(&mut self, now: Duration, event: Event) -> Result<(), Violation> {
        match event {
            Event::Pdu(Pdu::CapsuleCmd(capsule)) => {
                if let Some(id) = self.on_command(now, &capsule)? {
                    self.receiving = Receiving::Capsule(id);
                }
            }
            Event::Pdu(Pdu::H2cData(header)) => self.on_data_header(&header)?,
            Event::Pdu(Pdu::IcReq(request)) => self.on_icreq(&request),
            Event::Pdu(Pdu::H2cTermReq(request)) => {
                self.leave(Phase::Closed { reason: CloseReason::Terminated(request) });
            }
            // The decoder lets nothing else pass to a controller.
            Event::Pdu(pdu) => return Err(Violation::OutOfSequence(pdu.pdu_type())),
            Event::Data(piece) => match self.receiving {
                Receiving::Capsule(id) => self.queue.push_in_capsule(id, piece),
                Receiving::Transfer(ttag) => self.queue.push_transferred(ttag, piece),
                Receiving::Nothing => {}
            },
            Event::DataEnd { intact } => match std::mem::replace(&mut self.receiving, Receiving::Nothing) {
                Receiving::Capsule(id) => {
                    self.queue.slot(id).inbound.damaged |= !intact;
                    self.on_data_complete(now, id);
                }
                Receiving::Transfer(ttag) => {
                    if let Some(id) = self.queue.end_transferred(ttag, intact) {
                        if self.queue.is_complete(id) {
                            self.on_data_complete(now, id);
                        } else {
                            self.ask_for_data(id);
                        }
                    }
                }
                Receiving::Nothing => {}
            },
        }
        Ok(())
    }

    fn on_icreq(&mut self, request: &IcReq) {
        let (response, parameters) = self.target.config().offer.answer(request);
        self.decoder.establish(&parameters);
        self.encoder.establish(&parameters);
        self.parameters = Some(parameters);
        self.urgent.push_back(Response::Pdu(Pdu::IcResp(response)));
        if let Phase::Initializing { deadline } = self.phase {
            self.phase = Phase::Connecting { deadline };
        }
    }

    fn on_data_header(&mut self, header: &H2cData) -> Result<(), Violation> {
        self.queue.check_data(header)?;
        self.note_transfer();
        self.receiving = Receiving::Transfer(header.ttag);
        Ok(())
    }

    /// Ends the connection with a C2HTermReq. Nothing else that was to be sent matters any more.
    fn violated(&mut self, now: Duration, violation: Violation) {
        let request = TermReq::answering(&violation, self.decoder.header());
        let deadline = now + self.target.config().close_timeout;
        self.leave(Phase::Closing { reason: CloseReason::Violation(violation), deadline });
        self.urgent.clear();
        self.bulk.clear();
        self.urgent.push_back(Response::Pdu(Pdu::C2hTermReq(request)));
    }

    /// A command is over: there may be room for the data of others.
    fn release(&mut self, id: SlotId) {
        self.queue.release(id);
        while let Some(waiting) = self.queue.next_unasked() {
            self.ask_for_data(waiting);
        }
        while let Some(held) = self.queue.next_held() {
            let work = self.queue.slot(held).work.clone();
            self.begin(held, &work);
        }
    }

    /// Data goes to the host or comes from it, or a completion goes to it, which shows that it lives, though its commands may have come long before. As
    /// long as it sees completions it may send no Keep Alive (TBKAS).
    fn note_transfer(&self) {
        if let Phase::Io(queue) = &self.phase
            && self.is_admitted()
        {
            queue.association.note_activity();
        }
    }

    /// The completion entry of a command.
    fn completion(&mut self, id: SlotId) -> Cqe {
        let flow_control = self.queue.has_flow_control();
        let head = self.queue.head();
        let slot = self.queue.slot(id);
        let mut cqe = Cqe::new(slot.sqe.cid.get(), slot.status).with_result(slot.result);
        let connects = matches!(slot.work, Work::Fabrics(FabricsCommand::Connect(_)));
        cqe.sqhd = if connects && !flow_control { NO_FLOW_CONTROL } else { head }.into();
        cqe
    }

    /// Whether C2HData may stand for a completion.
    fn can_succeed(&self) -> bool {
        match self.target.config().success {
            SuccessPolicy::WithoutFlowControl => !self.queue.has_flow_control(),
            SuccessPolicy::Always => true,
            SuccessPolicy::Never => false,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}
