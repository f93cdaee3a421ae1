//! A host that writes its segments itself, and so can write what no stack would.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::wire::{self, CapableFlags, MpCapable, MpJoin, MptcpOption};
use mptcp_core::{ConnId, Key};
use tcp_adapter::conformance::packet::{ACK, Packet, RST, SYN};
use tcp_adapter::{Frame, Instant, InterfaceId, OptionSpace};

use crate::middlebox::MPTCP;
use super::super::world::{Flow, PORT, World, address};

/// Initial sequence number of everything that the attacker opens.
const ISS: u32 = 0xffff_ff00;

/// Link-layer addresses of the victim and of the attacker.
const LINK: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 0], [2, 0, 0, 0, 66, 0]];

/// Key of the attacker.
pub(crate) const OWN_KEY: Key = Key(0x0123_4567_89ab_cdef);

/// A host on the first link, with no stack. Its victim is host 1.
pub(crate) struct Attacker {
    seen: Rc<RefCell<Vec<Packet>>>,
    /// When the victim last learned the attacker's link-layer address.
    known_since: Cell<Option<Instant>>,
}

/// A TCP connection as the attacker sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub(crate) port: u16,
    /// Next sequence number to send.
    pub(crate) seq: u32,
    /// Next sequence number expected.
    pub(crate) ack: u32,
    pub(crate) victim_key: Key,
    /// The victim's handle of it.
    pub(crate) conn: ConnId,
}

impl Attacker {
    /// Takes a place on the first link, where nothing else may be in the way of frames.
    pub(crate) fn new(world: &mut World) -> Self {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let replies = Rc::clone(&seen);
        world.middleboxes[0] = Some(Box::new(move |host, frame: Frame| match Packet::parse(&frame) {
            Some(packet) if host == 1 && packet.destination.ip() == own_address() => {
                replies.borrow_mut().push(packet);
                Vec::new()
            }
            _ => vec![frame],
        }));
        Self { seen, known_since: Cell::new(None) }
    }

    /// Sends a segment, which arrives at once; what the victim answers within a millisecond.
    pub(crate) fn send(&self, world: &mut World, packet: &Packet) -> Vec<Packet> {
        self.launch(world, packet);
        world.run_for(Duration::from_millis(1));
        self.replies()
    }

    /// Sends a segment without waiting for anything.
    pub(crate) fn launch(&self, world: &mut World, packet: &Packet) {
        /// Neighbours are remembered for a minute.
        const REFRESH: Duration = Duration::from_secs(30);
        if self.known_since.get().is_none_or(|since| since + REFRESH <= world.now) {
            self.known_since.set(Some(world.now));
            world.hosts[1].stack.handle_frame(world.now, InterfaceId(0), Frame::from(&arp_request()[..]));
        }
        world.hosts[1].stack.handle_frame(world.now, InterfaceId(0), packet.to_frame());
    }

    /// What has come in since the last time.
    pub(crate) fn replies(&self) -> Vec<Packet> {
        self.seen.take()
    }

    /// Opens a connection with MPTCP, by the book.
    pub(crate) fn open(&self, world: &mut World, port: u16) -> Raw {
        let before: Vec<ConnId> = world.hosts[1].flows.keys().copied().collect();
        let syn = MpCapable::Syn { version: wire::VERSION, flags: flags() };
        let answers = self.send(world, &segment(port, SYN, [ISS, 0], options(&[MptcpOption::Capable(syn)])));
        let answer = answers.iter().find(|answer| answer.has(SYN | ACK) && answer.destination.port() == port).unwrap();
        let key = wire::options(&answer.options).find_map(|option| match option {
            Ok(MptcpOption::Capable(MpCapable::SynAck { key, .. })) => Some(key),
            _ => None,
        });
        let victim_key = key.unwrap();
        let (seq, ack) = (ISS.wrapping_add(1), answer.seq.wrapping_add(1));
        let third =
            MpCapable::Ack { version: wire::VERSION, flags: flags(), sender_key: OWN_KEY, receiver_key: victim_key };
        self.send(world, &segment(port, ACK, [seq, ack], options(&[MptcpOption::Capable(third)])));
        let mut accepted = world.hosts[1].flows.keys().copied().filter(|conn| !before.contains(conn));
        let conn = accepted.next().unwrap();
        world.hosts[1].flows.insert(conn, Flow { unchecked: true, ..Flow::default() });
        Raw { port, seq, ack, victim_key, conn }
    }

