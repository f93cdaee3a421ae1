//! A queue against a scripted controller.

use std::time::Duration;

use bytes::Bytes;
use zerocopy::FromBytes;

use super::*;
use crate::auth::{AuthenticationError, Entropy, FailureReason, HostAuthentication, Secret};
use crate::command::{
    AdminCommand, Auth, BlockRange, ConnectAttributes, ConnectData, Cqe, FabricsCommand, InvalidParameter, IoCommand,
    Nqn, Placement, Status, StatusCode,
};
use crate::pdu::{
    Alignment, C2hData, CapsuleResp, ControllerOffer, Digests, Event, Fes, HostOffer, Parameters, Pdu, PduType, R2t,
    TermReq, Violation,
};
use crate::{Class, Transmit};

pub(super) const NOW: Duration = Duration::from_secs(1000);

pub(super) fn identity() -> HostIdentity {
    HostIdentity {
        host_id: [7; 16],
        host: Nqn::new("nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6").unwrap(),
        subsystem: Nqn::new("nqn.2026-01.example:disk").unwrap(),
    }
}

pub(super) fn io_config() -> QueueConfig {
    QueueConfig { in_capsule_data: 4096, ..QueueConfig::io(identity(), 1, 5) }
}

pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 / 8) as u8).collect()
}

pub(super) fn read(blocks: u32) -> Request<u64> {
    let range = BlockRange { start: 0, count: blocks };
    Request::new(IoCommand::Read { range, force_unit_access: false }.to_sqe(1), 1).receiving(blocks * 512)
}

pub(super) fn write(data: Vec<u8>) -> Request<u64> {
    let range = BlockRange { start: 0, count: data.len().div_ceil(512) as u32 };
    Request::new(IoCommand::Write { range, force_unit_access: false }.to_sqe(1), 2).sending(Bytes::from(data))
}

pub(super) fn flush() -> Request<u64> {
    Request::new(IoCommand::Flush.to_sqe(1), 3)
}

/// A queue, and the script's end of its connection.
pub(super) struct Peer {
    pub(super) queue: Queue<u64>,
    encoder: Encoder,
    decoder: Decoder,
    offer: ControllerOffer,
}

pub(super) struct Sent {
    pub(super) pdu: Pdu,
    pub(super) data: Vec<u8>,
    pub(super) transmit: Transmit,
}

impl Peer {
    pub(super) fn new(config: QueueConfig) -> Self {
        Self {
            queue: Queue::new(config, NOW),
            encoder: Encoder::new(Role::Controller),
            decoder: Decoder::new(Role::Controller),
            offer: ControllerOffer { max_h2c_data: 4096, ..ControllerOffer::default() },
        }
    }

    /// One that is ready.
    pub(super) fn connected(config: QueueConfig) -> Self {
        let mut peer = Self::new(config);
        peer.initialize();
        let connect = peer.sent();
        assert!(matches!(connect[..], [Sent { pdu: Pdu::CapsuleCmd(_), .. }]));
        peer.send(&Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(input::CONNECT_CID, Status::SUCCESS).with_result(5) }));
        assert!(matches!(peer.queue.state(), QueueState::Ready(_)), "{:?}", peer.queue.state());
        peer
    }

    pub(super) fn initialize(&mut self) {
        let [Sent { pdu: Pdu::IcReq(request), .. }] = &self.sent()[..] else { panic!("no ICReq") };
        let (response, parameters) = self.offer.answer(request);
        self.send(&Pdu::IcResp(response));
        self.establish(&parameters);
    }

    fn establish(&mut self, parameters: &Parameters) {
        self.encoder.establish(parameters);
        self.decoder.establish(parameters);
    }

    /// All that the queue has to send.
    pub(super) fn sent(&mut self) -> Vec<Sent> {
        std::iter::from_fn(|| self.sent_one()).collect()
    }

    pub(super) fn sent_one(&mut self) -> Option<Sent> {
        let mut out = Vec::new();
        let transmit = self.queue.poll_transmit(&mut out)?;
        let mut stream = Bytes::from(out.concat());
        assert_eq!(stream.len(), transmit.length);
        let Ok(Some(Event::Pdu(pdu))) = self.decoder.decode(&mut stream) else { panic!("{out:?}") };
        let mut data = Vec::new();
        while let Some(event) = self.decoder.decode(&mut stream).unwrap() {
            match event {
                Event::Data(piece) => data.extend_from_slice(&piece),
                Event::DataEnd { intact } => assert!(intact),
                Event::Pdu(pdu) => panic!("two PDUs at once: {pdu:?}"),
            }
        }
        Some(Sent { pdu, data, transmit })
    }

    pub(super) fn bytes(&mut self, pdu: &Pdu, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.encoder.encode_with_data(pdu, Some(Bytes::copy_from_slice(data)).filter(|d| !d.is_empty()), &mut out);
        out.concat()
    }

    pub(super) fn send(&mut self, pdu: &Pdu) {
        let bytes = self.bytes(pdu, &pattern(pdu.data_len() as usize));
        self.feed(bytes);
    }

    pub(super) fn feed(&mut self, bytes: Vec<u8>) {
        let mut bytes = Bytes::from(bytes);
        self.queue.receive(&mut bytes);
        assert!(bytes.is_empty());
    }

    pub(super) fn submit(&mut self, request: Request<u64>) -> u16 {
        self.queue.submit(request, NOW).unwrap().value()
    }

    fn respond(&mut self, cid: u16, status: impl Into<Status>) {
        self.send(&Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(cid, status.into()) }));
    }

    fn completion(&mut self) -> Completion<u64> {
        let completion = self.queue.poll_completion().expect("a completion");
        assert!(self.queue.poll_completion().is_none());
        completion
    }

    fn ends_with(&mut self, violation: Violation, name: &str) {
        assert_eq!(self.queue.state(), QueueState::Ended(QueueError::Violation(violation)), "{name}");
        let sent = self.sent();
        let [Sent { pdu: Pdu::H2cTermReq(TermReq { fes, fei, header }), .. }] = &sent[..] else {
            panic!("{name}: no H2CTermReq")
        };
        assert_eq!((*fes, *fei), (violation.fes(), violation.fei()), "{name}");
        assert!(header.len() <= 128, "{name}");
    }
}

