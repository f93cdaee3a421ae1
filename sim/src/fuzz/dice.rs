//! Choices at random.

use std::time::Duration;

use crate::random::Stream;

/// Draws from one stream.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) Stream);

impl Dice {
    /// A number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.0.below(most - least + 1)
    }

    /// A number from `least`, above 0, to `most`, each doubling being as likely as the next.
    pub(crate) fn scaled(&mut self, least: u64, most: u64) -> u64 {
        let octaves = most.ilog2() - least.ilog2();
        let base = least << self.between(0, octaves.into());
        self.between(base.min(most), (2 * base - 1).min(most))
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.0.below(100) < chance
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        // An index below the length of the slice.
        all[self.0.below(all.len() as u64) as usize]
    }

    /// A probability as text, from `least` to `most` thousandths of a percent.
    pub(crate) fn probability(&mut self, least: u64, most: u64) -> String {
        let thousandths = self.between(least, most);
        format!("\"{}.{:03}%\"", thousandths / 1000, thousandths % 1000)
    }

    /// A time as text, from `least` to `most` microseconds, each doubling being as likely as the next.
    pub(crate) fn time(&mut self, least: u64, most: u64) -> String {
        text_of(Duration::from_micros(self.scaled(least, most)))
    }
}

/// A time as a scenario has it.
pub(super) fn text_of(time: Duration) -> String {
    format!("\"{}us\"", time.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Streams;

    #[test]
    fn what_is_drawn_is_in_its_range_and_reaches_its_ends() {
        let mut dice = Dice(Streams::new(1).stream("test"));
        let scaled: Vec<u64> = (0..2000).map(|_| dice.scaled(3, 20)).collect();
        assert_eq!((scaled.iter().min(), scaled.iter().max()), (Some(&3), Some(&20)));
        let between: Vec<u64> = (0..200).map(|_| dice.between(5, 7)).collect();
        assert_eq!((between.iter().min(), between.iter().max()), (Some(&5), Some(&7)));
        assert_eq!(dice.scaled(9, 9), 9);
        assert!(!dice.percent(0) && dice.percent(100));
        assert_eq!(dice.probability(1500, 1500), "\"1.500%\"");
        assert_eq!(dice.time(250, 250), "\"250us\"");
    }
}
