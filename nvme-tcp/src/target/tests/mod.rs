//! A host that speaks to connections of a target, and what it finds.

mod aborts;
mod attach;
mod authentication;
mod changes;
mod fences;
mod fuzz;
mod hostile;
mod io;
mod threads;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zerocopy::IntoBytes;

use super::*;
use crate::Class;
use crate::command::*;
use crate::pdu::*;

pub(super) const BLOCK: usize = 512;
pub(super) const BLOCKS: u64 = 4096;

pub(super) fn nqn(name: &str) -> Nqn {
    Nqn::new(&format!("nqn.2026-01.example:{name}")).unwrap()
}

pub(super) fn subsystem(name: &str) -> Subsystem {
    Subsystem { nqn: nqn(name), serial: "S1".into(), model: "memory".into(), hosts: AllowedHosts::Any }
}

pub(super) fn namespace(nsid: u32) -> Namespace {
    Namespace {
        nsid,
        store: Arc::new(MemoryStore::new(BLOCKS * BLOCK as u64)),
        block_size: BLOCK as u32,
        uuid: [nsid as u8; 16],
        group: 1,
        read_only: false,
    }
}

/// A target with the subsystem `disk`, in which there is namespace 1.
pub(super) fn target_with(config: TargetConfig) -> Arc<Target> {
    let target = Target::new(config).unwrap();
    target.add_subsystem(subsystem("disk")).unwrap();
    target.add_namespace(&nqn("disk"), namespace(1)).unwrap();
    target.add_port(Port { id: 1, address: "0.0.0.0:4420".parse().unwrap() });
    target
}

pub(super) fn target() -> Arc<Target> {
    target_with(TargetConfig::default())
}

/// What a controller sent.
pub(super) type Received = (Pdu, Payload, Option<bool>);

/// A host on one connection.
pub(super) struct Host {
    pub(super) connection: Connection,
    pub(super) backends: Backends,
    pub(super) now: Duration,
    encoder: Encoder,
    decoder: Decoder,
    pub(super) parameters: Parameters,
    pub(super) received: VecDeque<Received>,
    /// Bytes per H2CData.
    pub(super) h2c_length: usize,
    /// R2Ts are answered from the last.
    pub(super) backwards: bool,
    cid: u16,
    generation: u64,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) result: u64,
    pub(super) data: Bytes,
    /// None if C2HData stood for it.
    pub(super) cqe: Option<Cqe>,
}

impl Answer {
    pub(super) fn code(&self) -> StatusCode {
        self.status.code
    }

    #[track_caller]
    pub(super) fn expect(self, code: StatusCode) -> Self {
        assert_eq!(self.code(), code);
        self
    }

    #[track_caller]
    pub(super) fn ok(self) -> Self {
        self.expect(StatusCode::Success)
    }
}

impl Host {
    /// A connection before ICReq.
    pub(super) fn new(target: &Arc<Target>) -> Self {
        let settings = ConnectionSettings { id: 7, port: 1, local: Some("192.0.2.1".parse().unwrap()) };
        let connection = Connection::new(Arc::clone(target), settings, Duration::ZERO);
        Self {
            connection,
            backends: Backends::new(Arc::clone(target)),
            now: Duration::ZERO,
            encoder: Encoder::new(Role::Host),
            decoder: Decoder::new(Role::Host),
            parameters: Parameters {
                digests: Digests::NONE,
                host_alignment: Alignment::DWORD,
                controller_alignment: Alignment::DWORD,
                max_r2t: 1,
                max_h2c_data: 4096,
            },
            received: VecDeque::new(),
            h2c_length: 4096,
            backwards: false,
            cid: 0xf000,
            generation: target.generation(),
        }
    }

    /// A connection after ICResp.
    pub(super) fn initialized(target: &Arc<Target>, offer: HostOffer) -> Self {
        let mut host = Self::new(target);
        host.send(&Pdu::IcReq(offer.request()), &[]);
        let Some((Pdu::IcResp(response), ..)) = host.received.pop_front() else { panic!("no ICResp") };
        host.parameters = offer.accept(&response).unwrap();
        host.encoder.establish(&host.parameters);
        host.decoder.establish(&host.parameters);
        host
    }

    /// The admin queue of an enabled controller, and its number.
    pub(super) fn admin(target: &Arc<Target>) -> (Self, u16) {
        Self::admin_of(target, &nqn("disk"))
    }

