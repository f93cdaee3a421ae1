//! What the connections of one stack share.

use std::collections::VecDeque;

use bytes::Bytes;
use hashbrown::HashMap;
use rand::rngs::StdRng;
use tcp_adapter::{Instant, InterfaceId, TcpId, TcpStack};

use super::shares::Shares;
use crate::config::StackConfig;
use crate::event::{ConnId, Event, SubflowId};
use crate::keys::{Idsn, Key, Token};
use crate::mib::Mib;
use crate::observe::Observations;
use crate::path_manager::strategy::SharedStrategy;
use crate::path_manager::{Blackholes, EndpointTable, Links, PolicyState};

/// A key of this host with what follows from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyMaterial {
    pub(crate) key: Key,
    pub(crate) token: Token,
    pub(crate) idsn: Idsn,
}

impl From<Key> for KeyMaterial {
    fn from(key: Key) -> Self {
        Self { key, token: key.token(), idsn: key.idsn() }
    }
}

/// The subflow that a TCP connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) conn: ConnId,
    pub(crate) subflow: SubflowId,
}

/// State of the stack that connections read and change while they handle something.
pub(crate) struct Shared {
    pub(crate) config: StackConfig,
    pub(crate) rng: StdRng,
    pub(crate) mib: Mib,
    pub(crate) events: VecDeque<Event>,
    pub(crate) observations: Observations,
    pub(crate) endpoints: EndpointTable,
    pub(crate) tokens: TokenTable,
    pub(crate) owners: Owners,
    /// The interfaces of the TCP stack, so that a hook can see them too.
    pub(crate) links: Links,
    pub(crate) policy: PolicyState,
    /// Of new connections.
    pub(crate) strategy: SharedStrategy,
    pub(crate) blackholes: Blackholes,
    /// Bytes that wait in the transmit queues of the interfaces, as far as the driver has told.
    pub(crate) interface_queues: Vec<u64>,
    /// Bytes that all connections hold, sent and received.
    pub(crate) memory_held: usize,
    /// Somebody had to hold back for want of memory, and waits to hear that there is more.
    pub(crate) memory_awaited: bool,
    /// Received slices on their way to a stream; empty between two calls.
    pub(crate) slices: Vec<Bytes>,
    /// What keys of handshakes without state are derived with, once there is one.
    pub(crate) stateless_secret: Option<[u8; 32]>,
    /// What classes may have, if they share.
    pub(crate) shares: Option<Box<Shares>>,
}

impl Shared {
    /// Bytes that wait in the transmit queue of an interface.
    pub(crate) fn interface_queue(&self, interface: InterfaceId) -> u64 {
        self.interface_queues.get(interface.0).copied().unwrap_or(0)
    }

    pub(crate) fn set_interface_queue(&mut self, interface: InterfaceId, bytes: u64) {
        let index = interface.0;
        if index < self.links.as_slice().len() {
            self.interface_queues.resize(self.links.as_slice().len(), 0);
            self.interface_queues[index] = bytes;
        }
    }

    /// Bytes that may be received in order.
    pub(crate) fn memory_room(&self) -> usize {
        self.config.memory_limit.saturating_sub(self.memory_held)
    }

    /// Bytes that may be written, or received out of order. Fewer, as neither must keep from being received what they are waiting for.
    pub(crate) fn memory_unreserved(&self) -> usize {
        (self.config.memory_limit / 4 * 3).saturating_sub(self.memory_held)
    }

    /// Whether nothing but what is in order is taken any more.
    pub(crate) fn memory_scarce(&self) -> bool {
        self.memory_unreserved() == 0
    }

    /// Whether there is so much memory that all who wait for it get more than a few bytes.
    pub(crate) fn memory_ample(&self) -> bool {
        self.memory_held < self.config.memory_limit / 8 * 5
    }

