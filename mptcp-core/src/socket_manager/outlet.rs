//! The subflow that is to be given bytes.

use crate::event::SubflowId;
use crate::scheduler::SubflowView;

/// What sending needs to know of the subflow that was chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlet {
    pub(crate) id: SubflowId,
    /// Bytes that it should be given now.
    pub(crate) room: usize,
    /// Payload bytes of a full segment.
    pub(crate) mss: usize,
    /// Payload bytes that the first segment of a mapping carries less than that; 0 if every segment has a mapping of its own.
    pub(crate) mapping_cost: usize,
}

impl Outlet {
    /// What is shorter than this does not leave as the last segment of a window, where a mapping takes room of its first one only.
    pub(crate) fn least_segment(&self) -> usize {
        if self.mapping_cost > 0 { self.mss / 4 } else { 0 }
    }

    /// Bytes at the end of `len` that would make a very short segment. Where the window ends there, they leave later, with what follows them.
    pub(crate) fn scrap(&self, len: usize) -> usize {
        let over = (len + self.mapping_cost) % self.mss.max(1);
        if over < self.least_segment() && over < len { over } else { 0 }
    }
}

impl From<&SubflowView> for Outlet {
    fn from(view: &SubflowView) -> Self {
        let SubflowView { id, room, mss, mapping_cost, .. } = *view;
        Self { id, room, mss, mapping_cost }
    }
}
