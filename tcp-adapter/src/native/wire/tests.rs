//! Round trips, hostile input, and what another implementation makes of the same bytes.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::*;
use crate::{ChecksumState, Frame, FrameMeta, MacAddr};

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn v4() -> (SocketAddr, SocketAddr) {
    ("10.0.1.1:49152".parse().unwrap(), "10.0.1.2:4420".parse().unwrap())
}

fn v6() -> (SocketAddr, SocketAddr) {
    ("[fd00::1]:49152".parse().unwrap(), "[fd00:0:0:1::2]:4420".parse().unwrap())
}

fn fields(options: &[u8], payload_len: usize) -> SegmentFields<'_> {
    SegmentFields {
        seq: 0xfedc_ba98,
        ack: 0x0123_4567,
        flags: Flags::ACK | Flags::PSH,
        window: 0xabcd,
        urgent: 7,
        ecn: Ecn::Ect0,
        options,
        payload_len,
        ident: 0x8001,
    }
}

fn frame((source, destination): (SocketAddr, SocketAddr), options: &[u8], payload: &[&'static [u8]]) -> Frame {
    let payload: Vec<Bytes> = payload.iter().map(|slice| Bytes::from_static(slice)).collect();
    let len = payload.iter().map(Bytes::len).sum();
    let mut head = HeadPool::new().take();
    let template = HeaderTemplate::new(OWN, PEER, source, destination);
    template.write(&mut head, &fields(options, len), &payload, ChecksumMode::Full);
    assert_eq!(head.len(), template.head_len(options.len()));
    Frame { head, payload: payload.into(), meta: FrameMeta::default() }
}

fn segment(frame: &Frame) -> Segment<'_> {
    match parse(frame) {
        Parsed::Tcp(segment) => segment,
        other => panic!("{other:?}"),
    }
}

fn assert_dropped(frame: &Frame) {
    assert!(matches!(parse(frame), Parsed::Nothing), "{frame:?}");
}

#[test]
fn a_template_is_between_its_ends_alone() {
    for (local, remote) in [v4(), v6()] {
        let template = HeaderTemplate::new(OWN, PEER, local, remote);
        assert_eq!((template.tuple().local, template.tuple().remote), (local, remote));
        assert!(template.is_between(&local, &remote) && !template.is_between(&remote, &local));
        let other_port = |addr: SocketAddr| SocketAddr::new(addr.ip(), addr.port() + 1);
        assert!(!template.is_between(&other_port(local), &remote) && !template.is_between(&local, &other_port(remote)));
        for other in ["10.0.1.3", "fd00::3"] {
            let other_addr = |addr: SocketAddr| SocketAddr::new(other.parse().unwrap(), addr.port());
            assert!(!template.is_between(&other_addr(local), &remote));
            assert!(!template.is_between(&local, &other_addr(remote)));
        }
    }
}

#[test]
fn segments_round_trip() {
    let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 30, 4, 0, 0];
    for pair in [v4(), v6()] {
        for (options, payload) in [
            (&[][..], vec![]),
            (&options[..], vec![]),
            (&[], vec![&b"odd"[..]]),
            (&options, vec![b"odd", b"and even", b"", b"x", b"more"]),
        ] {
            let mut frame = frame(pair, options, &payload);
            assert!(headers_are_linear(&frame));
            let len = payload.iter().map(|slice| slice.len()).sum::<usize>();
            let parsed = segment(&frame);
            assert_eq!((parsed.source, parsed.destination, parsed.link_source), (pair.0, pair.1, OWN));
            assert_eq!((parsed.seq, parsed.ack, parsed.window), (0xfedc_ba98, 0x0123_4567, 0xabcd));
            assert_eq!((parsed.flags, parsed.ecn), (Flags::ACK | Flags::PSH, Ecn::Ect0));
            assert_eq!((parsed.options, parsed.payload_len, parsed.payload_at), (options, len, frame.head.len()));
            frame.linearize();
            frame.head.extend_from_slice(&[0xee; 9]);
            let parsed = segment(&frame);
            let end = parsed.payload_at + parsed.payload_len;
            assert_eq!(frame.head[parsed.payload_at..end], payload.concat(), "padding is cut");
        }
    }
}

