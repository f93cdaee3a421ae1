//! Commands in steady state allocate nothing: the whole way through both codecs, a connection and a store.

mod counting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use counting::allocations;
use nvme_tcp::command::*;
use nvme_tcp::pdu::*;
use nvme_tcp::target::*;
use zerocopy::IntoBytes;

const DEPTH: u16 = 32;

struct Pair {
    connection: Connection,
    backends: Backends,
    encoder: Encoder,
    decoder: Decoder,
    /// What the host sends.
    outgoing: Vec<Bytes>,
    /// What the target sends.
    pieces: Vec<Bytes>,
    completed: u64,
    received: usize,
    data: Bytes,
}

impl Pair {
    fn new(target: &Arc<Target>, digests: Digests, controller: u16, queue: u16) -> (Self, u16) {
        let settings = ConnectionSettings { id: queue.into(), port: 1, local: None };
        let mut pair = Self {
            connection: Connection::new(Arc::clone(target), settings, Duration::ZERO),
            backends: Backends::new(Arc::clone(target)),
            encoder: Encoder::new(Role::Host),
            decoder: Decoder::new(Role::Host),
            outgoing: Vec::new(),
            pieces: Vec::new(),
            completed: 0,
            received: 0,
            data: Bytes::from(vec![7; 128 * 1024]),
        };
        let offer = HostOffer { digests, ..HostOffer::default() };
        pair.encoder.encode(&Pdu::IcReq(offer.request()), &mut pair.outgoing);
        let Some(Pdu::IcResp(response)) = pair.exchange() else { panic!("no ICResp") };
        let agreed = offer.accept(&response).expect("the digests asked for");
        pair.encoder.establish(&agreed);
        pair.decoder.establish(&agreed);
        let name = |name: &str| Nqn::new(&format!("nqn.2026-01.example:{name}")).expect("a name");
        let data = ConnectData::new([1; 16], controller, &name("disk"), &name("host"));
        let connect = Connect { queue, entries: 64, attributes: ConnectAttributes::default(), keep_alive: 0 };
        let connected = pair.send(FabricsCommand::Connect(connect).to_sqe(), &Bytes::copy_from_slice(data.as_bytes()));
        (pair, connected)
    }

    /// Sends a command with data in its capsule, and returns the lower half of its result.
    fn send(&mut self, sqe: Sqe, data: &Bytes) -> u16 {
        let pdu = Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len: data.len() as u32 });
        self.encoder.encode_with_data(&pdu, Some(data.clone()).filter(|data| !data.is_empty()), &mut self.outgoing);
        let Some(Pdu::CapsuleResp(capsule)) = self.exchange() else { panic!("no completion") };
        assert!(capsule.cqe.status().is_success(), "{}", capsule.cqe.status());
        capsule.cqe.result() as u16
    }

    /// Hands everything over until nothing is left to do, answers R2Ts, and returns the last PDU of the target.
    fn exchange(&mut self) -> Option<Pdu> {
        let mut last = None;
        while !self.outgoing.is_empty() {
            for bytes in self.outgoing.drain(..) {
                self.connection.receive(Duration::ZERO, bytes);
            }
            while let Some(submission) = self.connection.poll_submission() {
                self.backends.submit(submission);
            }
            while let Some(completion) = self.backends.poll() {
                self.connection.handle_completion(completion);
            }
            while self.connection.poll_transmit(&mut self.pieces).is_some() {}
            for mut bytes in self.pieces.drain(..) {
                while let Some(event) = self.decoder.decode(&mut bytes).expect("PDUs") {
                    match event {
                        Event::Pdu(Pdu::R2t(R2t { cccid, ttag, offset, length })) => {
                            let header = H2cData { cccid, ttag, offset, length, last: true };
                            let piece = self.data.slice(..length as usize);
                            self.encoder.encode_with_data(&Pdu::H2cData(header), [piece], &mut self.outgoing);
                        }
                        Event::Pdu(pdu) => {
                            self.completed += u64::from(matches!(pdu, Pdu::CapsuleResp(_)));
                            last = Some(pdu);
                        }
                        Event::Data(piece) => self.received += piece.len(),
                        Event::DataEnd { intact } => assert!(intact),
                    }
                }
            }
        }
        last
    }

    /// As many commands as the depth allows, each for `blocks` blocks.
    fn round(&mut self, write: bool, blocks: u32, round: u64) {
        for index in 0..DEPTH {
            let range = BlockRange { start: round % 64 * 256 + u64::from(index), count: blocks };
            let length = blocks * 512;
            let command = match write {
                true => IoCommand::Write { range, force_unit_access: false },
                false => IoCommand::Read { range, force_unit_access: false },
            };
            let in_capsule = write && length <= 16 * 1024;
            let sgl = if in_capsule { Sgl::in_capsule(length) } else { Sgl::transport(length) };
            let mut sqe = command.to_sqe(1).with_sgl(sgl);
            sqe.cid = (0x1000 + index).into();
            let data_len = if in_capsule { length } else { 0 };
            let data = in_capsule.then(|| self.data.slice(..length as usize));
            let pdu = Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len });
            self.encoder.encode_with_data(&pdu, data, &mut self.outgoing);
        }
        self.exchange();
    }
}

fn target(store: Arc<dyn Store>) -> Arc<Target> {
    let target = Target::new(TargetConfig::default()).expect("defaults");
    let nqn = Nqn::new("nqn.2026-01.example:disk").expect("a name");
    let hosts = AllowedHosts::Any;
    let subsystem = Subsystem { nqn: nqn.clone(), serial: "1".into(), model: "memory".into(), hosts };
    target.add_subsystem(subsystem).expect("the only one");
    let namespace = Namespace { nsid: 1, store, block_size: 512, uuid: [1; 16], group: 1, read_only: false };
    target.add_namespace(&nqn, namespace).expect("the only one");
    target
}

#[test]
fn commands_allocate_nothing_in_steady_state() {
    let stores: [(&str, Arc<dyn Store>); 2] =
        [("null", Arc::new(NullStore::new(1 << 24))), ("memory", Arc::new(MemoryStore::new(1 << 24)))];
    for (name, store) in stores {
        for digests in [Digests::NONE, Digests::BOTH] {
            let target = target(Arc::clone(&store));
            let (mut admin, controller) = Pair::new(&target, digests, ANY_CONTROLLER, 0);
            let offset = Property::Configuration as u32;
            let enable = FabricsCommand::PropertySet { offset, size: 4, value: 0x46_0001 };
            admin.send(enable.to_sqe(), &Bytes::new());
            let (mut pair, _) = Pair::new(&target, digests, controller, 1);
            for (write, blocks) in [(false, 8), (true, 8), (true, 128), (false, 256)] {
                (0..64).for_each(|round| pair.round(write, blocks, round));
                let (completed, received) = (pair.completed, pair.received);
                let before = allocations();
                (0..256).for_each(|round| pair.round(write, blocks, round));
                let count = allocations() - before;
                assert_eq!(pair.completed - completed, 256 * u64::from(DEPTH));
                let expected = if write { 0 } else { 256 * usize::from(DEPTH) * blocks as usize * 512 };
                assert_eq!(pair.received - received, expected);
                assert_eq!(count, 0, "{name}, {digests:?}, write {write}, {blocks} blocks");
            }
        }
    }
}
