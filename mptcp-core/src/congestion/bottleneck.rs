//! Which subflows share a bottleneck, in the spirit of RFC 8382.
//!
//! As there, delays are summed up over intervals, and of the last intervals follow a skewness, a variability and a loss rate. They tell
//! whether a subflow passes a bottleneck at all (section 3.3.1), and only those that do are grouped. What differs:
//!
//! * Samples are round-trip times, which the sender has anyway, and not one-way delays. So a queue on the way back counts as well.
//! * Both ends of a comparison are at hand here, with one clock. So instead of comparing how often delays oscillate (section 3.2.3), which
//!   two paths of a kind do alike, it is compared whether they do so *together*: the correlation of the changes from
//!   interval to interval (as Rubenstein, Kurose and Towsley, "Detecting shared congestion of flows via end-to-end measurement", 2002).
//! * Variability only has to be of the same size.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tcp_adapter::Instant;

use super::board::Board;
use super::samples::{Interval, Samples};

/// T of RFC 8382 section 2.2, the base interval.
const INTERVAL: Duration = Duration::from_millis(350);
/// N, the intervals over which delays are summed up.
const MEMORY: usize = 50;
/// Changes from one interval to the next that a pair must have in common before anything is said of it. Of fewer, paths that have nothing
/// to do with each other move together too often.
const LEAST_CHANGES: usize = 40;
/// Samples without which an interval has no mean.
const LEAST_SAMPLES: u64 = 2;
/// c_s: a subflow whose skewness is below passes a bottleneck. Delays are then spread around their mean; without a queue, most are near
/// the least. It is the RFC's c_h, since it is the correlation that decides here; 0.1 misses queues that are now and then empty.
const SKEWED: f64 = 0.3;
/// c_h: the same for one that has been grouped.
const STILL_SKEWED: f64 = 0.5;
/// p_l: one that loses more passes a bottleneck in any case.
const LOSSY: f64 = 0.05;
/// How many times the usual change one counts at most.
const USUAL: f64 = 3.0;
/// Variabilities that differ by more than this factor are not those of one queue.
const UNLIKE: f64 = 3.0;
/// Two that move together as much as this share a bottleneck.
const TOGETHER: f64 = 0.7;
/// Two that do so less share one no longer.
const APART: f64 = 0.4;

/// Finds out which subflows of a connection share a bottleneck.
#[derive(Debug, Default)]
pub(super) struct Detector {
    watched: Vec<Watched>,
    /// When the present interval ends; `None` before the first has begun.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Watched {
    place: usize,
    samples: Arc<Samples>,
    /// The last intervals, the newest at the end; `None` for one without samples.
    history: VecDeque<Option<Interval>>,
    /// The smallest place in its group.
    group: usize,
}

impl Detector {
    /// Watches the subflow at a place of the board, and no longer the one that was there before.
    pub(super) fn watch(&mut self, place: usize) -> Arc<Samples> {
        let samples = Arc::<Samples>::default();
        self.watched.retain(|watched| watched.place != place);
        let history = VecDeque::with_capacity(MEMORY);
        self.watched.push(Watched { place, samples: Arc::clone(&samples), history, group: place });
        samples
    }

    /// Whether an interval has ended.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// Ends an interval, and groups anew.
    pub(super) fn observe(&mut self, now: Instant, board: &Board) {
        let late = self.next.map_or(Duration::ZERO, |next| now.saturating_since(next));
        self.next = Some(now + INTERVAL);
        // Nothing has happened for a while: what was measured before is of another time.
        let gap = late >= INTERVAL;
        // No one else has the samples of a subflow that is gone.
        self.watched.retain(|watched| Arc::strong_count(&watched.samples) > 1);
        for watched in &mut self.watched {
            watched.end_interval(gap);
        }
        self.group(board);
    }