#[test]
fn sequence_length_counts_syn_and_fin() {
    let frame = frame(v4(), &[], &[b"12345"]);
    let mut parsed = segment(&frame);
    assert_eq!(parsed.sequence_len(), 5);
    parsed.flags |= Flags::SYN | Flags::FIN;
    assert_eq!(parsed.sequence_len(), 7);
    assert!(parsed.flags.intersects(Flags::RST | Flags::FIN) && !parsed.flags.contains(Flags::RST | Flags::FIN));
}

#[test]
fn templates_are_small_and_can_be_redirected() {
    assert!(size_of::<HeaderTemplate>() <= 80);
    let mut template = HeaderTemplate::new(OWN, PEER, v6().0, v6().1);
    assert_eq!((template.packet_overhead(), template.head_len(40)), (60, 114));
    template.set_link_destination(MacAddr([2; 6]));
    assert_eq!(template.link_destination(), MacAddr([2; 6]));
}

#[test]
fn partial_checksums_are_the_sum_of_the_pseudo_header() {
    let (source, destination) = v4();
    let mut head = BytesMut::with_capacity(128);
    let template = HeaderTemplate::new(OWN, PEER, source, destination);
    let payload = [Bytes::from(vec![7; 60_000])];
    template.write(&mut head, &fields(&[], 60_000), &payload, ChecksumMode::Partial);
    // 10.0.1.1, 10.0.1.2, protocol 6, and a length of 60,020, by hand.
    let expected = 0x0a00 + 0x0101 + 0x0a00 + 0x0102 + 6 + 60_020_u32 - 0xffff;
    let written = u16::from_be_bytes([head[50], head[51]]);
    assert!(u32::from(written) == expected || u32::from(written) == expected + 0xffff, "{written:04x} {expected:04x}");
    let meta = FrameMeta { checksum: ChecksumState::Partial, segment_size: NonZeroU16::new(1448) };
    let mut frame = Frame { head, payload: payload.into_iter().collect(), meta };
    assert_eq!((segment(&frame).payload_len, segment(&frame).segment_size), (60_000, NonZeroU16::new(1448)));
    frame.meta.checksum = ChecksumState::Complete;
    assert_dropped(&frame);
}

#[test]
fn every_wrong_bit_is_noticed() {
    for pair in [v4(), v6()] {
        let good = frame(pair, &[1, 1, 1, 0], &[b"payload"]).linearize().to_vec();
        // Of the Ethernet header, the IPv6 traffic class, flow label and hop limit, nothing is told by a checksum.
        let unprotected = if pair.0.is_ipv4() { 0..14 } else { 0..18 };
        for bit in unprotected.end * 8..good.len() * 8 {
            if pair.0.is_ipv6() && bit / 8 == 21 {
                continue;
            }
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_dropped(&Frame::from(&bad[..]));
        }
    }
}

#[test]
fn a_verified_checksum_is_not_looked_at() {
    let mut frame = frame(v6(), &[], &[b"payload"]);
    let last = frame.head.len() - 1;
    frame.head[last] ^= 1;
    assert_dropped(&frame);
    frame.meta.checksum = ChecksumState::Verified;
    segment(&frame);
}

