//! What tests against the kernel share.

pub(crate) mod neighbour;
pub(crate) mod netns;
