//! What may be forged, mutilated or late.

use std::time::Duration;

use super::Factory;
use super::packet::{ACK, FIN, Packet, RST, SYN, datagram};
use super::wire::{Pump, Random, Wire, address, assert_pattern, pattern};
use crate::{ChecksumState, Frame, SegmentKind, TcpId};

/// An open connection that has carried some bytes, and what an acceptable segment from end 0 looks like.
fn open(factory: Factory, seed: u64) -> (Wire, [TcpId; 2], Packet) {
    let mut wire = Wire::new(factory, seed);
    wire.listen();
    let ids = wire.open(true);
    for end in [0, 1] {
        wire.ends[end].pumps.insert(ids[end], Pump::new(10_000));
    }
    wire.run_for(Duration::from_secs(1));
    let now = wire.now;
    wire.ends[0].stack.ack_now(now, ids[0]);
    wire.settle();
    let template = wire.sent(0).last().expect("just sent").clone();
    assert!(template.payload.is_empty());
    wire.run_for(Duration::from_secs(1));
    wire.log.clear();
    wire.ends[1].hook.segments.clear();
    (wire, ids, template)
}

/// Injects at end 1 and returns what it answers.
fn inject(wire: &mut Wire, packet: &Packet) -> Vec<Packet> {
    wire.log.clear();
    wire.inject(1, packet.to_frame());
    wire.settle();
    let answers = wire.log.iter().filter(|(from, _)| *from == 1).map(|(_, packet)| packet.clone()).collect();
    wire.run_for(Duration::from_secs(2));
    answers
}

/// Segments beyond a gap that arrive in one burst are all told of: by as many acknowledgements, which a sender without SACK counts
/// (RFC 5681 section 4.2), or by one that reports the bytes (RFC 2018).
pub fn bursts_beyond_a_gap_are_answered(factory: Factory) {
    let (mut wire, _, template) = open(factory, 88);
    for step in 1..=3 {
        let seq = template.seq.wrapping_add(step * 1_000);
        wire.inject(1, Packet { seq, payload: vec![7; 1_000], ..template.clone() }.to_frame());
    }
    wire.settle();
    let answers: Vec<&Packet> = wire.sent(1).filter(|answer| answer.ack == template.seq).collect();
    let reported = answers.iter().any(|answer| answer.option(5).is_some());
    assert!(answers.len() == 3 || (reported && !answers.is_empty()), "{answers:?}");
}

fn assert_untouched(wire: &mut Wire, ids: [TcpId; 2]) {
    assert!(wire.ends[1].hook.segments.is_empty(), "the hook saw {:?}", wire.ends[1].hook.segments);
    for end in [0, 1] {
        assert!(wire.ends[end].stack.info(ids[end]).is_some_and(|info| info.established), "end {end} is gone");
        wire.ends[end].pumps.insert(ids[end], Pump { position: 10_000, total: 20_000, ..Pump::new(0) });
    }
    wire.run_for(Duration::from_secs(2));
    for end in [0, 1] {
        assert_pattern(wire.inbox(end, ids[end]), 20_000);
    }
}

/// Segments outside the window are answered with an acknowledgement and shown to nobody.
pub fn segments_outside_the_window_never_reach_the_hook(factory: Factory) {
    let (mut wire, ids, template) = open(factory, 80);
    let option = vec![254, 4, 1, 2];
    for distance in [-70_000, -1, 64 << 20, i32::MAX] {
        for payload in [0, 1] {
            let packet = Packet {
                seq: template.seq.wrapping_add_signed(distance),
                options: option.clone(),
                payload: vec![9; payload],
                ..template.clone()
            };
            let answers = inject(&mut wire, &packet);
            assert!(
                matches!(&answers[..], [answer] if answer.flags == ACK && answer.ack == template.seq),
                "{distance}: {answers:?}"
            );
        }
    }
    assert_untouched(&mut wire, ids);
}

/// Acknowledgements of what was never sent, or of long ago, are not shown to anybody.
pub fn unacceptable_acknowledgements_never_reach_the_hook(factory: Factory) {
    let (mut wire, ids, template) = open(factory, 81);
    for distance in [1, 1 << 30, -(1 << 30)] {
        let packet = Packet { ack: template.ack.wrapping_add_signed(distance), payload: vec![7], ..template.clone() };
        let answers = inject(&mut wire, &packet);
        assert!(matches!(&answers[..], [answer] if answer.flags == ACK), "{distance}: {answers:?}");
    }
    // Nor is anything without acknowledgement.
    let answers = inject(&mut wire, &Packet { flags: 0, payload: vec![7], ..template });
    assert!(answers.is_empty(), "{answers:?}");
    assert_untouched(&mut wire, ids);
}

