//! Withdrawing our addresses: REMOVE_ADDR (RFC 8684 section 3.4.2).

use std::net::IpAddr;
use std::time::Duration;

use tcp_adapter::{IdleQueue, Instant};

use crate::wire::AddrId;

/// How often a REMOVE_ADDR is sent, each time on every subflow that can carry it. Nothing tells whether it has arrived:
/// it has no echo, and an acknowledgement of later data says nothing of a segment without any.
const TRANSMISSIONS: u32 = 3;

/// An address id that the peer may not know to be withdrawn.
#[derive(Clone, Copy, Debug)]
struct Withdrawal {
    id: AddrId,
    addr: IpAddr,
    sent: u32,
    /// `None` once it was sent often enough.
    at: Option<Instant>,
}

/// The withdrawals of one connection: at most one for each address id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawals {
    list: IdleQueue<Withdrawal>,
}

impl Withdrawals {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Gives back memory that is not needed.
    pub(crate) fn trim(&mut self) {
        self.list.trim();
    }

    pub(crate) fn add(&mut self, id: AddrId, addr: IpAddr) {
        self.cancel(id);
        self.list.push_back(Withdrawal { id, addr, sent: 0, at: Some(Instant::ZERO) });
    }

    /// Whether this address was withdrawn under the id, and has not been in use since.
    pub(crate) fn contains(&self, id: AddrId, addr: IpAddr) -> bool {
        self.list.iter().any(|known| (known.id, known.addr) == (id, addr))
    }

    /// Whether the peer was never told so far that the id does not name another address any more.
    pub(crate) fn is_unsent_for_other(&self, id: AddrId, addr: IpAddr) -> bool {
        self.list.iter().any(|known| known.id == id && known.addr != addr && known.sent == 0)
    }

    /// The id is in use again, so the peer must not hear any more that it is not.
    pub(crate) fn cancel(&mut self, id: AddrId) {
        self.list.retain(|known| known.id != id);
    }

    /// Takes at most `most` ids to send now, and arms their repetition. They count as sent, so only a caller who can
    /// send them may ask.
    pub(crate) fn take_due(&mut self, now: Instant, most: usize, timeout: Duration) -> Vec<AddrId> {
        let mut due = Vec::new();
        for known in self.list.iter_mut().filter(|known| known.at.is_some_and(|at| at <= now)).take(most) {
            due.push(known.id);
            known.sent += 1;
            known.at = (known.sent < TRANSMISSIONS).then(|| now + timeout * (1 << (known.sent - 1)));
        }
        due
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.list.iter().filter_map(|known| known.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_sent_three_times_unless_it_is_used_again() {
        let timeout = Duration::from_secs(1);
        let mut list = Withdrawals::default();
        let [addr, other]: [IpAddr; 2] = ["10.0.0.7", "10.0.0.8"].map(|text| text.parse().unwrap());
        for id in [1, 2, 3, 2] {
            list.add(AddrId(id), addr);
        }
        assert!(list.is_unsent_for_other(AddrId(1), other) && !list.is_unsent_for_other(AddrId(1), addr));
        assert!(list.contains(AddrId(1), addr) && !list.contains(AddrId(1), other));
        let mut now = Instant::from_millis(5);
        assert_eq!(list.take_due(now, 2, timeout), [AddrId(1), AddrId(3)]);
        assert_eq!(list.take_due(now, 2, timeout), [AddrId(2)]);
        assert_eq!(list.take_due(now, 2, timeout), []);
        assert!(!list.is_unsent_for_other(AddrId(1), other));
        list.cancel(AddrId(3));
        for wait in [1, 2] {
            assert_eq!(list.deadline(), Some(now + Duration::from_secs(wait)));
            now += Duration::from_secs(wait);
            assert_eq!(list.take_due(now, 9, timeout), [AddrId(1), AddrId(2)]);
        }
        assert_eq!(list.deadline(), None);
        assert_eq!(list.take_due(now + timeout * 100, 9, timeout), []);
    }
}
