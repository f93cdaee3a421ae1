//! CUBIC (RFC 9438), with HyStart++ (RFC 9406) in its first slow start.
//!
//! Only additions, multiplications and divisions of IEEE numbers are used, which are the same on every machine.

use std::time::Duration;

use super::hystart::{Growth, HyStart};
use super::window::Window;
use super::{Ack, Cause, CongestionControl, CongestionEvent, Recovery, Sent};
use crate::Instant;

/// How fast the window moves away from the plateau, in segments per second cubed (section 5.1).
const C: f64 = 0.4;
/// What a loss leaves of the window (section 4.6).
const BETA: f64 = 0.7;
/// A share that differs from that of the present stage by less than this part is not worth another stage.
const NEAR: f32 = 0.2;
/// The smallest share: one of 64.
const LEAST_SHARE: f32 = 1.0 / 64.0;
/// Segments per round trip with which an AIMD of `BETA` does as well as Reno (section 4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// A window that is a cubic function of the time since the last congestion event.
#[derive(Clone, Debug)]
pub struct Cubic {
    window: Window,
    curve: Curve,
    /// The curve before the last congestion event (section 4.9.2), if there was one.
    before: Option<Box<Curve>>,
    hystart: HyStart,
    /// When an acknowledgement came last, or an idle time ended.
    touched: Instant,
    /// Part of a byte that the window has earned.
    fraction: f32,
    /// Part of a flow that it is to be.
    share: f32,
}

/// The function that the window follows in a stage of congestion avoidance, in segments and seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Curve {
    /// When the stage began; `None` before it has.
    epoch: Option<Instant>,
    /// Window that Reno would have by now.
    w_est: f64,
    /// Part of a flow that the stage was begun as.
    share: f32,
    /// The plateau; 0 if the next stage is to begin on it.
    w_max: f32,
    /// How long it takes to reach the plateau.
    k: f32,
    /// The window when the threshold was set.
    cwnd_prior: f32,
}

impl Cubic {
    /// Begins with the initial window for segments of `mss` bytes.
    pub fn new(mss: u64) -> Self {
        Self::with(Window::new(mss))
    }

    /// Goes on from a window that another congestion control has left.
    pub fn with(window: Window) -> Self {
        Self {
            window,
            curve: Curve::default(),
            before: None,
            hystart: HyStart::new(),
            touched: Instant::ZERO,
            fraction: 0.0,
            share: 1.0,
        }
    }

    /// Makes it one of several flows that together are to take what a single one would, at the same losses: `share` of that, at
    /// most 1, which is the default.
    ///
    /// By equation 5 the rate goes with the fourth root of C, and by section 4.3 with the square root of alpha. So the one is
    /// multiplied by the fourth power of the share and the other by its square.
    pub fn set_share(&mut self, share: f64) {
        self.share = (share as f32).clamp(LEAST_SHARE, 1.0);
        if (self.share - self.curve.share).abs() > NEAR * self.curve.share {
            // From where the window is, towards the same plateau.
            self.curve.epoch = None;
        }
    }

    fn segments(&self) -> f64 {
        self.window.cwnd() as f64 / self.window.mss() as f64
    }

    /// Says what is left of `bytes` for congestion avoidance.
    fn slow_start(&mut self, ack: &Ack, bytes: u64) -> u64 {
        if self.window.ssthresh().is_none() {
            return match self.hystart.on_ack(ack, bytes) {
                Growth::By(bytes) => self.window.slow_start(bytes),
                Growth::Done => {
                    self.window.leave_slow_start();
                    self.curve.cwnd_prior = self.segments() as f32;
                    bytes
                }
            };
        }
        // RFC 3465 section 2.3: after a timeout an acknowledgement may be about bytes that had arrived long before.
        let limit = if ack.recovery == Recovery::Timeout { self.window.mss() } else { u64::MAX };
        self.window.slow_start(bytes.min(limit))
    }

    /// Section 4.2 to 4.5.
    fn avoid_congestion(&mut self, ack: &Ack, bytes: u64) {
        let (cwnd, mss) = (self.segments(), self.window.mss() as f64);
        let acked = bytes as f64 / mss;
        let t = seconds(ack.now.saturating_since(self.curve.begin(ack.now, cwnd, self.share)));
        self.curve.befriend(acked, cwnd, self.share);
        let grown = if self.curve.at(t) < self.curve.w_est {
            self.fraction = 0.0;
            self.curve.w_est - cwnd
        } else {
            let target = self.curve.at(t + ack.srtt as f64 / 1e9).clamp(cwnd, 1.5 * cwnd);
            (target - cwnd) * (acked / cwnd).min(1.0)
        };
        let earned = f64::from(self.fraction) + (grown * mss).max(0.0);
        let whole = earned as u64;
        self.fraction = (earned - whole as f64) as f32;
        self.window.grow(whole);
    }
}