/// Answers to segments without data are limited (RFC 5961 section 7), answers to data are not.
pub fn answers_to_bare_segments_are_limited(factory: Factory) {
    for (payload, limited) in [(vec![], true), (vec![1], false)] {
        let (mut wire, ids, template) = open(factory, 88);
        let packet = Packet { seq: template.seq.wrapping_sub(5_000), payload, ..template };
        for _ in 0..500 {
            wire.inject(1, packet.to_frame());
            wire.settle();
        }
        let answers = wire.sent(1).count();
        assert!(if limited { (1..=100).contains(&answers) } else { answers == 500 }, "{answers} answers");
        assert_untouched(&mut wire, ids);
    }
}

/// A reset must hit the next sequence number exactly (RFC 5961 section 3.2).
pub fn forged_resets_are_challenged(factory: Factory) {
    let (mut wire, ids, template) = open(factory, 82);
    for (distance, challenged) in [(1, true), (10_000, true), (-1, false), (1 << 30, false)] {
        let packet = Packet { seq: template.seq.wrapping_add_signed(distance), flags: RST | ACK, ..template.clone() };
        let answers = inject(&mut wire, &packet);
        assert_eq!(answers.len(), usize::from(challenged), "{distance}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.flags == ACK && answer.ack == template.seq));
    }
    assert_untouched(&mut wire, ids);
    let seq = template.seq.wrapping_add(10_000);
    inject(&mut wire, &Packet { seq, flags: RST, ..template });
    assert!(wire.closed(1, ids[1]).is_some());
}

/// A SYN in an open connection is answered with an acknowledgement (RFC 5961 section 4.2).
pub fn syn_in_an_open_connection_is_challenged(factory: Factory) {
    let (mut wire, ids, template) = open(factory, 83);
    for (flags, distance) in [(SYN, 0), (SYN, 5_000), (SYN | ACK, 0), (SYN, 1 << 30), (SYN | FIN | ACK, 0)] {
        let packet = Packet { seq: template.seq.wrapping_add_signed(distance), flags, ..template.clone() };
        let answers = inject(&mut wire, &packet);
        assert!(matches!(&answers[..], [answer] if answer.flags == ACK), "{flags}: {answers:?}");
    }
    assert_untouched(&mut wire, ids);
}

/// A damaged segment is not shown to anybody, unless the device says that it has verified the checksum.
pub fn wrong_checksums_never_reach_the_hook(factory: Factory) {
    let (mut wire, ids, template) = open(factory, 84);
    let good = Packet { options: vec![254, 4, 1, 2], payload: b"data".to_vec(), ..template }.to_frame();
    let ip_header = 14..34;
    for byte in ip_header.start..good.head.len() {
        let mut frame = good.clone();
        frame.head[byte] ^= 0x10;
        wire.inject(1, frame);
    }
    assert_untouched(&mut wire, ids);
    // Beyond what arrived meanwhile, so that the segment is acceptable again.
    let now = wire.now;
    wire.ends[0].stack.ack_now(now, ids[0]);
    wire.settle();
    let template = wire.sent(0).last().expect("just sent").clone();
    for checksum in [ChecksumState::Verified, ChecksumState::Partial] {
        wire.run_for(Duration::from_secs(1));
        wire.ends[1].hook.segments.clear();
        let mut frame = Packet { options: vec![254, 4, 1, 2], ..template.clone() }.to_frame();
        frame.head[50] ^= 0xff;
        frame.meta.checksum = checksum;
        wire.inject(1, frame);
        assert_eq!(wire.ends[1].hook.segments.len(), 1, "{checksum:?} needs no verification");
    }
}

/// Frames that are damaged in any way, with checksums made right again or not, in any state.
pub fn mutilated_frames_never_panic(factory: Factory) {
    for seed in 0..40 {
        let mut wire = Wire::new(factory, 400 + seed);
        wire.listen();
        for end in &mut wire.ends {
            let mut random = Random(seed);
            end.hook.on_transmit = Box::new(move |_, segment, options| {
                let len = random.below(12).to_le_bytes()[0] + 2;
                let mut option = vec![254; len.into()];
                option[1] = len;
                let _ = options.push(&option);
                (segment.kind == SegmentKind::Established && random.below(4) == 0)
                    .then(|| u32::try_from(random.below(1 << 20)).expect("20 bits"))
            });
        }
        for end in [0, 1] {
            let mut random = Random(seed * 2 + 1 + end as u64);
            wire.ends[end].mangle = Some(Box::new(move |frame| {
                let mutilated = mutilate(&frame, &mut random);
                // The original mostly follows, so that connections make progress.
                if random.thousandths(950) { vec![mutilated, frame] } else { vec![mutilated] }
            }));
        }
        for round in 0..6 {
            let first = wire.connect(round % 2 == 0);
            wire.ends[0].pumps.insert(first, Pump { close: round % 3 == 0, vary: true, ..Pump::new(20_000) });
            wire.run_for(Duration::from_secs(3));
            for id in wire.established(1) {
                wire.ends[1].pumps.entry(id).or_insert(Pump { close: true, ..Pump::new(20_000) });
            }
            wire.run_for(Duration::from_secs(3));
            if round % 2 == 1 {
                let now = wire.now;
                let _ = wire.ends[0].stack.abort(now, first, &[254, 2]);
            }
            // A connection that was reset cannot be fed any more.
            for end in &mut wire.ends {
                end.pumps.retain(|&conn, _| end.stack.info(conn).is_some());
            }
        }
    }
}

/// A segment that was late carries an old acknowledgement; its bytes count all the same.
pub fn late_segments_still_carry_bytes(factory: Factory) {
    let (mut wire, ids, template) = open(factory, 86);
    let payload = (10_000..10_100).map(pattern).collect();
    let answers = inject(&mut wire, &Packet { ack: template.ack.wrapping_sub(3_000), payload, ..template });
    assert!(matches!(&answers[..], [answer] if answer.ack == template.seq.wrapping_add(100)), "{answers:?}");
    assert_pattern(wire.inbox(1, ids[1]), 10_100);
}

/// A SYN of the old connection does not open a new one in TIME-WAIT, and a repeated FIN is acknowledged.
pub fn old_segments_in_time_wait_open_nothing(factory: Factory) {
    let mut wire = Wire::new(factory, 87);
    wire.listen();
    let ids = wire.open(true);
    wire.ends[1].pumps.insert(ids[1], Pump { close: true, ..Pump::new(100) });
    wire.run_for(Duration::from_secs(1));
    wire.ends[0].pumps.insert(ids[0], Pump { close: true, ..Pump::new(100) });
    wire.run_for(Duration::from_secs(1));
    assert!(wire.closed(1, ids[1]).is_some());
    let syn = wire.sent(0).find(|packet| packet.has(SYN)).expect("a SYN").clone();
    let fin = wire.sent(0).find(|packet| packet.has(FIN)).expect("a FIN").clone();
    let answers = inject(&mut wire, &syn);
    assert!(answers.iter().all(|answer| answer.flags == ACK), "{answers:?}");
    assert_eq!(wire.ends[1].hook.syns.len(), 1, "an old SYN was taken for a new one");
    let answers = inject(&mut wire, &fin);
    let end = fin.seq.wrapping_add(u32::try_from(fin.payload.len()).expect("a packet") + 1);
    assert!(matches!(&answers[..], [answer] if answer.flags == ACK && answer.ack == end), "{answers:?}");
    // Without the options: an old timestamp would make it an old SYN all the same (RFC 6191).
    inject(&mut wire, &Packet { seq: end.wrapping_add(1), options: Vec::new(), ..syn });
    assert_eq!(wire.ends[1].hook.syns.len(), 2, "a new SYN was not taken");
}

/// Whatever else a network may hold: address resolution, ICMP, multicast, extension headers, fragments.
pub fn arbitrary_frames_never_panic(factory: Factory) {
    let (mut wire, ids, _) = open(factory, 85);
    let mut random = Random(85);
    for _ in 0..30_000 {
        let frame = arbitrary(&mut random);
        wire.inject(1, frame);
        if random.below(50) == 0 {
            wire.run_for(Duration::from_millis(random.below(500)));
        }
        wire.ends[1].hook.segments.clear();
    }
    wire.run_for(Duration::from_secs(5));
    wire.ends[1].hook.segments.clear();
    assert!(wire.ends[1].stack.info(ids[1]).is_some_and(|info| info.established));
}

fn arbitrary(random: &mut Random) -> Frame {
    let mut byte = |limit: u64| random.below(limit).to_le_bytes()[0];
    let unicast = [2, 0, 0, 0, 0, 2];
    let multicast = [0x33, 0x33, 0xff, 0, 0, 2];
    let destination = [unicast, multicast, [0xff; 6]][usize::from(byte(3))];
    let link = [destination, [2, 0, 0, 0, byte(2), 1]];
    let ipv4 = byte(2) == 0;
    // Small numbers make well-formed headers likely; large ones fill the rest.
    let size = usize::from(byte(2)) * 40 + usize::from(byte(90));
    let mut content: Vec<u8> = (0..size).map(|_| if byte(3) == 0 { byte(256) } else { byte(8) }).collect();
    if byte(8) == 0 {
        let mut bytes = bytes::BytesMut::from(&link.concat()[..]);
        bytes.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, byte(4)]);
        bytes.extend_from_slice(&content);
        return Frame::linear(bytes);
    }
    let protocol = [0, 1, 2, 6, 17, 43, 44, 58, byte(256)][usize::from(byte(9))];
    let kinds = [128, 130, 131, 133, 134, 135, 136, 137, 143, 3, 8, 0x11, 0x16];
    if let Some(first) = content.first_mut() {
        *first = if byte(2) == 0 { kinds[usize::from(byte(13))] } else { byte(64) };
    }
    let hop_limit = [1, 64, 255][usize::from(byte(3))];
    let destination = match (byte(3), ipv4) {
        (0, true) => std::net::IpAddr::from([224, 0, 0, byte(30)]),
        (0, false) => std::net::IpAddr::from([0xff02, 0, 0, 0, 0, 1, 0xff00, u16::from(byte(3))]),
        _ => address(1, ipv4),
    };
    let source = match (byte(4), ipv4) {
        (0, true) => std::net::IpAddr::from([byte(255), 0, 0, byte(255)]),
        (0, false) => std::net::IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(byte(9))]),
        _ => address(0, ipv4),
    };
    datagram(link, protocol, hop_limit, [source, destination], content, 2)
}

