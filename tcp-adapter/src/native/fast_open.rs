//! TCP Fast Open (RFC 7413): data on the SYN of an open whose initiator has shown before that it receives at its address.

mod cookie;
mod servers;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

pub(super) use self::cookie::{Cookie, Offer};
use self::servers::Servers;
use super::NativeStack;
use super::wire::{MAX_OPTIONS, Options, Segment};
use crate::table::FourTuple;
use crate::{Instant, ListenerId};

/// Purpose of a keyed hash.
const HASH_FAST_OPEN: u8 = 6;

/// A cookie is good for this long at least, and twice as long at most (RFC 7413 section 4.1.2, item 5).
const PERIOD: Duration = Duration::from_secs(12 * 3600);

/// How long an open that was reset by the peer counts as pending (RFC 7413 section 5.1): who forges addresses shall not profit from
/// the resets of those who have them.
const RESET_COUNTS: Duration = Duration::from_secs(60);

/// Fast Open of one stack.
#[derive(Debug, Default)]
pub(super) struct FastOpen {
    /// The listeners that take data on SYNs.
    listeners: BTreeMap<ListenerId, Pending>,
    servers: Servers,
}

/// `PendingFastOpenRequests` of RFC 7413 section 4.2.
#[derive(Debug, Default)]
struct Pending {
    limit: usize,
    /// Connections whose handshake is not complete.
    open: usize,
    /// Until when those count that the peer has reset, at most as many as the limit.
    reset: Vec<Instant>,
}

/// What the SYN of an active open does.
#[derive(Debug)]
pub(super) enum SynData {
    /// Asks for a cookie.
    Ask,
    /// Brings the cookie back, and these first bytes.
    Send { cookie: Cookie, data: Bytes },
    /// It has left with so many bytes.
    Left { bytes: u32 },
    /// Not the SYN, but its answer: it hands out a cookie.
    Answer(Cookie),
}

/// What a listener makes of the option on a SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Payload bytes that are taken.
    pub(super) take: usize,
    /// A cookie for the next time.
    pub(super) answer: Option<Cookie>,
}

/// How an active open went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// Bytes that the first SYN had; 0 if it only asked for a cookie.
    pub(super) offered: u32,
    /// Bytes that were acknowledged with it.
    pub(super) taken: u32,
    /// SYNs that were sent. Only the first had data and the option.
    pub(super) syns: u32,
}

impl NativeStack {
    /// Lets SYNs for a listener carry data.
    pub(super) fn listen_fast(&mut self, listener: ListenerId, limit: usize) {
        if limit == 0 {
            self.fast_open.listeners.remove(&listener);
        } else {
            self.fast_open.listeners.entry(listener).or_default().limit = limit;
        }
    }

    /// What `data` the SYN of an active open takes along, which has not left yet, where segments have `limit` bytes of payload and options at most. Returns
    /// how many bytes.
    pub(super) fn offer_on_syn(&mut self, tuple: &FourTuple, limit: usize, data: &Bytes) -> (Option<SynData>, usize) {
        let Some(known) = self.fast_open.servers.known(self.now, tuple) else { return (None, 0) };
        let Some((cookie, mss)) = known else { return (Some(SynData::Ask), 0) };
        let bytes = data.len().min(usize::from(mss).min(limit).saturating_sub(MAX_OPTIONS));
        if bytes == 0 {
            return (None, 0);
        }
        (Some(SynData::Send { cookie, data: data.slice(..bytes) }), bytes)
    }

    /// What a listener makes of a SYN (RFC 7413 section 4.2.2).
    pub(super) fn judge_syn(&mut self, listener: ListenerId, tuple: &FourTuple, segment: &Segment<'_>) -> Judgement {
        let now = self.now;
        let Some(pending) = self.fast_open.listeners.get_mut(&listener) else { return Judgement::default() };
        let Some(offer) = Offer::find(segment.options) else { return Judgement::default() };
        // Of a SYN all is taken or nothing.
        let most = self.memory.room().beyond.min(self.config.recv_buffer_initial);
        if pending.is_full(now) || most < segment.payload_len.max(1) {
            return Judgement::default();
        }
        let period = now.as_nanos() / u64::try_from(PERIOD.as_nanos()).unwrap_or(u64::MAX);
        let current = self.own_cookie(tuple, period);
        let Offer::Cookie(cookie) = offer else { return Judgement { take: 0, answer: Some(current) } };
        if cookie == current {
            return Judgement { take: segment.payload_len, answer: None };
        }
        let is_old = period.checked_sub(1).is_some_and(|period| cookie == self.own_cookie(tuple, period));
        Judgement { take: if is_old { segment.payload_len } else { 0 }, answer: Some(current) }
    }

    /// A connection has begun with data of its SYN.
    pub(super) fn began_fast(&mut self, listener: ListenerId) {
        if let Some(pending) = self.fast_open.listeners.get_mut(&listener) {
            pending.open += 1;
        }
    }

    /// Its handshake is complete, or it is gone, possibly because the peer has reset it.
    pub(super) fn no_longer_fast(&mut self, listener: ListenerId, reset: bool) {
        let until = self.now + RESET_COUNTS;
        if let Some(pending) = self.fast_open.listeners.get_mut(&listener) {
            pending.open = pending.open.saturating_sub(1);
            if reset && pending.reset.len() < pending.limit {
                pending.reset.push(until);
            }
        }
    }

    /// An active open is complete: what is to be remembered of the server.
    pub(super) fn learn_of_server(&mut self, tuple: &FourTuple, segment: &Segment<'_>, attempt: Attempt) {
        let cookie = match Offer::find(segment.options) {
            Some(Offer::Cookie(cookie)) => Some(cookie),
            _ => None,
        };
        let mss = Options::parse(segment.options).mss;
        self.fast_open.servers.answered(self.now, tuple, cookie, mss, attempt);
    }

    /// An active open has failed in a way that its option or data may be the reason of.
    pub(super) fn fast_open_failed(&mut self, tuple: &FourTuple) {
        self.fast_open.servers.unanswered(self.now, tuple);
    }

    /// The cookie of a client (RFC 7413 section 4.1.2): it authenticates the address, and is short enough for a SYN/ACK that has MP_CAPABLE
    /// beside the usual options (RFC 8684 appendix B.1).
    fn own_cookie(&self, tuple: &FourTuple, period: u64) -> Cookie {
        let hash = self.keys.hash(HASH_FAST_OPEN, &(period, tuple.local.ip(), tuple.remote.ip()));
        let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
        Cookie::of(&[a, b, c, d, e, f])
    }
}

impl Pending {
    fn is_full(&mut self, now: Instant) -> bool {
        self.reset.retain(|until| *until > now);
        self.open + self.reset.len() >= self.limit
    }
}
