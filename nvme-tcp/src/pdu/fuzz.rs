//! Streams that were damaged, cut at random: the same outcome however they are cut, and nothing held that was not sent.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::tests::{Decoded, decode_all, encode, established, parameters};
use super::*;
use crate::command::{Cqe, Sgl, Sqe, Status};

const SEEDS: u64 = 4000;

fn random_digests(rng: &mut StdRng) -> Digests {
    Digests { header: rng.random(), data: rng.random() }
}

fn random_sqe(rng: &mut StdRng, length: u32) -> Sqe {
    let mut sqe = Sqe::new(rng.random(), rng.random()).with_sgl(Sgl::in_capsule(length));
    sqe.cid = rng.random::<u16>().into();
    sqe.cdw10 = rng.random::<u32>().into();
    sqe
}

/// A PDU that `receiver` accepts, with its data.
fn random_pdu(rng: &mut StdRng, receiver: Role) -> (Pdu, Vec<u8>) {
    let length = if rng.random_bool(0.5) { rng.random_range(1..64) } else { rng.random_range(1..4096) };
    let (cccid, offset, last) = (rng.random(), rng.random(), rng.random());
    let pdu = match (receiver, rng.random_range(0..3)) {
        (Role::Controller, 0) => Pdu::CapsuleCmd(CapsuleCmd { sqe: random_sqe(rng, 0), data_len: 0 }),
        (Role::Controller, 1) => Pdu::CapsuleCmd(CapsuleCmd { sqe: random_sqe(rng, length), data_len: length }),
        (Role::Controller, _) => Pdu::H2cData(H2cData { cccid, ttag: rng.random(), offset, length, last }),
        (Role::Host, 0) => Pdu::CapsuleResp(CapsuleResp {
            cqe: Cqe::new(cccid, Status::from_wire(rng.random())).with_result(rng.random()),
        }),
        (Role::Host, 1) => Pdu::R2t(R2t { cccid, ttag: rng.random(), offset, length }),
        (Role::Host, _) => Pdu::C2hData(C2hData { cccid, offset, length, last, success: last && rng.random() }),
    };
    let mut data = vec![0; pdu.data_len() as usize];
    rng.fill_bytes(&mut data);
    (pdu, data)
}

fn random_parameters(rng: &mut StdRng) -> Parameters {
    let alignment = |rng: &mut StdRng| Alignment::from_dwords(rng.random_range(0..32)).unwrap();
    Parameters {
        host_alignment: alignment(rng),
        controller_alignment: alignment(rng),
        ..parameters(random_digests(rng))
    }
}

fn random_cuts(rng: &mut StdRng) -> impl FnMut() -> usize {
    let mut rng = StdRng::seed_from_u64(rng.random());
    let longest = [1, 2, 9, 100, 1448, 10_000][rng.random_range(0..6)];
    move || rng.random_range(1..=longest)
}

#[test]
fn what_is_sent_arrives_however_it_is_cut() {
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let receiver = if seed % 2 == 0 { Role::Controller } else { Role::Host };
        let agreed = random_parameters(&mut rng);
        let sent: Vec<_> = (0..rng.random_range(1..8)).map(|_| random_pdu(&mut rng, receiver)).collect();
        let stream: Vec<u8> = sent.iter().flat_map(|(pdu, data)| encode(&agreed, pdu, data)).collect();
        let mut decoder = established(receiver, &agreed);
        let decoded = decode_all(&mut decoder, &stream, &mut random_cuts(&mut rng));
        assert_eq!(decoded.violation, None, "seed {seed}");
        assert_eq!(decoded.pdus.len(), sent.len(), "seed {seed}");
        for ((pdu, data), (received, payload, intact)) in sent.iter().zip(&decoded.pdus) {
            assert_eq!(pdu, received, "seed {seed}");
            assert_eq!(payload.to_contiguous(), data, "seed {seed}");
            assert_eq!(*intact, (!data.is_empty()).then_some(true), "seed {seed}");
        }
        assert!(decoder.is_between_pdus(), "seed {seed}");
    }
}

