//! What the network sees of the options of RFC 8684: how often each was sent by a host, and how often it reached one.

use std::ops::Range;

use mptcp_core::wire::{AddAddrKind, MpJoin, MptcpOption, options};
use tcp_adapter::Frame;

/// Something that a counter of a stack counts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// MP_CAPABLE on a SYN.
    CapableSyn,
    /// MP_CAPABLE on a SYN/ACK.
    CapableSynAck,
    /// MP_CAPABLE on a segment after the SYNs.
    Capable,
    JoinSyn,
    JoinSynAck,
    JoinAck,
    AddAddr,
    EchoAdd,
    RemoveAddr,
    Prio,
    Fail,
    Fastclose,
    Reset,
    InfiniteMapping,
}

/// How many different signs there are.
const SIGNS: usize = Sign::InfiniteMapping as usize + 1;

/// How often each sign was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally([u64; SIGNS]);

impl Tally {
    pub(crate) fn of(&self, sign: Sign) -> u64 {
        self.0[sign as usize]
    }

    fn count(&mut self, frame: &Frame) {
        let Some((flags, area)) = headers(&frame.head) else { return };
        for option in options(&frame.head[area]).filter_map(Result::ok) {
            if let Some(sign) = sign_of(&option, flags) {
                self.0[sign as usize] += 1;
            }
        }
    }
}

/// The tallies of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sent: Tally,
    pub(crate) received: Tally,
}

/// The tallies of all hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    hosts: Vec<Seen>,
}

impl Census {
    pub(crate) fn new(hosts: usize) -> Self {
        Self { hosts: vec![Seen::default(); hosts] }
    }

    pub(crate) fn sent(&mut self, host: usize, frame: &Frame) {
        self.hosts[host].sent.count(frame);
    }

    pub(crate) fn received(&mut self, host: usize, frame: &Frame) {
        self.hosts[host].received.count(frame);
    }

    /// By host.
    pub(crate) fn into_hosts(self) -> Vec<Seen> {
        self.hosts
    }
}

const ETHERNET: usize = 14;
const TCP_HEADER: usize = 20;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The flags of a TCP segment, and where its options are; `None` for other frames. The headers are in the linear part.
fn headers(head: &[u8]) -> Option<(u8, Range<usize>)> {
    let byte = |at: usize| head.get(at).copied();
    let (protocol, tcp) = match byte(ETHERNET)? >> 4 {
        4 => (byte(ETHERNET + 9)?, ETHERNET + usize::from(byte(ETHERNET)? & 0x0f) * 4),
        6 => (byte(ETHERNET + 6)?, ETHERNET + 40),
        _ => return None,
    };
    let end = tcp + usize::from(byte(tcp + 12)? >> 4) * 4;
    let area = tcp + TCP_HEADER..end;
    (protocol == 6 && area.start <= area.end && end <= head.len()).then_some((byte(tcp + 13)?, area))
}

fn sign_of(option: &MptcpOption, flags: u8) -> Option<Sign> {
    Some(match option {
        MptcpOption::Capable(_) => match (flags & SYN != 0, flags & ACK != 0) {
            (true, false) => Sign::CapableSyn,
            (true, true) => Sign::CapableSynAck,
            (false, _) => Sign::Capable,
        },
        MptcpOption::Join(MpJoin::Syn { .. }) => Sign::JoinSyn,
        MptcpOption::Join(MpJoin::SynAck { .. }) => Sign::JoinSynAck,
        MptcpOption::Join(MpJoin::Ack { .. }) => Sign::JoinAck,
        MptcpOption::Dss(dss) => {
            return dss.mapping.filter(|mapping| mapping.len == 0).map(|_| Sign::InfiniteMapping);
        }
        MptcpOption::AddAddr(add) if matches!(add.kind, AddAddrKind::Echo) => Sign::EchoAdd,
        MptcpOption::AddAddr(_) => Sign::AddAddr,
        MptcpOption::RemoveAddr(_) => Sign::RemoveAddr,
        MptcpOption::Prio(_) => Sign::Prio,
        MptcpOption::Fail(_) => Sign::Fail,
        MptcpOption::Fastclose(_) => Sign::Fastclose,
        MptcpOption::Tcprst(_) => Sign::Reset,
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::BytesMut;
    use mptcp_core::wire::{MpPrio, MpTcprst, ResetReason};
    use tcp_adapter::OptionSpace;
    use tcp_adapter::conformance::packet::{Packet, RST};

    use super::*;

    fn frame(ends: [&str; 2], flags: u8, option: MptcpOption) -> Frame {
        let mut space = OptionSpace::new(OptionSpace::MAX);
        assert!(option.emit(&mut space));
        let [source, destination]: [SocketAddr; 2] = ends.map(|end| end.parse().unwrap());
        let link = [[2; 6], [4; 6]];
        let options = space.as_slice().to_vec();
        let payload = b"data".to_vec();
        Packet { link, source, destination, seq: 1, ack: 2, flags, window: 3, urgent: 0, ecn: 0, options, payload }
            .to_frame()
    }

    #[test]
    fn options_of_both_families_are_counted_and_nothing_else() {
        let mut census = Census::new(2);
        let prio = MptcpOption::Prio(MpPrio { backup: true });
        let reset = MptcpOption::Tcprst(MpTcprst { transient: false, reason: ResetReason::Unspecified });
        for ends in [["10.0.0.1:1", "10.0.0.2:2"], ["[fd00::1]:1", "[fd00::2]:2"]] {
            census.sent(1, &frame(ends, ACK, prio));
            census.received(0, &frame(ends, RST | ACK, reset));
        }
        census.received(1, &Frame::linear(BytesMut::from(&[0; 30][..])));
        census.received(1, &Frame::linear(BytesMut::new()));
        let hosts = census.into_hosts();
        assert_eq!((hosts[1].sent.of(Sign::Prio), hosts[0].received.of(Sign::Reset)), (2, 2));
        assert_eq!(hosts[0].sent, Tally::default());
        assert_eq!(hosts[1].received, Tally::default());
    }
}