#[test]
fn only_whole_segments_between_hosts_count() {
    let seal = |frame: &mut Frame| {
        frame.meta.checksum = ChecksumState::Verified;
        frame.head[24..26].fill(0);
        let mut sum = checksum::Sum::default();
        sum.add_bytes(&frame.head[14..34]);
        frame.head[24..26].copy_from_slice(&sum.checksum());
    };
    let changed = |at: usize, bytes: &[u8]| {
        let mut frame = frame(v4(), &[], &[b"payload"]);
        frame.linearize();
        frame.head[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut frame);
        frame
    };
    segment(&changed(20, &[0x40, 0]));
    segment(&changed(20, &[0, 0]));
    for (at, bytes, what) in [
        (0, &[0xff; 6][..], "frame to everyone"),
        (12, &[0x81, 0], "VLAN"),
        (14, &[0x44], "header too short"),
        (14, &[0x65], "wrong version"),
        (16, &[0, 39], "packet too short"),
        (16, &[0xff, 0xff], "packet cut"),
        (20, &[0x20, 0], "first fragment"),
        (20, &[0, 1], "last fragment"),
        (23, &[17], "UDP"),
        (26, &[224, 0, 0, 1], "from a group"),
        (26, &[0; 4], "from nowhere"),
        (30, &[255; 4], "to everyone"),
        (30, &[239, 1, 2, 3], "to a group"),
        (34, &[0, 0], "from port 0"),
        (36, &[0, 0], "to port 0"),
        (46, &[0x40], "offset too small"),
        (46, &[0xf0], "offset too large"),
    ] {
        assert!(matches!(parse(&changed(at, bytes)), Parsed::Nothing), "{what}");
    }
}

#[test]
fn headers_in_slices_are_told_apart() {
    for pair in [v4(), v6()] {
        let mut whole = frame(pair, &[30, 4, 1, 2], &[b"payload"]);
        let head = whole.head.len();
        assert!(headers_are_linear(&whole));
        let all = whole.linearize().split().freeze();
        for cut in 0..all.len() {
            let mut frame = Frame::from(&all[..cut]);
            frame.payload.push(all.slice(cut..));
            assert_eq!(headers_are_linear(&frame), cut >= head, "{cut}");
            if cut >= head {
                assert_eq!(segment(&frame).payload_len, 7);
            } else {
                assert_dropped(&frame);
                frame.linearize();
                segment(&frame);
            }
        }
    }
}

#[test]
fn extension_headers_and_ip_options_are_looked_behind() {
    let plain = frame(v6(), &[], &[b"payload"]).linearize().to_vec();
    let extended = |first: u8, extension: &[u8]| {
        let mut bytes = plain.clone();
        let payload_len = u16::from_be_bytes([bytes[18], bytes[19]]) + u16::try_from(extension.len()).unwrap();
        bytes[18..20].copy_from_slice(&payload_len.to_be_bytes());
        bytes[20] = first;
        bytes.splice(54..54, extension.iter().copied());
        Frame::from(&bytes[..])
    };
    assert_eq!(segment(&extended(0, &[6, 0, 1, 4, 0, 0, 0, 0])).payload_at, 82);
    let twice = [60, 0, 1, 4, 0, 0, 0, 0, 6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(segment(&extended(0, &twice)).payload_len, 7);
    segment(&extended(43, &[6, 0, 0, 0, 0, 0, 0, 0]));
    assert_dropped(&extended(43, &[6, 0, 0, 1, 0, 0, 0, 0]));
    assert_dropped(&extended(44, &[6, 0, 0, 0, 0, 0, 0, 0]));
    assert_dropped(&extended(0, &[6, 255, 0, 0, 0, 0, 0, 0]));
    assert_dropped(&extended(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(6)));

    let mut bytes = frame(v4(), &[], &[b"payload"]).linearize().to_vec();
    bytes.splice(34..34, [1; 4]);
    bytes[14] = 0x46;
    bytes[17] += 4;
    bytes[24..26].fill(0);
    let mut sum = checksum::Sum::default();
    sum.add_bytes(&bytes[14..38]);
    bytes[24..26].copy_from_slice(&sum.checksum());
    assert_eq!(segment(&Frame::from(&bytes[..])).payload_at, 58);
}

#[test]
fn resets_are_what_the_standard_says() {
    for pair in [v4(), v6()] {
        let parsed_from = frame(pair, &[], &[b"12345"]);
        let answer = |frame: &Frame, flags: Flags| {
            let mut parsed = segment(frame);
            parsed.flags = flags;
            reset(BytesMut::new(), PEER, &parsed, &[30, 4, 0x80, 1, 99, 2])
        };
        assert_eq!(answer(&parsed_from, Flags::RST), None);
        let to_ack = answer(&parsed_from, Flags::ACK).unwrap();
        let parsed = segment(&to_ack);
        assert_eq!((parsed.seq, parsed.ack, parsed.flags), (0x0123_4567, 0, Flags::RST));
        assert_eq!((parsed.source, parsed.destination, parsed.link_source), (pair.1, pair.0, PEER));
        assert_eq!((parsed.options, parsed.payload_len), (&[30, 4, 0x80, 1, 99, 2, 1, 1][..], 0));
        assert_eq!(to_ack.head[..6], OWN.0);
        let to_syn = answer(&parsed_from, Flags::SYN).unwrap();
        let parsed = segment(&to_syn);
        assert_eq!((parsed.seq, parsed.ack), (0, 0xfedc_ba98 + 6));
        assert_eq!(parsed.flags, Flags::RST | Flags::ACK);
    }
}

/// An ICMP error, about `quoted`, from a router to its sender.
fn icmp_error(kind: u8, code: u8, rest: u32, quoted: &[u8], to: IpAddr) -> Frame {
    let mut message = vec![kind, code, 0, 0];
    message.extend_from_slice(&rest.to_be_bytes());
    message.extend_from_slice(quoted);
    icmp_frame(message, if to.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap(), to)
}

fn icmp_frame(mut message: Vec<u8>, source: IpAddr, destination: IpAddr) -> Frame {
    let len = u16::try_from(message.len()).unwrap();
    let mut bytes = Vec::new();
    let mut sum = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend(ethernet_header(OWN, PEER, ETHERTYPE_IPV4));
            bytes.extend(ip::header_v4(from, to, PROTOCOL_ICMP, 64, len));
            checksum::Sum::default()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend(ethernet_header(OWN, PEER, ETHERTYPE_IPV6));
            bytes.extend(ip::header_v6(from, to, PROTOCOL_ICMPV6, 255, len));
            let mut sum = checksum::Sum::pseudo_v6(from, to, PROTOCOL_ICMPV6);
            sum.add_u16(len);
            sum
        }
        _ => unreachable!(),
    };
    sum.add_bytes(&message);
    message[2..4].copy_from_slice(&sum.checksum());
    bytes.extend(message);
    Frame::from(&bytes[..])
}

