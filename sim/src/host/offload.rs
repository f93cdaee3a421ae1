//! What network interfaces do for a stack.

use tcp_adapter::Frame;

use crate::middlebox;

/// Hands on what an interface puts on its link: a super-segment in pieces, each with its checksum.
pub(super) fn complete(mut frame: Frame, mut sink: impl FnMut(Frame)) {
    match middlebox::cut_super_segment(&mut frame) {
        Some(pieces) => pieces.into_iter().for_each(sink),
        None => sink(frame),
    }
}
