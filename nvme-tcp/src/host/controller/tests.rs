//! A controller's life against a scripted one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::command::{
    AdminOpcode, AnaGroup, AnaHeader, AnaState, Configuration, Cqe, DiscoveryEntry, DiscoveryHeader, FABRICS,
    FabricsCommand, IDENTIFY_LEN, IdentifyNamespace, LbaFormat, NamespaceId, Nqn, Placement, Property, Shutdown, Sqe,
    StatusCode, SubsystemType, cmic, cns, fid, lid,
};
use crate::host::{Data, HostIdentity, QueueError};
use crate::pdu::{C2hData, CapsuleResp, ControllerOffer, Decoder, Encoder, Event, Pdu, Role};

const START: Duration = Duration::from_secs(50);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn identity() -> HostIdentity {
    HostIdentity {
        host_id: [7; 16],
        host: Nqn::new("nqn.2026-01.example:host").unwrap(),
        subsystem: Nqn::new("nqn.2026-01.example:disk").unwrap(),
    }
}

fn namespace(blocks: u64, group: u32) -> IdentifyNamespace {
    let mut identify = IdentifyNamespace::new_zeroed();
    identify.nsze = blocks.into();
    identify.lbaf[0] = LbaFormat { ms: 0.into(), lbads: 12, rp: 0 };
    identify.nmic = 1;
    identify.anagrpid = group.into();
    identify
}

/// What the scripted controller has, and what it was asked.
struct Model {
    identify: Box<IdentifyController>,
    /// CSTS, each time that it is read; then the last one.
    status: Vec<u32>,
    namespaces: BTreeMap<u32, IdentifyNamespace>,
    ana: Vec<(u32, AnaState)>,
    discovery: Vec<u8>,
    granted: u32,
    /// Statuses of commands, by opcode and lowest byte of CDW10.
    failures: BTreeMap<(u8, u8), Status>,
    events: Vec<u16>,
    asked: Vec<String>,
    /// Answers anything, as often as this says.
    nonsense: Option<(StdRng, usize)>,
}

impl Model {
    fn new() -> Self {
        let mut identify = Box::new(IdentifyController::new_zeroed());
        identify.cntlid = 5.into();
        identify.kas = 10.into();
        identify.aerl = 3;
        identify.oaes = (1u32 << 8 | 1 << 11 | 1 << 31).into();
        identify.sgls = 1.into();
        identify.ioccsz = 260.into();
        identify.iorcsz = 1.into();
        identify.nn = 32.into();
        identify.mnan = 32.into();
        identify.nanagrpid = 4.into();
        identify.anatt = 10;
        identify.mdts = 5;
        identify.maxcmd = 64.into();
        Self {
            identify,
            status: vec![0, 0, 1],
            namespaces: [(1, namespace(1000, 1)), (3, namespace(2000, 2))].into(),
            ana: vec![(1, AnaState::Optimized), (2, AnaState::NonOptimized)],
            discovery: Vec::new(),
            granted: 8,
            failures: BTreeMap::new(),
            events: Vec::new(),
            asked: Vec::new(),
            nonsense: None,
        }
    }

    /// An answer that may be right, may be somewhat wrong, and may be anything.
    fn answer_anything(&mut self, sqe: &Sqe) -> Option<(Status, u64, Vec<u8>)> {
        let (mut rng, left) = self.nonsense.take()?;
        if left == 0 {
            self.nonsense = Some((rng, 0));
            return None;
        }
        let (status, result, mut data) = self.answer(sqe).unwrap_or((Status::SUCCESS, rng.random(), Vec::new()));
        if sqe.sgl.placement() == Some(Placement::Transport) {
            data.resize(sqe.sgl.length.get() as usize, 0);
        }
        let answer = match rng.random_range(0..20) {
            0 => (Status::from_wire(rng.random()), rng.random(), data),
            1 => {
                rng.fill_bytes(&mut data);
                (status, result, data)
            }
            2 => (status, rng.random(), data),
            3 | 4 if !data.is_empty() => {
                let at = rng.random_range(0..data.len());
                data[at] = rng.random();
                (status, result, data)
            }
            _ => (status, result, data),
        };
        self.nonsense = Some((rng, left - 1));
        Some(answer)
    }