    pub(super) fn admin_of(target: &Arc<Target>, subsystem: &Nqn) -> (Self, u16) {
        let mut host = Self::initialized(target, HostOffer::default());
        let data = ConnectData::new([1; 16], ANY_CONTROLLER, subsystem, &nqn("host"));
        let controller = host.connect(0, 32, &data).ok().result as u16;
        host.set(Property::Configuration, 0x46_0001).ok();
        assert_eq!(host.get(Property::Status), 1);
        (host, controller)
    }

    /// An I/O queue of a controller.
    pub(super) fn io(target: &Arc<Target>, controller: u16, queue: u16, offer: HostOffer) -> Self {
        let mut host = Self::initialized(target, offer);
        let data = ConnectData::new([1; 16], controller, &nqn("disk"), &nqn("host"));
        host.connect(queue, 128, &data).ok();
        host
    }

    pub(super) fn connect(&mut self, queue: u16, entries: u32, data: &ConnectData) -> Answer {
        let connect = Connect { queue, entries, attributes: ConnectAttributes::default(), keep_alive: 0 };
        self.run(FabricsCommand::Connect(connect).to_sqe(), data.as_bytes())
    }

    pub(super) fn set(&mut self, property: Property, value: u64) -> Answer {
        let command = FabricsCommand::PropertySet { offset: property as u32, size: property.size(), value };
        self.run(command.to_sqe(), &[])
    }

    pub(super) fn get(&mut self, property: Property) -> u64 {
        let command = FabricsCommand::PropertyGet { offset: property as u32, size: property.size() };
        self.run(command.to_sqe(), &[]).ok().result
    }

    pub(super) fn identify(&mut self, cns: u8, nsid: u32) -> Answer {
        let identify = AdminCommand::Identify(Identify { cns, controller: 0, command_set: 0 });
        self.run(identify.to_sqe(nsid).with_sgl(Sgl::transport(4096)), &[])
    }

    pub(super) fn log(&mut self, page: u8, offset: u64, length: u64) -> Answer {
        let get = GetLogPage { page, specific: 0, retain_event: false, length, offset };
        self.run(AdminCommand::GetLogPage(get).to_sqe(0xffff_ffff).with_sgl(Sgl::transport(length as u32)), &[])
    }

    pub(super) fn set_feature(&mut self, feature: u8, value: u32) -> Answer {
        self.run(AdminCommand::SetFeatures { feature, save: false, value }.to_sqe(0), &[])
    }

    pub(super) fn read(&mut self, start: u64, count: u32) -> Answer {
        let command = IoCommand::Read { range: BlockRange { start, count }, force_unit_access: false };
        self.run(command.to_sqe(1).with_sgl(Sgl::transport(count * BLOCK as u32)), &[])
    }

    /// Writes in the capsule.
    pub(super) fn write(&mut self, start: u64, data: &[u8]) -> Answer {
        let range = BlockRange { start, count: (data.len() / BLOCK) as u32 };
        let command = IoCommand::Write { range, force_unit_access: false };
        self.run(command.to_sqe(1).with_sgl(Sgl::in_capsule(data.len() as u32)), data)
    }

    /// Writes what the controller asks for.
    pub(super) fn write_by_r2t(&mut self, start: u64, data: &[u8]) -> Answer {
        let range = BlockRange { start, count: (data.len() / BLOCK) as u32 };
        let command = IoCommand::Write { range, force_unit_access: false };
        self.run(command.to_sqe(1).with_sgl(Sgl::transport(data.len() as u32)), data)
    }

    /// Sends a command and sees it through.
    #[track_caller]
    pub(super) fn run(&mut self, sqe: Sqe, data: &[u8]) -> Answer {
        let cid = self.submit(sqe, data);
        self.finish(cid, data).expect("the command ends")
    }

    /// Sends a command, with its data if that belongs in the capsule.
    pub(super) fn submit(&mut self, mut sqe: Sqe, data: &[u8]) -> u16 {
        self.cid = self.cid.wrapping_add(1);
        sqe.cid = self.cid.into();
        let data = if sqe.sgl.placement() == Some(Placement::InCapsule) { data } else { &[] };
        let capsule = CapsuleCmd { sqe, data_len: data.len() as u32 };
        self.send(&Pdu::CapsuleCmd(capsule), data);
        self.cid
    }