#[test]
fn errors_name_the_segment_and_the_mtu() {
    use IcmpErrorKind::{Hard, Soft, TooBig};
    for (pair, cases) in [
        (
            v4(),
            vec![
                (3, 4, TooBig { mtu: 1400 }),
                (3, 2, Hard),
                (3, 3, Hard),
                (3, 1, Soft),
                (3, 13, Soft),
                (11, 0, Soft),
                (12, 0, Soft),
            ],
        ),
        (
            v6(),
            vec![(2, 0, TooBig { mtu: 1400 }), (1, 4, Hard), (1, 1, Hard), (1, 0, Soft), (3, 0, Soft), (4, 0, Soft)],
        ),
    ] {
        let sent = frame(pair, &[], &[b"payload"]).linearize().to_vec();
        let headers = if pair.0.is_ipv4() { 28 } else { 48 };
        for (kind, code, expected) in cases {
            let frame = icmp_error(kind, code, 1400, &sent[14..14 + headers], pair.0.ip());
            let Parsed::Icmp(IcmpMessage::Error(error)) = parse(&frame) else { panic!("{kind} {code}") };
            assert_eq!((error.source, error.destination, error.seq), (pair.0, pair.1, 0xfedc_ba98));
            assert_eq!((error.kind, usize::from(error.packet_len)), (expected, sent.len() - 14), "{kind} {code}");
        }
        let (kind, code) = if pair.0.is_ipv4() { (3, 4) } else { (2, 0) };
        assert_dropped(&icmp_error(kind, code, 1400, &sent[14..13 + headers], pair.0.ip()));
        assert_dropped(&icmp_error(kind, code, 1400, &sent[14..], pair.1.ip()));
        assert_dropped(&icmp_error(4, if pair.0.is_ipv4() { 0 } else { 9 }, 0, &sent[14..20], pair.0.ip()));
        let mut wrong = icmp_error(kind, code, 1400, &sent[14..], pair.0.ip());
        *wrong.head.last_mut().unwrap() ^= 1;
        assert_dropped(&wrong);
    }
}

