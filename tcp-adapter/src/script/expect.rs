//! How a segment of the stack differs from what a script expects.

use super::options::{self, OptionSpec, Seq, Stamp, TcpOption};
use super::peer::Peer;
use super::segment::{PUSH, SegmentSpec, show_flags};
use crate::conformance::packet::{Packet, SYN};

/// What differs, each in words; empty if nothing does.
pub(super) fn differences(spec: &SegmentSpec, peer: &Peer, packet: &Packet, pieces: Option<u16>) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(flags) = spec.flags {
        // PSH says nothing about the protocol: it is looked at only if it is stated.
        let ignored = if flags & PUSH == 0 { PUSH } else { 0 };
        if packet.flags & !ignored != flags {
            found.push(format!("flags: {} instead of {}", show_flags(packet.flags), show_flags(flags)));
        }
    }
    if let Some(seq) = spec.seq {
        if !peer.is_stack_seq(seq, packet.seq) {
            found.push("sequence number".to_owned());
        }
        if packet.payload.len() != usize::try_from(spec.len).unwrap_or(usize::MAX) {
            found.push(format!("{} bytes of payload instead of {}", packet.payload.len(), spec.len));
        }
    }
    if let Some(ack) = spec.ack
        && !peer.is_own_seq(ack, packet.ack)
    {
        found.push("acknowledgement number".to_owned());
    }
    let window = if spec.window_is_raw { packet.window.into() } else { peer.stack_window(packet) };
    if let Some(expected) = spec.window.filter(|expected| !expected.contains(window)) {
        found.push(format!("window: {window} instead of {expected}"));
    }
    if let Some(urgent) = spec.urgent.filter(|&urgent| urgent != packet.urgent) {
        found.push(format!("urgent pointer: {} instead of {urgent}", packet.urgent));
    }
    if spec.ecn.is_some_and(|ecn| ecn != packet.ecn) {
        found.push(format!("ECN field of the IP header: {:02b}", packet.ecn));
    }
    if spec.pieces.is_some() && spec.pieces != pieces {
        found.push("size of the pieces".to_owned());
    }
    match options::parse(&packet.options) {
        Ok(options) => compare_options(spec, peer, &options, &mut found),
        Err(wrong) => found.push(wrong),
    }
    found.extend(wrong_payload(spec, peer, packet));
    found
}

fn compare_options(spec: &SegmentSpec, peer: &Peer, options: &[TcpOption], found: &mut Vec<String>) {
    for expected in &spec.options {
        if !options.iter().any(|option| matches(expected, peer, option)) {
            found.push(format!("option: no {expected:?}"));
        }
    }
    for kind in &spec.absent {
        if options.iter().any(|option| option.kind() == *kind) {
            found.push(format!("option {kind} must not be there"));
        }
    }
}

fn matches(expected: &OptionSpec, peer: &Peer, option: &TcpOption) -> bool {
    match (expected, option) {
        (OptionSpec::Mss(bound), TcpOption::Mss(mss)) => bound.contains(u64::from(*mss)),
        (OptionSpec::Scale(bound), TcpOption::Scale(shift)) => bound.contains(u64::from(*shift)),
        (OptionSpec::SackPermitted, TcpOption::SackPermitted) => true,
        (OptionSpec::Sack(expected), TcpOption::Sack(blocks)) => {
            expected.len() == blocks.len()
                && expected.iter().zip(blocks).all(|(expected, block)| {
                    peer.is_own_seq(expected.0, block.0) && peer.is_own_seq(expected.1, block.1)
                })
        }
        (OptionSpec::Timestamps(expected, expected_echo), TcpOption::Timestamps(value, echo)) => {
            let fits = |stamp: &Stamp, value: u64| match stamp {
                Stamp::Number(bound) => bound.contains(value),
                Stamp::Last => true,
            };
            fits(expected, peer.stack_stamp(*value)) && fits(expected_echo, u64::from(*echo))
        }
        (OptionSpec::Other(kind, value), option) => {
            let mut bytes = Vec::new();
            option.emit(&mut bytes);
            bytes[0] == *kind && value.as_ref().is_none_or(|value| bytes[2..] == value[..])
        }
        _ => false,
    }
}

/// The stream of the stack is a pattern, wherever it is cut.
fn wrong_payload(spec: &SegmentSpec, peer: &Peer, packet: &Packet) -> Option<String> {
    if matches!(spec.seq, Some(Seq::Raw(_))) {
        return None;
    }
    // The SYN comes before the first byte of the stream.
    let mut seq = packet.seq.wrapping_add(u32::from(packet.has(SYN)));
    for (at, &byte) in packet.payload.iter().enumerate() {
        if byte != peer.stack_byte(seq) {
            return Some(format!("payload: byte {at} is wrong"));
        }
        seq = seq.wrapping_add(1);
    }
    None
}
