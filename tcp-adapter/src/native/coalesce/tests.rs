use bytes::BytesMut;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::wire::{ChecksumMode, HeaderTemplate, SegmentFields};
use super::*;
use crate::MacAddr;

/// A segment as the peer has sent it.
#[derive(Clone, Debug)]
struct Sent {
    flow: u16,
    seq: u32,
    ack: u32,
    window: u16,
    flags: Flags,
    ecn: Ecn,
    timestamp: Option<u32>,
    /// Which mapping the options of the layer above tell.
    mapping: u8,
    len: usize,
}

impl Default for Sent {
    fn default() -> Self {
        let flags = Flags::ACK;
        Self { flow: 0, seq: 1, ack: 9, window: 5, flags, ecn: Ecn::NotEct, timestamp: Some(1), mapping: 0, len: 100 }
    }
}

impl Sent {
    fn options(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some(timestamp) = self.timestamp {
            options.extend(TIMESTAMPS);
            options.extend(timestamp.to_be_bytes());
            options.extend([0, 0, 0, 7]);
        }
        options.extend([30, 8, 0x20, 1, 2, 3, 4, self.mapping]);
        options
    }

    /// Bytes that tell their place in the stream.
    fn payload(&self) -> Bytes {
        (0..self.len).map(|at| (self.seq as usize + at * 7 + usize::from(self.flow)) as u8).collect()
    }

    /// The frame: the payload behind the headers, or beside them; with a checksum to verify, or from memory.
    fn frame(&self, ipv6: bool, linear: bool, checksum: ChecksumMode) -> Frame {
        let host = |port| match ipv6 {
            true => SocketAddr::new("fd00::1".parse().unwrap(), port),
            false => SocketAddr::new("10.0.0.1".parse().unwrap(), port),
        };
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let template = HeaderTemplate::new(mac, mac, host(1000 + self.flow), host(80));
        let (options, payload) = (self.options(), self.payload());
        let fields = SegmentFields {
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: 0,
            ecn: self.ecn,
            options: &options,
            payload_len: self.len,
            ident: 3,
        };
        let mut frame = Frame::linear(BytesMut::with_capacity(200));
        template.write(&mut frame.head, &fields, std::slice::from_ref(&payload), checksum);
        frame.payload.push(payload);
        if linear {
            frame.linearize();
        }
        if checksum == ChecksumMode::Partial {
            frame.meta.checksum = ChecksumState::Partial;
        }
        frame
    }
}

/// What frames tell a stack, byte by byte and in order, of one flow.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    seq: u32,
    byte: Option<u8>,
    ack: u32,
    window: u16,
    ecn: Ecn,
    fin: bool,
    echo_and_mapping: Vec<u8>,
}

fn told(frames: &[Frame], flow: u16) -> Vec<Told> {
    let mut all = Vec::new();
    for frame in frames {
        let Parsed::Tcp(segment) = parse(frame) else { panic!("no segment: {frame:?}") };
        if segment.source.port() != 1000 + flow {
            continue;
        }
        let mut whole = frame.clone();
        let bytes = whole.linearize()[segment.payload_at..][..segment.payload_len].to_vec();
        let timestamps = segment.options.first_chunk() == Some(&TIMESTAMPS);
        let echo_and_mapping = segment.options[if timestamps { 8 } else { 0 }..].to_vec();
        let one = |index: usize, byte: Option<u8>| Told {
            seq: segment.seq.wrapping_add(index as u32),
            byte,
            ack: segment.ack,
            window: segment.window,
            ecn: segment.ecn,
            fin: segment.flags.contains(Flags::FIN),
            echo_and_mapping: echo_and_mapping.clone(),
        };
        if bytes.is_empty() {
            all.push(one(0, None));
        }
        all.extend(bytes.iter().enumerate().map(|(index, byte)| one(index, Some(*byte))));
    }
    all
}

fn coalesce(frames: impl IntoIterator<Item = Frame>) -> Vec<Frame> {
    let mut joined = Vec::new();
    let mut coalescer = Coalescer::new();
    for frame in frames {
        coalescer.push(frame, &mut |frame| joined.push(frame));
    }
    coalescer.flush(&mut |frame| joined.push(frame));
    assert!(coalescer.held.is_empty());
    joined
}

/// `count` segments that follow each other.
fn run(first: &Sent, count: usize) -> Vec<Sent> {
    let next = |index: usize| Sent { seq: first.seq.wrapping_add((index * first.len) as u32), ..first.clone() };
    (0..count).map(next).collect()
}

fn frames(sent: &[Sent]) -> Vec<Frame> {
    sent.iter().map(|sent| sent.frame(false, true, ChecksumMode::Full)).collect()
}

