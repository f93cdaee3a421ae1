//! The discovery log.

use std::net::{IpAddr, SocketAddr};

use zerocopy::IntoBytes;

use super::registry::{Port, Referral};
use crate::command::{DiscoveryEntry, DiscoveryHeader, Nqn, SubsystemType};

/// What a host may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Catalogue {
    /// GENCTR.
    pub(super) generation: u64,
    pub(super) subsystems: Vec<Nqn>,
    pub(super) ports: Vec<Port>,
    pub(super) referrals: Vec<Referral>,
}

impl Catalogue {
    /// The log page, for a host that reached the target at `local`.
    pub(super) fn log(&self, local: Option<IpAddr>) -> Vec<u8> {
        let discovery = Nqn::discovery();
        let reachable = |port: &Port| match local {
            Some(local) if port.address.ip().is_unspecified() => SocketAddr::new(local, port.address.port()),
            _ => port.address,
        };
        let entries = self.subsystems.iter().flat_map(|subsystem| {
            let entry = move |port: &Port| DiscoveryEntry::tcp(SubsystemType::Nvm, port.id, reachable(port), subsystem);
            self.ports.iter().map(entry)
        });
        let referrals = self
            .referrals
            .iter()
            .map(|referral| DiscoveryEntry::tcp(SubsystemType::Referral, referral.port, referral.address, &discovery));
        let mut records: u64 = 0;
        let mut log = vec![0; size_of::<DiscoveryHeader>()];
        for mut entry in entries.chain(referrals) {
            entry.requirements = FLOW_CONTROL_OPTIONAL;
            log.extend_from_slice(entry.as_bytes());
            records += 1;
        }
        log[..size_of::<DiscoveryHeader>()].copy_from_slice(DiscoveryHeader::new(self.generation, records).as_bytes());
        log
    }
}

/// TREQ bit 2: SQ flow control can be disabled. Of secure channels nothing is said: some programs know no value but 0 beside this bit.
const FLOW_CONTROL_OPTIONAL: u8 = 1 << 2;
