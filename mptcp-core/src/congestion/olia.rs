//! Opportunistic linked increases (Khalili, Gast, Popovic, Le Boudec: "MPTCP is not Pareto-optimal", CoNEXT 2012;
//! draft-khalili-mptcp-congestion-control-05).

use tcp_adapter::congestion::Ack;

use super::board::{Path, Paths};
use super::coupled::Rule;

/// A linked increase that splits congestion as well as can be, and a term that moves window from the paths with the largest windows
/// to the best ones, should those have small windows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Olia {
    /// Bytes delivered since the last loss: l1 of section 2.
    since: u64,
    /// Bytes delivered between the last loss and the one before: l2.
    between: u64,
}

impl Rule for Olia {
    const NAME: &'static str = "olia";

    /// Equation 1 of the draft. In bytes, of segments: `w_r / rtt_r^2 / (sum w_p / rtt_p)^2 + alpha_r / w_r`.
    fn increase(&mut self, bytes: f64, mss: f64, paths: &Paths, _ack: &Ack) -> f64 {
        let (own, sum) = (paths.own(), paths.rate());
        bytes * mss * (own.rate() / own.rtt / (sum * sum) + alpha(paths) / own.window)
    }

    fn after_loss(&mut self, cwnd: u64, _paths: Option<&Paths>) -> u64 {
        (self.between, self.since) = (self.since, 0);
        cwnd / 2
    }

    fn on_delivered(&mut self, bytes: u64) {
        self.since += bytes;
    }

    /// The smoothed number of bytes between losses: l of section 2, which stands for the inverse of the loss rate.
    fn note(&self) -> f64 {
        self.since.max(self.between) as f64
    }
}

/// What the window of the own path is to gain or lose per round trip besides, in segments: alpha of section 2.
fn alpha(paths: &Paths) -> f64 {
    // A TCP's rate goes with the root of this: where it is largest, the path is best.
    let quality = |path: &Path| path.note / (path.rtt * path.rtt);
    let best = paths.max(quality);
    let largest = paths.max(|path| path.window);
    let is_largest = |path: &Path| path.window >= largest;
    let is_collected = |path: &Path| quality(path) >= best && !is_largest(path);
    let collected = paths.all.iter().filter(|path| is_collected(path)).count();
    if collected == 0 {
        return 0.0;
    }
    let number = paths.all.len() as f64;
    let own = paths.own();
    if is_collected(own) {
        1.0 / number / collected as f64
    } else if is_largest(own) {
        let giving = paths.all.iter().filter(|path| is_largest(path)).count();
        -1.0 / number / giving as f64
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::coupled::testing::{MSS, assert_near, paths};
    use super::super::samples::testing::ack;
    use super::*;

    /// Increase per segment acknowledged, in segments, and alpha; paths are segments, ms and bytes between losses.
    fn increase(all: &[(f64, f64, f64)]) -> (f64, f64) {
        let mut paths = paths(&all.iter().map(|(window, rtt, _)| (*window, *rtt)).collect::<Vec<_>>());
        for (path, (.., between)) in paths.all.iter_mut().zip(all) {
            path.note = *between;
        }
        (Olia::default().increase(MSS, MSS, &paths, &ack(0, 0)) / MSS, alpha(&paths))
    }

    #[test]
    fn alone_it_is_a_tcp() {
        let (increase, alpha) = increase(&[(20.0, 35.0, 1e5)]);
        assert_near(increase, 1.0 / 20.0);
        assert_near(alpha, 0.0);
    }

    #[test]
    fn window_moves_from_the_largest_to_the_best() {
        // The second is best, for it has lost least, and its window is not the largest.
        let (largest, best) = ((30.0, 10.0, 1e5), (10.0, 10.0, 4e5));
        let (gain, alpha) = increase(&[best, largest]);
        assert_near(alpha, 0.5);
        // 10 / 40^2 + 0.5 / 10.
        assert_near(gain, 0.00625 + 0.05);
        let (loss, alpha) = increase(&[largest, best]);
        assert_near(alpha, -0.5);
        // 30 / 40^2 - 0.5 / 30.
        assert_near(loss, 0.01875 - 0.5 / 30.0);
        // A third path that is neither is left alone; n = 3.
        assert_near(increase(&[(20.0, 10.0, 1e5), largest, best]).1, 0.0);
        assert_near(increase(&[best, largest, (20.0, 10.0, 1e5)]).1, 1.0 / 3.0);
    }

    #[test]
    fn nothing_moves_while_the_best_have_the_largest_windows() {
        let all = [(30.0, 10.0, 4e5), (10.0, 10.0, 1e5)];
        assert_near(increase(&all).1, 0.0);
        assert_near(increase(&[all[1], all[0]]).1, 0.0);
        // Twice the round-trip time is worth a quarter of the bytes between losses.
        assert_near(increase(&[(10.0, 20.0, 3.9e5), (30.0, 10.0, 1e5)]).1, 0.0);
        assert_near(increase(&[(10.0, 20.0, 4.1e5), (30.0, 10.0, 1e5)]).1, 0.5);
    }

    #[test]
    fn bytes_between_losses_are_those_of_the_longer_interval() {
        let mut olia = Olia::default();
        olia.on_delivered(5000);
        assert_near(olia.note(), 5000.0);
        assert_eq!(olia.after_loss(10_000, None), 5000);
        olia.on_delivered(2000);
        assert_near(olia.note(), 5000.0);
        olia.on_delivered(4000);
        assert_near(olia.note(), 6000.0);
        olia.after_loss(10_000, None);
        olia.after_loss(10_000, None);
        assert_near(olia.note(), 0.0);
    }
}