    fn group(&mut self, board: &Board) {
        let mut groups: Vec<usize> = self.watched.iter().map(|watched| watched.place).collect();
        for (one, a) in self.watched.iter().enumerate() {
            for (two, b) in self.watched.iter().enumerate().skip(one + 1) {
                if groups[one] != groups[two] && a.shares_with(b) {
                    let (from, to) = (groups[one].max(groups[two]), groups[one].min(groups[two]));
                    groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
                }
            }
        }
        for (watched, group) in self.watched.iter_mut().zip(groups) {
            if std::mem::replace(&mut watched.group, group) != group {
                tracing::debug!(subflow = watched.place, group, "shares a bottleneck with those of its group");
            }
            board.set_group(watched.place, group);
        }
    }
}

impl Watched {
    fn end_interval(&mut self, gap: bool) {
        let interval = self.samples.end();
        if gap {
            self.history.clear();
        }
        if self.history.len() == MEMORY {
            self.history.pop_front();
        }
        self.history.push_back((interval.count >= LEAST_SAMPLES).then_some(interval));
        let (count, sum) =
            self.intervals().fold((0.0, 0.0), |(count, sum), interval| (count + 1.0, sum + interval.mean));
        if count > 0.0 {
            self.samples.compare_with(sum / count);
        }
    }

    fn intervals(&self) -> impl Iterator<Item = &Interval> {
        self.history.iter().flatten()
    }

    /// Whether both pass the same bottleneck.
    fn shares_with(&self, other: &Self) -> bool {
        let together = self.group == other.group;
        let (skewed, moving) = if together { (STILL_SKEWED, APART) } else { (SKEWED, TOGETHER) };
        if !self.is_congested(skewed) || !other.is_congested(skewed) {
            return false;
        }
        let (a, b) = (self.variability(), other.variability());
        if a.max(b) > UNLIKE * a.min(b) {
            return false;
        }
        correlation(self, other).is_some_and(|correlation| correlation > moving)
    }

    /// Section 3.3.1.
    fn is_congested(&self, skewed: f64) -> bool {
        let (mut below, mut above, mut lost, mut delivered) = (0.0, 0.0, 0.0, 0.0);
        for interval in self.intervals() {
            below += interval.below as f64;
            above += interval.above as f64;
            lost += interval.lost as f64;
            delivered += interval.delivered as f64;
        }
        // skew_est of section 3.2.1 and pkt_loss of section 3.2.4.
        let skewness = (below - above) / f64::max(below + above, 1.0);
        skewness < skewed || lost > LOSSY * (lost + delivered)
    }

    /// var_est of section 3.2.2, in nanoseconds.
    fn variability(&self) -> f64 {
        let (deviation, count) = self.intervals().fold((0.0, 0.0), |(deviation, count), interval| {
            (deviation + interval.deviation, count + (interval.below + interval.above) as f64)
        });
        deviation / f64::max(count, 1.0)
    }
}

/// The correlation of the changes of the mean round-trip time from one interval to the next; `None` if too few are known of both.
///
/// Changes count up to a few times the usual one: two subflows that begin at the same time overflow their queues at the same
/// time, and that says nothing.
fn correlation(a: &Watched, b: &Watched) -> Option<f64> {
    let both: Vec<Option<(f64, f64)>> = a
        .history
        .iter()
        .rev()
        .zip(b.history.iter().rev())
        .map(|(a, b)| Some((a.as_ref()?.mean, b.as_ref()?.mean)))
        .collect();
    let changes = both.windows(2).filter_map(|pair| {
        let ((a1, b1), (a0, b0)) = (pair[0]?, pair[1]?);
        Some((a1 - a0, b1 - b0))
    });
    let (mut a, mut b): (Vec<f64>, Vec<f64>) = changes.unzip();
    if a.len() < LEAST_CHANGES {
        return None;
    }
    limit(&mut a);
    limit(&mut b);
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    // The mean of changes is nearly zero, so it need not be subtracted.
    let both = (product(&a, &a) * product(&b, &b)).sqrt();
    (both > 0.0).then(|| product(&a, &b) / both)
}

/// Limits changes to so many times the one in the middle.
fn limit(changes: &mut [f64]) {
    let mut sizes: Vec<f64> = changes.iter().map(|change| change.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let most = USUAL * sizes[sizes.len() / 2];
    changes.iter_mut().for_each(|change| *change = change.clamp(-most, most));
}

#[cfg(test)]
mod tests;
