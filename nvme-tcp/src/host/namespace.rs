//! Namespaces, as a controller describes them.

use crate::command::{IdentifyNamespace, NamespaceId};

/// A namespace that can be read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// NSID.
    pub nsid: u32,
    /// NSZE: its size in blocks.
    pub blocks: u64,
    /// NCAP: how many of them may be in use.
    pub capacity: u64,
    /// NUSE: how many of them were in use when it was described; a controller may say that all are.
    pub used: u64,
    /// Bytes in a block: a power of two from 512.
    pub block_size: u32,
    /// What it is called everywhere, so that it is recognised through other controllers.
    pub identifiers: Vec<NamespaceId>,
    /// ANAGRPID; 0 where ANA is not reported.
    pub ana_group: u32,
    /// NMIC: several controllers may share it.
    pub is_shared: bool,
    /// NSATTR: it cannot be written.
    pub is_write_protected: bool,
    /// RESCAP: bits of the reservations that it supports.
    pub reservations: u8,
    /// MSRC, from 1: ranges of Copy; MSSRL and MCL: blocks of each, and of all.
    pub copy_limits: (u32, u32, u32),
}

/// Why a namespace cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// Blocks shorter than 512 bytes, or longer than any command could transfer.
    #[error("blocks of 2^{0} bytes are not supported")]
    BlockSize(u8),
    /// Blocks with metadata.
    #[error("blocks with {0} bytes of metadata are not supported")]
    Metadata(u16),
    /// More bytes than 64 bits can count.
    #[error("a namespace of {0} such blocks cannot exist")]
    Size(u64),
    /// It belongs to another command set.
    #[error("namespaces of command set {0} are not supported")]
    CommandSet(u8),
    /// The controller did not describe it.
    #[error("the controller does not describe the namespace")]
    NotDescribed,
}

impl Namespace {
    /// The namespace that Identify describes, with the identifiers of CNS 03h if the controller has these.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn new(nsid: u32, identify: &IdentifyNamespace, mut identifiers: Vec<NamespaceId>) -> Result<Self, Unusable> {
        let other = identifiers.iter().find_map(|identifier| match identifier {
            NamespaceId::CommandSet(set) if *set != 0 => Some(*set),
            _ => None,
        });
        if let Some(set) = other {
            return Err(Unusable::CommandSet(set));
        }
        let format = identify.format();
        if !(9..=20).contains(&format.lbads) {
            return Err(Unusable::BlockSize(format.lbads));
        }
        if format.ms.get() != 0 {
            return Err(Unusable::Metadata(format.ms.get()));
        }
        let blocks = identify.nsze.get();
        if blocks > u64::MAX >> format.lbads {
            return Err(Unusable::Size(blocks));
        }
        identifiers.retain(|identifier| !matches!(identifier, NamespaceId::CommandSet(_)));
        if identifiers.is_empty() {
            identifiers.extend((identify.nguid != [0; 16]).then_some(NamespaceId::Nguid(identify.nguid)));
            identifiers.extend((identify.eui64 != [0; 8]).then_some(NamespaceId::Eui64(identify.eui64)));
        }
        Ok(Self {
            nsid,
            blocks,
            capacity: identify.ncap.get(),
            used: identify.nuse.get(),
            block_size: 1 << format.lbads,
            identifiers,
            ana_group: identify.anagrpid.get(),
            is_shared: identify.nmic & 1 != 0,
            is_write_protected: identify.nsattr & 1 != 0,
            reservations: identify.rescap,
            copy_limits: (u32::from(identify.msrc) + 1, identify.mssrl.get().into(), identify.mcl.get()),
        })
    }

    /// Its size in bytes.
    pub const fn bytes(&self) -> u64 {
        self.blocks * self.block_size as u64
    }

    /// What of it was in use, in bytes.
    pub const fn used_bytes(&self) -> u64 {
        // What a controller says of that is believed, but not relied upon.
        self.used.saturating_mul(self.block_size as u64)
    }

    /// Whether it is described differently than before. What of it is in use changes with writes, and does not count.
    pub fn has_changed(&self, before: &Self) -> bool {
        *self != Self { used: self.used, ..before.clone() }
    }

    /// Whether both are the same namespace, seen through two controllers of a subsystem: they may be shared, and have
    /// identifiers that do not contradict each other.
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_shared
            && other.is_shared
            && (self.nsid, self.blocks, self.block_size) == (other.nsid, other.blocks, other.block_size)
            && self.identifiers == other.identifiers
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;
    use crate::command::LbaFormat;

    fn identify(lbads: u8, ms: u16, blocks: u64) -> IdentifyNamespace {
        let mut identify = IdentifyNamespace::new_zeroed();
        identify.nsze = blocks.into();
        (identify.ncap, identify.nuse) = (900.into(), 12.into());
        identify.flbas = 2;
        identify.lbaf[2] = LbaFormat { ms: ms.into(), lbads, rp: 0 };
        identify.nmic = 1;
        identify.nguid = [3; 16];
        identify
    }

    #[test]
    fn usable_and_not() {
        let namespace = Namespace::new(7, &identify(12, 0, 1000), Vec::new()).unwrap();
        assert_eq!((namespace.block_size, namespace.bytes()), (4096, 4_096_000));
        assert_eq!(namespace.identifiers, [NamespaceId::Nguid([3; 16])]);
        assert!(namespace.is_same(&namespace));
        let fuller = Namespace { used: u64::MAX, ..namespace.clone() };
        assert!(fuller.is_same(&namespace) && !fuller.has_changed(&namespace));
        assert!(Namespace { blocks: 999, ..namespace.clone() }.has_changed(&namespace));
        assert_eq!((namespace.capacity, namespace.used_bytes(), fuller.used_bytes()), (900, 12 * 4096, u64::MAX));
        let other = Namespace::new(7, &identify(12, 0, 1000), vec![NamespaceId::Uuid([1; 16])]).unwrap();
        assert!(!namespace.is_same(&other));
        for (identify, identifiers, reason) in [
            (identify(0, 0, 1), vec![], Unusable::BlockSize(0)),
            (identify(255, 0, 1), vec![], Unusable::BlockSize(255)),
            (identify(9, 8, 1), vec![], Unusable::Metadata(8)),
            (identify(9, 0, u64::MAX), vec![], Unusable::Size(u64::MAX)),
            (identify(9, 0, 1), vec![NamespaceId::CommandSet(2)], Unusable::CommandSet(2)),
        ] {
            assert_eq!(Namespace::new(1, &identify, identifiers), Err(reason));
        }
    }
}
