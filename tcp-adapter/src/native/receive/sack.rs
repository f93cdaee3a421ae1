//! Which blocks to report in the option for selective acknowledgements (RFC 2018 section 4, RFC 2883 section 4).

#[cfg(test)]
mod tests;

use std::ops::Range;

use smallvec::SmallVec;

use super::beyond::Beyond;

/// Blocks that fit into an option at most (RFC 2018 section 3).
pub(crate) const MAX_BLOCKS: usize = 4;

/// Blocks of an option in the order in which they are sent.
pub(crate) type SackBlocks = SmallVec<[Range<u64>; MAX_BLOCKS]>;

/// What happened last beyond the gap.
#[derive(Debug, Default)]
pub(super) struct SackState {
    /// An offset in each of the blocks that received a segment last, the latest first. Offsets and not ranges: a block that
    /// has grown or was joined with another since is then reported as it is now.
    recent: SmallVec<[u64; MAX_BLOCKS]>,
    /// What was received twice and has not been reported yet.
    duplicate: Option<Range<u64>>,
}

impl SackState {
    /// A segment that is part of `block` now has arrived.
    pub(super) fn on_segment(&mut self, block: &Range<u64>) {
        self.recent.retain(|offset| !block.contains(offset));
        self.recent.truncate(MAX_BLOCKS - 1);
        self.recent.insert(0, block.start);
    }

    /// `range` has been received again.
    ///
    /// The option has room for one such range (RFC 2883 section 4). If no acknowledgement has left since the last one, because
    /// segments come in bursts, both are reported as one if they touch; else the older one is never reported.
    pub(super) fn on_duplicate(&mut self, range: Range<u64>) {
        self.duplicate = Some(match self.duplicate.take() {
            Some(old) if old.start <= range.end && range.start <= old.end => {
                old.start.min(range.start)..old.end.max(range.end)
            }
            _ => range,
        });
    }

    /// Whether a duplicate waits for being reported.
    pub(super) fn has_duplicate(&self) -> bool {
        self.duplicate.is_some()
    }
}

/// The blocks for an option with room for `room` of them. A duplicate is reported once only.
pub(super) fn blocks(beyond: &mut Beyond, room: usize) -> SackBlocks {
    let room = room.min(MAX_BLOCKS);
    let mut blocks = SackBlocks::new();
    if room == 0 {
        return blocks;
    }
    let duplicate = beyond.sack.duplicate.take();
    let first = usize::from(duplicate.is_some());
    // The block around a duplicate follows it, even if it is the same: that tells the sender that the bytes are not below the
    // cumulative acknowledgement (RFC 2883 section 4, rule 4).
    let around = duplicate.as_ref().and_then(|range| beyond.enclosing(range.start));
    blocks.extend(duplicate);
    let recent = beyond.sack.recent.iter().filter_map(|&offset| beyond.enclosing(offset));
    for block in around.into_iter().chain(recent).chain(beyond.ranges()) {
        if blocks.len() >= room {
            break;
        }
        if !blocks[first..].contains(&block) {
            blocks.push(block);
        }
    }
    blocks
}
