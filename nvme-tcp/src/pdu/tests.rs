//! PDUs byte by byte, and what each way to break one is answered with.

use super::*;
use crate::command::{Cqe, Sgl, Sqe, Status};

/// The PDUs in `bytes`, each with its data and whether it was intact, and the violation that ended it.
pub(super) fn decode_all(decoder: &mut Decoder, bytes: &[u8], sizes: &mut dyn FnMut() -> usize) -> Decoded {
    let mut decoded = Decoded::default();
    let mut rest = bytes::Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        let mut segment = rest.split_to(sizes().clamp(1, rest.len()));
        loop {
            match decoder.decode(&mut segment) {
                Ok(None) => break,
                Ok(Some(Event::Pdu(pdu))) => decoded.pdus.push((pdu, Payload::new(), None)),
                Ok(Some(Event::Data(piece))) => decoded.pdus.last_mut().unwrap().1.push(piece),
                Ok(Some(Event::DataEnd { intact })) => decoded.pdus.last_mut().unwrap().2 = Some(intact),
                Err(violation) => {
                    assert_eq!(decoder.decode(&mut segment), Err(violation), "there is no way back");
                    decoded.violation = Some((violation, decoder.header().to_vec()));
                    return decoded;
                }
            }
        }
        assert!(segment.is_empty());
    }
    decoded
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Decoded {
    pub(super) pdus: Vec<(Pdu, Payload, Option<bool>)>,
    pub(super) violation: Option<(Violation, Vec<u8>)>,
}

pub(super) fn parameters(digests: Digests) -> Parameters {
    Parameters {
        digests,
        host_alignment: Alignment::DWORD,
        controller_alignment: Alignment::DWORD,
        max_r2t: 1,
        max_h2c_data: 8192,
    }
}

pub(super) fn established(role: Role, parameters: &Parameters) -> Decoder {
    let mut decoder = Decoder::new(role);
    decoder.establish(parameters);
    decoder
}

fn other(role: Role) -> Role {
    match role {
        Role::Host => Role::Controller,
        Role::Controller => Role::Host,
    }
}

pub(super) fn encode(parameters: &Parameters, pdu: &Pdu, data: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(other(pdu.pdu_type().receiver()));
    encoder.establish(parameters);
    let mut out = Vec::new();
    let data = data.chunks(1000).map(bytes::Bytes::copy_from_slice);
    let length = encoder.encode_with_data(pdu, data, &mut out);
    let bytes = out.concat();
    assert_eq!(bytes.len(), length);
    bytes
}

fn decode_one(parameters: &Parameters, bytes: &[u8], role: Role) -> (Pdu, Payload, Option<bool>) {
    let decoded = decode_all(&mut established(role, parameters), bytes, &mut || usize::MAX);
    assert_eq!(decoded.violation, None);
    assert_eq!(decoded.pdus.len(), 1);
    decoded.pdus.into_iter().next().unwrap()
}

#[test]
fn icreq_and_icresp() {
    let request = IcReq { alignment: Alignment::from_dwords(2).unwrap(), digests: Digests::BOTH, max_r2t: 4 };
    let bytes = encode(&parameters(Digests::BOTH), &Pdu::IcReq(request), &[]);
    assert_eq!(bytes[..16], [0x00, 0, 128, 0, 128, 0, 0, 0, 0, 0, 2, 3, 3, 0, 0, 0]);
    assert_eq!(bytes[16..], [0; 112]);
    let decoded = decode_all(&mut Decoder::new(Role::Controller), &bytes, &mut || 1);
    assert_eq!(decoded.pdus[0].0, Pdu::IcReq(request));

    let offer = ControllerOffer { digests: Digests { header: true, data: false }, ..ControllerOffer::default() };
    let (response, agreed) = offer.answer(&request);
    assert_eq!(agreed.digests, Digests { header: true, data: false });
    assert_eq!((agreed.host_alignment.bytes(), agreed.controller_alignment.bytes()), (12, 4));
    let bytes = encode(&agreed, &Pdu::IcResp(response), &[]);
    assert_eq!(bytes[..16], [0x01, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0]);
    let decoded = decode_all(&mut Decoder::new(Role::Host), &bytes, &mut || 77);
    assert_eq!(decoded.pdus[0].0, Pdu::IcResp(response));

    let insistent = HostOffer { digests: Digests::BOTH, ..HostOffer::default() };
    assert_eq!(insistent.accept(&response), Err(Violation::DigestsNotAsked(1)));
    let content = HostOffer { digests: agreed.digests, max_r2t: 4, alignment: request.alignment };
    assert_eq!(content.accept(&response), Ok(agreed));
}