fn c2h(cccid: u16, offset: u32, length: u32, last: bool, success: bool) -> Pdu {
    Pdu::C2hData(C2hData { cccid, offset, length, last, success })
}

fn r2t(cccid: u16, ttag: u16, offset: u32, length: u32) -> Pdu {
    Pdu::R2t(R2t { cccid, ttag, offset, length })
}

fn answered(code: StatusCode) -> Outcome {
    Outcome::Answered { status: code.into(), result: 0 }
}

#[test]
fn initialisation_and_connect() {
    let offer = HostOffer { digests: Digests::BOTH, alignment: Alignment::DWORD, max_r2t: 3 };
    let config = QueueConfig {
        offer,
        keep_alive: Duration::from_secs(5),
        flow_control: false,
        ..QueueConfig::admin(identity())
    };
    let mut peer = Peer::new(config);
    let early = peer.submit(Request::new(AdminCommand::KeepAlive.to_sqe(0), 9));
    peer.initialize();
    let sent = peer.sent();
    let [Sent { pdu: Pdu::CapsuleCmd(capsule), data, transmit }] = &sent[..] else { panic!("nothing but Connect") };
    assert_eq!(*transmit, Transmit { class: Class::Latency, length: 72 + 4 + 1024 + 4, end_of_message: true });
    assert_eq!(capsule.sqe.sgl.placement(), Some(Placement::InCapsule));
    let Ok(FabricsCommand::Connect(connect)) = FabricsCommand::parse(&capsule.sqe) else { panic!("{capsule:?}") };
    assert_eq!((connect.queue, connect.entries, connect.keep_alive), (0, 32, 5000));
    assert_eq!(connect.attributes, ConnectAttributes::DISABLE_FLOW_CONTROL);
    let data = ConnectData::read_from_bytes(data).unwrap();
    assert_eq!((data.host_id, data.controller.get()), ([7; 16], 0xffff));
    assert_eq!((data.subsystem(), data.host()), (Ok(identity().subsystem), Ok(identity().host)));

    assert_eq!(peer.queue.state(), QueueState::Connecting);
    peer.send(&Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(input::CONNECT_CID, Status::SUCCESS).with_result(5) }));
    let QueueState::Ready(result) = peer.queue.state() else { panic!("not ready") };
    assert_eq!(result.controller, 5);
    let sent = peer.sent();
    assert!(matches!(&sent[..], [Sent { pdu: Pdu::CapsuleCmd(c), .. }] if c.sqe.cid.get() == early));
}

#[test]
fn refused_connects() {
    for (status, result, parameter) in [
        (StatusCode::ConnectInvalidHost, 0, None),
        (StatusCode::ConnectInvalidParameters, 0x0001_0100, Some(InvalidParameter::SUBSYSTEM)),
    ] {
        let mut peer = Peer::new(io_config());
        peer.submit(flush());
        peer.initialize();
        peer.sent();
        let cqe = Cqe::new(input::CONNECT_CID, status.into()).with_result(result);
        peer.send(&Pdu::CapsuleResp(CapsuleResp { cqe }));
        let error = QueueError::Refused { status: status.into(), parameter };
        assert_eq!(peer.queue.state(), QueueState::Ended(error));
        assert!(error.is_final());
        assert!(peer.sent().is_empty(), "it is no violation");
        assert_eq!(peer.completion().outcome, Outcome::Lost { sent: false });
        assert_eq!(peer.queue.submit(flush(), NOW).unwrap_err().reason, Refusal::Ended);
    }
}

fn authenticating() -> (Peer, u16) {
    let secret = Secret::new(None, &[7; 32]).unwrap();
    let authentication = Some(HostAuthentication::new(secret, Entropy::from_seed([1; 32])));
    let mut peer = Peer::new(QueueConfig { authentication, ..io_config() });
    peer.submit(flush());
    peer.initialize();
    peer.sent();
    let result = ConnectResult { controller: 5, authenticate: true, secure_channel: false };
    let cqe = Cqe::new(input::CONNECT_CID, Status::SUCCESS).with_result(result.bits().into());
    peer.send(&Pdu::CapsuleResp(CapsuleResp { cqe }));
    assert_eq!(peer.queue.state(), QueueState::Connecting);
    let sent = peer.sent();
    let [Sent { pdu: Pdu::CapsuleCmd(capsule), data, .. }] = &sent[..] else { panic!("not only Authentication Send") };
    let command = FabricsCommand::parse(&capsule.sqe).unwrap();
    assert!(matches!(command, FabricsCommand::AuthSend(Auth { protocol: 0xe9, specific: 0x0101, length: 72 })));
    assert_eq!((data.len(), &data[..2]), (72, &[0, 0][..]), "AUTH_Negotiate");
    (peer, capsule.sqe.cid.get())
}

