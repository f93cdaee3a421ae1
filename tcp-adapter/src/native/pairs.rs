//! What a pair of addresses and ports stands for.
//!
//! The pair itself is not kept here but once only, in the headers that its owner sends: a table of pairs would be most of what an idle
//! connection costs besides its own state.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use hashbrown::HashTable;

use super::time_wait::TimeWait;
use super::{NativeStack, State};
use crate::TcpId;
use crate::table::{FourTuple, Keys, Slab};

/// What a pair of addresses and ports stands for.
pub(super) enum Entry {
    /// A connection that is alive.
    Connection(TcpId),
    TimeWait(Box<TimeWait>),
}

impl Entry {
    fn stands_for(&self, tuple: &FourTuple, connections: &Slab<State>) -> bool {
        let FourTuple { local, remote } = tuple;
        match self {
            Self::Connection(id) => {
                matches!(connections.get(*id), Some(State::Live(conn)) if conn.template.is_between(local, remote))
            }
            Self::TimeWait(wait) => wait.template.is_between(local, remote),
        }
    }
}

/// All pairs that are in use.
#[derive(Default)]
pub(super) struct Pairs {
    entries: HashTable<Hashed>,
}

/// An entry with the hash of its pair, under a key that no peer knows.
struct Hashed {
    hash: u64,
    entry: Entry,
}

impl Pairs {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, tuple: &FourTuple, keys: &Keys, connections: &Slab<State>) -> Option<&Entry> {
        let hash = hash(tuple, keys);
        let found = self.entries.find(hash, |known| known.hash == hash && known.entry.stands_for(tuple, connections));
        found.map(|known| &known.entry)
    }

    fn remove(&mut self, tuple: &FourTuple, keys: &Keys, connections: &Slab<State>) -> Option<Entry> {
        let hash = hash(tuple, keys);
        let is_it = |known: &Hashed| known.hash == hash && known.entry.stands_for(tuple, connections);
        self.entries.find_entry(hash, is_it).ok().map(|entry| entry.remove().0.entry)
    }
}

impl NativeStack {
    /// What `tuple` stands for.
    pub(super) fn pair(&self, tuple: &FourTuple) -> Option<&Entry> {
        self.pairs.get(tuple, &self.keys, &self.connections)
    }

    /// Lets `tuple`, which is not in use, stand for something. A connection must be in its slot before it is looked for.
    pub(super) fn enter_pair(&mut self, tuple: &FourTuple, entry: Entry) {
        let hash = hash(tuple, &self.keys);
        self.pairs.entries.insert_unique(hash, Hashed { hash, entry }, |known| known.hash);
    }

    /// Lets `tuple` stand for nothing. A connection must be in its slot still.
    pub(super) fn remove_pair(&mut self, tuple: &FourTuple) -> Option<Entry> {
        self.pairs.remove(tuple, &self.keys, &self.connections)
    }
}

/// The hash of a pair, taken for each segment: of its addresses and ports alone, in few words.
fn hash(tuple: &FourTuple, keys: &Keys) -> u64 {
    let FourTuple { local, remote } = tuple;
    let mut hasher = keys.build_hasher();
    hasher.write_u32(u32::from(local.port()) << 16 | u32::from(remote.port()));
    for ip in [local.ip(), remote.ip()] {
        match ip {
            IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
            IpAddr::V6(ip) => hasher.write_u128(ip.to_bits()),
        }
    }
    hasher.finish()
}