impl CongestionControl for Cubic {
    fn name(&self) -> &'static str {
        "cubic"
    }

    fn cwnd(&self) -> u64 {
        self.window.cwnd()
    }

    fn ssthresh(&self) -> Option<u64> {
        self.window.ssthresh()
    }

    fn on_sent(&mut self, sent: &Sent) {
        if sent.in_flight == 0 {
            self.curve.pause(sent.now.saturating_since(self.touched));
            self.touched = sent.now;
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        let since = ack.now.saturating_since(std::mem::replace(&mut self.touched, ack.now));
        let mut bytes = self.window.earned(ack);
        if bytes == 0 {
            if !ack.cwnd_limited {
                self.curve.pause(since);
            }
            return;
        }
        if self.window.in_slow_start() {
            bytes = self.slow_start(ack, bytes);
        }
        if bytes > 0 {
            self.avoid_congestion(ack, bytes);
        }
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        // A repeated timeout: all of this has been done.
        if event.cause == Cause::Timeout && self.window.cwnd() <= self.window.mss() {
            return;
        }
        **self.before.get_or_insert_default() = self.curve;
        self.curve.end(self.segments(), event.cause);
        self.fraction = 0.0;
        // The window and not what is in flight: it grows only while it is used (section 4.6).
        self.window.reduce(self.window.cwnd().saturating_mul(7) / 10, event.cause);
    }

    fn on_spurious(&mut self, _now: Instant) {
        if self.window.undo() {
            self.curve = self.before.as_deref().copied().unwrap_or(self.curve);
        }
    }

    fn on_restart(&mut self, _now: Instant, _idle: u64) {
        self.curve.epoch = None;
        self.window.restart();
    }

    fn set_mss(&mut self, mss: u64) {
        let scale = self.window.mss() as f64 / mss.max(1) as f64;
        self.window.set_mss(mss);
        self.curve.scale(scale);
        if let Some(before) = &mut self.before {
            before.scale(scale);
        }
    }
}

impl Curve {
    /// When the stage began, which is now if it has not.
    fn begin(&mut self, now: Instant, cwnd: f64, share: f32) -> Instant {
        *self.epoch.get_or_insert_with(|| {
            (self.w_est, self.share) = (cwnd, share);
            let below = f64::from(self.w_max) - cwnd;
            if below > 0.0 {
                self.k = cube_root(below / slope(share)) as f32;
            } else {
                // Also the first stage after HyStart++ and after a timeout (sections 4.8 and 4.10).
                (self.k, self.w_max) = (0.0, cwnd as f32);
            }
            now
        })
    }

    /// Equation 1.
    fn at(&self, t: f64) -> f64 {
        let x = t - f64::from(self.k);
        slope(self.share) * x * x * x + f64::from(self.w_max)
    }

    /// Equation 4: what Reno would do about so many segments.
    fn befriend(&mut self, acked: f64, cwnd: f64, share: f32) {
        let share = f64::from(share);
        let alpha = if self.w_est >= f64::from(self.cwnd_prior) { 1.0 } else { ALPHA };
        self.w_est += alpha * share * share * acked / cwnd;
    }

    /// The time in which the application did not fill the window does not count (section 5.8).
    fn pause(&mut self, time: Duration) {
        if let Some(epoch) = &mut self.epoch {
            *epoch += time;
        }
    }

    /// A window of `cwnd` segments was too large.
    fn end(&mut self, cwnd: f64, cause: Cause) {
        let w_max = match cause {
            Cause::Timeout => 0.0,
            // Fast convergence (section 4.7): leave room to whoever has come.
            Cause::Loss | Cause::Mark if cwnd < f64::from(self.w_max) => cwnd * (1.0 + BETA) / 2.0,
            Cause::Loss | Cause::Mark => cwnd,
        };
        *self = Self { epoch: None, w_max: w_max as f32, cwnd_prior: cwnd as f32, ..*self };
    }

    fn scale(&mut self, by: f64) {
        self.w_est *= by;
        self.w_max *= by as f32;
        self.cwnd_prior *= by as f32;
        self.k *= cube_root(by) as f32;
        // Room for options comes and goes, and makes little difference to the stage; a path with other packets begins a new one.
        if (by - 1.0).abs() > 0.1 {
            self.epoch = None;
        }
    }
}

/// C of a flow that is `share` of one.
fn slope(share: f32) -> f64 {
    let square = f64::from(share) * f64::from(share);
    C * square * square
}

fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}

/// Newton's iteration from a third of the exponent; `x` is positive. The library's would differ from machine to machine.
fn cube_root(x: f64) -> f64 {
    // The bits of a number are nearly its logarithm; two thirds of those of 1 put the exponent's bias back.
    let mut root = f64::from_bits(x.to_bits() / 3 + 1.0_f64.to_bits() / 3 * 2);
    for _ in 0..4 {
        root -= (root - x / (root * root)) / 3.0;
    }
    root
}

#[cfg(test)]
mod tests;