#[test]
fn authentication_comes_before_other_commands() {
    let (mut peer, cid) = authenticating();
    peer.respond(cid, Status::SUCCESS);
    let sent = peer.sent();
    let [Sent { pdu: Pdu::CapsuleCmd(capsule), .. }] = &sent[..] else { panic!("not only Authentication Receive") };
    let command = FabricsCommand::parse(&capsule.sqe).unwrap();
    assert!(matches!(command, FabricsCommand::AuthReceive(Auth { length: 4096, .. })), "{command:?}");
    let cid = capsule.sqe.cid.get();
    let failure = [0, 0xf1, 0, 0, 0, 0, 1, 5];
    let bytes = peer.bytes(&c2h(cid, 0, 8, true, true), &failure);
    peer.feed(bytes);
    let error = QueueError::Authentication(AuthenticationError::Refused(FailureReason::NoGroup));
    assert_eq!(peer.queue.state(), QueueState::Ended(error));
    assert!(error.is_final());
    assert_eq!(peer.completion().outcome, Outcome::Lost { sent: false });
}

#[test]
fn a_controller_that_breaks_the_protocol_during_authentication() {
    let ends = |mut peer: Peer, pdu: &Pdu| {
        let bytes = peer.bytes(pdu, &pattern(pdu.data_len() as usize));
        peer.queue.receive(&mut Bytes::from(bytes));
        assert!(matches!(peer.queue.state(), QueueState::Ended(QueueError::Violation(_))), "{pdu:?}");
    };
    // Authentication Send: no data is wanted, all of it is in the capsule, and there is only one command.
    for wrong in 0..4 {
        let (peer, cid) = authenticating();
        let pdu = match wrong {
            0 => c2h(cid, 0, 8, false, false),
            1 => r2t(cid, 1, 0, 72),
            2 => r2t(cid ^ 1, 1, 0, 72),
            _ => Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(cid ^ 1, Status::SUCCESS) }),
        };
        ends(peer, &pdu);
    }
    // Authentication Receive: data in order, and not more than there is room for.
    for (offset, length) in [(8, 8), (0, 4100)] {
        let (mut peer, cid) = authenticating();
        peer.respond(cid, Status::SUCCESS);
        peer.sent();
        ends(peer, &c2h(cid ^ 1, offset, length, false, false));
    }
}

#[test]
fn without_a_secret_there_is_no_authentication() {
    let mut peer = Peer::new(io_config());
    peer.initialize();
    peer.sent();
    let result = ConnectResult { controller: 5, authenticate: true, secure_channel: false };
    let cqe = Cqe::new(input::CONNECT_CID, Status::SUCCESS).with_result(result.bits().into());
    peer.send(&Pdu::CapsuleResp(CapsuleResp { cqe }));
    let error = QueueError::Authentication(AuthenticationError::NoSecret);
    assert_eq!(peer.queue.state(), QueueState::Ended(error));
}

#[test]
fn a_connection_that_is_never_accepted() {
    let config = io_config();
    let due = NOW + config.connect_timeout;
    for bytes in [0, 1, 100] {
        let mut peer = Peer::new(config.clone());
        let [Sent { pdu: Pdu::IcReq(request), .. }] = &peer.sent()[..] else { panic!("no ICReq") };
        let response = Pdu::IcResp(peer.offer.answer(request).0);
        let mut half = peer.bytes(&response, &[]);
        half.truncate(bytes);
        peer.feed(half);
        assert_eq!(peer.queue.poll_timeout(), Some(due));
        peer.queue.handle_timeout(due - Duration::from_nanos(1));
        assert_eq!(peer.queue.state(), QueueState::Connecting);
        peer.queue.handle_timeout(due);
        assert_eq!(peer.queue.state(), QueueState::Ended(QueueError::ConnectTimeout));
    }
}

#[test]
fn a_read_is_slices_of_what_was_received() {
    for digests in [Digests::NONE, Digests::BOTH] {
        for success in [false, true] {
            let offer = HostOffer { digests, alignment: Alignment::from_dwords(7).unwrap(), max_r2t: 1 };
            let mut peer = Peer::connected(QueueConfig { offer, ..io_config() });
            let cid = peer.submit(read(16));
            let sent = peer.sent();
            let [Sent { pdu: Pdu::CapsuleCmd(capsule), .. }] = &sent[..] else { panic!("one capsule") };
            assert_eq!(capsule.sqe.sgl.placement(), Some(Placement::Transport));
            assert_eq!(capsule.sqe.sgl.length.get(), 8192);

            let first = peer.bytes(&c2h(cid, 0, 6000, false, false), &pattern(8192)[..6000]);
            let rest = peer.bytes(&c2h(cid, 6000, 2192, true, success), &pattern(8192)[6000..]);
            let mut stream = Bytes::from([first, rest].concat());
            let buffer = stream.as_ptr_range();
            peer.queue.receive(&mut stream);
            if !success {
                assert!(peer.queue.poll_completion().is_none());
                peer.respond(cid, Status::SUCCESS);
            }
            let completion = peer.completion();
            assert_eq!(completion.outcome, answered(StatusCode::Success));
            assert_eq!((completion.id.value(), completion.request.token), (cid, 1));
            let payload = completion.request.into_received();
            assert_eq!(payload.to_contiguous(), pattern(8192));
            assert!(payload.pieces().all(|piece| buffer.contains(&piece.as_ptr())), "nothing was copied");
            assert_eq!(payload.pieces().count(), 2);
        }
    }
}