    fn with_ana(mut self) -> Self {
        self.identify.cmic = cmic::ANA;
        self
    }

    /// Status, result and data with which a command completes; None if it does not.
    fn answer(&mut self, sqe: &Sqe) -> Option<(Status, u64, Vec<u8>)> {
        if sqe.opcode == FABRICS {
            return Some(self.answer_fabrics(sqe));
        }
        let low = sqe.cdw10.get() as u8;
        self.asked.push(format!("{:?} {low:#04x}", AdminOpcode::from_byte(sqe.opcode).unwrap()));
        if let Some(status) = self.failures.get(&(sqe.opcode, low)) {
            return Some((*status, 0, Vec::new()));
        }
        let padded = |bytes: &[u8], length: usize| {
            let mut data = bytes.to_vec();
            data.resize(length, 0);
            data
        };
        let mut result = 0;
        let data = match AdminCommand::parse(sqe).unwrap() {
            AdminCommand::Identify(identify) => match identify.cns {
                cns::CONTROLLER => self.identify.as_bytes().to_vec(),
                cns::ACTIVE_NAMESPACES => {
                    let after = sqe.nsid.get();
                    let list: Vec<u8> = self
                        .namespaces
                        .range(after + 1..)
                        .take(1024)
                        .flat_map(|(nsid, _)| nsid.to_le_bytes())
                        .collect();
                    padded(&list, IDENTIFY_LEN)
                }
                cns::NAMESPACE => self.namespaces.get(&sqe.nsid.get()).map_or(vec![0; 4096], |n| n.as_bytes().to_vec()),
                cns::NAMESPACE_IDS => {
                    padded(&NamespaceId::list(&[NamespaceId::Uuid([sqe.nsid.get() as u8; 16])]), IDENTIFY_LEN)
                }
                _ => vec![0; IDENTIFY_LEN],
            },
            AdminCommand::GetLogPage(get) => match get.page {
                lid::ANA => {
                    let mut log = AnaHeader::new(1, self.ana.len() as u16).as_bytes().to_vec();
                    for (group, state) in &self.ana {
                        log.extend_from_slice(AnaGroup::new(*group, 0, 1, *state).as_bytes());
                    }
                    padded(&log, get.length as usize)
                }
                lid::DISCOVERY => {
                    let begin = (get.offset as usize).min(self.discovery.len());
                    let end = (begin + get.length as usize).min(self.discovery.len());
                    padded(&self.discovery[begin..end], get.length as usize)
                }
                _ => vec![0; get.length as usize],
            },
            AdminCommand::SetFeatures { feature: fid::NUMBER_OF_QUEUES, .. } => {
                result = crate::command::QueueCounts::pairs(self.granted).bits().into();
                Vec::new()
            }
            AdminCommand::AsyncEventRequest => {
                self.events.push(sqe.cid.get());
                return None;
            }
            _ => Vec::new(),
        };
        Some((Status::SUCCESS, result, data))
    }

    fn answer_fabrics(&mut self, sqe: &Sqe) -> (Status, u64, Vec<u8>) {
        let result = match FabricsCommand::parse(sqe).unwrap() {
            FabricsCommand::Connect(_) => 5,
            FabricsCommand::PropertyGet { offset, .. } => match Property::from_offset(offset).unwrap() {
                Property::Capabilities => {
                    Capabilities { max_queue_entries: 100, timeout: 1, ..Capabilities::from_bits(1 << 37) }.bits()
                }
                Property::Status => {
                    self.asked.push("CSTS".into());
                    u64::from(if self.status.len() > 1 { self.status.remove(0) } else { self.status[0] })
                }
                Property::Version => 0x0001_0400,
                _ => 0,
            },
            FabricsCommand::PropertySet { offset, value, .. } => {
                assert_eq!(offset, Property::Configuration as u32);
                self.asked.push(format!("CC {value:#x}"));
                if Configuration::from_bits(value as u32).shutdown == Shutdown::Normal {
                    self.status = vec![0b0101, 0b1001];
                }
                0
            }
            _ => 0,
        };
        (Status::SUCCESS, result, Vec::new())
    }
}

