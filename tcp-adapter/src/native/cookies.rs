//! SYNs that are answered without being remembered (RFC 4987 section 3.6).
//!
//! What must be known of a SYN once its answer is acknowledged is in the initial sequence number of the answer: the time, the MSS,
//! and a keyed hash that nobody can forge. The rest, which the peer would not repeat, is in the lowest bits of our timestamp, which it echoes.

use std::collections::VecDeque;
use std::hash::Hash;

use super::wire::{Options, Segment};
use crate::Instant;
use crate::table::{FourTuple, Keys};

const HASH_COOKIE: u8 = 5;

/// A cookie is good for this long at least, and twice as long at most: the time of a handshake whose SYN/ACK was lost a few
/// times, since nobody repeats it.
const PERIOD: u64 = 64_000_000_000;

/// Bits of the hash. With as few as that, a forger who sends a million segments per second succeeds every ten seconds, and only while
/// SYNs are being answered so.
const HASH_BITS: u32 = 24;

/// Maximum segment sizes that a cookie can tell, of the links that there are. The one below the peer's is used.
const SIZES: [u16; 8] = [88, 536, 1220, 1360, 1440, 1460, 4096, 8920];

/// Low bits of our timestamp that tell the peer's options.
const STAMP_BITS: u32 = 6;
/// A window scale of 15 does not exist, so it tells that there is none.
const NO_SCALE: u8 = 15;

/// What the SYN said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) mss: u16,
    /// `None` if the peer does not scale windows.
    pub(super) window_shift: Option<u8>,
    pub(super) sack_permitted: bool,
    pub(super) ecn: bool,
    pub(super) timestamps: bool,
}

/// Makes cookies and knows its own.
#[derive(Debug, Default)]
pub(super) struct Cookies {
    /// When one was last made: only for some time after that may one come back.
    made_at: Option<Instant>,
    /// Connections that the layer above had no room for when their cookie came back, with the time until which their peers may still
    /// take them for open, the oldest first.
    refused: VecDeque<(Instant, FourTuple)>,
}

/// Refused connections that are remembered at most. Peers of more are reset, which is what they would be without memory.
const MAX_REFUSED: usize = 1024;

impl Cookies {
    /// The cookie of a connection came back, and there was no room.
    pub(super) fn refuse(&mut self, now: Instant, tuple: FourTuple) {
        while self.refused.front().is_some_and(|(until, _)| *until <= now) || self.refused.len() >= MAX_REFUSED {
            self.refused.pop_front();
        }
        if !self.was_refused(now, &tuple) {
            self.refused.push_back((now.plus_nanos(2 * PERIOD), tuple));
        }
    }

    /// Whether there was no room for a connection a while ago. Its peer must not be told that it does not exist: what is repeated will
    /// bring the cookie once more.
    pub(super) fn was_refused(&self, now: Instant, tuple: &FourTuple) -> bool {
        self.refused.iter().any(|(until, refused)| *until > now && refused == tuple)
    }

    /// The initial sequence number that answers a SYN.
    pub(super) fn make(
        &mut self,
        now: Instant,
        keys: &Keys,
        tuple: &FourTuple,
        segment: &Segment<'_>,
        mss: u16,
    ) -> u32 {
        self.made_at = Some(now);
        let period = now.as_nanos() / PERIOD;
        let size = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0);
        #[expect(clippy::cast_possible_truncation, reason = "5 bits and 3 bits")]
        let (period_bits, size_bits) = ((period % 32) as u32, size as u32);
        period_bits << 27 | size_bits << HASH_BITS | hash(keys, tuple, segment.seq, period, size_bits)
    }

    /// What the SYN said whose answer this segment acknowledges; `None` if it acknowledges no answer of ours.
    pub(super) fn recognise(
        &self,
        now: Instant,
        keys: &Keys,
        tuple: &FourTuple,
        segment: &Segment<'_>,
        options: &Options<'_>,
    ) -> Option<Remembered> {
        let made_at = self.made_at?;
        if now.saturating_since(made_at).as_nanos() > u128::from(2 * PERIOD) {
            return None;
        }
        let cookie = segment.ack.wrapping_sub(1);
        let (period_bits, size_bits) = (cookie >> 27, cookie >> HASH_BITS & 7);
        let current = now.as_nanos() / PERIOD;
        let period = [Some(current), current.checked_sub(1)]
            .into_iter()
            .flatten()
            .find(|period| period % 32 == u64::from(period_bits))?;
        if cookie & ((1 << HASH_BITS) - 1) != hash(keys, tuple, segment.seq.wrapping_sub(1), period, size_bits) {
            return None;
        }
        let mss = SIZES[size_bits as usize];
        Some(match options.timestamps {
            Some((_, echo)) => {
                let bits = echo.to_be_bytes()[3];
                let shift = bits & 0xf;
                Remembered {
                    mss,
                    window_shift: (shift != NO_SCALE).then_some(shift),
                    sack_permitted: bits & 0x10 != 0,
                    ecn: bits & 0x20 != 0,
                    timestamps: true,
                }
            }
            None => Remembered { mss, window_shift: None, sack_permitted: false, ecn: false, timestamps: false },
        })
    }
}