#[test]
fn small_writes_go_in_the_capsule() {
    let mut peer = Peer::connected(io_config());
    for (length, in_capsule) in [(1, true), (4096, true), (4097, false)] {
        let cid = peer.submit(write(pattern(length)));
        let sent = peer.sent();
        let [Sent { pdu: Pdu::CapsuleCmd(capsule), data, transmit }] = &sent[..] else { panic!("one capsule") };
        let placement = if in_capsule { Placement::InCapsule } else { Placement::Transport };
        assert_eq!(capsule.sqe.sgl.placement(), Some(placement));
        assert_eq!(capsule.sqe.sgl.length.get(), length as u32);
        assert_eq!(*data, if in_capsule { pattern(length) } else { Vec::new() });
        assert_eq!((transmit.class, transmit.end_of_message), (Class::Latency, true));
        if in_capsule {
            peer.respond(cid, Status::SUCCESS);
            assert!(peer.completion().outcome.is_success());
        }
    }
}

#[test]
fn what_r2ts_ask_for() {
    let offer = HostOffer { max_r2t: 2, ..HostOffer::default() };
    let mut peer = Peer::connected(QueueConfig { offer, ..io_config() });
    let cid = peer.submit(write(pattern(20_000)));
    peer.sent();
    peer.send(&r2t(cid, 0xbeef, 0, 10_000));
    peer.send(&r2t(cid, 0, 10_000, 4));
    let mut parts = Vec::new();
    for sent in peer.sent() {
        let Pdu::H2cData(pdu) = sent.pdu else { panic!("{:?}", sent.pdu) };
        assert_eq!(pdu.cccid, cid);
        assert_eq!(sent.data, pattern(20_000)[pdu.offset as usize..][..pdu.length as usize]);
        assert_eq!((sent.transmit.class, sent.transmit.end_of_message), (Class::Bulk, pdu.last));
        parts.push((pdu.ttag, pdu.offset, pdu.length, pdu.last));
    }
    let expected =
        [(0xbeef, 0, 4096, false), (0xbeef, 4096, 4096, false), (0xbeef, 8192, 1808, true), (0, 10_000, 4, true)];
    assert_eq!(parts, expected);
    peer.send(&r2t(cid, 1, 10_004, 9996));
    assert_eq!(peer.sent().len(), 3);
    peer.respond(cid, Status::SUCCESS);
    let completion = peer.completion();
    assert!(completion.outcome.is_success());
    assert_eq!(completion.request.payload().unwrap().len(), 20_000, "the data comes back, to be sent again if need be");
}

#[test]
fn commands_overtake_data() {
    let mut peer = Peer::connected(io_config());
    let cid = peer.submit(write(pattern(20_000)));
    peer.sent();
    peer.send(&r2t(cid, 1, 0, 20_000));
    assert!(matches!(peer.sent_one().unwrap().pdu, Pdu::H2cData(_)));
    peer.submit(flush());
    assert!(matches!(peer.sent_one().unwrap().pdu, Pdu::CapsuleCmd(_)));
    assert!(matches!(peer.sent_one().unwrap().pdu, Pdu::H2cData(_)));
}

#[test]
fn data_that_a_failed_write_no_longer_needs() {
    let mut peer = Peer::connected(io_config());
    let (failed, other) = (peer.submit(write(pattern(8000))), peer.submit(write(pattern(8000))));
    peer.sent();
    peer.send(&r2t(failed, 1, 0, 8000));
    peer.send(&r2t(other, 2, 0, 8000));
    assert!(peer.sent_one().is_some());
    peer.respond(failed, StatusCode::WriteFault);
    assert_eq!(peer.completion().outcome, answered(StatusCode::WriteFault));
    let left = peer.sent();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|sent| matches!(&sent.pdu, Pdu::H2cData(data) if data.cccid == other)));
}

#[test]
fn the_depth_is_one_less_than_the_entries_whatever_the_sq_head() {
    let mut peer = Peer::connected(QueueConfig { entries: 4, ..io_config() });
    let first = peer.submit(flush());
    peer.submit(flush());
    peer.submit(flush());
    assert_eq!(peer.queue.submit(flush(), NOW).unwrap_err().reason, Refusal::Full);
    peer.sent();
    for head in [0, 3, 0xffff] {
        let cid = if head == 0 { first } else { peer.submit(flush()) };
        peer.sent();
        let mut cqe = Cqe::new(cid, Status::SUCCESS);
        cqe.sqhd = head.into();
        peer.send(&Pdu::CapsuleResp(CapsuleResp { cqe }));
        peer.completion();
        assert_eq!((peer.queue.room(), peer.queue.outstanding()), (1, 2));
    }
}

