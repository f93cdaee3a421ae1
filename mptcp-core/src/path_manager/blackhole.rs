//! Destinations on whose way SYNs with MP_CAPABLE vanish (RFC 8684 section 3.9.3): they are spared MPTCP for a while.

use std::net::IpAddr;
use std::time::Duration;

use tcp_adapter::Instant;

/// What a black hole says something of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlackholeScope {
    /// The destination: what drops the option is near it, or on the way to it only.
    #[default]
    Destination,
    /// All destinations, as in the kernel: what drops the option is near this host.
    All,
}

/// A destination that is spared MPTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackhole {
    /// The peer's address; `None` for all.
    pub destination: Option<IpAddr>,
    /// When MPTCP is offered again; in the past, if only the number of times is remembered.
    pub until: Instant,
    /// Times in a row that it was found.
    pub times: u32,
}

/// What is remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blackholes {
    list: Vec<Blackhole>,
}

/// Destinations that are remembered at most; of more, the one that is spared the least is forgotten.
const MAX_DESTINATIONS: usize = 256;

/// The time doubles so often at most, as the kernel's does.
const MAX_DOUBLINGS: u32 = 6;

impl Blackholes {
    /// Plain TCP has succeeded where SYNs with the option stayed without an answer.
    pub(crate) fn found(&mut self, now: Instant, destination: IpAddr, scope: BlackholeScope, timeout: Duration) {
        if timeout.is_zero() {
            return;
        }
        let key = Some(destination).filter(|_| scope == BlackholeScope::Destination);
        let known = match self.list.iter().position(|known| known.destination == key) {
            Some(index) => &mut self.list[index],
            None => {
                if self.list.len() >= MAX_DESTINATIONS
                    && let Some(least) = (0..self.list.len()).min_by_key(|index| self.list[*index].until)
                {
                    self.list.swap_remove(least);
                }
                self.list.push_mut(Blackhole { destination: key, until: now, times: 0 })
            }
        };
        // Connections that were opened at the same time have all found the same.
        if known.until > now {
            return;
        }
        known.until = now + timeout.saturating_mul(1 << known.times.min(MAX_DOUBLINGS));
        known.times = known.times.saturating_add(1);
        tracing::debug!(destination = ?known.destination, times = known.times, "MP_CAPABLE vanishes on the way");
    }

    /// Whether MPTCP should not be offered to a destination now.
    pub(crate) fn spares(&self, now: Instant, destination: IpAddr) -> bool {
        let meant = |known: &&Blackhole| known.destination.is_none_or(|known| known == destination);
        self.list.iter().filter(meant).any(|known| known.until > now)
    }

    /// MPTCP has been agreed on with a destination.
    pub(crate) fn passes(&mut self, destination: IpAddr) {
        self.list.retain(|known| known.destination.is_some_and(|known| known != destination));
    }

    pub(crate) fn as_slice(&self) -> &[Blackhole] {
        &self.list
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn addr(last: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + last).into())
    }

    #[test]
    fn the_time_doubles_until_it_works() {
        let mut list = Blackholes::default();
        let mut now = Instant::from_millis(7);
        for doubling in [1, 2, 4, 8, 16, 32, 64, 64] {
            for _ in 0..8 {
                list.found(now, addr(1), BlackholeScope::Destination, HOUR);
            }
            assert!(list.spares(now + (HOUR * doubling - Duration::from_nanos(1)), addr(1)));
            assert!(!list.spares(now + HOUR * doubling, addr(1)) && !list.spares(now, addr(2)));
            now += HOUR * doubling;
        }
        list.found(now, addr(1), BlackholeScope::Destination, Duration::MAX);
        list.passes(addr(2));
        assert!(list.spares(now, addr(1)));
        list.passes(addr(1));
        assert!(!list.spares(now, addr(1)) && list.as_slice().is_empty());
    }

    #[test]
    fn all_destinations_can_be_meant() {
        let mut list = Blackholes::default();
        let now = Instant::from_millis(7);
        list.found(now, addr(1), BlackholeScope::All, HOUR);
        assert!(list.spares(now, addr(2)));
        list.passes(addr(3));
        assert!(!list.spares(now, addr(2)));
        list.found(now, addr(1), BlackholeScope::All, Duration::ZERO);
        assert!(!list.spares(now, addr(1)), "switched off");
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_longest() {
        let mut list = Blackholes::default();
        let now = Instant::from_millis(7);
        list.found(now, addr(0), BlackholeScope::Destination, HOUR);
        let now = now + HOUR;
        list.found(now, addr(0), BlackholeScope::Destination, HOUR);
        for last in 1..1000 {
            list.found(now + Duration::from_secs(last.into()), addr(last), BlackholeScope::Destination, HOUR);
        }
        assert_eq!(list.as_slice().len(), MAX_DESTINATIONS);
        assert!(list.spares(now, addr(0)) && !list.spares(now, addr(1)) && list.spares(now, addr(999)));
    }
}
