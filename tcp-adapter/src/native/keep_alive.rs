//! Whether the peer of an idle connection is still there (RFC 9293 section 3.8.4).

use std::time::Duration;

use super::config::NativeConfig;
use super::send::NEVER;
use crate::Instant;

/// Between questions that are not answered (the kernel's `tcp_keepalive_intvl`).
const INTERVAL: Duration = Duration::from_secs(75);
/// Questions without an answer after which the connection is given up (the kernel's `tcp_keepalive_probes`).
const QUESTIONS: u8 = 9;

/// Questions asked since anything was heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeepAlive {
    asked: u8,
    /// Intervals after the first question until the next.
    intervals: u16,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ask,
    GiveUp,
}

impl KeepAlive {
    /// Something was heard.
    pub(super) fn heard(&mut self) {
        *self = Self::default();
    }

    /// When to ask next. While data is outstanding, the retransmission timer asks.
    pub(super) fn deadline(&self, config: &NativeConfig, last_received: Instant, idle: bool) -> Instant {
        match config.keep_alive {
            Some(after) if idle => last_received + after + INTERVAL * u32::from(self.intervals),
            _ => NEVER,
        }
    }

    pub(super) fn poll(&mut self, now: Instant, config: &NativeConfig, last_received: Instant, idle: bool) -> Due {
        let deadline = self.deadline(config, last_received, idle);
        if deadline > now {
            return Due::Nothing;
        }
        if self.asked == QUESTIONS {
            return Due::GiveUp;
        }
        self.asked += 1;
        // Nobody was asked while this process stood still, so the peer has a whole series of intervals to answer all the same.
        let missed = now.saturating_since(deadline).as_nanos() / INTERVAL.as_nanos();
        self.intervals = self.intervals.saturating_add(u16::try_from(missed).unwrap_or(u16::MAX)).saturating_add(1);
        Due::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_questions_are_asked() {
        let config = NativeConfig { keep_alive: Some(Duration::from_secs(100)), ..NativeConfig::default() };
        let mut keep_alive = KeepAlive::default();
        let mut now = Instant::ZERO;
        let mut asked = Vec::new();
        loop {
            now = now.max(keep_alive.deadline(&config, Instant::ZERO, true));
            match keep_alive.poll(now, &config, Instant::ZERO, true) {
                Due::Ask => asked.push(now.as_nanos() / 1_000_000_000),
                Due::GiveUp => break,
                Due::Nothing => panic!("due"),
            }
        }
        assert_eq!(asked, (0..9).map(|number| 100 + 75 * number).collect::<Vec<_>>());
        assert_eq!(now, Instant::from_millis(775_000));
        keep_alive.heard();
        assert_eq!(keep_alive.deadline(&config, now, true), now + Duration::from_secs(100));
        assert_eq!(keep_alive.poll(now, &config, Instant::ZERO, false), Due::Nothing);
    }

    #[test]
    fn after_a_pause_of_this_side_questions_are_an_interval_apart() {
        let config = NativeConfig { keep_alive: Some(Duration::from_secs(100)), ..NativeConfig::default() };
        let mut keep_alive = KeepAlive::default();
        let mut now = Instant::from_millis(10_010_000);
        let mut asked = Vec::new();
        while keep_alive.poll(now, &config, Instant::ZERO, true) == Due::Ask {
            asked.push(now.as_nanos() / 1_000_000_000);
            now = keep_alive.deadline(&config, Instant::ZERO, true);
        }
        assert_eq!((asked.len(), &asked[..3]), (9, &[10_010, 10_075, 10_150][..]));
        assert_eq!(now, Instant::from_millis(10_675_000));
    }
}
