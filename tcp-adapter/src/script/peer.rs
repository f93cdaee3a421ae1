//! The scripted end of a connection: what its numbers mean, and the frames it sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use super::line::{IcmpKind, IcmpSpec};
use super::options::{self, OptionSpec, Seq, Stamp, TcpOption};
use super::segment::{SegmentSpec, show_flags};
use crate::conformance::packet::{ACK, Packet, SYN, datagram};
use crate::conformance::wire::pattern;
use crate::{Frame, MacAddr, TcpId};

/// Link-layer address of the stack.
pub(super) const STACK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// Link-layer address of the peers.
pub(super) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Port that the stack listens on.
pub(super) const LISTEN_PORT: u16 = 4420;
/// Port of peer 0, which does not exist.
const PEER_PORT: u16 = 5000;
/// Where the stream of the stack starts in the pattern, so that the streams of the two directions differ.
const STACK_STREAM: u64 = 1 << 40;

/// The remote end of one connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) ipv4: bool,
    pub(super) port: u16,
    /// Port of the stack.
    pub(super) stack_port: u16,
    /// Initial sequence number.
    pub(super) isn: u32,
    /// The stack's; known once it has sent a SYN.
    stack_isn: Option<u32>,
    /// Window scale that the peer has offered.
    shift: Option<u8>,
    /// Window scale that the stack has offered.
    stack_shift: Option<u8>,
    /// First and last timestamp of the stack.
    stamps: Option<(u32, u32)>,
    /// Bytes given to the stack to send.
    pub(super) sent: u64,
    /// Bytes received from the stack.
    pub(super) received: u64,
    /// The stack's handle.
    pub(super) conn: Option<TcpId>,
}

impl Peer {
    pub(super) fn new(index: u8, ipv4: bool, isn: u32) -> Self {
        Self {
            ipv4,
            port: PEER_PORT + u16::from(index),
            stack_port: LISTEN_PORT,
            isn,
            stack_isn: None,
            shift: None,
            stack_shift: None,
            stamps: None,
            sent: 0,
            received: 0,
            conn: None,
        }
    }

    /// The same port, ready for another connection.
    pub(super) fn renewed(&self, distance: i64) -> Self {
        let isn = self.isn.wrapping_add(low_bits(distance));
        Self { isn, port: self.port, stack_port: self.stack_port, ..Self::new(0, self.ipv4, isn) }
    }

    /// Number of the peer that has a port.
    pub(super) fn index_of(port: u16) -> Option<u8> {
        u8::try_from(port.checked_sub(PEER_PORT)?).ok().filter(|index| (1..=9).contains(index))
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(address(2, self.ipv4), self.port)
    }

    fn stack_address(&self) -> SocketAddr {
        SocketAddr::new(address(1, self.ipv4), self.stack_port)
    }

    /// A frame as a script states it.
    pub(super) fn frame(&mut self, spec: &SegmentSpec) -> Result<Frame, String> {
        let flags = spec.flags.unwrap_or(0);
        let seq = self.absolute(spec.seq.unwrap_or(Seq::Relative(0)), Some(self.isn))?;
        let ack = spec.ack.map_or(Ok(0), |ack| self.absolute(ack, self.stack_isn))?;
        let mut options = Vec::new();
        for option in &spec.options {
            self.emit(option, &mut options)?;
        }
        if flags & SYN != 0 {
            let scale = spec.options.iter().find_map(|option| match option {
                OptionSpec::Scale(shift) => shift.exact(),
                _ => None,
            });
            self.shift = scale.and_then(|shift| u8::try_from(shift).ok());
        }
        let window = self.window_field(spec, flags)?;
        // The SYN comes before the first byte of the stream.
        let first = u64::from(seq.wrapping_sub(self.isn).wrapping_sub(u32::from(flags & SYN == 0)));
        let payload = (first..first + u64::from(spec.len)).map(|at| spec.fill.unwrap_or_else(|| pattern(at)));
        let packet = Packet {
            link: [STACK_MAC.0, PEER_MAC.0],
            source: self.address(),
            destination: self.stack_address(),
            seq,
            ack,
            flags,
            window,
            urgent: spec.urgent.unwrap_or(0),
            ecn: spec.ecn.unwrap_or(0),
            options,
            payload: payload.collect(),
        };
        if packet.options.len() > 40 {
            return Err(format!("{} bytes of options do not fit", packet.options.len()));
        }
        let mut frame = packet.to_frame();
        frame.meta.segment_size = spec.pieces.and_then(NonZeroU16::new);
        if spec.wrong_checksum {
            let field = frame.head.len() - packet.payload.len() - packet.options.len().next_multiple_of(4) - 4;
            frame.head[field] ^= 0x55;
        }
        Ok(frame)
    }