    /// Takes what there is for a command, and answers its R2Ts. None if it does not end.
    pub(super) fn finish(&mut self, cid: u16, outgoing: &[u8]) -> Option<Answer> {
        let mut data = vec![0; 0];
        loop {
            let is_r2t = |received: &Received| matches!(&received.0, Pdu::R2t(r2t) if r2t.cccid == cid);
            if self.backwards
                && let Some(last) = self.received.iter().rposition(is_r2t)
            {
                let r2t = self.received.remove(last).unwrap();
                self.received.push_front(r2t);
            }
            let index = self.received.iter().position(|(pdu, ..)| match pdu {
                Pdu::R2t(r2t) => r2t.cccid == cid,
                Pdu::C2hData(header) => header.cccid == cid,
                Pdu::CapsuleResp(capsule) => capsule.cqe.cid.get() == cid,
                other => panic!("unexpected {other:?}"),
            })?;
            let (pdu, payload, intact) = self.received.remove(index).unwrap();
            match pdu {
                Pdu::R2t(r2t) => self.answer_r2t(&r2t, outgoing),
                Pdu::C2hData(header) => {
                    assert_eq!(intact, Some(true));
                    assert_eq!(header.offset as usize, data.len());
                    data.extend(payload.pieces().flatten());
                    if header.success {
                        return Some(Answer { status: Status::SUCCESS, result: 0, data: data.into(), cqe: None });
                    }
                }
                Pdu::CapsuleResp(CapsuleResp { cqe }) => {
                    let (status, result) = (cqe.status(), cqe.result());
                    return Some(Answer { status, result, data: data.into(), cqe: Some(cqe) });
                }
                _ => unreachable!(),
            }
        }
    }

    pub(super) fn answer_r2t(&mut self, r2t: &R2t, outgoing: &[u8]) {
        let asked = &outgoing[r2t.offset as usize..][..r2t.length as usize];
        let chunks = asked.len().div_ceil(self.h2c_length);
        for (index, chunk) in asked.chunks(self.h2c_length).enumerate() {
            let header = H2cData {
                cccid: r2t.cccid,
                ttag: r2t.ttag,
                offset: r2t.offset + (index * self.h2c_length) as u32,
                length: chunk.len() as u32,
                last: index + 1 == chunks,
            };
            self.send(&Pdu::H2cData(header), chunk);
        }
    }

    pub(super) fn send(&mut self, pdu: &Pdu, data: &[u8]) {
        let bytes = self.encode(pdu, data);
        self.send_raw(bytes);
    }

    pub(super) fn encode(&mut self, pdu: &Pdu, data: &[u8]) -> Vec<u8> {
        let mut pieces = Vec::new();
        let data = (!data.is_empty()).then(|| Bytes::copy_from_slice(data));
        self.encoder.encode_with_data(pdu, data, &mut pieces);
        pieces.concat()
    }

    pub(super) fn send_raw(&mut self, bytes: impl Into<Bytes>) {
        self.connection.receive(self.now, bytes.into());
        self.pump();
    }

    /// Has the connection and its stores do all that they can.
    pub(super) fn pump(&mut self) {
        loop {
            while let Some(submission) = self.connection.poll_submission() {
                self.backends.submit(submission);
            }
            if let Some(completion) = self.backends.poll() {
                self.connection.handle_completion(completion);
                continue;
            }
            self.take_output();
            if !self.connection.has_submissions() {
                break;
            }
        }
    }

    pub(super) fn take_output(&mut self) {
        let mut pieces = Vec::new();
        while let Some(transmit) = self.connection.poll_transmit(&mut pieces) {
            let mut bytes = Bytes::from(pieces.concat());
            pieces.clear();
            assert_eq!(bytes.len(), transmit.length);
            while let Some(event) = self.decoder.decode(&mut bytes).expect("the controller keeps to the protocol") {
                match event {
                    Event::Pdu(pdu) => self.received.push_back((pdu, Payload::new(), None)),
                    Event::Data(piece) => self.received.back_mut().unwrap().1.push(piece),
                    Event::DataEnd { intact } => self.received.back_mut().unwrap().2 = Some(intact),
                }
            }
            let data = matches!(self.received.back(), Some((Pdu::C2hData(_), ..)));
            assert_eq!(transmit.class, if data { Class::Bulk } else { Class::Latency });
        }
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.connection.poll_timeout().filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            self.connection.handle_timeout(self.now);
        }
        self.now = end;
        self.pump();
    }

    /// Looks at the target again, if there is reason to.
    pub(super) fn look(&mut self, target: &Target) {
        if target.generation() != self.generation {
            self.generation = target.generation();
            self.connection.handle_change();
            self.pump();
        }
    }

    /// The TermReq that ended the connection.
    #[track_caller]
    pub(super) fn termination(&mut self) -> TermReq {
        match self.received.pop_front() {
            Some((Pdu::C2hTermReq(request), ..)) => {
                assert_eq!(self.connection.state(), ConnectionState::Closing);
                request
            }
            other => panic!("no C2HTermReq but {other:?}, {:?}", self.connection.close_reason()),
        }
    }
}
