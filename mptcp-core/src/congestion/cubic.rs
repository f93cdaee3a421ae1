//! Coupled CUBIC.
//!
//! The link of RFC 6356 on the growth of CUBIC, as Lee, Kim, Kwon and Han have it ("Coupled CUBIC Congestion Control for MPTCP in
//! Broadband Networks", 2023). How the one scales the other follows from the response functions, so that at the same losses
//! all subflows together have the rate of one CUBIC: RFC 6356 lets the window of a path grow by the part
//! `w_i * max(w/r^2) / (sum(w/r))^2` of what a TCP's would, and since the rate of an AIMD goes with the root of its increase, that makes
//! the path the root of that part of a flow. [`Cubic::set_share`] makes it the same part of a CUBIC.
//!
//! Parts of a flow lose at different times, so together they swing less than one flow does, and get more where that is dropped at its
//! peaks: a quarter more with four of them, in the simulator. Hence a part is taken for somewhat less than it is ([`smoothed`]).
//!
//! Windows are averaged for that from loss to loss (RFC 6356 section 4.1 allows averages as well): of windows that
//! go up and down by themselves, the parts add up to more than one flow, since the largest of them counts more than the others.

use tcp_adapter::Instant;
use tcp_adapter::congestion::{Ack, CongestionControl, CongestionEvent, Cubic, Sent, Window};

use super::board::{Member, Paths};
use super::lia::linked;

/// Round trips over which a window is averaged: what a part of a flow takes from one loss to the next, and some more.
const ROUNDS: f64 = 256.0;

/// CUBIC (RFC 9438), as a part of one flow.
#[derive(Debug)]
pub(super) struct CoupledCubic {
    cubic: Cubic,
    member: Member,
    /// The window of the last round trips, in bytes.
    mean: f64,
}

impl CoupledCubic {
    /// Goes on from `window`.
    pub(super) fn new(window: Window, member: Member) -> Self {
        Self { mean: window.cwnd() as f64, cubic: Cubic::with(window), member }
    }

    /// Averages the window over the round trips of congestion avoidance; slow start is over soon.
    fn average(&mut self, ack: &Ack) {
        let cwnd = self.cubic.cwnd() as f64;
        let weight = if self.cubic.in_slow_start() { 1.0 } else { (ack.delivered as f64 / cwnd / ROUNDS).min(1.0) };
        self.mean += (cwnd - self.mean) * weight;
    }
}

/// Which part of one flow the own path is.
fn share(paths: &Paths) -> f64 {
    smoothed((paths.own().window * linked(paths)).min(1.0).sqrt())
}

/// A part to the power of 9/8: as far above 1 as several equal paths need for the rate of one flow. Of roots, which are the same on all machines.
fn smoothed(part: f64) -> f64 {
    part * part.sqrt().sqrt().sqrt()
}

impl CongestionControl for CoupledCubic {
    fn name(&self) -> &'static str {
        "coupled-cubic"
    }

    fn cwnd(&self) -> u64 {
        self.cubic.cwnd()
    }

    fn ssthresh(&self) -> Option<u64> {
        self.cubic.ssthresh()
    }

    fn on_sent(&mut self, sent: &Sent) {
        self.cubic.on_sent(sent);
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.average(ack);
        self.member.tell(ack, self.mean as u64, 0.0);
        if let Some(paths) = self.member.paths(ack.now) {
            self.cubic.set_share(share(&paths));
        }
        self.cubic.on_ack(ack);
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.cubic.on_congestion(event);
    }

    fn on_spurious(&mut self, now: Instant) {
        self.cubic.on_spurious(now);
    }

    fn on_restart(&mut self, now: Instant, idle: u64) {
        self.cubic.on_restart(now, idle);
    }

    fn set_mss(&mut self, mss: u64) {
        self.cubic.set_mss(mss);
    }
}

#[cfg(test)]
mod tests {
    use super::super::coupled::testing::{assert_near, paths};
    use super::*;

    #[test]
    fn equal_paths_are_equal_parts_of_a_flow() {
        for number in 1..=8 {
            let part = 1.0 / number as f64;
            assert_near(share(&paths(&vec![(20.0, 30.0); number])), smoothed(part));
        }
    }

    #[test]
    fn no_path_is_more_than_a_flow() {
        // 100 * (10/0.0001) / (100/0.1 + 10/0.01)^2 = 2.5.
        assert_near(share(&paths(&[(100.0, 100.0), (10.0, 10.0)])), 1.0);
        // 10 * (10/0.0001) / (2000)^2 = 0.25.
        assert_near(share(&paths(&[(10.0, 10.0), (100.0, 100.0)])), smoothed(0.5));
        // 2^(-8 * 9/8).
        assert_near(smoothed(1.0 / 256.0), 1.0 / 512.0);
    }
}