    fn window_field(&self, spec: &SegmentSpec, flags: u8) -> Result<u16, String> {
        let shift = if flags & SYN == 0 && !spec.window_is_raw { self.scales().0 } else { 0 };
        let stated = match spec.window {
            Some(window) => window.exact().ok_or("the window of what the peer sends must be one number")?,
            None => 0xffff >> shift << shift,
        };
        if stated >> shift << shift != stated {
            return Err(format!("a window of {stated} cannot be expressed with a scale of {shift}"));
        }
        u16::try_from(stated >> shift).map_err(|_| format!("a window of {stated} is too large for a scale of {shift}"))
    }

    fn emit(&self, option: &OptionSpec, bytes: &mut Vec<u8>) -> Result<(), String> {
        let one = |bound: super::number::Bound| bound.exact().ok_or("an option of the peer needs exact values");
        let option = match option {
            OptionSpec::Mss(mss) => TcpOption::Mss(u16::try_from(one(*mss)?).map_err(|_| "too large an MSS")?),
            OptionSpec::Scale(shift) => TcpOption::Scale(u8::try_from(one(*shift)?).map_err(|_| "too large a scale")?),
            OptionSpec::SackPermitted => TcpOption::SackPermitted,
            OptionSpec::Sack(blocks) => {
                let blocks: Result<_, String> = blocks
                    .iter()
                    .map(|&(from, to)| Ok((self.absolute(from, self.stack_isn)?, self.absolute(to, self.stack_isn)?)))
                    .collect();
                TcpOption::Sack(blocks?)
            }
            &OptionSpec::Timestamps(value, echo) => {
                let (first, last) = self.stamps.unwrap_or((0, 0));
                let number = |stamp, base: u32| match stamp {
                    Stamp::Last => Ok(last),
                    Stamp::Number(bound) => one(bound).map(|number| base.wrapping_add(low_bits(number.cast_signed()))),
                };
                // Zero is no time of the stack's, but what is echoed while there is nothing to echo.
                let nothing = matches!(echo, Stamp::Number(bound) if bound.exact() == Some(0)) && self.stamps.is_none();
                TcpOption::Timestamps(number(value, 0)?, if nothing { 0 } else { number(echo, first)? })
            }
            OptionSpec::Other(kind, value) => TcpOption::Other(*kind, value.clone().unwrap_or_default()),
            OptionSpec::Last(kind) => return Err(format!("the stack has not sent option {kind}")),
            OptionSpec::Raw(raw) => {
                bytes.extend_from_slice(raw);
                return Ok(());
            }
        };
        option.emit(bytes);
        Ok(())
    }

    /// An ICMP error about a segment of the stack's.
    pub(super) fn icmp(&self, spec: &IcmpSpec) -> Result<Frame, String> {
        let seq = self.absolute(Seq::Relative(spec.seq), self.stack_isn)?;
        let quoted = Packet {
            link: [PEER_MAC.0, STACK_MAC.0],
            source: self.stack_address(),
            destination: self.address(),
            seq,
            ack: 0,
            flags: ACK,
            window: 0,
            urgent: 0,
            ecn: 0,
            options: Vec::new(),
            payload: vec![0; usize::try_from(spec.len).unwrap_or(0)],
        };
        const ETHERNET: usize = 14;
        let frame = quoted.to_frame();
        let header = if self.ipv4 { 20 } else { 40 };
        let original = &frame.head[ETHERNET..ETHERNET + header + 8];
        let (kind, code, value) = icmp_numbers(spec.kind, self.ipv4)?;
        let content = [&[kind, code, 0, 0][..], &value.to_be_bytes(), original].concat();
        let router = address(254, self.ipv4);
        let protocol = if self.ipv4 { 1 } else { 58 };
        Ok(datagram([STACK_MAC.0, PEER_MAC.0], protocol, 64, [router, address(1, self.ipv4)], content, 2))
    }

    /// Learns from a segment that the stack has sent.
    pub(super) fn observe(&mut self, packet: &Packet, found: &[TcpOption]) {
        if packet.has(SYN) {
            self.stack_isn.get_or_insert(packet.seq);
            self.stack_shift = found.iter().find_map(|option| match option {
                TcpOption::Scale(shift) => Some(*shift),
                _ => None,
            });
        }
        for option in found {
            if let TcpOption::Timestamps(value, _) = *option {
                let first = self.stamps.map_or(value, |(first, _)| first);
                self.stamps = Some((first, value));
            }
        }
    }

    /// Shifts of the windows of the peer and of the stack: those of both SYNs, or none (RFC 7323 section 2.2).
    fn scales(&self) -> (u8, u8) {
        self.shift.zip(self.stack_shift).unwrap_or((0, 0))
    }

    /// The window that the stack advertises, in bytes.
    pub(super) fn stack_window(&self, packet: &Packet) -> u64 {
        u64::from(packet.window) << if packet.has(SYN) { 0 } else { self.scales().1.min(14) }
    }

    /// A timestamp of the stack's, from its first one on.
    pub(super) fn stack_stamp(&self, value: u32) -> u64 {
        self.stamps.map_or(value, |(first, _)| value.wrapping_sub(first)).into()
    }

    /// Whether a number of the stack's is the one that a script states.
    pub(super) fn is_stack_seq(&self, stated: Seq, found: u32) -> bool {
        self.absolute(stated, self.stack_isn) == Ok(found)
    }