#[test]
fn a_short_stream_cut_at_every_byte() {
    let agreed = parameters(Digests::BOTH);
    let mut rng = StdRng::seed_from_u64(1);
    for receiver in [Role::Controller, Role::Host] {
        let stream: Vec<u8> = (0..6)
            .map(|_| random_pdu(&mut rng, receiver))
            .flat_map(|(pdu, data)| encode(&agreed, &pdu, &data))
            .collect();
        let whole = decode_all(&mut established(receiver, &agreed), &stream, &mut || usize::MAX);
        for cut in 1..stream.len() {
            let mut first = Some(cut);
            let decoded =
                decode_all(&mut established(receiver, &agreed), &stream, &mut || first.take().unwrap_or(usize::MAX));
            assert_eq!(decoded, whole, "cut at {cut}");
        }
    }
}

/// Changes bytes, mostly of headers, drops and repeats some.
fn damage(rng: &mut StdRng, stream: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        let reach = if rng.random() { stream.len().min(100) } else { stream.len() };
        if reach == 0 {
            return;
        }
        let at = rng.random_range(0..reach);
        match rng.random_range(0..6) {
            0 => stream[at] ^= 1 << rng.random_range(0..8),
            1 => stream[at] = rng.random(),
            2 => stream[at] = [0, 1, 7, 8, 24, 72, 128, 0x7f, 0xff][rng.random_range(0..9)],
            3 => stream.truncate(at),
            4 => {
                stream.remove(at);
            }
            _ => {
                let repeated = stream[at..].to_vec();
                stream.extend(repeated);
            }
        }
    }
}

fn check_damaged(seed: u64, receiver: Role) -> Decoded {
    let mut rng = StdRng::seed_from_u64(seed);
    let agreed = random_parameters(&mut rng);
    let mut stream: Vec<u8> = (0..rng.random_range(1..6))
        .map(|_| random_pdu(&mut rng, receiver))
        .flat_map(|(pdu, data)| encode(&agreed, &pdu, &data))
        .collect();
    damage(&mut rng, &mut stream);
    let decoder = if rng.random_bool(0.9) { established(receiver, &agreed) } else { Decoder::new(receiver) };
    let whole = decode_all(&mut decoder.clone(), &stream, &mut || usize::MAX);
    for _ in 0..3 {
        let mut cut = decoder.clone();
        let decoded = decode_all(&mut cut, &stream, &mut random_cuts(&mut rng));
        assert_eq!(decoded, whole, "seed {seed}");
        let held: usize = decoded.pdus.iter().map(|(_, payload, _)| payload.len()).sum();
        assert!(held <= stream.len(), "seed {seed}: more data than was sent");
        for (_, payload, _) in &decoded.pdus {
            assert!(payload.pieces().count() <= 34 + 2 * payload.len() / 512, "seed {seed}");
        }
    }
    whole
}

#[test]
fn damaged_streams_end_alike_however_they_are_cut() {
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..SEEDS {
        for receiver in [Role::Controller, Role::Host] {
            match check_damaged(seed, receiver).violation {
                Some((violation, header)) => {
                    refused += 1;
                    let request = TermReq::answering(&violation, &header);
                    assert!(matches!(request.fes.code(), 1..=6), "seed {seed}: {violation}");
                }
                None => accepted += 1,
            }
        }
    }
    assert!(refused > SEEDS / 2 && accepted > SEEDS / 10, "{refused} refused, {accepted} accepted");
}

#[test]
fn noise() {
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut noise = vec![0; rng.random_range(1..400)];
        rng.fill_bytes(&mut noise);
        // Types that exist, so that more than the first byte is looked at.
        noise[0] &= 0x0f;
        for receiver in [Role::Controller, Role::Host] {
            let decoder = established(receiver, &parameters(random_digests(&mut rng)));
            let whole = decode_all(&mut decoder.clone(), &noise, &mut || usize::MAX);
            let cut = decode_all(&mut decoder.clone(), &noise, &mut random_cuts(&mut rng));
            assert_eq!(whole, cut, "seed {seed}");
        }
    }
}