#[test]
fn an_overdue_command_ends_the_queue() {
    let mut peer = Peer::connected(QueueConfig {
        in_capsule_data: 8192,
        command_timeout: Some(Duration::from_secs(30)),
        ..QueueConfig::admin(identity())
    });
    peer.submit(Request::new(AdminCommand::AsyncEventRequest.to_sqe(0), 8));
    assert_eq!(peer.queue.poll_timeout(), None, "events may never come");
    let late = peer.submit(Request::new(AdminCommand::KeepAlive.to_sqe(0), 9));
    let due = NOW + Duration::from_secs(30);
    assert_eq!(peer.queue.poll_timeout(), Some(due));
    peer.queue.handle_timeout(due);
    assert_eq!(peer.queue.state(), QueueState::Ended(QueueError::CommandTimeout(CommandId(late))));
    let lost: Vec<_> = std::iter::from_fn(|| peer.queue.poll_completion()).map(|c| c.request.token).collect();
    assert_eq!(lost, [8, 9]);
}

#[test]
fn a_lost_connection_tells_what_may_have_been_executed() {
    let mut peer = Peer::connected(io_config());
    let done = peer.submit(flush());
    peer.submit(write(pattern(8000)));
    peer.sent();
    peer.submit(read(8));
    peer.respond(done, Status::SUCCESS);
    peer.queue.connection_lost();
    let outcomes: Vec<_> = std::iter::from_fn(|| peer.queue.poll_completion()).map(|c| c.outcome).collect();
    assert_eq!(outcomes, [answered(StatusCode::Success), Outcome::Lost { sent: true }, Outcome::Lost { sent: false }]);
    assert_eq!(peer.queue.state(), QueueState::Ended(QueueError::ConnectionLost));
    assert!(peer.queue.has_lost_commands() && peer.sent().is_empty());
}

#[test]
fn who_ends_idle_has_lost_nothing() {
    let mut peer = Peer::connected(io_config());
    let done = peer.submit(flush());
    peer.sent();
    peer.respond(done, Status::SUCCESS);
    // Nobody is waiting for this.
    peer.respond(done, Status::SUCCESS);
    assert!(matches!(peer.queue.state(), QueueState::Ended(QueueError::Violation(_))));
    assert!(!peer.queue.has_lost_commands());
}

#[test]
fn c2h_term_req() {
    let mut peer = Peer::connected(io_config());
    peer.submit(flush());
    let request = TermReq { fes: Fes::InvalidHeaderField, fei: 4, header: Bytes::from_static(&[4, 0, 72]) };
    peer.send(&Pdu::C2hTermReq(request));
    let error = QueueError::Terminated { fes: Fes::InvalidHeaderField, fei: 4 };
    assert_eq!(peer.queue.state(), QueueState::Ended(error));
    assert_eq!(peer.completion().outcome, Outcome::Lost { sent: false });
    assert!(peer.sent().is_empty(), "it is not answered");
}

#[test]
fn damaged_data_fails_its_command_only() {
    let offer = HostOffer { digests: Digests::BOTH, ..HostOffer::default() };
    for success in [true, false] {
        let mut peer = Peer::connected(QueueConfig { offer, ..io_config() });
        let (damaged, other) = (peer.submit(read(1)), peer.submit(read(1)));
        peer.sent();
        let mut bytes = peer.bytes(&c2h(damaged, 0, 512, true, success), &pattern(512));
        let end = bytes.len();
        bytes[end - 5] ^= 1;
        peer.feed(bytes);
        if !success {
            peer.respond(damaged, Status::SUCCESS);
        }
        let completion = peer.completion();
        assert_eq!(completion.outcome, answered(StatusCode::TransientTransportError));
        assert!(completion.request.into_received().is_empty());
        peer.send(&c2h(other, 0, 512, true, true));
        assert!(peer.completion().outcome.is_success());
    }
}

#[test]
fn success_without_all_of_the_data() {
    let mut peer = Peer::connected(io_config());
    let (empty, short) = (peer.submit(read(8)), peer.submit(read(8)));
    let (unasked, half) = (peer.submit(write(pattern(8000))), peer.submit(write(pattern(8000))));
    let unserved = peer.submit(write(pattern(8000)));
    peer.sent();
    let no_data = answered(StatusCode::DataTransferError);
    peer.respond(empty, Status::SUCCESS);
    assert_eq!(peer.completion().outcome, no_data);
    peer.send(&c2h(short, 0, 4092, true, true));
    let completion = peer.completion();
    assert_eq!(completion.outcome, no_data);
    assert!(completion.request.into_received().is_empty());
    peer.respond(unasked, Status::SUCCESS);
    assert_eq!(peer.completion().outcome, no_data);
    peer.send(&r2t(half, 1, 0, 4000));
    peer.sent();
    peer.respond(half, Status::SUCCESS);
    assert_eq!(peer.completion().outcome, no_data);
    peer.send(&r2t(unserved, 1, 0, 8000));
    peer.respond(unserved, Status::SUCCESS);
    assert_eq!(peer.completion().outcome, no_data);
    assert!(peer.sent().is_empty());
    let failed = peer.submit(read(8));
    peer.sent();
    peer.respond(failed, StatusCode::UnrecoveredRead);
    assert_eq!(
        peer.completion().outcome,
        answered(StatusCode::UnrecoveredRead),
        "there is nothing to say against this"
    );
}

/// CIDs of commands in every state, at a queue that takes two R2Ts.
struct Cids {
    read: u16,
    read_with_data: u16,
    read_after_last: u16,
    write: u16,
    write_with_r2t: u16,
    write_with_r2ts: u16,
    in_capsule: u16,
    flush: u16,
    unsent: u16,
    stale: u16,
}

