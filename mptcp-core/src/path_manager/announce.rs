//! Announcing our addresses: ADD_ADDR until it is echoed (RFC 8684 section 3.4.1).

use std::net::IpAddr;
use std::time::Duration;

use tcp_adapter::{IdleQueue, Instant};

use crate::wire::AddrId;

/// How often an ADD_ADDR is sent again before giving up. The kernel does it as often.
const MAX_RETRANSMISSIONS: u32 = 3;

/// An address that the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) id: AddrId,
    pub(crate) addr: IpAddr,
    pub(crate) port: Option<u16>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// To be sent at once, after so many transmissions.
    Due { sent: u32 },
    /// Sent so often; to be sent again then.
    Waiting { sent: u32, again: Instant },
    /// Echoed.
    Known,
    /// Never echoed, however often it was sent.
    GivenUp,
}

/// The announcements of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcements {
    list: IdleQueue<Announcement>,
}

impl Announcements {
    /// Gives back memory that is not needed.
    pub(crate) fn trim(&mut self) {
        self.list.trim();
    }

    pub(crate) fn add(&mut self, id: AddrId, addr: IpAddr, port: Option<u16>) {
        self.list.retain(|known| known.id != id);
        self.list.push_back(Announcement { id, addr, port, progress: Progress::Due { sent: 0 } });
    }

    /// Forgets an announcement; false if there was none, so that no REMOVE_ADDR is needed.
    pub(crate) fn remove(&mut self, id: AddrId) -> bool {
        let before = self.list.len();
        self.list.retain(|known| known.id != id);
        self.list.len() < before
    }

    pub(crate) fn contains(&self, id: AddrId) -> bool {
        self.list.iter().any(|known| known.id == id)
    }

    /// Takes the next announcement to send now, and arms its retransmission. It counts as sent, so only a caller who
    /// can send it may ask. A new one waits for the echo of the one before, or for its retransmission: Linux remembers one
    /// received announcement at a time and drops those that follow at its heels.
    pub(crate) fn next_due(&mut self, now: Instant, timeout: Duration) -> Option<Announcement> {
        let one_is_under_way = self.one_is_under_way(now);
        for known in self.list.iter_mut() {
            let sent = match known.progress {
                Progress::Due { .. } if one_is_under_way => continue,
                Progress::Due { sent } => sent,
                Progress::Waiting { sent, again } if again <= now => sent,
                Progress::Waiting { .. } | Progress::Known | Progress::GivenUp => continue,
            };
            if sent > MAX_RETRANSMISSIONS {
                known.progress = Progress::GivenUp;
                continue;
            }
            known.progress = Progress::Waiting { sent: sent + 1, again: now + timeout * (1 << sent) };
            return Some(*known);
        }
        None
    }

    /// There is another way to the peer: what did not come through may do so now.
    pub(crate) fn try_again(&mut self) {
        for known in self.list.iter_mut().filter(|known| known.progress == Progress::GivenUp) {
            known.progress = Progress::Due { sent: 0 };
        }
    }

    /// What was taken to be sent has never left: it is due again, as if it had not been taken.
    pub(crate) fn not_sent(&mut self, id: AddrId) {
        for known in self.list.iter_mut().filter(|known| known.id == id) {
            if let Progress::Waiting { sent, .. } = known.progress {
                known.progress = Progress::Due { sent: sent.saturating_sub(1) };
            }
        }
    }

    /// Takes an echo; false if it matches nothing that was announced.
    pub(crate) fn echoed(&mut self, id: AddrId, addr: IpAddr, port: Option<u16>) -> bool {
        let found = self.list.iter_mut().find(|known| known.id == id && known.addr == addr && known.port == port);
        match found {
            Some(known) => {
                known.progress = Progress::Known;
                true
            }
            None => false,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let one_is_under_way = self.one_is_under_way(Instant::ZERO);
        self.list
            .iter()
            .filter_map(|known| match known.progress {
                // Its turn comes with the echo or the retransmission of the one under way.
                Progress::Due { .. } if one_is_under_way => None,
                Progress::Due { .. } => Some(Instant::ZERO),
                Progress::Waiting { again, .. } => Some(again),
                Progress::Known | Progress::GivenUp => None,
            })
            .min()
    }

    /// Whether nothing is to be sent, now or later.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        // Most often there is none, which is known without going through them.
        self.list.is_empty()
            || self.list.iter().all(|known| matches!(known.progress, Progress::Known | Progress::GivenUp))
    }

    /// Whether one was sent once and is neither echoed nor to be sent again at `now`.
    fn one_is_under_way(&self, now: Instant) -> bool {
        self.list.iter().any(|known| matches!(known.progress, Progress::Waiting { sent: 1, again } if again > now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let (first, second): (IpAddr, IpAddr) = ("10.0.0.7".parse().unwrap(), "10.0.0.8".parse().unwrap());
        let timeout = Duration::from_secs(1);
        let now = Instant::from_millis(5);
        let id_of_next = |list: &mut Announcements, now| list.next_due(now, timeout).map(|known| known.id);
        let mut list = Announcements::default();
        list.add(AddrId(3), first, None);
        list.add(AddrId(4), second, None);
        assert_eq!(id_of_next(&mut list, now), Some(AddrId(3)));
        assert_eq!(id_of_next(&mut list, now), None);
        assert_eq!(list.deadline(), Some(now + timeout));
        let mut unanswered = list.clone();

        assert!(list.echoed(AddrId(3), first, None));
        assert_eq!(list.deadline(), Some(Instant::ZERO));
        assert_eq!(id_of_next(&mut list, now), Some(AddrId(4)));

        let later = now + timeout;
        assert_eq!(id_of_next(&mut unanswered, later), Some(AddrId(3)));
        assert_eq!(id_of_next(&mut unanswered, later), Some(AddrId(4)), "it does not wait for ever");
    }

    #[test]
    fn repeats_with_back_off_until_echoed_or_given_up() {
        let addr: IpAddr = "10.0.0.7".parse().unwrap();
        let timeout = Duration::from_secs(1);
        let mut list = Announcements::default();
        list.add(AddrId(3), addr, None);
        let mut now = Instant::from_millis(5);
        for wait in [1, 2, 4, 8] {
            assert_eq!(list.next_due(now, timeout).map(|known| known.id), Some(AddrId(3)));
            assert_eq!(list.next_due(now, timeout), None);
            assert_eq!(list.deadline(), Some(now + Duration::from_secs(wait)));
            now += Duration::from_secs(wait);
        }
        assert_eq!(list.next_due(now, timeout), None, "given up");
        assert_eq!(list.deadline(), None);
        list.try_again();
        assert_eq!(list.next_due(now, timeout).map(|known| known.id), Some(AddrId(3)), "over another path");

        list.add(AddrId(3), addr, None);
        for _ in 0..10 {
            assert!(list.next_due(now, timeout).is_some(), "what never left is no attempt");
            list.not_sent(AddrId(3));
        }
        assert!(list.next_due(now, timeout).is_some());
        assert!(!list.echoed(AddrId(3), addr, Some(80)), "another port is another announcement");
        assert!(list.echoed(AddrId(3), addr, None));
        list.try_again();
        assert_eq!(list.deadline(), None);
        assert!(list.remove(AddrId(3)));
        assert!(!list.remove(AddrId(3)));
    }
}