struct Pair {
    controller: Controller,
    model: Model,
    encoder: Encoder,
    decoder: Decoder,
    now: Duration,
    /// Whether the model still answers.
    answers: bool,
}

impl Pair {
    fn new(config: ControllerConfig, model: Model) -> Self {
        Self {
            controller: Controller::new(config, START),
            model,
            encoder: Encoder::new(Role::Controller),
            decoder: Decoder::new(Role::Controller),
            now: START,
            answers: true,
        }
    }

    /// A pair that has run until the controller is ready.
    fn ready(config: ControllerConfig, model: Model) -> Self {
        let mut pair = Self::new(config, model);
        pair.run_until(START + ms(1000));
        assert!(matches!(pair.event(), Some(ControllerEvent::Ready)), "{:?}", pair.controller.stage);
        assert!(pair.event().is_none());
        pair.model.asked.clear();
        pair
    }

    fn event(&mut self) -> Option<ControllerEvent> {
        self.controller.poll_event()
    }

    fn ended(&mut self) -> ControllerError {
        loop {
            match self.event().expect("an end") {
                ControllerEvent::Ended(error) => return error,
                ControllerEvent::Ready => panic!("ready"),
                _ => {}
            }
        }
    }

    fn send(&mut self, pdu: &Pdu, data: &[u8]) {
        let mut out = Vec::new();
        let data = Some(Bytes::copy_from_slice(data)).filter(|data| !data.is_empty());
        self.encoder.encode_with_data(pdu, data, &mut out);
        self.controller.receive(&mut Bytes::from(out.concat()), self.now);
    }