fn busy(digests: Digests) -> (Peer, Cids) {
    let offer = HostOffer { digests, max_r2t: 2, ..HostOffer::default() };
    let mut peer = Peer::connected(QueueConfig { offer, ..io_config() });
    let stale = peer.submit(read(8));
    peer.sent();
    peer.send(&c2h(stale, 0, 4096, true, true));
    peer.completion();
    let cids = Cids {
        read: peer.submit(read(8)),
        read_with_data: peer.submit(read(8)),
        read_after_last: peer.submit(read(8)),
        write: peer.submit(write(pattern(8000))),
        write_with_r2t: peer.submit(write(pattern(8000))),
        write_with_r2ts: peer.submit(write(pattern(8000))),
        in_capsule: peer.submit(write(pattern(100))),
        flush: peer.submit(flush()),
        unsent: 0,
        stale,
    };
    peer.sent();
    peer.send(&c2h(cids.read_with_data, 0, 1000, false, false));
    peer.send(&c2h(cids.read_after_last, 0, 1000, true, false));
    peer.send(&r2t(cids.write_with_r2t, 1, 0, 1000));
    peer.send(&r2t(cids.write_with_r2ts, 2, 0, 1000));
    peer.send(&r2t(cids.write_with_r2ts, 3, 1000, 1000));
    let unsent = peer.submit(read(8));
    (peer, Cids { unsent, ..cids })
}

#[test]
fn hostile_pdus_about_commands() {
    type Case = (&'static str, fn(&Cids) -> u16, fn(u16) -> Pdu, fn(u16) -> Violation);
    let cases: &[Case] = &[
        ("response to a command that never was", |_| 0x7777, respond, |c| stranger(PduType::CapsuleResp, c)),
        ("response to a stale command", |c| c.stale, respond, |c| stranger(PduType::CapsuleResp, c)),
        ("response to a command that was not sent", |c| c.unsent, respond, |c| stranger(PduType::CapsuleResp, c)),
        ("response to Connect again", |_| 0, respond, |c| stranger(PduType::CapsuleResp, c)),
        ("data for no command", |_| 0xffff, |c| c2h(c, 0, 4, false, false), |c| stranger(PduType::C2hData, c)),
        ("data for a stale command", |c| c.stale, |c| c2h(c, 0, 4, false, false), |c| stranger(PduType::C2hData, c)),
        ("data before the command", |c| c.unsent, |c| c2h(c, 0, 4, true, true), |c| stranger(PduType::C2hData, c)),
        ("R2T for no command", |_| 0x7777, |c| r2t(c, 0, 0, 4), |c| stranger(PduType::R2t, c)),
        ("R2T for a stale command", |c| c.stale, |c| r2t(c, 0, 0, 4), |c| stranger(PduType::R2t, c)),
        ("R2T for an unsent command", |c| c.unsent, |c| r2t(c, 0, 0, 4), |c| stranger(PduType::R2t, c)),
        ("data for a write", |c| c.write, |c| c2h(c, 0, 4, false, false), |c| contrary(PduType::C2hData, c)),
        (
            "data for a write in a capsule",
            |c| c.in_capsule,
            |c| c2h(c, 0, 4, false, false),
            |c| contrary(PduType::C2hData, c),
        ),
        ("data for a flush", |c| c.flush, |c| c2h(c, 0, 4, true, true), |c| contrary(PduType::C2hData, c)),
        ("R2T for a read: host memory", |c| c.read, |c| r2t(c, 0, 0, 4096), |c| contrary(PduType::R2t, c)),
        ("R2T for a flush", |c| c.flush, |c| r2t(c, 0, 0, 4), |c| contrary(PduType::R2t, c)),
        ("R2T for what was in the capsule", |c| c.in_capsule, |c| r2t(c, 0, 0, 100), |c| contrary(PduType::R2t, c)),
        ("data with a gap", |c| c.read, |c| c2h(c, 4, 4, false, false), |_| order(PduType::C2hData, 4, 0)),
        ("data again", |c| c.read_with_data, |c| c2h(c, 0, 1000, false, false), |_| order(PduType::C2hData, 0, 1000)),
        (
            "data at the end of the range",
            |c| c.read,
            |c| c2h(c, u32::MAX, 4, false, false),
            |_| order(PduType::C2hData, u32::MAX, 0),
        ),
        (
            "more data than was asked for",
            |c| c.read,
            |c| c2h(c, 0, 4097, true, true),
            |_| beyond(PduType::C2hData, 0, 4097, 4096),
        ),
        (
            "too much data in the end",
            |c| c.read_with_data,
            |c| c2h(c, 1000, 3097, true, false),
            |_| beyond(PduType::C2hData, 1000, 3097, 4096),
        ),
        (
            "data after the last",
            |c| c.read_after_last,
            |c| c2h(c, 1000, 4, true, false),
            |_| Violation::LastFlag { pdu: PduType::C2hData, offset: 1000, length: 4 },
        ),
        ("R2T with a gap", |c| c.write, |c| r2t(c, 0, 4, 4), |_| order(PduType::R2t, 4, 0)),
        ("R2T again", |c| c.write_with_r2t, |c| r2t(c, 1, 0, 1000), |_| order(PduType::R2t, 0, 1000)),
        ("R2T beyond the data", |c| c.write, |c| r2t(c, 0, 0, 8001), |_| beyond(PduType::R2t, 0, 8001, 8000)),
        (
            "R2T for 4 GiB",
            |c| c.write_with_r2t,
            |c| r2t(c, 1, 1000, u32::MAX),
            |_| beyond(PduType::R2t, 1000, u32::MAX, 8000),
        ),
        ("R2T for nothing", |c| c.write, |c| r2t(c, 0, 0, 0), |_| Violation::NoData(PduType::R2t)),
        ("too many R2Ts", |c| c.write_with_r2ts, |c| r2t(c, 4, 2000, 1), |_| Violation::TooManyR2ts { limit: 2 }),
    ];
    for digests in [Digests::NONE, Digests::BOTH] {
        for (name, cid, pdu, violation) in cases {
            let (mut peer, cids) = busy(digests);
            let cid = cid(&cids);
            peer.send(&pdu(cid));
            let lost: Vec<_> = std::iter::from_fn(|| peer.queue.poll_completion()).collect();
            assert_eq!(lost.len(), 9, "{name}");
            assert!(lost.iter().all(|c| c.outcome == Outcome::Lost { sent: c.id.value() != cids.unsent }), "{name}");
            assert!(
                lost.iter()
                    .filter(|c| matches!(c.request.data, Data::Receive { .. }))
                    .all(|c| { c.request.payload().unwrap().is_empty() })
            );
            peer.ends_with(violation(cid), name);
            assert_eq!(peer.queue.outstanding(), 0, "{name}");
        }
    }
}

fn respond(cid: u16) -> Pdu {
    Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(cid, Status::SUCCESS) })
}

