//! The largest packet that the path carries: what routers say of it (RFC 1191, RFC 8201), what becomes of packets when they say
//! nothing, and the search for larger ones (RFC 4821, RFC 8899).

use std::time::Duration;

use crate::Instant;

/// Smallest MTU that a report or a black hole may lead to: less than any link of today has, and too much to be a forger's aim
/// (RFC 5927 section 7.2; Linux' `min_pmtu`).
const LEAST_V4: u32 = 552;
/// RFC 8200 section 5.
const LEAST_V6: u32 = 1280;

/// What carries every path of today (RFC 8899 section 5.1.2, BASE_PLPMTU).
const BASE: u32 = 1200;

/// Timeouts in a row of segments longer than that which mean a black hole, and again until they are as short as can be.
const TIMEOUTS: u32 = 2;

/// How long a smaller path is believed to be one (RFC 1191 section 6.3, RFC 8201 section 4, PMTU_RAISE_TIMER of RFC 8899 section
/// 5.1.1).
const RAISE_AFTER: Duration = Duration::from_secs(600);

/// Probes of one size in a row that are lost before it is taken to be too large (RFC 8899 section 5.1.2, MAX_PROBES).
const MAX_PROBES: u8 = 3;

/// How long to leave the path alone after a probe that was lost (RFC 8899 section 5.1.1, PROBE_TIMER): what lost one by congestion
/// would lose the next.
const PAUSE: Duration = Duration::from_secs(1);

/// A difference that is not worth a probe, in bytes.
const GRAIN: u32 = 8;

/// MTUs of links that were common when routers did not tell (RFC 1191 section 7.1).
const PLATEAUS: [u32; 9] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296];

/// MTUs that paths often have: of IPv6 at least, of tunnels, PPPoE, Ethernet, and jumbo frames.
const COMMON: [u32; 8] = [1280, 1400, 1420, 1450, 1480, 1492, 1500, 9000];

/// What is known of the path.
#[derive(Clone, Debug)]
pub(super) struct PathMtu {
    /// Of the interface.
    link: u32,
    current: u32,
    ipv6: bool,
    search: Search,
}

/// The search for more than `current`, if that is less than the link's own (RFC 8899 section 5.2).
#[derive(Clone, Debug)]
enum Search {
    /// SEARCH_COMPLETE: as much as the path carries, for the time being.
    Complete { until: Instant },
    /// SEARCHING. Boxed, as most paths carry what their links do.
    Searching(Box<Next>),
}

/// What to try next.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// As much is possible.
    high: u32,
    size: u32,
    /// Times in a row that this size was lost.
    lost: u8,
    not_before: Instant,
}

/// What follows from a router's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Nothing: it was known, or makes no sense.
    Nothing,
    /// Packets must become smaller.
    Smaller,
    /// A probe was too large, and nothing else.
    ProbeTooBig,
}

impl PathMtu {
    pub(super) fn new(link: u32, ipv6: bool) -> Self {
        Self { link, current: link, ipv6, search: Search::Complete { until: Instant::ZERO } }
    }

    /// Bytes of an IP packet at most.
    pub(super) fn current(&self) -> u32 {
        self.current
    }

    /// A router has reported that a packet of `packet` bytes was too big, and for which MTU, or 0 if it did not say.
    pub(super) fn reported(&mut self, now: Instant, packet: u32, mtu: u32) -> Report {
        // RFC 8201 section 4: no link of IPv6 carries less, so the report is a mistake or a lie.
        if self.ipv6 && mtu < LEAST_V6 {
            return Report::Nothing;
        }
        let said = mtu > 0;
        let mtu = if said { mtu } else { next_plateau(packet) };
        if packet > self.current && (mtu >= self.current || !said) {
            // RFC 8899 section 4.6.2: PLPMTU <= PL_PTB_SIZE < PROBED_SIZE.
            self.search_up_to(now, mtu.clamp(self.current, packet - 1), now);
            return Report::ProbeTooBig;
        }
        if !self.lower(mtu.max(self.least())) {
            return Report::Nothing;
        }
        self.search = Search::Complete { until: now + RAISE_AFTER };
        Report::Smaller
    }

    /// A packet of so many bytes was not acknowledged, `timeouts` times in a row (RFC 8899 section 4.3). Returns whether packets must
    /// become smaller.
    ///
    /// If the path was only down for a while, it carries what it did before: that is what is tried first once packets get through.
    pub(super) fn timed_out(&mut self, now: Instant, packet: u32, timeouts: u32) -> bool {
        let before = self.current;
        let steps = [(TIMEOUTS, BASE.max(self.least())), (2 * TIMEOUTS, self.least())];
        // Of what vanishes though it is as short as that, the length is not the reason.
        let due = |(after, mtu): &(u32, u32)| timeouts >= *after && packet > *mtu;
        let lowered = steps.into_iter().filter(due).any(|(_, mtu)| self.lower(mtu));
        if lowered {
            let high = match &self.search {
                Search::Searching(next) => next.high.max(before),
                Search::Complete { .. } => before,
            };
            self.search = Search::try_next(high, high, now + PAUSE);
        }
        lowered
    }

