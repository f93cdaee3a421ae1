//! What a client remembers of servers (RFC 7413 section 4.1.3).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Attempt, Cookie};
use crate::Instant;
use crate::mss::default_mss;
use crate::table::FourTuple;

/// Servers of either list that are remembered at most; beyond that the oldest are forgotten.
const MAX_SERVERS: usize = 512;

/// How long a server that does not take data is left alone: it may have too many opens pending (RFC 7413 section 4.2).
const REFUSED: Duration = Duration::from_secs(60);

/// How long a path is left alone that seems to drop SYNs with data or the option (RFC 7413 section 4.1.3.1).
const DROPPED: Duration = Duration::from_secs(3600);

/// More may confuse what is in the way (RFC 7413 section 4.1.3).
const MAX_MSS: [u16; 2] = [1460, 1440];

/// Cookies, and refusals.
#[derive(Debug, Default)]
pub(super) struct Servers {
    /// One cookie for each pair of addresses, the latest at the back.
    cookies: VecDeque<((IpAddr, IpAddr), Cookie, u16)>,
    /// Services that are not asked until then.
    refused: VecDeque<((IpAddr, SocketAddr), Instant)>,
}

impl Servers {
    /// The cookie of a server and the MSS to go by; `Some(None)` if it has to be asked for one, `None` if nothing is to be tried.
    pub(super) fn known(&self, now: Instant, tuple: &FourTuple) -> Option<Option<(Cookie, u16)>> {
        let service = service(tuple);
        if self.refused.iter().any(|(known, until)| *known == service && *until > now) {
            return None;
        }
        let hosts = hosts(tuple);
        let found = self.cookies.iter().find(|(known, ..)| *known == hosts);
        Some(found.map(|(_, cookie, mss)| (*cookie, *mss)))
    }

    /// A server has completed an open that used the option, with this cookie and MSS in its SYN/ACK.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        tuple: &FourTuple,
        cookie: Option<Cookie>,
        mss: Option<u16>,
        attempt: Attempt,
    ) {
        let (hosts, service, ipv6) = (hosts(tuple), service(tuple), tuple.local.is_ipv6());
        if let Some(cookie) = cookie {
            let mss = mss.unwrap_or(default_mss(ipv6)).min(MAX_MSS[usize::from(ipv6)]);
            self.cookies.retain(|(known, ..)| *known != hosts);
            keep(&mut self.cookies, (hosts, cookie, mss));
            self.refused.retain(|(known, _)| *known != service);
            return;
        }
        if attempt.taken > 0 {
            return;
        }
        // The answer to a SYN that was sent again without the option says nothing but that the first got none.
        let pause = if attempt.syns > 1 { DROPPED } else { REFUSED };
        if attempt.syns == 1 && attempt.offered > 0 {
            self.cookies.retain(|(known, ..)| *known != hosts);
        }
        self.leave_alone(service, now + pause);
    }

    /// An open that used the option has got no answer at all.
    pub(super) fn unanswered(&mut self, now: Instant, tuple: &FourTuple) {
        self.leave_alone(service(tuple), now + DROPPED);
    }

    fn leave_alone(&mut self, service: (IpAddr, SocketAddr), until: Instant) {
        self.refused.retain(|(known, _)| *known != service);
        keep(&mut self.refused, (service, until));
    }
}

fn hosts(tuple: &FourTuple) -> (IpAddr, IpAddr) {
    (tuple.local.ip(), tuple.remote.ip())
}

/// Whether Fast Open is on is a matter of ports, whereas cookies are not.
fn service(tuple: &FourTuple) -> (IpAddr, SocketAddr) {
    (tuple.local.ip(), tuple.remote)
}

fn keep<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() >= MAX_SERVERS {
        list.pop_front();
    }
    list.push_back(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(port: u16) -> FourTuple {
        FourTuple {
            local: "10.0.0.1:50000".parse().unwrap(),
            remote: SocketAddr::new("10.0.0.2".parse().unwrap(), port),
        }
    }

    const ASKED: Attempt = Attempt { offered: 0, taken: 0, syns: 1 };
    const COOKIE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn one_cookie_of_a_pair_of_hosts_is_kept_for_all_ports() {
        let mut servers = Servers::default();
        let now = Instant::from_millis(5);
        assert_eq!(servers.known(now, &tuple(80)), Some(None));
        servers.answered(now, &tuple(80), Some(Cookie::of(&[9; 4])), None, ASKED);
        assert_eq!(servers.known(now, &tuple(80)), Some(Some((Cookie::of(&[9; 4]), 536))));
        servers.answered(now, &tuple(80), Some(Cookie::of(&COOKIE)), Some(9000), ASKED);
        assert_eq!(servers.known(now, &tuple(443)), Some(Some((Cookie::of(&COOKIE), 1460))));
        assert_eq!(servers.cookies.len(), 1);
        let other = FourTuple { local: "10.0.0.3:50000".parse().unwrap(), ..tuple(80) };
        assert_eq!(servers.known(now, &other), Some(None), "a client with two addresses needs two cookies");
    }

    #[test]
    fn who_does_not_answer_is_left_alone_for_a_while() {
        let now = Instant::from_millis(5);
        for (attempt, pause, keeps_cookie) in [
            (ASKED, REFUSED, true),
            (Attempt { offered: 100, taken: 0, syns: 1 }, REFUSED, false),
            (Attempt { offered: 100, taken: 0, syns: 2 }, DROPPED, true),
            (Attempt { offered: 0, taken: 0, syns: 3 }, DROPPED, true),
        ] {
            let mut servers = Servers::default();
            servers.answered(now, &tuple(80), Some(Cookie::of(&COOKIE)), None, ASKED);
            servers.answered(now, &tuple(80), None, Some(1460), attempt);
            assert_eq!(servers.known(now, &tuple(80)), None, "{attempt:?}");
            assert!(servers.known(now, &tuple(81)).is_some(), "another service");
            assert!(servers.known(now + (pause - Duration::from_millis(1)), &tuple(80)).is_none());
            assert_eq!(
                servers.known(now + pause, &tuple(80)),
                Some(keeps_cookie.then_some((Cookie::of(&COOKIE), 536)))
            );
        }
        let mut servers = Servers::default();
        servers.unanswered(now, &tuple(80));
        assert_eq!(servers.known(now + DROPPED / 2, &tuple(80)), None);
        // A cookie shows that it can be done.
        servers.answered(now, &tuple(80), Some(Cookie::of(&COOKIE)), None, ASKED);
        assert!(servers.known(now, &tuple(80)).is_some());
        // What was taken although the first SYN/ACK was lost is no failure.
        servers.answered(now, &tuple(80), None, None, Attempt { offered: 9, taken: 9, syns: 2 });
        assert!(servers.known(now, &tuple(80)).is_some());
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let mut servers = Servers::default();
        let now = Instant::from_millis(5);
        for number in 0..2000_u16 {
            let [high, low] = number.to_be_bytes();
            let remote = SocketAddr::new(IpAddr::from([10, 1, high, low]), 80);
            let tuple = FourTuple { remote, ..tuple(80) };
            servers.answered(now, &tuple, Some(Cookie::of(&COOKIE)), None, ASKED);
            servers.unanswered(now, &tuple);
        }
        assert_eq!((servers.cookies.len(), servers.refused.len()), (MAX_SERVERS, MAX_SERVERS));
    }
}
