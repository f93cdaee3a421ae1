//! What network interfaces do for a stack.

use tcp_adapter::Frame;

use crate::middlebox;
use crate::packet::Boxes;
use crate::scenario::{Action, Chance, Probability, Scenario};

/// Whether packets arrive with the bytes that they had: then nobody could tell whether interfaces complete and verify TCP checksums, and
/// none are computed.
pub(super) fn are_bytes_kept(scenario: &Scenario) -> bool {
    let never = |chance: &Chance| chance.p == Probability::ZERO;
    scenario.middleboxes.is_empty()
        && scenario.links.iter().all(|link| {
            never(&link.up.corrupt)
                && never(&link.down.corrupt)
                && link
                    .events
                    .iter()
                    .all(|event| !matches!(&event.action, Action::Set(change) if change.corrupt.is_some()))
        })
}

/// Hands on what an interface puts on its link: a super-segment in pieces, and each with its checksum if it `seals` them.
pub(super) fn complete(frame: Box<Frame>, seals: bool, boxes: &mut Boxes, mut sink: impl FnMut(Box<Frame>)) {
    if !seals && frame.meta.segment_size.is_none() {
        sink(frame);
    } else {
        cut(frame, boxes, sink);
    }
}

fn cut(mut frame: Box<Frame>, boxes: &mut Boxes, mut sink: impl FnMut(Box<Frame>)) {
    match middlebox::cut_super_segment(&mut frame) {
        Some(pieces) => {
            boxes.unpack(frame);
            pieces.into_iter().for_each(|piece| sink(boxes.pack(piece)));
        }
        None => sink(frame),
    }
}
