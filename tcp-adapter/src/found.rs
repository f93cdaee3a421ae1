//! Connections that were found lately, so that few segments need a look into the table of all pairs.

use std::net::SocketAddr;

use crate::TcpId;

/// Many more than connections are busy at a time in most stacks, so that few of those meet in one place. They take 4 KiB.
const PLACES: usize = 512;

/// Stands for no connection.
const NOBODY: TcpId = TcpId { index: u32::MAX, generation: 0 };

/// The connections that segments were for lately, each in the place that its ports add up to.
///
/// What is found here is a guess: that connection may be gone, or another one that has the same place. Whoever gets it compares both ends. A
/// peer that has its ports meet in one place gains nothing: then the table is looked into, whose hash it does not know.
pub(crate) struct Found(Box<[TcpId; PLACES]>);

impl Found {
    /// Without any.
    pub(crate) fn new() -> Self {
        Self(Box::new([NOBODY; PLACES]))
    }

    /// The connection that a segment between these two may be for.
    #[inline]
    pub(crate) fn guess(&self, local: &SocketAddr, remote: &SocketAddr) -> TcpId {
        self.0[place(local, remote)]
    }

    /// A segment between these two is for this connection.
    pub(crate) fn note(&mut self, local: &SocketAddr, remote: &SocketAddr, id: TcpId) {
        self.0[place(local, remote)] = id;
    }
}

#[inline]
fn place(local: &SocketAddr, remote: &SocketAddr) -> usize {
    usize::from(local.port().wrapping_add(remote.port())) % PLACES
}