#[test]
fn command_capsules() {
    let mut sqe = Sqe::new(0x01, 7).with_sgl(Sgl::in_capsule(4));
    sqe.cid = 0x1234.into();
    let pdu = Pdu::CapsuleCmd(crate::pdu::CapsuleCmd { sqe, data_len: 4 });
    let plain = encode(&parameters(Digests::NONE), &pdu, b"data");
    assert_eq!(plain[..8], [0x04, 0, 72, 72, 76, 0, 0, 0]);
    assert_eq!(plain[8..16], [0x01, 0x40, 0x34, 0x12, 7, 0, 0, 0], "PSDT 01b, CID, NSID");
    assert_eq!(plain[8 + 24..8 + 40], [0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0x01]);
    assert_eq!(&plain[72..], b"data");

    // As measured: PDO 76, PLEN 4 longer, or 8 with data, flags 01h and 03h.
    let header = encode(&parameters(Digests { header: true, data: false }), &pdu, b"data");
    assert_eq!(header[..8], [0x04, 1, 72, 76, 80, 0, 0, 0]);
    assert_eq!(header[72..76], crc32c(&header[..72]).to_le_bytes());
    let both = encode(&parameters(Digests::BOTH), &pdu, b"data");
    assert_eq!(both[..8], [0x04, 3, 72, 76, 84, 0, 0, 0]);
    assert_eq!(both[76..80], *b"data");
    assert_eq!(both[80..], crc32c(b"data").to_le_bytes());

    for digests in [Digests::NONE, Digests::BOTH] {
        let bytes = encode(&parameters(digests), &pdu, b"data");
        let expected = (pdu.clone(), Payload::from(bytes::Bytes::from("data")), Some(true));
        assert_eq!(decode_one(&parameters(digests), &bytes, Role::Controller), expected);
    }
}

#[test]
fn completions() {
    let cqe = Cqe::new(0x1002, Status::from_wire(0x4004)).with_result(0x0102_0304);
    let pdu = Pdu::CapsuleResp(crate::pdu::CapsuleResp { cqe });
    let bytes = encode(&parameters(Digests::NONE), &pdu, &[]);
    assert_eq!(bytes[..8], [0x05, 0, 24, 0, 24, 0, 0, 0]);
    assert_eq!(bytes[8..], [4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x10, 0x04, 0x00]);
    let bytes = encode(&parameters(Digests::BOTH), &pdu, &[]);
    assert_eq!(bytes[..8], [0x05, 1, 24, 0, 28, 0, 0, 0]);
    assert_eq!(decode_one(&parameters(Digests::BOTH), &bytes, Role::Host).0, pdu);
}