#[test]
fn echoes_come_back() {
    for (pair, request, reply) in [(v4(), 8, 0), (v6(), 128, 129)] {
        let message = [&[request, 0, 0, 0, 1, 2, 3, 4][..], b"hello"].concat();
        let frame = icmp_frame(message, pair.0.ip(), pair.1.ip());
        let Parsed::Icmp(IcmpMessage::Echo(echo)) = parse(&frame) else { panic!() };
        assert_eq!((echo.source, echo.destination), (pair.0.ip(), pair.1.ip()));
        let answer = echo_reply(OWN, &echo);
        let mut expected = icmp_frame([&[reply, 0, 0, 0, 1, 2, 3, 4][..], b"hello"].concat(), pair.1.ip(), pair.0.ip());
        expected.head[..6].copy_from_slice(&PEER.0);
        expected.head[6..12].copy_from_slice(&OWN.0);
        if pair.0.is_ipv6() {
            expected.head[21] = 64;
        }
        assert_eq!(answer, expected);
    }
    let to_group = icmp_frame(vec![8, 0, 0, 0, 0, 0, 0, 0], v4().0.ip(), "224.0.0.1".parse().unwrap());
    assert_dropped(&to_group);
}

#[test]
fn arp_messages_round_trip() {
    let (sender, target) = ([10, 0, 1, 1].into(), [10, 0, 1, 2].into());
    let request = ArpMessage::request(OWN, sender, target, None);
    assert_eq!(request.head[..6], [0xff; 6]);
    let Parsed::Arp(message) = parse(&request) else { panic!() };
    assert_eq!(message, ArpMessage { operation: ArpOperation::Request, sender_mac: OWN, sender, target });
    let reply = message.reply(PEER);
    assert_eq!(reply.head[..12], [OWN.0, PEER.0].concat());
    let Parsed::Arp(answer) = parse(&reply) else { panic!() };
    let expected = ArpMessage { operation: ArpOperation::Reply, sender_mac: PEER, sender: target, target: sender };
    assert_eq!(answer, expected);
    for (at, byte) in [(14, 1), (17, 1), (18, 8), (19, 6), (21, 3)] {
        let mut bad = request.clone();
        bad.head[at] = byte;
        assert_dropped(&bad);
    }
}