    /// Exchanges everything that can be exchanged without time passing.
    fn exchange(&mut self) {
        let mut out = Vec::new();
        while self.controller.poll_transmit(&mut out).is_some() {
            let mut stream = Bytes::from(std::mem::take(&mut out).concat());
            while let Some(event) = self.decoder.decode(&mut stream).unwrap() {
                let Event::Pdu(pdu) = event else { continue };
                match pdu {
                    _ if !self.answers => {}
                    Pdu::IcReq(request) => {
                        let (response, parameters) = ControllerOffer::default().answer(&request);
                        self.send(&Pdu::IcResp(response), &[]);
                        self.encoder.establish(&parameters);
                        self.decoder.establish(&parameters);
                    }
                    Pdu::CapsuleCmd(capsule) => {
                        let answer = match self.model.nonsense {
                            Some(_) => self.model.answer_anything(&capsule.sqe),
                            None => self.model.answer(&capsule.sqe),
                        };
                        let Some((status, result, data)) = answer else { continue };
                        let cccid = capsule.sqe.cid.get();
                        if !data.is_empty() {
                            let length = data.len() as u32;
                            assert_eq!(capsule.sqe.sgl.length.get(), length);
                            let c2h = C2hData { cccid, offset: 0, length, last: true, success: false };
                            self.send(&Pdu::C2hData(c2h), &data);
                        }
                        let cqe = Cqe::new(cccid, status).with_result(result);
                        self.send(&Pdu::CapsuleResp(CapsuleResp { cqe }), &[]);
                    }
                    Pdu::H2cTermReq(_) if self.model.nonsense.is_some() => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn run_until(&mut self, end: Duration) {
        loop {
            self.exchange();
            match self.controller.poll_timeout() {
                Some(due) if due <= end => {
                    self.now = due.max(self.now);
                    self.controller.handle_timeout(self.now);
                }
                _ => break,
            }
        }
        self.now = end;
        self.exchange();
    }

    fn tell(&mut self, event: AsyncEvent) {
        let cid = self.model.events.remove(0);
        let cqe = Cqe::new(cid, Status::SUCCESS).with_result(event.bits().into());
        self.send(&Pdu::CapsuleResp(CapsuleResp { cqe }), &[]);
        self.exchange();
    }
}

fn config() -> ControllerConfig {
    ControllerConfig::new(identity(), 4)
}

#[test]
fn from_connect_to_ready() {
    let mut pair = Pair::new(config(), Model::new().with_ana());
    pair.run_until(START + ms(19));
    assert!(pair.event().is_none());
    pair.run_until(START + ms(21));
    assert!(matches!(pair.event(), Some(ControllerEvent::Ready)));
    let expected = [
        "CC 0x460001",
        "CSTS",
        "CSTS",
        "CSTS",
        "Identify 0x01",
        "Identify 0x06",
        "SetFeatures 0x07",
        "SetFeatures 0x0b",
        "GetLogPage 0x0c",
        "AsyncEventRequest 0x00",
        "AsyncEventRequest 0x00",
        "AsyncEventRequest 0x00",
        "AsyncEventRequest 0x00",
        "Identify 0x02",
        "Identify 0x00",
        "Identify 0x03",
        "Identify 0x00",
        "Identify 0x03",
    ];
    assert_eq!(pair.model.asked, expected);
    let controller = &pair.controller;
    assert!(controller.is_ready());
    assert_eq!((controller.id(), controller.io_queues()), (5, 4));
    assert_eq!(controller.version().unwrap().minor, 4);
    assert_eq!(controller.max_transfer(), Some(128 * 1024));
    let sizes: Vec<_> = controller.namespaces().iter().map(|(nsid, ns)| (*nsid, ns.blocks, ns.ana_group)).collect();
    assert_eq!(sizes, [(1, 1000, 1), (3, 2000, 2)]);
    assert_eq!(controller.namespaces()[&3].identifiers, [NamespaceId::Uuid([3; 16])]);
    assert_eq!(controller.ana().state(2), AnaState::NonOptimized);
    let io = controller.io_queue(2);
    assert_eq!((io.id, io.controller, io.in_capsule_data), (2, 5, 4096));
    assert_eq!(io.entries, 65, "as many as commands may be outstanding, and one");
}

#[test]
fn an_admin_connection_looks_for_no_namespaces() {
    let pair = Pair::ready(ControllerConfig::new(identity(), 0), Model::new());
    assert!(pair.controller.namespaces().is_empty());
    assert_eq!(pair.controller.io_queues(), 0);
}

#[test]
fn controllers_that_cannot_be_used() {
    type Case = (fn(&mut IdentifyController), Defect);
    let cases: &[Case] = &[
        (|i| i.cntlid = 6.into(), Defect::ControllerId { identify: 6, connect: 5 }),
        (|i| i.kas = 0.into(), Defect::NoKeepAlive),
        (|i| i.ioccsz = 3.into(), Defect::CommandCapsule(48)),
        (|i| i.iorcsz = 0.into(), Defect::ResponseCapsule),
        (|i| i.icdoff = 1.into(), Defect::InCapsuleOffset(16)),
        (|i| i.sgls = (1 << 20).into(), Defect::NoSgls),
        (|i| (i.cmic, i.mnan) = (cmic::ANA, 0.into()), Defect::NamespaceCount { mnan: 0, nn: 32 }),
        (|i| (i.cmic, i.mnan) = (cmic::ANA, 33.into()), Defect::NamespaceCount { mnan: 33, nn: 32 }),
        (|i| i.cntrltype = 2, Defect::ControllerType(2)),
    ];
    for (change, defect) in cases {
        let mut model = Model::new();
        change(&mut model.identify);
        let mut pair = Pair::new(config(), model);
        pair.run_until(START + ms(1000));
        let error = pair.ended();
        assert_eq!(error, ControllerError::Defect(*defect));
        assert!(error.is_final());
        assert_eq!(pair.controller.poll_timeout(), None);
    }
}

#[test]
fn controllers_that_do_not_become_ready() {
    let mut pair = Pair::new(config(), Model { status: vec![0], ..Model::new() });
    pair.run_until(START + ms(999));
    assert!(pair.event().is_none());
    pair.run_until(START + ms(1010));
    assert_eq!(pair.ended(), ControllerError::NotReady);

    let mut pair = Pair::new(config(), Model { status: vec![0, 2], ..Model::new() });
    pair.run_until(START + ms(100));
    assert_eq!(pair.ended(), ControllerError::Fatal);

    let mut pair = Pair::new(config(), Model::new());
    pair.answers = false;
    pair.run_until(START + Duration::from_secs(10));
    assert_eq!(pair.ended(), ControllerError::Queue(QueueError::ConnectTimeout));
}

#[test]
fn commands_that_may_fail_and_those_that_may_not() {
    let identify = AdminOpcode::Identify as u8;
    let set = AdminOpcode::SetFeatures as u8;
    let refused = Status::from(StatusCode::InvalidField);
    for key in [(identify, cns::COMMAND_SET_CONTROLLER), (set, fid::ASYNC_EVENTS), (identify, cns::NAMESPACE_IDS)] {
        let pair = Pair::ready(config(), Model { failures: [(key, refused)].into(), ..Model::new() });
        assert_eq!(pair.controller.namespaces().len(), 2);
        assert_eq!(pair.model.events.is_empty(), key == (set, fid::ASYNC_EVENTS));
    }
    let failures = [((identify, cns::NAMESPACE), refused)].into();
    let pair = Pair::ready(config(), Model { failures, ..Model::new() });
    assert_eq!(pair.controller.unusable_namespaces()[&3], Unusable::NotDescribed);

    for (key, what) in [
        ((identify, cns::CONTROLLER), "Identify Controller"),
        ((set, fid::NUMBER_OF_QUEUES), "asking for I/O queues"),
        ((identify, cns::ACTIVE_NAMESPACES), "listing namespaces"),
        ((AdminOpcode::GetLogPage as u8, lid::ANA), "reading the ANA log"),
    ] {
        let mut pair = Pair::new(config(), Model { failures: [(key, refused)].into(), ..Model::new().with_ana() });
        pair.run_until(START + ms(1000));
        assert_eq!(pair.ended(), ControllerError::Command { what, status: refused });
    }

    // What may succeed later is tried again, but not for ever.
    let later = Status::from(StatusCode::InternalError);
    let key = (identify, cns::CONTROLLER);
    let mut pair = Pair::new(config(), Model { failures: [(key, later)].into(), ..Model::new() });
    pair.run_until(START + ms(35));
    pair.model.failures.clear();
    pair.run_until(START + ms(100));
    assert!(matches!(pair.event(), Some(ControllerEvent::Ready)));
    let mut pair = Pair::new(config(), Model { failures: [(key, later)].into(), ..Model::new() });
    pair.run_until(START + ms(1000));
    assert_eq!(pair.ended(), ControllerError::Command { what: "Identify Controller", status: later });
    assert_eq!(pair.model.asked.iter().filter(|asked| *asked == "Identify 0x01").count(), 4);
}

#[test]
fn keep_alive() {
    let mut pair = Pair::ready(config(), Model::new());
    pair.run_until(START + Duration::from_secs(26));
    assert_eq!(pair.model.asked, ["KeepAlive 0x00"; 10]);

    pair.answers = false;
    pair.run_until(pair.now + Duration::from_secs(8));
    assert_eq!(pair.ended(), ControllerError::KeepAliveTimeout);

    let mut pair = Pair::ready(config(), Model::new());
    let failures = [((AdminOpcode::KeepAlive as u8, 0), StatusCode::KeepAliveExpired.into())];
    pair.model.failures = failures.into();
    pair.run_until(pair.now + Duration::from_secs(3));
    assert!(matches!(pair.ended(), ControllerError::Command { what: "Keep Alive", .. }));
}

#[test]
fn namespaces_that_come_change_and_go() {
    let mut pair = Pair::ready(config(), Model::new());
    pair.model.namespaces = [(1, namespace(1500, 1)), (7, namespace(10, 1))].into();
    pair.tell(AsyncEvent::NAMESPACES_CHANGED);
    assert!(matches!(pair.event(), Some(ControllerEvent::NamespacesChanged)));
    let blocks: Vec<_> = pair.controller.namespaces().iter().map(|(nsid, ns)| (*nsid, ns.blocks)).collect();
    assert_eq!(blocks, [(1, 1500), (7, 10)]);
    assert!(pair.model.asked.contains(&"GetLogPage 0x04".into()), "only this lets the event come again");
    assert_eq!(pair.model.events.len(), 4, "as many requests are outstanding as before");

    pair.tell(AsyncEvent::NAMESPACES_CHANGED);
    assert!(pair.event().is_none(), "nothing has changed");
    pair.model.namespaces.get_mut(&7).unwrap().nuse = 5.into();
    pair.tell(AsyncEvent::NAMESPACES_CHANGED);
    assert!(pair.event().is_none(), "it is the same with more data");
    assert_eq!(pair.controller.namespaces()[&7].used, 5);
    pair.tell(AsyncEvent::from_bits(0x0002_0101));
    assert!(matches!(pair.event(), Some(ControllerEvent::AsyncEvent(AsyncEvent { log_page: 2, .. }))));
}

#[test]
fn namespaces_that_go_while_they_are_looked_at() {
    let gone = Status::from(StatusCode::InvalidNamespace);
    for cns in [cns::NAMESPACE, cns::NAMESPACE_IDS] {
        for status in [gone, Status { do_not_retry: false, ..gone }] {
            let mut pair = Pair::ready(config(), Model::new());
            pair.model.failures = [((AdminOpcode::Identify as u8, cns), status)].into();
            pair.tell(AsyncEvent::NAMESPACES_CHANGED);
            pair.run_until(pair.now + ms(200));
            assert!(matches!(pair.event(), Some(ControllerEvent::NamespacesChanged)));
            assert!(pair.controller.namespaces().is_empty() && pair.controller.unusable_namespaces().is_empty());
        }
    }
}

#[test]
fn lists_of_namespaces() {
    let namespaces: BTreeMap<u32, IdentifyNamespace> = (1..=1500).map(|nsid| (nsid * 2, namespace(8, 1))).collect();
    let pair = Pair::ready(config(), Model { namespaces, ..Model::new() });
    assert_eq!(pair.controller.namespaces().len(), 1500);

    // One that goes in a circle has no end.
    let mut pair = Pair::new(config(), Model::new());
    pair.run_until(START + ms(5));
    let mut scan = step::Scan::default();
    scan.to_do.push(9);
    let list: Vec<u8> = [10u32, 11, 11].iter().flat_map(|nsid| nsid.to_le_bytes()).collect();
    pair.controller.step = Some(Step::ActiveNamespaces { after: 9, scan });
    pair.controller.on_step(Status::SUCCESS, 0, Bytes::from(list).into(), START);
    assert_eq!(pair.ended(), ControllerError::Defect(Defect::NamespaceOrder));
}

#[test]
fn ana_changes() {
    let mut pair = Pair::ready(config(), Model::new().with_ana());
    pair.model.ana[0].1 = AnaState::Change;
    pair.tell(AsyncEvent::ANA_CHANGED);
    assert!(matches!(pair.event(), Some(ControllerEvent::AnaChanged)));
    assert_eq!(pair.controller.ana().state(1), AnaState::Change);
    pair.run_until(pair.now + Duration::from_secs(9));
    pair.model.ana[0].1 = AnaState::Inaccessible;
    pair.tell(AsyncEvent::ANA_CHANGED);
    assert_eq!(pair.controller.ana().state(1), AnaState::Inaccessible);
    pair.run_until(pair.now + Duration::from_secs(60));
    assert!(pair.controller.is_ready());

    while pair.event().is_some() {}
    pair.controller.refresh_ana(pair.now);
    pair.exchange();
    assert!(matches!(pair.event(), Some(ControllerEvent::AnaChanged)), "it was asked for");

    // A change that does not end within ANATT, whatever else is told meanwhile.
    pair.model.ana[0].1 = AnaState::Change;
    pair.tell(AsyncEvent::ANA_CHANGED);
    pair.run_until(pair.now + Duration::from_secs(6));
    pair.tell(AsyncEvent::ANA_CHANGED);
    pair.run_until(pair.now + Duration::from_secs(5));
    assert_eq!(pair.ended(), ControllerError::AnaTransition);
}

#[test]
fn event_requests_that_the_controller_does_not_take() {
    let mut pair = Pair::ready(config(), Model::new());
    let cid = pair.model.events.remove(0);
    let cqe = Cqe::new(cid, StatusCode::AsyncEventLimitExceeded.into());
    pair.send(&Pdu::CapsuleResp(CapsuleResp { cqe }), &[]);
    pair.exchange();
    assert_eq!(pair.model.events.len(), 3);
    assert!(pair.model.asked.is_empty(), "it is not asked again");
}

fn discovery_log(generation: u64, count: u8) -> Vec<u8> {
    let mut log = DiscoveryHeader::new(generation, count.into()).as_bytes().to_vec();
    for index in 0..count {
        let address = SocketAddr::from(([10, 0, 0, index], 4420));
        let entry = DiscoveryEntry::tcp(SubsystemType::Nvm, 1, address, &identity().subsystem);
        log.extend_from_slice(entry.as_bytes());
    }
    log
}

#[test]
fn discovery() {
    let mut model = Model { discovery: discovery_log(4, 6), ..Model::new() };
    (model.identify.kas, model.identify.ioccsz, model.identify.cntrltype) = (0.into(), 0.into(), 2);
    let config = ControllerConfig::persistent_discovery(identity(), Duration::from_secs(30));
    let mut pair = Pair::ready(config, model);
    let log = pair.controller.discovery_log().unwrap();
    assert_eq!((log.generation, log.records.len()), (4, 6));
    assert_eq!(log.records[5].address, "10.0.0.5");
    assert_eq!(pair.model.events.len(), 1);
    pair.model.discovery = discovery_log(5, 1);
    pair.tell(AsyncEvent::DISCOVERY_CHANGED);
    assert!(matches!(pair.event(), Some(ControllerEvent::DiscoveryChanged)));
    assert_eq!(pair.controller.discovery_log().unwrap().records.len(), 1);

    let mut pair = Pair::new(ControllerConfig::discovery(identity()), Model::new());
    let key = (AdminOpcode::GetLogPage as u8, lid::DISCOVERY);
    pair.model.failures = [(key, StatusCode::DiscoverRestart.into())].into();
    pair.run_until(START + ms(1000));
    assert_eq!(pair.ended(), ControllerError::DiscoveryUnstable);
}

#[test]
fn shutdown() {
    let mut pair = Pair::ready(config(), Model::new());
    pair.controller.shutdown(pair.now);
    pair.run_until(pair.now + ms(5));
    assert!(pair.event().is_none());
    assert_eq!(pair.controller.room(), 0);
    pair.run_until(pair.now + ms(20));
    assert!(matches!(pair.event(), Some(ControllerEvent::ShutDown)));
    assert_eq!(pair.model.asked, ["CC 0x464001", "CSTS", "CSTS"]);
    pair.controller.connection_lost(pair.now);
    assert!(pair.event().is_none(), "that the connection ends now is no error");

    let mut pair = Pair::ready(config(), Model::new());
    pair.controller.shutdown(pair.now);
    pair.exchange();
    pair.model.status = vec![0b0101];
    pair.run_until(pair.now + ms(5100));
    assert_eq!(pair.ended(), ControllerError::ShutdownTimeout);
}

#[test]
fn commands_of_the_caller() {
    let mut pair = Pair::new(config(), Model::new());
    let smart = |token| {
        let get =
            crate::command::GetLogPage { page: lid::SMART, specific: 0, retain_event: false, length: 512, offset: 0 };
        Request::new(AdminCommand::GetLogPage(get).to_sqe(0xffff_ffff), token).receiving(512)
    };
    assert_eq!(pair.controller.submit(smart(1), START).unwrap_err().reason, Refusal::NotReady);
    pair.run_until(START + ms(100));
    assert!(matches!(pair.event(), Some(ControllerEvent::Ready)));
    // However many the caller has outstanding, there is room for Keep Alive and for what events lead to.
    pair.answers = false;
    let mut count = 0;
    while pair.controller.submit(smart(count), pair.now).is_ok() {
        count += 1;
    }
    assert_eq!(count, 31 - 2 - 4);
    assert_eq!(pair.controller.submit(smart(count), pair.now).unwrap_err().reason, Refusal::Full);
    pair.exchange();
    pair.controller.rescan(pair.now);
    assert!(pair.controller.step.is_some());
    pair.controller.handle_timeout(pair.now + Duration::from_secs(3));
    assert_eq!(pair.controller.room(), 0);

    pair.controller.connection_lost(pair.now);
    for token in 0..count {
        let Some(ControllerEvent::Completed(completion)) = pair.event() else { panic!("no completion {token}") };
        assert_eq!(completion.request.token, token);
        assert_eq!(completion.outcome, Outcome::Lost { sent: true });
        assert!(matches!(completion.request.data, Data::Receive { length: 512, .. }));
    }
    assert_eq!(pair.ended(), ControllerError::Queue(QueueError::ConnectionLost));
    assert_eq!(pair.controller.submit(smart(1), pair.now).unwrap_err().reason, Refusal::Ended);
}

#[test]
fn a_controller_that_says_anything() {
    let (mut ready, mut ended) = (0, 0);
    for seed in 0..600 {
        let mut model = Model { discovery: discovery_log(1, 5), ..Model::new().with_ana() };
        model.nonsense = Some((StdRng::seed_from_u64(seed), 400));
        let config = match seed % 3 {
            0 => ControllerConfig::persistent_discovery(identity(), ms(5000)),
            _ => config(),
        };
        let mut pair = Pair::new(config, model);
        pair.run_until(START + Duration::from_secs(20));
        if pair.controller.is_ready() {
            pair.controller.shutdown(pair.now);
        }
        pair.run_until(START + Duration::from_secs(90));
        let (mut ends, mut shut_down) = (0, false);
        while let Some(event) = pair.event() {
            assert_eq!(ends, 0, "seed {seed}: {event:?} after the end");
            match event {
                ControllerEvent::Ready => ready += 1,
                ControllerEvent::Ended(_) => ends += 1,
                ControllerEvent::ShutDown => shut_down = true,
                _ => {}
            }
        }
        assert!(ends == 1 || shut_down, "seed {seed}: {:?}", pair.controller.stage);
        assert!(pair.controller.namespaces().len() + pair.controller.unusable_namespaces().len() <= 5120);
        ended += ends;
    }
    assert!(ready > 60 && ended > 200, "{ready} ready, {ended} ended");
}
