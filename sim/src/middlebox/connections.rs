//! What a middlebox remembers of connections.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Connections that a middlebox remembers; of more, it forgets the oldest.
pub(super) const MOST: usize = 65_536;

/// A connection over the link, the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connection {
    /// Its end on the side of the link's `from`.
    pub(super) from: SocketAddr,
    /// Its end on the side of the link's `to`.
    pub(super) to: SocketAddr,
}

/// Something for each of the latest connections.
#[derive(Debug)]
pub(super) struct Connections<T> {
    known: BTreeMap<Connection, T>,
    /// In the order in which they were met.
    order: VecDeque<Connection>,
}

impl<T> Default for Connections<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<T> Connections<T> {
    pub(super) fn get_mut(&mut self, connection: &Connection) -> Option<&mut T> {
        self.known.get_mut(connection)
    }

    /// Remembers a connection anew, and returns the one that it forgets for it.
    pub(super) fn insert(&mut self, connection: Connection, value: T) -> Option<(Connection, T)> {
        if self.known.insert(connection, value).is_some() {
            return None;
        }
        self.order.push_back(connection);
        if self.order.len() <= MOST {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.known.remove(&oldest).map(|value| (oldest, value))
    }
}

impl<T: Default> Connections<T> {
    /// What is remembered of a connection, from now on at least.
    pub(super) fn of(&mut self, connection: Connection) -> &mut T {
        if !self.known.contains_key(&connection) {
            self.insert(connection, T::default());
        }
        self.known.entry(connection).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut connections = Connections::default();
        let to = SocketAddr::from(([10, 0, 0, 2], 80));
        let nth = |n: usize| {
            let [.., a, b, c] = (n as u32).to_be_bytes();
            Connection { from: SocketAddr::from(([10, a, b, c], 1)), to }
        };
        for n in 0..=MOST {
            *connections.of(nth(n)) = n;
        }
        assert_eq!(connections.get_mut(&nth(0)), None);
        assert_eq!(connections.get_mut(&nth(1)), Some(&mut 1));
        assert_eq!(connections.insert(nth(1), 7), None);
        assert_eq!(connections.insert(nth(0), 0), Some((nth(1), 7)));
        assert_eq!(*connections.of(nth(2)), 2);
    }
}