#[test]
fn neighbour_messages_round_trip() {
    let (IpAddr::V6(source), IpAddr::V6(target)) = (v6().0.ip(), v6().1.ip()) else { panic!() };
    let request = NeighbourMessage::solicitation(OWN, source, target, None);
    assert_eq!(request.head[..6], [0x33, 0x33, 0xff, 0, 0, 2]);
    let Parsed::Neighbour(message) = parse(&request) else { panic!() };
    let kind = NeighbourKind::Solicitation;
    assert_eq!(message, NeighbourMessage { kind, link_source: OWN, source, target, link: Some(OWN) });
    let reply = message.advertisement(PEER);
    assert_eq!(reply.head[..12], [OWN.0, PEER.0].concat());
    let Parsed::Neighbour(answer) = parse(&reply) else { panic!() };
    let kind = NeighbourKind::Advertisement { solicited: true, overrides: true };
    let expected = NeighbourMessage { kind, link_source: PEER, source: target, target, link: Some(PEER) };
    assert_eq!(answer, expected);
    let probe = NeighbourMessage { source: "::".parse().unwrap(), link: None, ..message };
    let to_all = probe.advertisement(PEER);
    assert_eq!(to_all.head[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let Parsed::Neighbour(answer) = parse(&to_all) else { panic!() };
    assert_eq!(answer.kind, NeighbourKind::Advertisement { solicited: false, overrides: true });
}

#[test]
fn neighbour_messages_from_elsewhere_are_dropped() {
    let (IpAddr::V6(source), IpAddr::V6(target)) = (v6().0.ip(), v6().1.ip()) else { panic!() };
    let good = NeighbourMessage::solicitation(OWN, source, target, Some(PEER));
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.head.to_vec();
        bytes[at] = byte;
        bytes[56..58].fill(0);
        let message = bytes[54..].to_vec();
        let mut frame = icmp_frame(message, source.into(), target.into());
        frame.head[21] = bytes[21];
        frame
    };
    assert!(matches!(parse(&changed(21, 255)), Parsed::Neighbour(_)));
    for (at, byte) in [(21, 254), (55, 1), (62, 0xff), (79, 0), (79, 2)] {
        assert!(!matches!(parse(&changed(at, byte)), Parsed::Neighbour(_)), "{at}");
    }
}

/// Frames of all kinds, for mutation.
fn corpus() -> Vec<Frame> {
    let (IpAddr::V6(source), IpAddr::V6(target)) = (v6().0.ip(), v6().1.ip()) else { panic!() };
    let options = [
        1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 30, 4, 0, 0, 2, 4, 5, 6, 3, 3, 7, 1, 5, 10, 0, 0, 0, 0, 0, 0, 0, 1, 34, 2,
    ];
    let mut corpus = vec![
        ArpMessage::request(OWN, [10, 0, 1, 1].into(), [10, 0, 1, 2].into(), None),
        NeighbourMessage::solicitation(OWN, source, target, None),
    ];
    for pair in [v4(), v6()] {
        let sent = frame(pair, &options, &[b"payload"]);
        let bytes = sent.clone().linearize().to_vec();
        corpus.push(sent);
        corpus.push(icmp_error(3, 4, 1400, &bytes[14..], pair.0.ip()));
        corpus.push(icmp_frame(
            [&[if pair.0.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 1, 2][..], b"hello"].concat(),
            pair.0.ip(),
            pair.1.ip(),
        ));
    }
    corpus
}

/// Mutations of real frames, with the checksums that can be made right made right at times.
fn mutations(seed: u64, count: usize, mut check: impl FnMut(&Frame)) {
    let mut rng = StdRng::seed_from_u64(seed);
    let corpus = corpus();
    for _ in 0..count {
        let mut frame = corpus[rng.random_range(0..corpus.len())].clone();
        if rng.random_bool(0.5) {
            frame.linearize();
        }
        for _ in 0..rng.random_range(0..6) {
            let at = rng.random_range(0..frame.head.len());
            frame.head[at] =
                if rng.random_bool(0.5) { rng.random() } else { frame.head[at] ^ (1 << rng.random_range(0..8)) };
        }
        if rng.random_bool(0.2) {
            frame.head.truncate(rng.random_range(1..=frame.head.len()));
        }
        if rng.random_bool(0.5) && frame.head.len() >= 34 && frame.head[14] >> 4 == 4 {
            let end = (14 + usize::from(frame.head[14] & 15) * 4).min(frame.head.len()).max(26);
            frame.head[24..26].fill(0);
            let mut sum = checksum::Sum::default();
            sum.add_bytes(&frame.head[14..end]);
            let sum = sum.checksum();
            frame.head[24..26].copy_from_slice(&sum);
        }
        if rng.random_bool(0.7) {
            frame.meta.checksum = ChecksumState::Verified;
        }
        check(&frame);
    }
}

#[test]
fn no_frame_is_too_strange() {
    let mut segments = 0;
    mutations(1, 200_000, |frame| match parse(frame) {
        Parsed::Tcp(segment) => {
            segments += 1;
            assert!(segment.payload_at <= frame.head.len());
            assert!(segment.payload_at + segment.payload_len <= frame.len());
            let options = Options::parse(segment.options);
            assert!(options.foreign.as_slice().len() <= segment.options.len());
            reset(BytesMut::new(), OWN, &segment, options.foreign.as_slice());
        }
        Parsed::Icmp(IcmpMessage::Echo(echo)) => assert!(echo_reply(OWN, &echo).len() <= frame.len()),
        Parsed::Neighbour(message) => assert_eq!(message.advertisement(OWN).len(), 86),
        Parsed::Arp(message) => assert_eq!(message.reply(OWN).len(), 42),
        Parsed::Icmp(IcmpMessage::Error(_)) | Parsed::Nothing => {}
    });
    assert!(segments > 10_000, "{segments}");
}

#[test]
fn no_bytes_are_too_strange() {
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..100_000 {
        let mut bytes = vec![0; rng.random_range(0..160)];
        rng.fill_bytes(&mut bytes);
        if bytes.len() > 14 {
            let kinds = [ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP];
            bytes[12..14].copy_from_slice(&kinds[rng.random_range(0..3)]);
            bytes[14] = if bytes[13] == 0 { 0x45 } else { 0x60 };
        }
        let frame = Frame::from(&bytes[..]);
        headers_are_linear(&frame);
        parse(&frame);
    }
}

#[test]
fn option_lists_equal_a_naive_reading() {
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..200_000 {
        let mut list = vec![0; rng.random_range(0..=40)];
        for byte in &mut list {
            *byte = if rng.random_bool(0.8) {
                [0, 1, 1, 2, 2, 3, 4, 5, 8, 10, 30, 30, 34, 99][rng.random_range(0..14)]
            } else {
                rng.random()
            };
        }
        if rng.random_bool(0.3) && list.len() >= 4 {
            list[..4].copy_from_slice(&[1, 1, 8, 10]);
        }
        let options = Options::parse(&list);
        let (mut foreign, mut timestamps, mut malformed, mut rest) = (Vec::new(), None, false, &list[..]);
        while let Some((&kind, tail)) = rest.split_first() {
            match kind {
                0 => break,
                1 => rest = tail,
                _ => {
                    let len = usize::from(tail.first().copied().unwrap_or(0));
                    if len < 2 || len > rest.len() {
                        malformed = true;
                        break;
                    }
                    match kind {
                        8 if len == 10 => timestamps = Some((u32_at(rest, 2).unwrap(), u32_at(rest, 6).unwrap())),
                        2..=5 | 8 => {}
                        _ => foreign.extend_from_slice(&rest[..len]),
                    }
                    rest = &rest[len..];
                }
            }
        }
        assert_eq!(options.foreign.as_slice(), foreign, "{list:?}");
        assert_eq!((options.timestamps, options.malformed), (timestamps, malformed), "{list:?}");
    }
}

#[cfg(feature = "smoltcp")]
mod against_smoltcp {
    use ::smoltcp::phy::ChecksumCapabilities;
    use ::smoltcp::wire::{
        EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpOption, TcpPacket, TcpRepr,
        TcpSeqNumber,
    };

    use super::*;

    /// What smoltcp finds: addresses, and the TCP header with what follows.
    fn other(bytes: &[u8]) -> Option<(IpAddr, IpAddr, TcpPacket<&[u8]>)> {
        let ethernet = EthernetFrame::new_checked(bytes).ok()?;
        let (from, to, protocol, payload): (IpAddr, IpAddr, _, _) = match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
                if packet.version() != 4 || packet.header_len() < 20 || !packet.verify_checksum() {
                    return None;
                }
                if packet.more_frags() || packet.frag_offset() != 0 {
                    return None;
                }
                let end = usize::from(packet.total_len());
                let payload = &bytes[14 + usize::from(packet.header_len())..14 + end];
                (packet.src_addr().into(), packet.dst_addr().into(), packet.next_header(), payload)
            }
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
                let payload = &bytes[54..14 + packet.total_len()];
                let valid = packet.version() == 6;
                valid.then_some((packet.src_addr().into(), packet.dst_addr().into(), packet.next_header(), payload))?
            }
            _ => return None,
        };
        let hosts = ip::is_unicast(from) && ip::is_unicast(to) && bytes[0] & 1 == 0;
        let tcp = TcpPacket::new_checked(payload).ok().filter(|tcp| tcp.src_port() != 0 && tcp.dst_port() != 0)?;
        (hosts && protocol == IpProtocol::Tcp).then_some((from, to, tcp))
    }

    #[test]
    fn the_same_segments_are_found() {
        let mut found = 0;
        mutations(5, 200_000, |frame| {
            let mut linear = frame.clone();
            linear.linearize();
            let bytes = linear.head.to_vec();
            let behind_extension =
                bytes.get(12..14) == Some(&ETHERTYPE_IPV6) && matches!(bytes.get(20), Some(0 | 43 | 60));
            if behind_extension {
                return;
            }
            let expected = other(&bytes).filter(|(from, to, tcp)| {
                frame.meta.checksum == ChecksumState::Verified
                    || tcp.verify_checksum(&IpAddress::from(*from), &IpAddress::from(*to))
            });
            match (parse(&linear), expected) {
                (Parsed::Tcp(ours), Some((from, to, tcp))) => {
                    found += 1;
                    assert_eq!(ours.source, SocketAddr::new(from, tcp.src_port()));
                    assert_eq!(ours.destination, SocketAddr::new(to, tcp.dst_port()));
                    assert_eq!((TcpSeqNumber(ours.seq as i32), ours.window), (tcp.seq_number(), tcp.window_len()));
                    assert_eq!(TcpSeqNumber(ours.ack as i32), tcp.ack_number());
                    assert_eq!(ours.options, tcp.options());
                    assert_eq!(&bytes[ours.payload_at..ours.payload_at + ours.payload_len], tcp.payload());
                    options_agree(ours.options);
                }
                (Parsed::Tcp(ours), None) => panic!("only here: {ours:?}"),
                (_, Some((.., tcp))) => panic!("only there: {tcp:?}"),
                _ => {}
            }
        });
        assert!(found > 10_000, "{found}");
    }

    fn options_agree(list: &[u8]) {
        let ours = Options::parse(list);
        let (mut rest, mut foreign) = (list, 0);
        while !rest.is_empty() {
            let Ok((after, option)) = TcpOption::parse(rest) else { return };
            match option {
                TcpOption::EndOfList => break,
                TcpOption::Unknown { kind: 2..=5 | 8, .. } | TcpOption::NoOperation => {}
                TcpOption::Unknown { .. } => foreign += rest.len() - after.len(),
                TcpOption::MaxSegmentSize(_) => assert!(ours.mss.is_some()),
                TcpOption::WindowScale(_) => assert!(ours.window_shift.is_some()),
                TcpOption::SackPermitted => assert!(ours.sack_permitted),
                TcpOption::TimeStamp { .. } => assert!(ours.timestamps.is_some()),
                TcpOption::SackRange(_) => {}
            }
            rest = after;
        }
        assert_eq!(ours.foreign.as_slice().len(), foreign, "{list:?}");
    }

    #[test]
    fn what_is_written_here_is_read_there() {
        for pair in [v4(), v6()] {
            let mut options = OptionWriter::default();
            options.mss(1400);
            options.timestamps(5, 6);
            options.window_scale(7);
            options.sack(&[(10, 20)]);
            options.pad();
            let bytes = frame(pair, options.as_slice(), &[b"pay", b"load"]).linearize().to_vec();
            let (from, to, tcp) = other(&bytes).unwrap();
            let repr = TcpRepr::parse(&tcp, &from.into(), &to.into(), &ChecksumCapabilities::default()).unwrap();
            assert_eq!((repr.src_port, repr.dst_port, repr.payload), (pair.0.port(), pair.1.port(), &b"payload"[..]));
            assert_eq!((repr.max_seg_size, repr.window_scale), (Some(1400), Some(7)));
            assert_eq!(repr.sack_ranges[0], Some((10, 20)));
            assert_eq!(repr.timestamp.map(|timestamp| (timestamp.tsval, timestamp.tsecr)), Some((5, 6)));
            let df = pair.0.is_ipv6() || Ipv4Packet::new_checked(&bytes[14..]).unwrap().dont_frag();
            assert!(df);
        }
    }
}
