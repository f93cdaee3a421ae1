//! What the rules that are made after Reno share: everything but congestion avoidance (RFC 6356 section 3).

use std::fmt;

use tcp_adapter::Instant;
use tcp_adapter::congestion::{Ack, CongestionControl, CongestionEvent, Window};

use super::board::{Member, Paths};

/// How a window changes in congestion avoidance, and after a loss.
pub(super) trait Rule: fmt::Debug + Send {
    /// Its name.
    const NAME: &'static str;

    /// What the acknowledgement of `bytes` changes the window by, in bytes.
    fn increase(&mut self, bytes: f64, mss: f64, paths: &Paths, ack: &Ack) -> f64;

    /// What a loss leaves of a window of `cwnd` bytes. Half of it, as TCP's.
    fn after_loss(&mut self, cwnd: u64, paths: Option<&Paths>) -> u64 {
        let _ = paths;
        cwnd / 2
    }

    /// Bytes have arrived, in whatever state.
    fn on_delivered(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Whether slow start ends here though nothing was lost.
    fn ends_slow_start(&mut self, mss: f64, paths: &Paths, ack: &Ack) -> bool {
        let _ = (mss, paths, ack);
        false
    }

    /// What other subflows are to know.
    fn note(&self) -> f64 {
        0.0
    }

    /// Sending begins again after a pause.
    fn on_restart(&mut self) {}
}

/// A congestion control that follows a rule.
#[derive(Debug)]
pub(super) struct Coupled<R> {
    window: Window,
    member: Member,
    rule: R,
    /// Part of a byte that the window has earned or lost. So an increase that would be less than a byte is not
    /// forgotten, which RFC 6356 section 3 prevents by one of at least a byte.
    fraction: f64,
}

impl<R: Rule> Coupled<R> {
    /// Goes on from `window`.
    pub(super) fn new(window: Window, member: Member, rule: R) -> Self {
        Self { window, member, rule, fraction: 0.0 }
    }

    fn avoid_congestion(&mut self, ack: &Ack, bytes: u64) {
        let mss = self.window.mss() as f64;
        let change = match self.member.paths(ack.now) {
            Some(paths) => self.rule.increase(bytes as f64, mss, &paths, ack),
            None => bytes as f64 * mss / self.window.cwnd() as f64,
        };
        self.fraction += change;
        let whole = self.fraction.trunc();
        self.fraction -= whole;
        if whole > 0.0 {
            self.window.grow(whole as u64);
        } else if whole < 0.0 {
            self.window.shrink(-whole as u64);
        }
    }

    fn slow_start(&mut self, ack: &Ack, bytes: u64) -> u64 {
        let ends = match self.member.paths(ack.now) {
            Some(paths) => self.rule.ends_slow_start(self.window.mss() as f64, &paths, ack),
            None => false,
        };
        if ends {
            self.window.leave_slow_start();
            return bytes;
        }
        self.window.slow_start_in_steps(ack, bytes)
    }
}

impl<R: Rule> CongestionControl for Coupled<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn cwnd(&self) -> u64 {
        self.window.cwnd()
    }

    fn ssthresh(&self) -> Option<u64> {
        self.window.ssthresh()
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.rule.on_delivered(ack.delivered);
        self.member.tell(ack, self.window.cwnd(), self.rule.note());
        let mut bytes = self.window.earned(ack);
        if bytes > 0 && self.window.in_slow_start() {
            bytes = self.slow_start(ack, bytes);
        }
        if bytes > 0 {
            self.avoid_congestion(ack, bytes);
        }
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.fraction = 0.0;
        let paths = self.member.paths(event.now);
        let to = self.rule.after_loss(self.window.flight(event), paths.as_ref());
        self.window.reduce(to, event.cause);
    }

    fn on_spurious(&mut self, _now: Instant) {
        self.window.undo();
    }

    fn on_restart(&mut self, _now: Instant, _idle: u64) {
        self.fraction = 0.0;
        self.rule.on_restart();
        self.window.restart();
    }

    fn set_mss(&mut self, mss: u64) {
        self.window.set_mss(mss);
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::super::board::Path;
    use super::Paths;

    /// Segments of 1000 bytes.
    pub(in crate::congestion) const MSS: f64 = 1000.0;

    /// Paths of so many segments and milliseconds, the first of which is the own one.
    pub(in crate::congestion) fn paths(all: &[(f64, f64)]) -> Paths {
        let path = |(segments, ms): &(f64, f64)| Path { window: segments * MSS, rtt: ms / 1e3, note: 0.0 };
        Paths { all: all.iter().map(path).collect(), own: 0 }
    }

    pub(in crate::congestion) fn assert_near(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{value}, expected {expected}");
    }
}