#[test]
fn segments_that_follow_each_other_become_one() {
    for ipv6 in [false, true] {
        for linear in [false, true] {
            for checksum in [ChecksumMode::Full, ChecksumMode::Partial] {
                let sent = run(&Sent { seq: u32::MAX - 250, len: 1000, ..Sent::default() }, 20);
                let separate: Vec<Frame> = sent.iter().map(|sent| sent.frame(ipv6, linear, checksum)).collect();
                let joined = coalesce(separate.clone());
                assert_eq!(joined.len(), 1, "{ipv6} {linear} {checksum:?}");
                assert_eq!(joined[0].meta.segment_size.map(NonZeroU16::get), Some(1000));
                assert_ne!(joined[0].meta.checksum, ChecksumState::Complete);
                assert_eq!(told(&joined, 0), told(&separate, 0));
            }
        }
    }
}

#[test]
fn a_frame_holds_what_a_length_field_can_tell() {
    let joined = coalesce(frames(&run(&Sent { len: 1448, ..Sent::default() }, 60)));
    assert_eq!(joined.len(), 2);
    assert!((65_535 - 1448 + 14..=65_535 + 14).contains(&joined[0].len()), "{}", joined[0].len());
}

#[test]
fn what_says_something_else_is_not_joined() {
    let first = Sent::default();
    let next = Sent { seq: 101, ..Sent::default() };
    let second = |change: &dyn Fn(&mut Sent)| {
        let mut next = next.clone();
        change(&mut next);
        coalesce(frames(&[first.clone(), next])).len()
    };
    assert_eq!(second(&|_| {}), 1);
    assert_eq!(second(&|next| next.timestamp = Some(5)), 1, "time goes on");
    assert_eq!(second(&|next| next.len = 30), 1, "the last one may be short");
    assert_eq!(second(&|next| next.flags |= Flags::PSH), 1);
    let changes: [&dyn Fn(&mut Sent); 12] = [
        &|next| next.flow = 1,
        &|next| next.seq = 102,
        &|next| next.seq = 100,
        &|next| next.ack = 10,
        &|next| next.window = 6,
        &|next| next.mapping = 1,
        &|next| next.ecn = Ecn::Ce,
        &|next| next.timestamp = Some(0),
        &|next| next.timestamp = None,
        &|next| next.len = 101,
        &|next| next.len = 0,
        &|next| next.flags |= Flags::FIN,
    ];
    for (index, change) in changes.iter().enumerate() {
        assert_eq!(second(change), 2, "change {index}");
    }
}

#[test]
fn a_pushed_segment_does_not_wait() {
    let mut given = 0;
    let mut coalescer = Coalescer::new();
    let mut sent = run(&Sent::default(), 2);
    sent[1].flags |= Flags::PSH;
    for frame in frames(&sent) {
        coalescer.push(frame, &mut |frame| {
            let Parsed::Tcp(segment) = parse(&frame) else { panic!("no segment") };
            assert!(segment.flags.contains(Flags::PSH));
            given += segment.payload_len;
        });
    }
    assert_eq!(given, 200);
}

#[test]
fn altered_segments_stay_apart_and_altered() {
    let mut separate = frames(&run(&Sent::default(), 3));
    let last = separate[1].head.len() - 1;
    separate[1].head[last] ^= 1;
    let joined = coalesce(separate);
    let valid = joined.iter().filter(|frame| matches!(parse(frame), Parsed::Tcp(_))).count();
    assert_eq!((joined.len(), valid), (3, 2));
}

#[test]
fn joined_or_not_they_tell_the_same() {
    let mut rng = StdRng::seed_from_u64(8684);
    let (mut before, mut after) = (0, 0);
    for round in 0..3_000 {
        let flows = rng.random_range(1..12_u16);
        let mut next: Vec<Sent> =
            (0..flows).map(|flow| Sent { flow, seq: rng.random(), len: 50, ..Sent::default() }).collect();
        let mut separate = Vec::new();
        for _ in 0..rng.random_range(1..60) {
            let flow = rng.random_range(0..usize::from(flows));
            let sent = &mut next[flow];
            match rng.random_range(0..30) {
                0 => sent.seq = sent.seq.wrapping_add(50),
                1 => sent.seq = sent.seq.wrapping_sub(50),
                2 => sent.ack += 1,
                3 => sent.window ^= 1,
                4 => sent.mapping ^= 1,
                5 => sent.timestamp = sent.timestamp.map(|at| at + 1),
                6 => sent.len = rng.random_range(0..90),
                7 => sent.flags = Flags(sent.flags.0 ^ Flags::PSH.0),
                8 => sent.flags = Flags(sent.flags.0 ^ Flags::FIN.0),
                9 => sent.ecn = if sent.ecn == Ecn::Ce { Ecn::Ect0 } else { Ecn::Ce },
                _ => {}
            }
            let checksum = if rng.random() { ChecksumMode::Full } else { ChecksumMode::Partial };
            separate.push(sent.frame(round % 2 == 0, rng.random(), checksum));
            sent.seq = sent.seq.wrapping_add(sent.len as u32);
        }
        let joined = coalesce(separate.clone());
        for flow in 0..flows {
            assert_eq!(told(&joined, flow), told(&separate, flow), "round {round}, flow {flow}");
        }
        (before, after) = (before + separate.len(), after + joined.len());
    }
    assert!(after * 4 < before * 3, "{before} frames became {after}");
}
