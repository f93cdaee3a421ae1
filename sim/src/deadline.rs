//! The earlier of two deadlines.

use tcp_adapter::Instant;

/// The earlier of two deadlines, either of which there may not be.
#[inline]
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
