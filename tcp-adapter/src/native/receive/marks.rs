//! Where marks of congestion change in what is not acknowledged yet, for a sender that counts them (RFC 8257 section 3.2).

use smallvec::SmallVec;

/// Changes that are kept: about as many as there are between two polls of a stack.
const MOST: usize = 64;

/// The acknowledgements that are owed since the mark has changed. Several segments may arrive before anything can leave, and each change among
/// them has its own, else the sender takes what was not marked for marked, or the reverse.
#[derive(Debug, Default)]
pub(crate) struct MarkChanges {
    /// Offsets before which the mark was another than behind them, in ascending order.
    at: SmallVec<[u64; 4]>,
}

impl MarkChanges {
    /// What comes next from this offset on has another mark than what came last.
    pub(crate) fn push(&mut self, offset: u64) {
        // Between two changes at one offset there is nothing, and behind both it is as before. Where there are too many, what lies between the
        // last two counts as what is before it.
        if self.at.last() == Some(&offset) || self.at.len() == MOST {
            self.at.pop();
        } else {
            self.at.push(offset);
        }
    }

    /// Up to where the next acknowledgement goes, and whether it echoes a mark, given whether what came last is `marked`.
    pub(crate) fn take(&mut self, marked: bool) -> Option<(u64, bool)> {
        let is_other = self.at.len() % 2 == 1;
        (!self.at.is_empty()).then(|| (self.at.remove(0), marked != is_other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of changes at these offsets.
    fn told(at: impl IntoIterator<Item = u64>, marked: bool) -> Vec<(u64, bool)> {
        let mut changes = MarkChanges::default();
        for offset in at {
            changes.push(offset);
        }
        std::iter::from_fn(|| changes.take(marked)).collect()
    }

    #[test]
    fn marks_alternate_up_to_what_came_last() {
        assert_eq!(told([10, 30, 40], true), [(10, false), (30, true), (40, false)]);
        assert_eq!(told([10, 30], true), [(10, true), (30, false)]);
        assert!(told([], true).is_empty());
    }

    #[test]
    fn two_changes_at_one_offset_are_none() {
        assert_eq!(told([10, 20, 20], true), [(10, false)]);
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let told = told(1..=1000, false);
        assert!(told.len() <= MOST, "{}", told.len());
        assert_eq!(told[..2], [(1, false), (2, true)], "an even number of changes: the first mark is the last one");
    }
}