fn stranger(pdu: PduType, cccid: u16) -> Violation {
    Violation::UnknownCommand { pdu, cccid }
}

fn contrary(pdu: PduType, cccid: u16) -> Violation {
    Violation::WrongDirection { pdu, cccid }
}

fn order(pdu: PduType, offset: u32, expected: u32) -> Violation {
    Violation::DataOrder { pdu, offset, expected }
}

fn beyond(pdu: PduType, offset: u32, length: u32, limit: u32) -> Violation {
    Violation::DataRange { pdu, offset, length, limit }
}

#[test]
fn hostile_headers() {
    // Type, flags, HLEN, PDO, PLEN and the rest of a header with what has to be found wrong in it.
    let digests = Digests::BOTH;
    let cases: &[(&str, [u8; 4], u32, Fes, u32)] = &[
        ("no such type", [0x08, 0, 24, 0], 24, Fes::InvalidHeaderField, 0),
        ("no such type either", [0x0a, 0, 24, 0], 24, Fes::InvalidHeaderField, 0),
        ("nor this one", [0xff, 0, 24, 0], 24, Fes::InvalidHeaderField, 0),
        ("a command for the host", [0x04, 1, 72, 0], 76, Fes::InvalidHeaderField, 0),
        ("data for the controller", [0x06, 3, 24, 28], 36, Fes::InvalidHeaderField, 0),
        ("ICReq to a host", [0x00, 0, 128, 0], 128, Fes::InvalidHeaderField, 0),
        ("ICResp again", [0x01, 0, 128, 0], 128, Fes::SequenceError, 0),
        ("a header of 255 bytes", [0x07, 3, 255, 28], 400, Fes::InvalidHeaderField, 2),
        ("a header of 255 bytes for a response", [0x05, 1, 255, 0], 28, Fes::InvalidHeaderField, 2),
        ("no header", [0x07, 3, 0, 28], 36, Fes::InvalidHeaderField, 2),
        ("an empty PDU", [0x05, 1, 24, 0], 0, Fes::InvalidHeaderField, 4),
        ("half a common header", [0x09, 1, 24, 0], 7, Fes::InvalidHeaderField, 4),
        ("a common header only", [0x09, 1, 24, 0], 8, Fes::InvalidHeaderField, 4),
        ("a response of 4 GiB", [0x05, 1, 24, 0], u32::MAX, Fes::InvalidHeaderField, 4),
        ("a response that is one longer", [0x05, 1, 24, 0], 29, Fes::InvalidHeaderField, 4),
        ("no header digest", [0x05, 0, 24, 0], 24, Fes::InvalidHeaderField, 1),
        ("no data digest", [0x07, 1, 24, 28], 36, Fes::InvalidHeaderField, 1),
        ("SUCCESS that is not the last", [0x07, 3 | 8, 24, 28], 36, Fes::InvalidHeaderField, 1),
        ("data within the header", [0x07, 3, 24, 24], 36, Fes::InvalidHeaderField, 3),
        ("data that is not aligned", [0x07, 3, 24, 30], 36, Fes::InvalidHeaderField, 3),
        ("data beyond the PDU", [0x07, 3, 24, 200], 36, Fes::InvalidHeaderField, 4),
        ("a digest and no data", [0x07, 3, 24, 28], 32, Fes::InvalidHeaderField, 4),
        ("a short C2HTermReq", [0x03, 0, 24, 0], 23, Fes::InvalidHeaderField, 4),
        ("a long C2HTermReq", [0x03, 0, 24, 0], 153, Fes::InvalidHeaderField, 4),
    ];
    for (name, [kind, flags, hlen, pdo], plen, fes, fei) in cases {
        let (mut peer, _) = busy(digests);
        let mut bytes = vec![*kind, *flags, *hlen, *pdo];
        bytes.extend_from_slice(&plen.to_le_bytes());
        bytes.resize(400, 0);
        peer.feed(bytes);
        let QueueState::Ended(QueueError::Violation(violation)) = peer.queue.state() else { panic!("{name}") };
        assert_eq!((violation.fes(), violation.fei()), (*fes, *fei), "{name}: {violation}");
        peer.ends_with(violation, name);
        assert_eq!(std::iter::from_fn(|| peer.queue.poll_completion()).count(), 9, "{name}");
    }
}

