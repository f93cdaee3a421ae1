//! A linear model of what each choice brings, and how sure it is (LinUCB).

/// Numbers that a situation is described by.
pub const FEATURES: usize = 8;

/// A situation, as numbers between 0 and 1; the first one is always 1.
pub type Context = [f64; FEATURES];

/// The choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Leave the data to the fastest subflow, which has no room now.
    Wait,
    /// Give it to the next one, which has.
    Use,
    /// Do what [`CompletionTime`](super::CompletionTime) would, each time anew.
    Leave,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wait, Self::Use, Self::Leave];
}

/// What a choice has brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The situation.
    pub context: Context,
    /// The choice.
    pub arm: Arm,
    /// Between 0, nothing, and 1; a half is all that the paths could carry at the time of the choice.
    pub reward: f64,
}

/// Ridge regression of the reward on the situation for each arm, with the width of the confidence interval (Li, Chu, Langford, Schapire: "A
/// Contextual-Bandit Approach to Personalized News Article Recommendation", WWW 2010, algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// By how much more than [`Arm::Leave`] another arm must bring to be chosen: a linear model is never exact, however many samples it has.
    pub(super) margin: f64,
    pub(super) arms: [Regression; 3],
}

/// One arm: A^-1 and b of the paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Regression {
    pub(super) samples: u64,
    pub(super) inverse: [[f64; FEATURES]; FEATURES],
    pub(super) sums: [f64; FEATURES],
}

/// What is expected of an arm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) mean: f64,
    /// The standard deviation of the mean for noise of 1.
    pub(super) width: f64,
}

impl Default for Model {
    fn default() -> Self {
        let mut inverse = [[0.0; FEATURES]; FEATURES];
        for (index, row) in inverse.iter_mut().enumerate() {
            row[index] = 1.0;
        }
        Self { margin: 0.0, arms: [Regression { samples: 0, inverse, sums: [0.0; FEATURES] }; 3] }
    }
}

impl Model {
    /// Learns from what a choice has brought.
    pub fn learn(&mut self, sample: &Sample) {
        self.arms[sample.arm as usize].learn(&sample.context, sample.reward);
    }

    /// The same with another margin: by how much more than [`Arm::Leave`] another arm must bring to be chosen, between 0 and 1.
    pub fn with_margin(self, margin: f64) -> Self {
        Self { margin, ..self }
    }

    /// By how much more than [`Arm::Leave`] another arm must bring to be chosen.
    pub fn margin(&self) -> f64 {
        self.margin
    }

    /// How many samples of an arm it has learned from.
    pub fn samples(&self, arm: Arm) -> u64 {
        self.arms[arm as usize].samples
    }

    /// The same, but as if each arm had `most` samples at most: as sure of its means, and as quick to change them.
    pub(super) fn as_if_of(mut self, most: u64) -> Self {
        for regression in self.arms.iter_mut().filter(|regression| regression.samples > most) {
            let factor = most as f64 / regression.samples as f64;
            regression.inverse.iter_mut().flatten().for_each(|cell| *cell /= factor);
            regression.sums.iter_mut().for_each(|sum| *sum *= factor);
            regression.samples = most;
        }
        self
    }

    pub(super) fn estimate(&self, arm: Arm, context: &Context) -> Estimate {
        let regression = &self.arms[arm as usize];
        let spread = regression.spread(context);
        // The mean is (A^-1 b) x, which is b (A^-1 x), as A is symmetric.
        Estimate { mean: dot(&regression.sums, &spread), width: dot(context, &spread).max(0.0).sqrt() }
    }
}

impl Regression {
    /// A^-1 x.
    fn spread(&self, context: &Context) -> Context {
        self.inverse.map(|row| dot(&row, context))
    }

    /// Adds x x^T to A, by the formula of Sherman and Morrison, and the reward times x to b.
    fn learn(&mut self, context: &Context, reward: f64) {
        let spread = self.spread(context);
        let scale = 1.0 + dot(context, &spread);
        for (row, left) in self.inverse.iter_mut().zip(spread) {
            for (cell, right) in row.iter_mut().zip(spread) {
                *cell -= left * right / scale;
            }
        }
        for (sum, feature) in self.sums.iter_mut().zip(context) {
            *sum += reward * feature;
        }
        self.samples += 1;
    }
}

fn dot(one: &Context, two: &Context) -> f64 {
    one.iter().zip(two).map(|(one, two)| one * two).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(value: f64) -> Context {
        [1.0, value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    }

    #[test]
    fn it_comes_to_know_what_each_arm_brings() {
        let mut model = Model::default();
        assert_eq!(model.estimate(Arm::Use, &context(0.0)), Estimate { mean: 0.0, width: 1.0 });
        for step in 0..1000 {
            let value = f64::from(step % 10) / 10.0;
            model.learn(&Sample { context: context(value), arm: Arm::Wait, reward: 0.2 + 0.5 * value });
            model.learn(&Sample { context: context(value), arm: Arm::Use, reward: 0.6 - 0.3 * value });
        }
        for value in [0.0, 0.5, 0.9] {
            let [wait, used, _] = Arm::ALL.map(|arm| model.estimate(arm, &context(value)));
            assert!((wait.mean - (0.2 + 0.5 * value)).abs() < 0.01, "{wait:?}");
            assert!((used.mean - (0.6 - 0.3 * value)).abs() < 0.01, "{used:?}");
            assert!(wait.width < 0.1);
        }
        assert_eq!(model.estimate(Arm::Use, &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]).width, 1.0, "never seen");
        assert_eq!(model.samples(Arm::Wait), 1000);
    }

    #[test]
    fn a_prior_says_the_same_and_is_soon_changed() {
        let mut model = Model::default();
        for _ in 0..10_000 {
            model.learn(&Sample { context: context(0.5), arm: Arm::Use, reward: 0.9 });
        }
        let mut prior = model.as_if_of(100);
        let [before, after] = [model, prior].map(|model| model.estimate(Arm::Use, &context(0.5)));
        assert!((before.mean - after.mean).abs() < 1e-9 && (after.width / before.width - 10.0).abs() < 1e-6);
        assert_eq!(prior.samples(Arm::Use), 100);
        for _ in 0..100 {
            prior.learn(&Sample { context: context(0.5), arm: Arm::Use, reward: 0.1 });
        }
        assert!((prior.estimate(Arm::Use, &context(0.5)).mean - 0.5).abs() < 0.01);
    }

    #[test]
    fn one_sample_by_hand() {
        let mut model = Model::default();
        model.learn(&Sample { context: context(1.0), arm: Arm::Use, reward: 0.9 });
        // A = I + x x^T has 2 on the diagonal and 1 beside it: A^-1 x = x / 3.
        let estimate = model.estimate(Arm::Use, &context(1.0));
        assert!((estimate.mean - 0.6).abs() < 1e-12 && (estimate.width - (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