/// A timestamp at or before `clock` whose low bits tell what a SYN offered.
pub(super) fn stamp(clock: u32, options: &Options<'_>, ecn: bool) -> u32 {
    let shift = options.window_shift.unwrap_or(NO_SCALE);
    let bits = u32::from(shift) | u32::from(options.sack_permitted) << 4 | u32::from(ecn) << 5;
    let stamp = clock >> STAMP_BITS << STAMP_BITS | bits;
    // Never ahead of the clock, or the next timestamp of the connection would be before it.
    if stamp > clock { stamp.wrapping_sub(1 << STAMP_BITS) } else { stamp }
}

fn hash(keys: &Keys, tuple: &FourTuple, peer_seq: u32, period: u64, size: u32) -> u32 {
    #[derive(Hash)]
    struct Hashed<'a>(&'a FourTuple, u32, u64, u32);
    let hash = keys.hash(HASH_COOKIE, &Hashed(tuple, peer_seq, period, size));
    #[expect(clippy::cast_possible_truncation, reason = "any 24 bits of a hash do")]
    let low = hash as u32;
    low & ((1 << HASH_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MacAddr;
    use crate::native::wire::{Ecn, Flags, OptionWriter};

    fn tuple() -> FourTuple {
        FourTuple { local: "10.0.0.1:80".parse().unwrap(), remote: "10.0.0.2:5000".parse().unwrap() }
    }

    fn segment(seq: u32, ack: u32, options: &[u8]) -> Segment<'_> {
        Segment {
            link_source: MacAddr([2; 6]),
            source: tuple().remote,
            destination: tuple().local,
            seq,
            ack,
            flags: Flags::ACK,
            window: 1000,
            ecn: Ecn::NotEct,
            options,
            payload_at: 0,
            payload_len: 0,
            segment_size: None,
        }
    }

    fn echo(value: u32) -> OptionWriter {
        let mut writer = OptionWriter::default();
        assert!(writer.timestamps(7, value));
        writer
    }

    #[test]
    fn what_the_syn_said_comes_back() {
        let keys = Keys::from_seed(5);
        let now = Instant::from_millis(1_000_000);
        for (shift, sack, ecn) in [(Some(7), true, true), (None, true, false), (Some(0), false, false)] {
            let mut cookies = Cookies::default();
            let cookie = cookies.make(now, &keys, &tuple(), &segment(900, 0, &[]), 1400);
            let offered = Options { window_shift: shift, sack_permitted: sack, ..Options::default() };
            let clock = 0x1234_5680;
            let value = stamp(clock, &offered, ecn);
            assert!(clock.wrapping_sub(value) < 128);
            let options = echo(value);
            let ack = segment(901, cookie.wrapping_add(1), options.as_slice());
            let known = cookies.recognise(now, &keys, &tuple(), &ack, &Options::parse(ack.options)).unwrap();
            let expected = Remembered { mss: 1360, window_shift: shift, sack_permitted: sack, ecn, timestamps: true };
            assert_eq!(known, expected);
            let plain = cookies.recognise(now, &keys, &tuple(), &ack, &Options::default()).unwrap();
            assert_eq!((plain.window_shift, plain.sack_permitted, plain.timestamps), (None, false, false));
        }
    }

    #[test]
    fn others_and_old_ones_are_not_known() {
        let keys = Keys::from_seed(5);
        let now = Instant::from_millis(1_000_000);
        let mut cookies = Cookies::default();
        let ack = |cookie: u32, seq| segment(seq, cookie.wrapping_add(1), &[]);
        let knows = |cookies: &Cookies, now, segment: &Segment<'_>, tuple: &FourTuple| {
            cookies.recognise(now, &keys, tuple, segment, &Options::default()).is_some()
        };
        assert!(!knows(&cookies, now, &ack(0, 901), &tuple()), "none was made");
        let cookie = cookies.make(now, &keys, &tuple(), &segment(900, 0, &[]), 1400);
        assert!(knows(&cookies, now, &ack(cookie, 901), &tuple()));
        assert!(!knows(&cookies, now, &ack(cookie, 902), &tuple()));
        assert!(!knows(&cookies, now, &ack(cookie ^ 1 << 25, 901), &tuple()), "another size");
        let other = FourTuple { remote: "10.0.0.3:5000".parse().unwrap(), ..tuple() };
        assert!(!knows(&cookies, now, &ack(cookie, 901), &other));
        assert!(knows(&cookies, now + std::time::Duration::from_secs(64), &ack(cookie, 901), &tuple()));
        assert!(!knows(&cookies, now + std::time::Duration::from_secs(128), &ack(cookie, 901), &tuple()));
        let guessed = (0..100_000).filter(|guess| knows(&cookies, now, &ack(cookie ^ guess << 3, 901), &tuple()));
        assert!(guessed.count() < 3);
    }
}