#[test]
fn a_wrong_header_digest_and_digests_that_were_not_agreed_on() {
    let (mut peer, cids) = busy(Digests::BOTH);
    let mut bytes = peer.bytes(&respond(cids.flush), &[]);
    bytes[25] ^= 0x40;
    let received = u32::from_le_bytes(bytes[24..28].try_into().unwrap());
    peer.feed(bytes);
    let computed = received ^ 0x4000;
    peer.ends_with(Violation::HeaderDigest { pdu: PduType::CapsuleResp, received, computed }, "digest");

    for flags in [1, 3] {
        let (mut peer, cids) = busy(Digests::NONE);
        let mut bytes = peer.bytes(&c2h(cids.read, 0, 8, false, false), &pattern(8));
        bytes[1] = flags;
        peer.feed(bytes);
        peer.ends_with(Violation::Flags { pdu: PduType::C2hData, flags }, "not agreed on");
    }
}

#[test]
fn hostile_initialisation() {
    let answer = |change: fn(&mut [u8]), host: Digests| {
        let offer = HostOffer { digests: host, ..HostOffer::default() };
        let mut peer = Peer::new(QueueConfig { offer, ..io_config() });
        let [Sent { pdu: Pdu::IcReq(request), .. }] = &peer.sent()[..] else { panic!("no ICReq") };
        let (response, parameters) = peer.offer.answer(request);
        let mut bytes = peer.bytes(&Pdu::IcResp(response), &[]);
        peer.establish(&parameters);
        change(&mut bytes);
        peer.feed(bytes);
        peer
    };
    type Case = (fn(&mut [u8]), Violation);
    let cases: &[Case] = &[
        (|b| b[8] = 1, Violation::FormatVersion(1)),
        (|b| b[10] = 32, Violation::AlignmentRange(32)),
        (|b| b[11] = 0, Violation::DigestsNotAsked(0)),
        (|b| b[11] = 3, Violation::DigestsNotAsked(3)),
        (|b| b[12..16].copy_from_slice(&4092u32.to_le_bytes()), Violation::MaxH2cDataRange(4092)),
        (|b| b[12..16].copy_from_slice(&5001u32.to_le_bytes()), Violation::MaxH2cDataRange(5001)),
        (|b| b[2] = 24, Violation::HeaderLength { pdu: PduType::IcResp, hlen: 24 }),
        (|b| b[4] = 129, Violation::PduLength { pdu: PduType::IcResp, plen: 129 }),
        (|b| b[0] = 5, Violation::OutOfSequence(PduType::CapsuleResp)),
        (|b| b[0] = 7, Violation::OutOfSequence(PduType::C2hData)),
    ];
    for (change, violation) in cases {
        let mut peer = answer(*change, Digests { header: true, data: false });
        peer.ends_with(*violation, &violation.to_string());
    }

    // An answer before the question, and a response to a Connect that was not sent.
    let mut peer = Peer::new(io_config());
    let (response, parameters) = peer.offer.answer(&HostOffer::default().request());
    peer.send(&Pdu::IcResp(response));
    peer.establish(&parameters);
    peer.ends_with(Violation::OutOfSequence(PduType::IcResp), "early");
    let mut peer = Peer::new(io_config());
    peer.sent();
    peer.send(&Pdu::IcResp(response));
    peer.establish(&parameters);
    peer.send(&respond(input::CONNECT_CID));
    peer.ends_with(stranger(PduType::CapsuleResp, input::CONNECT_CID), "early response");
    // R2T and data instead of a response to Connect, which had its data in the capsule.
    for pdu in [r2t(input::CONNECT_CID, 0, 0, 1024), c2h(input::CONNECT_CID, 0, 4, true, true), respond(1)] {
        let mut peer = Peer::new(io_config());
        peer.initialize();
        peer.sent();
        peer.send(&pdu);
        let cid = if matches!(pdu, Pdu::CapsuleResp(_)) { 1 } else { input::CONNECT_CID };
        peer.ends_with(stranger(pdu.pdu_type(), cid), "instead of a response");
    }
}

#[test]
fn nothing_is_taken_in_after_the_end() {
    let (mut peer, cids) = busy(Digests::NONE);
    let wrong = peer.bytes(&c2h(cids.read, 4, 4, false, false), &pattern(4));
    let right = peer.bytes(&respond(cids.flush), &[]);
    peer.feed([wrong, right.clone()].concat());
    peer.feed(right);
    let outcomes: Vec<_> = std::iter::from_fn(|| peer.queue.poll_completion()).map(|c| c.outcome).collect();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Lost { .. })));
    assert_eq!(peer.queue.poll_timeout(), None);
    assert_eq!(peer.queue.room(), 0);
}
