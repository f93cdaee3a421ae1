//! Connections that were found lately, so that few segments need a look into the table of all pairs.

use super::wire::Segment;
use crate::TcpId;

/// Many more than connections are busy at a time in most stacks, so that few of those meet in one place. They take 4 KiB.
const PLACES: usize = 512;

/// Stands for no connection.
const NOBODY: TcpId = TcpId { index: u32::MAX, generation: 0 };

/// The connections that segments were for lately, each in the place that its ports add up to.
///
/// What is found here is a guess: that connection may be gone, or another one that has the same place. Whoever gets it compares both ends. A
/// peer that has its ports meet in one place gains nothing: then the table is looked into, whose hash it does not know.
pub(super) struct Found(Box<[TcpId; PLACES]>);

impl Found {
    /// Without any.
    pub(super) fn new() -> Self {
        Self(Box::new([NOBODY; PLACES]))
    }

    /// The connection that a segment may be for.
    #[inline]
    pub(super) fn guess(&self, segment: &Segment<'_>) -> TcpId {
        self.0[place(segment)]
    }

    /// A segment is for this connection.
    pub(super) fn note(&mut self, segment: &Segment<'_>, id: TcpId) {
        self.0[place(segment)] = id;
    }
}

#[inline]
fn place(segment: &Segment<'_>) -> usize {
    usize::from(segment.destination.port().wrapping_add(segment.source.port())) % PLACES
}
