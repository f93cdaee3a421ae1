//! Whether the peer of an idle connection is still there (RFC 9293 section 3.8.4).

use std::time::Duration;

use super::config::NativeConfig;
use super::send::NEVER;
use crate::Instant;

/// Between questions that are not answered (the kernel's `tcp_keepalive_intvl`).
const INTERVAL: Duration = Duration::from_secs(75);
/// Questions without an answer after which the connection is given up (the kernel's `tcp_keepalive_probes`).
const QUESTIONS: u32 = 9;

/// Questions asked since anything was heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeepAlive {
    asked: u32,
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
        self.asked = 0;
    }

    /// When to ask next. While data is outstanding, the retransmission timer asks.
    pub(super) fn deadline(&self, config: &NativeConfig, last_received: Instant, idle: bool) -> Instant {
        match config.keep_alive {
            Some(after) if idle => last_received + after + INTERVAL * self.asked,
            _ => NEVER,
        }
    }

    pub(super) fn poll(&mut self, now: Instant, config: &NativeConfig, last_received: Instant, idle: bool) -> Due {
        if self.deadline(config, last_received, idle) > now {
            return Due::Nothing;
        }
        if self.asked == QUESTIONS {
            return Due::GiveUp;
        }
        self.asked += 1;
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
}