    /// Whether the path is known to carry whatever the link does: nothing longer is to be tried.
    #[inline]
    pub(super) fn is_unrestricted(&self) -> bool {
        self.current >= self.link
    }

    /// How long a packet to try now, if it may be up to `most` bytes.
    #[inline]
    pub(super) fn probe_size(&mut self, now: Instant, most: u32) -> Option<u32> {
        if self.current >= self.link.min(most) {
            return None;
        }
        if let Search::Complete { until } = self.search
            && until <= now
        {
            // Perhaps what made the path small is gone, and it carries what the link does.
            self.search = Search::try_next(self.link, self.link, now);
        }
        match &self.search {
            Search::Searching(next) if next.not_before <= now => Some(next.size.min(most)),
            _ => None,
        }
    }

    /// How long a packet is to be tried next, now or after a pause.
    #[inline]
    pub(super) fn searched_size(&self) -> Option<u32> {
        match &self.search {
            Search::Searching(next) if !self.is_unrestricted() => Some(next.size),
            _ => None,
        }
    }

    /// A probe of `size` bytes has arrived (RFC 4821 section 7.6.1).
    pub(super) fn probe_arrived(&mut self, now: Instant, size: u32) {
        let high = match &self.search {
            Search::Searching(next) => next.high,
            Search::Complete { .. } => self.link,
        };
        self.current = self.current.max(size.min(self.link));
        self.search_up_to(now, high, now);
    }

    /// A probe of `size` bytes was lost, and nothing else (RFC 4821 section 7.6.2).
    pub(super) fn probe_lost(&mut self, now: Instant, size: u32) {
        let Search::Searching(next) = &mut self.search else { return };
        next.lost += 1;
        next.not_before = now + PAUSE;
        if next.lost >= MAX_PROBES {
            self.search_up_to(now, size.saturating_sub(1), now + PAUSE);
        }
    }

    /// A probe was lost together with others: that says nothing (RFC 4821 section 7.6.4).
    pub(super) fn probe_inconclusive(&mut self, now: Instant) {
        if let Search::Searching(next) = &mut self.search {
            next.not_before = now + PAUSE;
        }
    }

    /// Goes on with the next size, of at most `high`.
    fn search_up_to(&mut self, now: Instant, high: u32, not_before: Instant) {
        self.search = match next_size(self.current, high) {
            Some(size) => Search::try_next(high, size, not_before),
            None => Search::Complete { until: now + RAISE_AFTER },
        };
    }

    fn least(&self) -> u32 {
        if self.ipv6 { LEAST_V6 } else { LEAST_V4 }
    }

    fn lower(&mut self, mtu: u32) -> bool {
        let lower = mtu < self.current;
        if lower {
            self.current = mtu;
        }
        lower
    }
}

impl Search {
    fn try_next(high: u32, size: u32, not_before: Instant) -> Self {
        Self::Searching(Box::new(Next { high, size, lost: 0, not_before }))
    }
}

/// What to try between what passes and what may pass at most: half-way, or the next size beyond that which paths often have.
fn next_size(low: u32, high: u32) -> Option<u32> {
    if high < low + GRAIN {
        return None;
    }
    let middle = low + (high - low).div_ceil(2);
    // Few paths that carry more than Ethernet's packets carry less than jumbo frames.
    if low < 1500 && high > 1500 {
        return Some(1500);
    }
    COMMON.into_iter().find(|size| (middle..=high).contains(size)).or(Some(middle))
}