#[test]
fn transfers() {
    let h2c = Pdu::H2cData(H2cData { cccid: 0x0201, ttag: 0x0403, offset: 0x1000, length: 3, last: true });
    let bytes = encode(&parameters(Digests::NONE), &h2c, b"abc");
    let header = [0x06, 4, 24, 24, 27, 0, 0, 0, 1, 2, 3, 4, 0, 0x10, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bytes, [&header[..], b"abc"].concat());
    assert_eq!(decode_one(&parameters(Digests::NONE), &bytes, Role::Controller).0, h2c);

    let c2h = Pdu::C2hData(C2hData { cccid: 0x0201, offset: 8, length: 3, last: true, success: true });
    let bytes = encode(&parameters(Digests::BOTH), &c2h, b"abc");
    assert_eq!(bytes[..8], [0x07, 0x0f, 24, 28, 35, 0, 0, 0], "all four flags");
    assert_eq!(bytes[8..24], [1, 2, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(decode_one(&parameters(Digests::BOTH), &bytes, Role::Host).0, c2h);

    let r2t = Pdu::R2t(R2t { cccid: 0x0201, ttag: 0xffff, offset: 0, length: 0x0002_0000 });
    let bytes = encode(&parameters(Digests::NONE), &r2t, &[]);
    assert_eq!(bytes, [9, 0, 24, 0, 24, 0, 0, 0, 1, 2, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
    assert_eq!(decode_one(&parameters(Digests::NONE), &bytes, Role::Host).0, r2t);
}

#[test]
fn data_is_aligned_as_the_receiver_asked() {
    let mut agreed = parameters(Digests::BOTH);
    agreed.host_alignment = Alignment::from_dwords(31).unwrap();
    agreed.controller_alignment = Alignment::from_dwords(4).unwrap();
    let c2h = Pdu::C2hData(C2hData { cccid: 1, offset: 0, length: 5, last: true, success: false });
    let bytes = encode(&agreed, &c2h, b"12345");
    assert_eq!((bytes[3], bytes.len()), (128, 128 + 5 + 4));
    assert_eq!(bytes[28..128], [0; 100]);
    assert_eq!(decode_one(&agreed, &bytes, Role::Host).1.to_contiguous(), "12345");
    let h2c = Pdu::H2cData(H2cData { cccid: 1, ttag: 1, offset: 0, length: 5, last: true });
    let mut bytes = encode(&agreed, &h2c, b"12345");
    assert_eq!(bytes[3], 40);
    assert_eq!(decode_one(&agreed, &bytes, Role::Controller).1.to_contiguous(), "12345");
    bytes[3] = 28;
    let decoded = decode_all(&mut established(Role::Controller, &agreed), &bytes, &mut || usize::MAX);
    assert_eq!(decoded.violation.unwrap().0, Violation::DataOffset { pdu: PduType::H2cData, pdo: 28 });
}

#[test]
fn term_requests() {
    let violation = Violation::HeaderDigest { pdu: PduType::R2t, received: 0x0403_0201, computed: 5 };
    let request = TermReq::answering(&violation, &[9; 200]);
    assert_eq!(request.header, [9; 128][..]);
    let bytes = encode(&parameters(Digests::BOTH), &Pdu::H2cTermReq(request.clone()), &[]);
    assert_eq!(bytes[..16], [0x02, 0, 24, 0, 152, 0, 0, 0, 3, 0, 1, 2, 3, 4, 0, 0]);
    assert_eq!(bytes[16..24], [0; 8]);
    assert_eq!(bytes[24..], [9; 128]);
    let decoded = decode_one(&parameters(Digests::BOTH), &bytes, Role::Controller);
    assert_eq!(decoded.0, Pdu::H2cTermReq(request));

    let bare = TermReq { fes: Fes::Other(0x77), fei: 0, header: bytes::Bytes::new() };
    let bytes = encode(&parameters(Digests::NONE), &Pdu::C2hTermReq(bare.clone()), &[]);
    assert_eq!(bytes.len(), 24);
    let refused = decode_all(&mut Decoder::new(Role::Host), &bytes, &mut || 3);
    assert_eq!(refused.pdus[0].0, Pdu::C2hTermReq(bare), "also instead of an ICResp");
}

#[test]
fn data_is_not_copied() {
    let data: Vec<u8> = (0..5000u32).map(|i| i as u8).collect();
    let pdu = Pdu::C2hData(C2hData { cccid: 1, offset: 0, length: 5000, last: true, success: true });
    let stream = bytes::Bytes::from(encode(&parameters(Digests::BOTH), &pdu, &data));
    let mut decoder = established(Role::Host, &parameters(Digests::BOTH));
    let range = stream.as_ptr_range();
    let mut found = 0;
    for start in (0..stream.len()).step_by(1448) {
        let mut segment = stream.slice(start..stream.len().min(start + 1448));
        while let Some(event) = decoder.decode(&mut segment).unwrap() {
            if let Event::Data(piece) = event {
                assert!(range.contains(&piece.as_ptr()), "a piece of the stream itself");
                found += piece.len();
            }
        }
    }
    assert_eq!(found, 5000);
}

#[test]
fn a_wrong_data_digest_is_for_the_command_alone() {
    let agreed = parameters(Digests::BOTH);
    let pdu = Pdu::H2cData(H2cData { cccid: 1, ttag: 2, offset: 0, length: 4, last: true });
    let good = encode(&agreed, &pdu, b"good");
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 0x80;
    let mut decoder = established(Role::Controller, &agreed);
    let decoded = decode_all(&mut decoder, &[bad, good].concat(), &mut || 10);
    let ends: Vec<_> = decoded.pdus.iter().map(|(_, _, intact)| *intact).collect();
    assert_eq!((ends, decoded.violation), (vec![Some(false), Some(true)], None));
    assert!(decoder.is_between_pdus());
}

/// Makes a PDU of these bytes; what is missing up to `length` is zero.
fn raw(start: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = start.to_vec();
    bytes.resize(length.max(start.len()), 0);
    bytes
}

/// An H2CData or C2HData header.
fn transfer(kind: u8, flags: u8, pdo: u8, plen: u32, datal: u32) -> Vec<u8> {
    let mut bytes = vec![kind, flags, 24, pdo];
    bytes.extend_from_slice(&plen.to_le_bytes());
    bytes.resize(16, 0);
    bytes.extend_from_slice(&datal.to_le_bytes());
    bytes.resize(24, 0);
    bytes
}

#[track_caller]
fn assert_violation(mut decoder: Decoder, bytes: &[u8], fes: u16, fei: u32, expected: Violation) {
    for size in [1, 7, usize::MAX] {
        let decoded = decode_all(&mut decoder.clone(), bytes, &mut || size);
        let (violation, header) = decoded.violation.expect("the PDU is refused");
        assert_eq!(violation, expected);
        assert_eq!((violation.fes().code(), violation.fei()), (fes, fei), "{violation}");
        assert!(bytes.starts_with(&header), "the copy for the TermReq is the PDU's beginning");
        assert!(!header.is_empty() && header.len() <= TermReq::MAX_HEADER);
        assert!(!violation.to_string().is_empty());
    }
    assert!(decoder.decode(&mut bytes::Bytes::new()).is_ok());
}

#[test]
fn nothing_comes_before_icreq_or_after_it_again() {
    let new = || Decoder::new(Role::Controller);
    let running = || established(Role::Controller, &parameters(Digests::NONE));
    let icreq = raw(&[0, 0, 128, 0, 128], 128);
    for kind in [PduType::CapsuleCmd, PduType::H2cData, PduType::H2cTermReq] {
        let bytes = raw(&[kind as u8, 0, kind.header_len() as u8, 0, 152], 152);
        assert_violation(new(), &bytes, 2, 0, Violation::OutOfSequence(kind));
    }
    assert_violation(running(), &icreq, 2, 0, Violation::OutOfSequence(PduType::IcReq));
    assert_violation(
        new(),
        &[icreq.clone(), icreq.clone()].concat()[..],
        2,
        0,
        Violation::OutOfSequence(PduType::IcReq),
    );
    let capsule = raw(&[4, 0, 72, 0, 72], 72);
    let early = [icreq, capsule].concat();
    let decoded = decode_all(&mut new(), &early, &mut || usize::MAX);
    assert_eq!(decoded.violation.unwrap().0, Violation::OutOfSequence(PduType::CapsuleCmd), "not yet established");
    let host = Decoder::new(Role::Host);
    assert_violation(host, &raw(&[5, 0, 24, 0, 24], 24), 2, 0, Violation::OutOfSequence(PduType::CapsuleResp));
}

#[test]
fn icreq_with_wrong_fields() {
    let new = || Decoder::new(Role::Controller);
    let pdu = PduType::IcReq;
    let with = |at: usize, value: u8| {
        let mut bytes = raw(&[0, 0, 128, 0, 128], 128);
        bytes[at] = value;
        bytes
    };
    assert_violation(new(), &with(2, 24), 1, 2, Violation::HeaderLength { pdu, hlen: 24 });
    assert_violation(new(), &with(4, 127), 1, 4, Violation::PduLength { pdu, plen: 127 });
    assert_violation(new(), &with(5, 1), 1, 4, Violation::PduLength { pdu, plen: 384 });
    assert_violation(new(), &with(8, 1), 1, 8, Violation::FormatVersion(1));
    assert_violation(new(), &with(10, 32), 1, 10, Violation::AlignmentRange(32));
    let decoded = decode_all(&mut new(), &with(100, 0xff), &mut || 64);
    assert_eq!(decoded.violation, None, "reserved bytes do not matter");
    let decoded =
        decode_all(&mut new(), &raw(&[0, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255], 128), &mut || 64);
    assert!(matches!(decoded.pdus[0].0, Pdu::IcReq(IcReq { max_r2t: u32::MAX, .. })));
}

#[test]
fn icresp_with_wrong_fields() {
    let new = || Decoder::new(Role::Host);
    let with = |at: usize, value: u8| {
        let mut bytes = raw(&[1, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0x20], 128);
        bytes[at] = value;
        bytes
    };
    assert_eq!(decode_all(&mut new(), &with(0, 1), &mut || 9).violation, None);
    assert_violation(new(), &with(8, 1), 1, 8, Violation::FormatVersion(1));
    assert_violation(new(), &with(10, 255), 1, 10, Violation::AlignmentRange(255));
    assert_violation(new(), &with(12, 2), 1, 12, Violation::MaxH2cDataRange(0x2002));
    assert_violation(new(), &with(13, 0x0f), 1, 12, Violation::MaxH2cDataRange(0x0f00));
    assert_violation(new(), &with(2, 255), 1, 2, Violation::HeaderLength { pdu: PduType::IcResp, hlen: 255 });
}

#[test]
fn types_and_lengths_that_cannot_be() {
    let running = || established(Role::Controller, &parameters(Digests::NONE));
    for kind in [0x08, 0x0a, 0xff] {
        assert_violation(running(), &raw(&[kind, 0, 24, 0, 24], 24), 1, 0, Violation::UnknownType(kind));
    }
    for pdu in [PduType::IcResp, PduType::C2hTermReq, PduType::CapsuleResp, PduType::C2hData, PduType::R2t] {
        let bytes = raw(&[pdu as u8, 0, pdu.header_len() as u8, 0, 24], 24);
        assert_violation(running(), &bytes, 1, 0, Violation::Misdirected { pdu, receiver: Role::Controller });
    }
    let pdu = PduType::CapsuleCmd;
    for hlen in [0, 24, 71, 255] {
        assert_violation(running(), &raw(&[4, 0, hlen, 0, 72], 72), 1, 2, Violation::HeaderLength { pdu, hlen });
    }
    for plen in [0, 7, 8, 71] {
        assert_violation(
            running(),
            &raw(&[4, 0, 72, 0, plen], 72),
            1,
            4,
            Violation::PduLength { pdu, plen: plen.into() },
        );
    }
    assert_violation(
        running(),
        &raw(&[4, 0, 72, 72, 0xff, 0xff, 0xff, 0xff], 72),
        5,
        0,
        Violation::InCapsuleTooLong { length: u32::MAX - 72, limit: 8192 },
    );
    let pdu = PduType::H2cTermReq;
    for plen in [23, 153] {
        assert_violation(
            running(),
            &raw(&[2, 0, 24, 0, plen], 160),
            1,
            4,
            Violation::PduLength { pdu, plen: plen.into() },
        );
    }
    let host = || established(Role::Host, &parameters(Digests::NONE));
    for (kind, pdu) in [(5, PduType::CapsuleResp), (9, PduType::R2t)] {
        assert_violation(host(), &raw(&[kind, 0, 24, 0, 25], 25), 1, 4, Violation::PduLength { pdu, plen: 25 });
        assert_violation(host(), &raw(&[kind, 0, 23, 0, 24], 24), 1, 2, Violation::HeaderLength { pdu, hlen: 23 });
    }
}

#[test]
fn data_in_the_wrong_place() {
    let running = || established(Role::Controller, &parameters(Digests::NONE));
    let pdu = PduType::CapsuleCmd;
    for pdo in [0, 8, 71, 73, 74] {
        assert_violation(running(), &raw(&[4, 0, 72, pdo, 100], 100), 1, 3, Violation::DataOffset { pdu, pdo });
    }
    for pdo in [100, 104, 252] {
        assert_violation(running(), &raw(&[4, 0, 72, pdo, 100], 100), 1, 4, Violation::PduLength { pdu, plen: 100 });
    }
    let pdu = PduType::H2cData;
    assert_violation(running(), &transfer(6, 4, 20, 28, 4), 1, 3, Violation::DataOffset { pdu, pdo: 20 });
    assert_violation(running(), &transfer(6, 4, 0, 24, 0), 1, 16, Violation::NoData(pdu));
    assert_violation(running(), &transfer(6, 4, 24, 24, 4), 1, 4, Violation::PduLength { pdu, plen: 24 });
    assert_violation(running(), &transfer(6, 4, 24, 32, 4), 1, 4, Violation::PduLength { pdu, plen: 32 });
    assert_violation(running(), &transfer(6, 4, 24, 28, 0), 1, 16, Violation::NoData(pdu));
    assert_violation(running(), &transfer(6, 4, 24, 28, u32::MAX), 1, 4, Violation::PduLength { pdu, plen: 28 });
    let too_long = Violation::H2cDataTooLong { length: 8196, limit: 8192 };
    assert_violation(running(), &transfer(6, 4, 24, 24 + 8196, 8196), 5, 0, too_long);
    let host = || established(Role::Host, &parameters(Digests::NONE));
    let pdu = PduType::C2hData;
    assert_violation(host(), &transfer(7, 8, 24, 28, 4), 1, 1, Violation::Flags { pdu, flags: 8 });
    assert_violation(host(), &transfer(7, 4, 28, 28, 4), 1, 4, Violation::PduLength { pdu, plen: 28 });
    assert_violation(host(), &transfer(7, 4, 24, 28, 5), 1, 4, Violation::PduLength { pdu, plen: 28 });
    assert_violation(host(), &raw(&[9, 0, 24, 0, 24], 24), 1, 16, Violation::NoData(PduType::R2t));
}

#[test]
fn digest_flags_and_digests() {
    let without = || established(Role::Controller, &parameters(Digests::NONE));
    let with = || established(Role::Controller, &parameters(Digests::BOTH));
    let pdu = PduType::CapsuleCmd;
    assert_violation(without(), &raw(&[4, 1, 72, 0, 76], 76), 1, 1, Violation::Flags { pdu, flags: 1 });
    assert_violation(without(), &raw(&[4, 2, 72, 72, 80], 80), 1, 1, Violation::Flags { pdu, flags: 2 });
    assert_violation(with(), &raw(&[4, 1, 72, 0, 72], 76), 1, 4, Violation::PduLength { pdu, plen: 72 });
    assert_violation(with(), &raw(&[4, 0, 72, 0, 76], 76), 1, 1, Violation::Flags { pdu, flags: 0 });
    assert_violation(with(), &raw(&[4, 1, 72, 76, 84], 84), 1, 1, Violation::Flags { pdu, flags: 1 });
    let h2c = Pdu::H2cData(H2cData { cccid: 1, ttag: 2, offset: 0, length: 4, last: true });
    let mut bytes = encode(&parameters(Digests::BOTH), &h2c, b"data");
    bytes[24..28].copy_from_slice(&0xdead_beef_u32.to_le_bytes());
    let computed = crc32c(&bytes[..24]);
    let violation = Violation::HeaderDigest { pdu: PduType::H2cData, received: 0xdead_beef, computed };
    assert_violation(with(), &bytes, 3, 0xdead_beef, violation);
}

#[test]
#[should_panic(expected = "as long as its header says")]
fn data_of_another_length_is_not_sent() {
    let c2h = Pdu::C2hData(C2hData { cccid: 1, offset: 0, length: 5, last: true, success: true });
    encode(&parameters(Digests::NONE), &c2h, b"1234");
}

#[test]
#[should_panic(expected = "is not sent by the controller")]
fn pdus_of_the_other_end_are_not_sent() {
    let h2c = Pdu::H2cTermReq(TermReq { fes: Fes::SequenceError, fei: 0, header: bytes::Bytes::new() });
    Encoder::new(Role::Controller).encode(&h2c, &mut Vec::new());
}
