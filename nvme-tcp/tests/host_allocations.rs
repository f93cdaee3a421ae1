//! In steady state, commands of a host cost no allocation: neither in its queue nor in what chooses their path.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counting;

use std::time::Duration;

use bytes::Bytes;
use counting::allocations;
use nvme_tcp::command::{BlockRange, Cqe, IoCommand, Nqn, Status};
use nvme_tcp::host::{
    Data, HostIdentity, Multipath, PathId, PathState, Policy, Queue, QueueConfig, QueueState, Request, Ticket,
};
use nvme_tcp::pdu::{C2hData, CapsuleResp, ControllerOffer, Encoder, HostOffer, Payload, Pdu, R2t, Role};

const NOW: Duration = Duration::ZERO;

struct Pair {
    multipath: Multipath<u32>,
    path: PathId,
    queue: Queue<Ticket<u32>>,
    encoder: Encoder,
    out: Vec<Bytes>,
}

impl Pair {
    fn new() -> Self {
        let identity = HostIdentity {
            host_id: [1; 16],
            host: Nqn::new("nqn.2026-01.example:host").unwrap(),
            subsystem: Nqn::new("nqn.2026-01.example:disk").unwrap(),
        };
        let config = QueueConfig { in_capsule_data: 4096, ..QueueConfig::io(identity, 1, 1) };
        let mut multipath = Multipath::new(Policy::QueueDepth, 128);
        let path = multipath.add_path(0);
        multipath.set_state(path, PathState::Live);
        let (queue, encoder) = (Queue::new(config, NOW), Encoder::new(Role::Controller));
        let mut pair = Self { multipath, path, queue, encoder, out: Vec::new() };
        pair.transmit();
        let (response, parameters) = ControllerOffer::default().answer(&HostOffer::default().request());
        pair.receive(&Pdu::IcResp(response), None);
        pair.encoder.establish(&parameters);
        pair.transmit();
        pair.receive(&Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(0, Status::SUCCESS) }), None);
        assert!(matches!(pair.queue.state(), QueueState::Ready(_)));
        pair
    }

    /// Submits a command, and returns its CID.
    fn submit(&mut self, request: Request<u32>) -> u16 {
        self.multipath.submit(request).unwrap();
        let request = self.multipath.next_for(self.path).unwrap();
        self.queue.submit(request, NOW).unwrap().value()
    }

    fn transmit(&mut self) {
        while self.queue.poll_transmit(&mut self.out).is_some() {
            self.out.clear();
        }
    }

    /// Lets the queue receive a PDU; only what it does itself is counted.
    fn receive(&mut self, pdu: &Pdu, data: Option<Bytes>) -> u64 {
        self.encoder.encode_with_data(pdu, data, &mut self.out);
        let mut bytes = Bytes::from(self.out.concat());
        // Shared already, so that a slice of it is no allocation.
        let _shared = bytes.clone();
        self.out.clear();
        let before = allocations();
        self.queue.receive(&mut bytes);
        allocations() - before
    }

    /// A read of 4 KiB, a write of as much in the capsule, and one of 8 KiB that is asked for.
    fn round(&mut self, data: &Bytes, payloads: &mut Vec<Payload>) -> u64 {
        let range = BlockRange { start: 0, count: 8 };
        let before = allocations();
        let mut read = Request::new(IoCommand::Read { range, force_unit_access: false }.to_sqe(1), 1);
        read.data = Data::Receive { length: 4096, into: payloads.pop().unwrap() };
        let read = self.submit(read);
        let mut write = |length: usize| {
            let mut payload = payloads.pop().unwrap();
            payload.clear();
            payload.push(data.slice(..length));
            let sqe = IoCommand::Write { range, force_unit_access: false }.to_sqe(1);
            self.submit(Request::new(sqe, 2).sending(payload))
        };
        let (small, large) = (write(4096), write(8192));
        self.transmit();
        let mut count = allocations() - before;

        let c2h = C2hData { cccid: read, offset: 0, length: 4096, last: true, success: true };
        count += self.receive(&Pdu::C2hData(c2h), Some(data.slice(..4096)));
        count += self.receive(&Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(small, Status::SUCCESS) }), None);
        count += self.receive(&Pdu::R2t(R2t { cccid: large, ttag: 0, offset: 0, length: 8192 }), None);
        let before = allocations();
        self.transmit();
        count += allocations() - before;
        count += self.receive(&Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(large, Status::SUCCESS) }), None);

        let before = allocations();
        while let Some(completion) = self.queue.poll_completion() {
            self.multipath.complete(completion, NOW);
        }
        while let Some(finished) = self.multipath.poll_finished() {
            assert!(finished.outcome.is_success());
            match finished.request.data {
                Data::Receive { into, .. } | Data::Send(into) => payloads.push(into),
                Data::None => {}
            }
        }
        count + allocations() - before
    }
}

#[test]
fn commands_allocate_nothing() {
    let mut pair = Pair::new();
    let data = Bytes::from(vec![7; 8192]);
    let mut payloads = vec![Payload::new(); 3];
    let first: u64 = (0..10).map(|_| pair.round(&data, &mut payloads)).sum();
    assert!(first > 0, "allocations are counted");
    let later: u64 = (0..1000).map(|_| pair.round(&data, &mut payloads)).sum();
    assert_eq!(later, 0, "allocations in 3000 commands");
}
