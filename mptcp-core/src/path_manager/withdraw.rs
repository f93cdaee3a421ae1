//! Withdrawing our addresses: REMOVE_ADDR (RFC 8684 section 3.4.2).

use std::time::Duration;

use tcp_adapter::Instant;

use crate::wire::AddrId;

/// How often a REMOVE_ADDR is sent, each time on every subflow that can carry it. Nothing tells whether it has arrived:
/// it has no echo, and an acknowledgement of later data says nothing of a segment without any.
const TRANSMISSIONS: u32 = 3;

/// An address id that the peer may not know to be withdrawn.
#[derive(Clone, Copy, Debug)]
struct Withdrawal {
    id: AddrId,
    sent: u32,
    at: Instant,
}

/// The withdrawals of one connection: at most one for each address id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawals {
    list: Vec<Withdrawal>,
}

impl Withdrawals {
    pub(crate) fn add(&mut self, id: AddrId) {
        self.cancel(id);
        self.list.push(Withdrawal { id, sent: 0, at: Instant::ZERO });
    }

    /// The id is in use again, so the peer must not hear any more that it is not.
    pub(crate) fn cancel(&mut self, id: AddrId) {
        self.list.retain(|known| known.id != id);
    }

    /// Takes at most `most` ids to send now, and arms their repetition. They count as sent, so only a caller who can
    /// send them may ask.
    pub(crate) fn take_due(&mut self, now: Instant, most: usize, timeout: Duration) -> Vec<AddrId> {
        let mut due = Vec::new();
        for known in self.list.iter_mut().filter(|known| known.at <= now).take(most) {
            due.push(known.id);
            known.at = now + timeout * (1 << known.sent);
            known.sent += 1;
        }
        self.list.retain(|known| known.sent < TRANSMISSIONS);
        due
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.list.iter().map(|known| known.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_sent_three_times_unless_it_is_used_again() {
        let timeout = Duration::from_secs(1);
        let mut list = Withdrawals::default();
        for id in [1, 2, 3, 2] {
            list.add(AddrId(id));
        }
        let mut now = Instant::from_millis(5);
        assert_eq!(list.take_due(now, 2, timeout), [AddrId(1), AddrId(3)]);
        assert_eq!(list.take_due(now, 2, timeout), [AddrId(2)]);
        assert_eq!(list.take_due(now, 2, timeout), []);
        list.cancel(AddrId(3));
        for wait in [1, 2] {
            assert_eq!(list.deadline(), Some(now + Duration::from_secs(wait)));
            now += Duration::from_secs(wait);
            assert_eq!(list.take_due(now, 9, timeout), [AddrId(1), AddrId(2)]);
        }
        assert_eq!(list.deadline(), None);
    }
}