    /// Sends the SYN of a join; what comes back.
    pub(crate) fn join(&self, world: &mut World, port: u16, token: mptcp_core::Token, nonce: u32) -> Vec<Packet> {
        let join = MpJoin::Syn { backup: false, addr_id: wire::AddrId(9), token, nonce };
        self.send(world, &segment(port, SYN, [ISS, 0], options(&[MptcpOption::Join(join)])))
    }
}

impl Raw {
    /// The next segment with these options.
    pub(crate) fn segment(&self, options: Vec<u8>, payload: &[u8]) -> Packet {
        Packet { payload: payload.to_vec(), ..segment(self.port, ACK, [self.seq, self.ack], options) }
    }

    /// Takes in what the victim has sent; false once that was a RST.
    pub(crate) fn follow(&mut self, replies: &[Packet]) -> bool {
        for reply in replies.iter().filter(|reply| reply.destination.port() == self.port) {
            if reply.has(RST) {
                return false;
            }
            self.seq = reply.ack;
            self.ack = reply.seq.wrapping_add(u32::try_from(reply.payload.len()).unwrap());
        }
        true
    }

    /// DSN of the first byte of the attacker's stream.
    pub(crate) fn first_dsn(&self) -> u64 {
        OWN_KEY.idsn().0.wrapping_add(1)
    }

    /// DATA_ACK of nothing.
    pub(crate) fn data_ack(&self) -> u64 {
        self.victim_key.idsn().0.wrapping_add(1)
    }

    /// Subflow sequence number of the next byte.
    pub(crate) fn ssn(&self) -> u32 {
        self.seq.wrapping_sub(ISS)
    }

    /// The victim's application gives the connection up.
    pub(crate) fn forget(&self, world: &mut World) {
        if world.hosts[1].flows.remove(&self.conn).is_some() {
            world.hosts[1].stack.abort(world.now, self.conn);
        }
    }
}

pub(crate) fn own_address() -> IpAddr {
    "10.0.0.66".parse().unwrap()
}

pub(crate) fn flags() -> CapableFlags {
    CapableFlags { checksum: false, extensibility: false, deny_join_initial: false, crypto: CapableFlags::HMAC_SHA256 }
}

/// Who has the victim's address? It learns the attacker's from the question (RFC 826).
fn arp_request() -> Vec<u8> {
    let [victim, own] = LINK;
    let header = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    [&[0xff; 6][..], &own, &header, &own, &[10, 0, 0, 66], &victim, &[10, 0, 0, 2]].concat()
}

/// A segment of the attacker, without payload.
pub(crate) fn segment(port: u16, flags: u8, [seq, ack]: [u32; 2], options: Vec<u8>) -> Packet {
    Packet {
        link: LINK,
        source: SocketAddr::new(own_address(), port),
        destination: SocketAddr::new(address(1, 0, true), PORT),
        seq,
        ack,
        flags,
        window: 60_000,
        urgent: 0,
        ecn: 0,
        options,
        payload: Vec::new(),
    }
}

/// Options that fit into a header together, as bytes.
pub(crate) fn options(list: &[MptcpOption]) -> Vec<u8> {
    let mut space = OptionSpace::new(OptionSpace::MAX);
    for option in list {
        assert!(option.emit(&mut space), "no room for {option:?}");
    }
    space.as_slice().to_vec()
}

/// An MPTCP option that may be nonsense. Whatever its length field says, it ends with the header.
pub(crate) fn raw_option(len: u8, subtype: u8, content: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut option = vec![MPTCP, len, subtype << 4];
    option.extend(content.take(37));
    option.truncate(usize::from(len).clamp(3, 40));
    option
}

/// The reason of the MP_TCPRST of a RST.
pub(crate) fn reset_reason(packet: &Packet) -> Option<mptcp_core::ResetReason> {
    assert!(packet.has(RST), "{packet:?}");
    wire::options(&packet.options).find_map(|option| match option {
        Ok(MptcpOption::Tcprst(reset)) => Some(reset.reason),
        _ => None,
    })
}