/// The largest common MTU that is less than `packet`.
fn next_plateau(packet: u32) -> u32 {
    PLATEAUS.into_iter().find(|plateau| *plateau < packet).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    #[test]
    fn reports_lower_it_within_reason() {
        let mut path = PathMtu::new(1500, false);
        assert_eq!(path.reported(Instant::ZERO, 1500, 1400), Report::Smaller);
        assert_eq!(path.reported(Instant::ZERO, 1400, 1450), Report::Nothing, "no report raises it");
        assert_eq!(path.reported(Instant::ZERO, 1400, 0), Report::Smaller);
        assert_eq!(path.current(), 1006);
        assert_eq!(path.reported(Instant::ZERO, 1006, 68), Report::Smaller);
        assert_eq!(path.current(), 552);
        let mut path = PathMtu::new(1500, true);
        for less in [0, 100, 1279] {
            assert_eq!(path.reported(Instant::ZERO, 1500, less), Report::Nothing, "no link has less");
        }
        assert_eq!(path.reported(Instant::ZERO, 1500, 1280), Report::Smaller);
        assert_eq!(path.current(), 1280);
    }

    /// What is searched for with a path that carries `path` bytes and says nothing: the sizes that were tried, and when the search
    /// was over.
    fn search(mtu: &mut PathMtu, from: u64, path: u32) -> (Vec<u32>, u64) {
        let mut tried = Vec::new();
        for second in from..from + 500 {
            let Some(size) = mtu.probe_size(at(second), u32::MAX) else {
                if matches!(mtu.search, Search::Complete { .. }) || mtu.current() == mtu.link {
                    return (tried, second);
                }
                continue;
            };
            tried.push(size);
            if size <= path {
                mtu.probe_arrived(at(second), size);
            } else {
                mtu.probe_lost(at(second), size);
            }
        }
        panic!("no end: {tried:?}");
    }

    #[test]
    fn black_holes_are_left_and_the_path_is_searched_for_more() {
        let mut mtu = PathMtu::new(9000, false);
        assert!(!mtu.timed_out(at(0), 9000, 1));
        assert!(mtu.timed_out(at(0), 9000, 2));
        assert!(!mtu.timed_out(at(0), 1200, 3));
        assert_eq!((mtu.current(), mtu.probe_size(at(0), u32::MAX)), (1200, None));
        // It was only down for a while.
        assert_eq!((search(&mut mtu, 1, 9000), mtu.current()), ((vec![9000], 2), 9000));

        assert!(mtu.timed_out(at(10), 9000, 2));
        let (tried, over) = search(&mut mtu, 11, 1500);
        assert_eq!(tried[..4], [9000, 9000, 9000, 1500]);
        assert!(tried.len() < 40 && over < 60, "{tried:?} until {over}");
        assert_eq!(mtu.current(), 1500);
        // It is believed for a while.
        assert_eq!(mtu.probe_size(at(over + 590), u32::MAX), None);
        assert_eq!(mtu.probe_size(at(over + 600), u32::MAX), Some(9000));
    }

    #[test]
    fn only_what_is_long_is_lost_by_its_length() {
        let mut mtu = PathMtu::new(1500, false);
        assert!(!mtu.timed_out(at(0), 1200, 3) && !mtu.timed_out(at(0), 552, 20));
        assert!(mtu.timed_out(at(0), 600, 4));
        assert_eq!(mtu.current(), 552);
        let mut mtu = PathMtu::new(998, false);
        assert!(!mtu.timed_out(at(0), 998, 2) && mtu.timed_out(at(0), 998, 4));
        assert_eq!((search(&mut mtu, 1, 763).1 < 30, mtu.current() / GRAIN), (true, 763 / GRAIN));
    }

    #[test]
    fn every_size_is_found() {
        for path in 552..1500 {
            let mut mtu = PathMtu::new(1500, false);
            assert!(mtu.timed_out(at(0), 1500, 2));
            if path < 1200 {
                assert!(mtu.timed_out(at(0), 1200, 4));
            }
            let (tried, over) = search(&mut mtu, 1, path);
            assert!((path - GRAIN..=path).contains(&mtu.current()), "{} of {path} by {tried:?}", mtu.current());
            assert!(over < 30, "{path}: {over} s");
        }
        let mut mtu = PathMtu::new(1500, true);
        assert!(mtu.timed_out(at(0), 1500, 2) && !mtu.timed_out(at(0), 1280, 4));
        assert_eq!(mtu.current(), 1280);
        assert_eq!(search(&mut mtu, 1, 1492).0, [1500, 1500, 1500, 1400, 1450, 1480, 1492]);
    }

    #[test]
    fn a_report_about_a_probe_ends_the_search_at_what_it_says() {
        let mut mtu = PathMtu::new(1500, false);
        mtu.timed_out(at(0), 1500, 2);
        assert_eq!(mtu.probe_size(at(1), u32::MAX), Some(1500));
        assert_eq!(mtu.reported(at(1), 1500, 1470), Report::ProbeTooBig);
        assert_eq!((mtu.current(), mtu.probe_size(at(1), u32::MAX)), (1200, Some(1400)));
        assert_eq!(search(&mut mtu, 1, 1470).0, [1400, 1450, 1460, 1465]);
        // An old router does not say; what passes is known to pass.
        let mut mtu = PathMtu::new(1500, false);
        mtu.timed_out(at(0), 1500, 2);
        assert_eq!(mtu.probe_size(at(1), 1400), Some(1400));
        assert_eq!(mtu.reported(at(1), 1400, 0), Report::ProbeTooBig);
        assert_eq!(mtu.current(), 1200);
        // One that says that the path has become smaller than what passed is believed.
        assert_eq!(mtu.reported(at(1), 1400, 1000), Report::Smaller);
        assert_eq!(mtu.current(), 1000);
    }

    #[test]
    fn what_was_lost_with_others_is_tried_again() {
        let mut mtu = PathMtu::new(1500, false);
        mtu.timed_out(at(0), 1500, 2);
        for second in 1..20 {
            assert_eq!(mtu.probe_size(at(second), u32::MAX), Some(1500));
            mtu.probe_inconclusive(at(second));
            assert_eq!(mtu.probe_size(at(second), u32::MAX), None);
        }
        assert_eq!(mtu.probe_size(at(20), 1300), Some(1300), "no more than the peer takes");
        assert_eq!(mtu.probe_size(at(20), 1200), None);
    }
}