    /// The same for a number of the peer's own.
    pub(super) fn is_own_seq(&self, stated: Seq, found: u32) -> bool {
        self.absolute(stated, Some(self.isn)) == Ok(found)
    }

    /// The payload byte that the stack must send with a sequence number.
    pub(super) fn stack_byte(&self, seq: u32) -> u8 {
        let isn = self.stack_isn.unwrap_or(0);
        stack_byte(u64::from(seq.wrapping_sub(isn).wrapping_sub(1)))
    }

    fn absolute(&self, seq: Seq, isn: Option<u32>) -> Result<u32, String> {
        match seq {
            Seq::Raw(raw) => Ok(raw),
            Seq::Relative(distance) => isn
                .map(|isn| isn.wrapping_add(low_bits(distance)))
                .ok_or_else(|| "the stack has not sent a SYN yet: write =N for a number as in the header".to_owned()),
        }
    }

    /// A segment of the stack's as a script would state it.
    pub(super) fn show(&self, packet: &Packet, pieces: Option<u16>) -> String {
        let seq = |seq: u32, isn: Option<u32>| {
            isn.map_or_else(|| format!("={seq}"), |isn| seq.wrapping_sub(isn).cast_signed().to_string())
        };
        let end = packet.seq.wrapping_add(u32::try_from(packet.payload.len()).unwrap_or(0));
        let mut text = format!("{} {}", show_flags(packet.flags), seq(packet.seq, self.stack_isn));
        if !packet.payload.is_empty() || self.stack_isn.is_some() {
            text += &format!(":{}", seq(end, self.stack_isn));
        }
        if packet.has(ACK) {
            text += &format!(" ack {}", seq(packet.ack, Some(self.isn)));
        }
        text += &format!(" win {}", self.stack_window(packet));
        if packet.urgent != 0 {
            text += &format!(" urg {}", packet.urgent);
        }
        text += ["", " ect1", " ect0", " ce"][usize::from(packet.ecn & 3)];
        match options::parse(&packet.options) {
            Ok(found) => found.iter().for_each(|option| text += &format!(" {}", self.show_option(option))),
            Err(wrong) => text += &format!(" ({wrong})"),
        }
        if let Some(pieces) = pieces {
            text += &format!(" pieces {pieces}");
        }
        text
    }

    fn show_option(&self, option: &TcpOption) -> String {
        match option {
            TcpOption::Mss(mss) => format!("mss {mss}"),
            TcpOption::Scale(shift) => format!("wscale {shift}"),
            TcpOption::SackPermitted => "sackOK".to_owned(),
            TcpOption::Sack(blocks) => {
                let own = |seq: u32| seq.wrapping_sub(self.isn).cast_signed();
                let blocks: Vec<_> = blocks.iter().map(|&(from, to)| format!("{}:{}", own(from), own(to))).collect();
                format!("sack {}", blocks.join(","))
            }
            TcpOption::Timestamps(value, echo) => format!("ts {}/{echo}", self.stack_stamp(*value)),
            TcpOption::Other(kind, value) => {
                let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("opt {kind}:{value}")
            }
        }
    }
}

/// The byte that the stack is given to send at a position of its stream.
pub(super) fn stack_byte(position: u64) -> u8 {
    pattern(STACK_STREAM + position)
}

/// Address of a host of the scripts' network.
pub(super) fn address(host: u8, ipv4: bool) -> IpAddr {
    if ipv4 {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
    } else {
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into()))
    }
}

/// Type, code and the word after the checksum.
fn icmp_numbers(kind: IcmpKind, ipv4: bool) -> Result<(u8, u8, u32), String> {
    Ok(match (kind, ipv4) {
        (IcmpKind::FragmentationNeeded(mtu), true) => (3, 4, mtu & 0xffff),
        (IcmpKind::NetUnreachable, true) => (3, 0, 0),
        (IcmpKind::HostUnreachable, true) => (3, 1, 0),
        (IcmpKind::ProtocolUnreachable, true) => (3, 2, 0),
        (IcmpKind::PortUnreachable, true) => (3, 3, 0),
        (IcmpKind::Prohibited, true) => (3, 13, 0),
        (IcmpKind::TimeExceeded, true) => (11, 0, 0),
        (IcmpKind::SourceQuench, true) => (4, 0, 0),
        (IcmpKind::FragmentationNeeded(mtu), false) => (2, 0, mtu),
        (IcmpKind::NetUnreachable, false) => (1, 0, 0),
        (IcmpKind::HostUnreachable, false) => (1, 3, 0),
        (IcmpKind::PortUnreachable, false) => (1, 4, 0),
        (IcmpKind::Prohibited, false) => (1, 1, 0),
        (IcmpKind::TimeExceeded, false) => (3, 0, 0),
        (IcmpKind::ProtocolUnreachable, false) => (4, 1, 40),
        (IcmpKind::SourceQuench, false) => return Err("IPv6 has no source quench".to_owned()),
    })
}

/// Sequence numbers wrap at 32 bits.
fn low_bits(value: i64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
