//! Balanced linked adaptation (Peng, Walid, Hwang, Low; draft-walid-mptcp-congestion-control-04).

use tcp_adapter::congestion::Ack;

use super::board::Paths;
use super::coupled::Rule;

/// Between friendliness to TCPs and responsiveness: both the increase and the decrease depend on how far a path's rate is below that of
/// the fastest one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Balia;

/// No loss takes more than 3/4 of a window (section 3).
const MOST: f64 = 1.5;

impl Rule for Balia {
    const NAME: &'static str = "balia";

    /// Section 3. In bytes, of segments: `x_r / rtt_r / (sum x_k)^2 * (1 + alpha_r) / 2 * (4 + alpha_r) / 5`.
    fn increase(&mut self, bytes: f64, mss: f64, paths: &Paths, _ack: &Ack) -> f64 {
        let (own, sum, alpha) = (paths.own(), paths.rate(), alpha(paths));
        bytes * mss * own.rate() / own.rtt / (sum * sum) * ((1.0 + alpha) / 2.0) * ((4.0 + alpha) / 5.0)
    }

    /// Section 3: `w_r - w_r / 2 * min(alpha_r, 1.5)`.
    fn after_loss(&mut self, cwnd: u64, paths: Option<&Paths>) -> u64 {
        let alpha = paths.map_or(1.0, alpha).min(MOST);
        cwnd - (cwnd as f64 / 2.0 * alpha) as u64
    }
}

/// How many times the own rate the largest one is: `max x_k / x_r`.
fn alpha(paths: &Paths) -> f64 {
    paths.max(super::board::Path::rate) / paths.own().rate()
}

#[cfg(test)]
mod tests {
    use super::super::coupled::testing::{MSS, assert_near, paths};
    use super::super::samples::testing::ack;
    use super::*;

    /// Increase per segment acknowledged, in segments.
    fn increase(all: &[(f64, f64)]) -> f64 {
        Balia.increase(MSS, MSS, &paths(all), &ack(0, 0)) / MSS
    }

    fn after_loss(all: &[(f64, f64)]) -> u64 {
        Balia.after_loss(20_000, Some(&paths(all)))
    }

    #[test]
    fn alone_it_is_a_tcp() {
        assert_near(increase(&[(20.0, 35.0)]), 1.0 / 20.0);
        assert_eq!(after_loss(&[(20.0, 35.0)]), 10_000);
        assert_eq!(Balia.after_loss(20_000, None), 10_000);
    }

    #[test]
    fn slower_paths_grow_and_shrink_faster() {
        // Rates 2000/s and 1000/s: alpha = 2 for the slower one, 1 for the faster.
        let (fast, slow) = ((20.0, 10.0), (10.0, 10.0));
        // 1000 / 0.01 / 3000^2 * 3/2 * 6/5.
        assert_near(increase(&[slow, fast]), 1e5 / 9e6 * 1.8);
        assert_near(increase(&[fast, slow]), 2e5 / 9e6);
        assert_eq!(after_loss(&[slow, fast]), 5_000, "alpha is 1.5 at most");
        assert_eq!(after_loss(&[fast, slow]), 10_000);
        assert_eq!(after_loss(&[(16.0, 10.0), fast]), 7_500, "alpha = 1.25");
    }

    #[test]
    fn equal_paths_share_one_increase() {
        // w / (n w)^2 = 1 / (4 * 20).
        assert_near(increase(&[(20.0, 35.0), (20.0, 35.0)]), 1.0 / 80.0);
    }
}