fn mutilate(frame: &Frame, random: &mut Random) -> Frame {
    if let Some(mut packet) = Packet::parse(frame)
        && random.below(4) > 0
    {
        for _ in 0..=random.below(2) {
            mutilate_packet(&mut packet, random);
        }
        return packet.to_frame();
    }
    let mut frame = frame.clone();
    let head = frame.linearize();
    match random.below(3) {
        0 => head.truncate(usize::try_from(random.below(head.len() as u64)).unwrap_or(0)),
        1 => head.extend_from_slice(&[0; 9]),
        _ => {
            let at = usize::try_from(random.below(head.len() as u64)).unwrap_or(0);
            head[at] = random.bits().to_le_bytes()[0];
        }
    }
    if random.below(2) == 0 {
        frame.meta.checksum = ChecksumState::Verified;
    }
    frame
}

fn mutilate_packet(packet: &mut Packet, random: &mut Random) {
    let small = i32::try_from(random.below(4_001)).unwrap_or(0) - 2_000;
    match random.below(10) {
        0 => packet.seq = packet.seq.wrapping_add_signed(small),
        1 => packet.ack = packet.ack.wrapping_add_signed(small),
        2 => packet.flags = random.bits().to_le_bytes()[0],
        3 => packet.window = u16::from_le_bytes([random.bits().to_le_bytes()[0], 0]),
        4 => packet.options = (0..random.below(41)).map(|_| random.below(9).to_le_bytes()[0]).collect(),
        5 => packet.payload.truncate(usize::try_from(random.below(100)).unwrap_or(0)),
        6 => packet.payload.resize(usize::try_from(random.below(3_000)).unwrap_or(0), 5),
        7 => std::mem::swap(&mut packet.source, &mut packet.destination),
        8 => packet.seq = packet.ack,
        _ => packet.flags ^= 1 << random.below(6),
    }
}
