//! A controller that answers at random, whose bytes are cut at random and sometimes damaged.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::tests::{NOW, Peer, flush, io_config, pattern, read, write};
use super::*;
use crate::command::{Cqe, Status, StatusCode};
use crate::pdu::{C2hData, CapsuleResp, Digests, HostOffer, Pdu, R2t};

/// What the controller still has to do for a command.
#[derive(Debug)]
enum Work {
    Answer,
    Read { sent: u32, length: u32 },
    Write { asked: u32, received: u32, length: u32 },
}

struct Run {
    peer: Peer,
    rng: StdRng,
    /// Tokens of commands that have not completed, with the bytes that they transfer.
    outstanding: BTreeMap<u64, usize>,
    work: BTreeMap<u16, Work>,
    next: u64,
    answered: usize,
    lost: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let digests = Digests { header: rng.random(), data: rng.random() };
        let offer = HostOffer { digests, max_r2t: rng.random_range(1..4), ..HostOffer::default() };
        let config = QueueConfig { offer, entries: rng.random_range(2..20), ..io_config() };
        let (outstanding, work) = (BTreeMap::new(), BTreeMap::new());
        Self { peer: Peer::connected(config), rng, outstanding, work, next: 0, answered: 0, lost: 0 }
    }

    fn submit(&mut self) {
        let mut request = match self.rng.random_range(0..3) {
            0 => flush(),
            1 => read(self.rng.random_range(1..20)),
            _ => write(pattern(self.rng.random_range(1..10_000))),
        };
        request.token = self.next;
        let bytes = match &request.data {
            Data::None => 0,
            Data::Send(payload) => payload.len(),
            Data::Receive { length, .. } => *length as usize,
        };
        let room = self.peer.queue.room();
        match self.peer.queue.submit(request, NOW) {
            Ok(_) => {
                assert!(room > 0);
                self.outstanding.insert(self.next, bytes);
                self.next += 1;
            }
            Err(refused) => assert!(room == 0 && refused.request.token == self.next),
        }
    }

    /// Takes what the queue sends, and notes what is to be done. What altered R2Ts ask for is sent as well.
    fn transmit(&mut self, honest: bool) {
        for _ in 0..self.rng.random_range(0..4) {
            let Some(sent) = self.peer.sent_one() else { return };
            match sent.pdu {
                Pdu::CapsuleCmd(capsule) => {
                    let length = capsule.sqe.sgl.length.get();
                    let work = match capsule.sqe.opcode {
                        2 => Work::Read { sent: 0, length },
                        1 if sent.data.is_empty() => Work::Write { asked: 0, received: 0, length },
                        _ => Work::Answer,
                    };
                    let before = self.work.insert(capsule.sqe.cid.get(), work);
                    assert!(before.is_none() || !honest, "CIDs are unique");
                }
                Pdu::H2cData(data) => {
                    assert_eq!(sent.data, pattern(10_000)[data.offset as usize..][..data.length as usize]);
                    if let Some(Work::Write { asked, received, .. }) = self.work.get_mut(&data.cccid) {
                        *received += data.length;
                        assert!(received <= asked || !honest);
                    }
                }
                Pdu::H2cTermReq(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What the controller sends next; now and then something that it must not.
    fn respond(&mut self) -> Vec<u8> {
        let chosen = self.rng.random_range(0..self.work.len().max(1));
        let Some((&cid, work)) = self.work.iter_mut().nth(chosen) else { return Vec::new() };
        let rng = &mut self.rng;
        let answer = Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(cid, Status::SUCCESS) });
        let fails = rng.random_bool(0.05);
        let pdu = match work {
            _ if fails => Pdu::CapsuleResp(CapsuleResp { cqe: Cqe::new(cid, StatusCode::InternalError.into()) }),
            Work::Answer => answer,
            Work::Read { sent, length } if *sent < *length => {
                let part = rng.random_range(1..=*length - *sent);
                let last = *sent + part == *length;
                let success = last && rng.random();
                let pdu = Pdu::C2hData(C2hData { cccid: cid, offset: *sent, length: part, last, success });
                *sent += part;
                if success {
                    self.work.remove(&cid);
                }
                pdu
            }
            Work::Read { .. } => answer,
            Work::Write { asked, received, length } => {
                if asked < length && received == asked {
                    let part = rng.random_range(1..=*length - *asked);
                    let pdu = Pdu::R2t(R2t { cccid: cid, ttag: rng.random(), offset: *asked, length: part });
                    *asked += part;
                    pdu
                } else if received == length {
                    answer
                } else {
                    return Vec::new();
                }
            }
        };
        if matches!(pdu, Pdu::CapsuleResp(_)) {
            self.work.remove(&cid);
        }
        let data = match &pdu {
            Pdu::C2hData(data) => pattern(10_240)[data.offset as usize..][..data.length as usize].to_vec(),
            _ => Vec::new(),
        };
        self.peer.bytes(&pdu, &data)
    }

    fn feed(&mut self, bytes: &[u8]) {
        let mut rest = Bytes::copy_from_slice(bytes);
        let longest = [1, 7, 100, 1448, 100_000][self.rng.random_range(0..5)];
        while !rest.is_empty() {
            let length = self.rng.random_range(1..=longest).min(rest.len());
            let mut segment = rest.split_to(length);
            self.peer.queue.receive(&mut segment);
            assert!(segment.is_empty());
        }
    }

    fn complete(&mut self, honest: bool) {
        while let Some(completion) = self.peer.queue.poll_completion() {
            let token = completion.request.token;
            let bytes = self.outstanding.remove(&token).expect("every command completes once");
            match completion.outcome {
                Outcome::Answered { .. } => self.answered += 1,
                Outcome::Lost { .. } => self.lost += 1,
            }
            let success = completion.outcome.is_success();
            if let Data::Receive { .. } = completion.request.data {
                let payload = completion.request.into_received();
                assert_eq!(payload.len(), if success { bytes } else { 0 });
                assert!(payload.pieces().count() <= 34 + 2 * bytes / 512);
                if honest && success {
                    assert_eq!(payload.to_contiguous(), pattern(10_240)[..bytes]);
                }
            }
        }
        assert_eq!(self.peer.queue.outstanding(), self.outstanding.len());
    }
}

#[test]
fn an_honest_controller() {
    for seed in 0..200 {
        let mut run = Run::new(seed);
        for _ in 0..300 {
            if run.rng.random_bool(0.4) {
                run.submit();
            }
            run.transmit(true);
            let bytes = run.respond();
            run.feed(&bytes);
            run.complete(true);
            assert!(
                matches!(run.peer.queue.state(), QueueState::Ready(_)),
                "seed {seed}: {:?}",
                run.peer.queue.state()
            );
        }
        assert!(run.answered > 30, "seed {seed}: {} answered", run.answered);
        run.peer.queue.connection_lost();
        run.complete(true);
        assert!(run.outstanding.is_empty(), "seed {seed}");
    }
}

fn damage(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let reach = if rng.random() { bytes.len().min(28) } else { bytes.len() };
    let at = rng.random_range(0..reach);
    match rng.random_range(0..6) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes[at] = [0, 1, 7, 24, 28, 0x7f, 0xff][rng.random_range(0..7)],
        3 => bytes.truncate(at),
        4 => {
            let again = bytes.clone();
            bytes.extend(again);
        }
        _ => {
            let mut noise = [0; 24];
            rng.fill_bytes(&mut noise);
            bytes.splice(at..at, noise);
        }
    }
}

#[test]
fn a_controller_that_damages_what_it_sends() {
    let (mut ended, mut answered) = (0, 0);
    for seed in 0..3000 {
        let mut run = Run::new(seed);
        for _ in 0..60 {
            if run.rng.random_bool(0.4) {
                run.submit();
            }
            if matches!(run.peer.queue.state(), QueueState::Ended(_)) {
                break;
            }
            run.transmit(false);
            let mut bytes = run.respond();
            if run.rng.random_bool(0.05) {
                damage(&mut run.rng, &mut bytes);
            }
            run.feed(&bytes);
            run.complete(false);
        }
        if let QueueState::Ended(_) = run.peer.queue.state() {
            ended += 1;
            run.complete(false);
            assert_eq!(run.outstanding.len(), 0, "seed {seed}");
        }
        run.peer.queue.connection_lost();
        run.complete(false);
        assert!(run.outstanding.is_empty(), "seed {seed}");
        assert!(run.peer.sent().len() <= 1, "seed {seed}: more than a farewell");
        answered += run.answered;
    }
    assert!(ended > 1000 && answered > 10_000, "{ended} ended, {answered} answered");
}