    /// Bytes that a peer may be told to send: they could be held if they came now, or are so few that every connection can go on.
    pub(crate) fn memory_to_promise(&self) -> usize {
        /// A few segments, or the largest unit in which a window can be expressed (RFC 7323 section 2.3).
        const FEW: usize = 1 << 14;
        self.memory_unreserved().max(self.memory_room().min(FEW))
    }

    /// Draws a key whose token no live connection has (RFC 8684 section 3.1) and that names this core.
    ///
    /// `None` after several collisions: with so many connections the caller goes on without MPTCP.
    pub(crate) fn draw_key(&mut self, conn: ConnId) -> Option<KeyMaterial> {
        const ATTEMPTS: usize = 8;
        let (core, cores) = self.config.core;
        for _ in 0..ATTEMPTS {
            let material = KeyMaterial::from(Key::random_for_core(&mut self.rng, core, cores));
            if self.tokens.register(material.token, conn) {
                return Some(material);
            }
        }
        None
    }
}

/// What a connection needs to act: the time, the TCP beneath, and what the stack shares.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) tcp: &'a mut dyn TcpStack,
    pub(crate) shared: &'a mut Shared,
}

/// Which connection a token belongs to. Tokens are hashes of our own random keys, so no one can choose
/// them to collide in this table.
#[derive(Debug, Default)]
pub(crate) struct TokenTable {
    map: HashMap<Token, ConnId>,
}

impl TokenTable {
    /// Enters a token; false if it is taken.
    pub(crate) fn register(&mut self, token: Token, conn: ConnId) -> bool {
        match self.map.entry(token) {
            hashbrown::hash_map::Entry::Occupied(_) => false,
            hashbrown::hash_map::Entry::Vacant(entry) => {
                entry.insert(conn);
                true
            }
        }
    }

    pub(crate) fn find(&self, token: Token) -> Option<ConnId> {
        self.map.get(&token).copied()
    }

    pub(crate) fn remove(&mut self, token: Token) {
        self.map.remove(&token);
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }
}

/// Which subflow a TCP connection is, indexed by its slot.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    slots: Vec<Option<(u32, Owner)>>,
    /// Those whose slot has a new user already, though their last event was not handled yet.
    former: Vec<(TcpId, Owner)>,
}

impl Owners {
    pub(crate) fn set(&mut self, tcp: TcpId, owner: Owner) {
        let index = tcp.index as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        if let Some((generation, former)) = self.slots[index].replace((tcp.generation, owner)) {
            self.former.push((TcpId { index: tcp.index, generation }, former));
        }
    }

    pub(crate) fn get(&self, tcp: TcpId) -> Option<Owner> {
        match self.slots.get(tcp.index as usize)? {
            Some((generation, owner)) if *generation == tcp.generation => Some(*owner),
            _ => self.former.iter().find(|(known, _)| *known == tcp).map(|(_, owner)| *owner),
        }
    }

