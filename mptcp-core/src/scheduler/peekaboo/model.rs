//! A linear model of what each choice brings, and how sure it is (LinUCB).

/// Numbers that a situation is described by.
pub const FEATURES: usize = 6;

/// A situation, as numbers between 0 and 1; the first one is always 1.
pub type Context = [f64; FEATURES];

/// The choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Leave the data to the fastest subflow, which has no room now.
    Wait,
    /// Give it to the next one, which has.
    Use,
}

impl Arm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Wait, Self::Use];
}

/// What a choice has brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The situation.
    pub context: Context,
    /// The choice.
    pub arm: Arm,
    /// Between 0, nothing, and 1, all that the paths can carry.
    pub reward: f64,
}

/// Ridge regression of the reward on the situation for each arm, with the width of the confidence interval (Li, Chu, Langford, Schapire: "A
/// Contextual-Bandit Approach to Personalized News Article Recommendation", WWW 2010, algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    pub(super) arms: [Regression; 2],
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
        Self { arms: [Regression { samples: 0, inverse, sums: [0.0; FEATURES] }; 2] }
    }
}

impl Model {
    /// Learns from what a choice has brought.
    pub fn learn(&mut self, sample: &Sample) {
        self.arms[sample.arm as usize].learn(&sample.context, sample.reward);
    }

    /// How many samples of an arm it has learned from.
    pub fn samples(&self, arm: Arm) -> u64 {
        self.arms[arm as usize].samples
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
        [1.0, value, 0.0, 0.0, 0.0, 0.0]
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
            let [wait, used] = Arm::ALL.map(|arm| model.estimate(arm, &context(value)));
            assert!((wait.mean - (0.2 + 0.5 * value)).abs() < 0.01, "{wait:?}");
            assert!((used.mean - (0.6 - 0.3 * value)).abs() < 0.01, "{used:?}");
            assert!(wait.width < 0.1);
        }
        assert_eq!(model.estimate(Arm::Use, &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]).width, 1.0, "never seen");
        assert_eq!(model.samples(Arm::Wait), 1000);
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
