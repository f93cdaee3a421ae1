//! Linked increases (RFC 6356).

use tcp_adapter::congestion::Ack;

use super::board::Paths;
use super::coupled::Rule;

/// Increases are linked so that all subflows get what a TCP would on the best path; each loss halves the one window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lia;

impl Rule for Lia {
    const NAME: &'static str = "lia";

    fn increase(&mut self, bytes: f64, mss: f64, paths: &Paths, _ack: &Ack) -> f64 {
        bytes * mss * linked(paths).min(1.0 / paths.own().window)
    }
}

/// Alpha over the sum of the windows, which is what equations 1 and 2 make of it:
/// `max(cwnd_i / rtt_i^2) / (sum(cwnd_i / rtt_i))^2`, per byte.
pub(super) fn linked(paths: &Paths) -> f64 {
    let sum = paths.rate();
    paths.max(|path| path.rate() / path.rtt) / (sum * sum)
}

#[cfg(test)]
mod tests {
    use super::super::coupled::testing::{MSS, assert_near, paths};
    use super::super::samples::testing::ack;
    use super::*;

    /// Of equation 2.
    fn alpha(all: &[(f64, f64)]) -> f64 {
        let paths = paths(all);
        linked(&paths) * paths.all.iter().map(|path| path.window).sum::<f64>()
    }

    #[test]
    fn alpha_is_that_of_equation_2() {
        // Alone, a TCP: a segment per round trip.
        assert_near(alpha(&[(17.0, 30.0)]), 1.0);
        // Equal paths share one increase: alpha = n * w/r^2 * w / (n * w/r)^2 * ... = 1/n.
        assert_near(alpha(&[(10.0, 100.0), (10.0, 100.0)]), 0.5);
        assert_near(alpha(&[(10.0, 40.0); 4]), 0.25);
        // 30 * max(10/100, 20/2500) / (10/10 + 20/50)^2 = 30 * 0.1 / 1.96.
        assert_near(alpha(&[(10.0, 10.0), (20.0, 50.0)]), 3.0 / 1.96);
        // 60 * max(40/10000, 20/400) / (40/100 + 20/20)^2 = 60 * 0.05 / 1.96.
        assert_near(alpha(&[(40.0, 100.0), (20.0, 20.0)]), 3.0 / 1.96);
    }

    #[test]
    fn an_increase_is_the_smaller_one_of_equation_1() {
        let increase = |all| Lia.increase(2.0 * MSS, MSS, &paths(all), &ack(0, 0));
        // alpha * bytes_acked * MSS / cwnd_total = 0.5 * 2000 * 1000 / 20000.
        assert_near(increase(&[(10.0, 100.0), (10.0, 100.0)]), 50.0);
        // 2000 * 1000 * (100/0.01) / (100/0.1 + 1/0.01)^2 / 1000.
        assert_near(increase(&[(100.0, 100.0), (1.0, 10.0)]), 2e3 * 1e4 / 1.21e6);
        // (10/0.0001) / (100/0.1 + 10/0.01)^2 = 1/40 would be more than a TCP's 1/100 on this path.
        assert_near(increase(&[(100.0, 100.0), (10.0, 10.0)]), 2e3 / 100.0);
    }
}