    pub(crate) fn remove(&mut self, tcp: TcpId) {
        match self.slots.get_mut(tcp.index as usize) {
            Some(slot) if slot.is_some_and(|(generation, _)| generation == tcp.generation) => *slot = None,
            _ => self.former.retain(|(known, _)| *known != tcp),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.iter().flatten().count() + self.former.len()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use tcp_adapter::{OptionSpace, SegmentKind, SegmentOut, SynSegment};

    use super::super::handshake::{CapableRequest, passive_open};
    use super::*;
    use crate::path_manager::strategy::PathStrategyKind;

    #[test]
    fn a_token_collision_is_noticed() {
        let mut tokens = TokenTable::default();
        let (one, two) = (ConnId { index: 1, generation: 0 }, ConnId { index: 2, generation: 0 });
        assert!(tokens.register(Token(7), one));
        assert!(!tokens.register(Token(7), two));
        assert_eq!(tokens.find(Token(7)), Some(one));
        tokens.remove(Token(7));
        assert!(tokens.register(Token(7), two));
    }

    /// What a stack shares that has just been made, with a generator that starts from `seed`.
    fn fresh(seed: u64) -> Shared {
        Shared {
            config: StackConfig::default(),
            rng: StdRng::seed_from_u64(seed),
            mib: Mib::default(),
            events: VecDeque::new(),
            observations: Observations::default(),
            endpoints: EndpointTable::default(),
            tokens: TokenTable::default(),
            owners: Owners::default(),
            links: Links::default(),
            policy: PolicyState::default(),
            strategy: std::sync::Arc::new(PathStrategyKind::default().build()),
            blackholes: Blackholes::default(),
            interface_queues: Vec::new(),
            memory_held: 0,
            memory_awaited: false,
            slices: Vec::new(),
            stateless_secret: None,
            shares: None,
        }
    }

    #[test]
    fn a_key_whose_token_is_taken_is_drawn_again_and_given_up_in_the_end() {
        let (one, two) = (ConnId { index: 1, generation: 0 }, ConnId { index: 2, generation: 0 });
        let taken = fresh(5).draw_key(one).unwrap();
        let mut shared = fresh(5);
        assert!(shared.tokens.register(taken.token, one));
        let drawn = shared.draw_key(two).unwrap();
        assert_ne!(drawn.token, taken.token);
        assert_eq!((shared.tokens.find(taken.token), shared.tokens.find(drawn.token)), (Some(one), Some(two)));

        let mut every_next = fresh(5);
        let mut shared = fresh(5);
        for _ in 0..20 {
            let next = every_next.draw_key(one).unwrap();
            assert!(shared.tokens.register(next.token, one));
        }
        assert!(shared.draw_key(two).is_none());
        let syn = SynSegment {
            listener: None,
            local: "10.0.0.1:80".parse().unwrap(),
            remote: "10.0.0.2:5000".parse().unwrap(),
            early: 0,
            options: &[],
        };
        let tcp = TcpId { index: 0, generation: 0 };
        let request = CapableRequest { checksum: false, deny_join_initial: false };
        let mut conn = passive_open(two, tcp, &syn, Some(request), None, &mut shared);
        let mut answer = OptionSpace::new(OptionSpace::MAX);
        let segment = SegmentOut {
            kind: SegmentKind::SynAck,
            fin: false,
            offset: 0,
            len: 0,
            chunk: None,
            retransmission: false,
            window_shift: 0,
        };
        conn.on_transmit(SubflowId(0), Instant::ZERO, &segment, &mut answer, &mut shared);
        assert_eq!(answer.as_slice(), [], "plain TCP");
    }

    #[test]
    fn a_reused_slot_does_not_answer_for_its_former_user() {
        let mut owners = Owners::default();
        let old = TcpId { index: 3, generation: 1 };
        let new = TcpId { index: 3, generation: 2 };
        let owner = Owner { conn: ConnId { index: 0, generation: 0 }, subflow: SubflowId(0) };
        owners.set(new, owner);
        assert_eq!(owners.get(old), None);
        owners.remove(old);
        assert_eq!(owners.get(new), Some(owner));
        owners.remove(new);
        assert_eq!(owners.len(), 0);
    }

    #[test]
    fn a_former_user_is_known_until_its_last_event() {
        let mut owners = Owners::default();
        let tcp = [1, 2].map(|generation| TcpId { index: 3, generation });
        let owner = [1, 2].map(|index| Owner { conn: ConnId { index, generation: 0 }, subflow: SubflowId(0) });
        owners.set(tcp[0], owner[0]);
        owners.set(tcp[1], owner[1]);
        assert_eq!(tcp.map(|tcp| owners.get(tcp)), owner.map(Some));
        owners.remove(tcp[0]);
        assert_eq!((owners.get(tcp[0]), owners.get(tcp[1])), (None, Some(owner[1])));
        owners.remove(tcp[1]);
        assert_eq!(owners.len(), 0);
    }
}
