//! Asymmetric namespace access: how well a controller reaches the namespaces.

use std::collections::BTreeMap;

use zerocopy::FromBytes;

use crate::command::{AnaGroup, AnaHeader, AnaState};

/// The states of the ANA groups, as a controller sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnaStates {
    groups: Option<BTreeMap<u32, AnaState>>,
}

impl AnaStates {
    /// The states in a log page, which may have come with the namespaces of the groups or without. Groups that are not
    /// wholly within it are not there.
    pub fn read(log: &[u8]) -> Self {
        let mut groups = BTreeMap::new();
        if let Ok((header, mut rest)) = AnaHeader::read_from_prefix(log) {
            for _ in 0..header.groups.get() {
                let Ok((group, behind)) = AnaGroup::read_from_prefix(rest) else { break };
                // A state that is not known is none in which to send anything.
                groups.insert(group.group.get(), group.state().unwrap_or(AnaState::Inaccessible));
                let namespaces = (group.namespaces.get() as usize).saturating_mul(4);
                let Some(next) = behind.get(namespaces..) else { break };
                rest = next;
            }
        }
        Self { groups: Some(groups) }
    }

    /// The state of a group: optimized if the controller does not report ANA, inaccessible if it does not report the group.
    pub fn state(&self, group: u32) -> AnaState {
        match &self.groups {
            None => AnaState::Optimized,
            Some(groups) => groups.get(&group).copied().unwrap_or(AnaState::Inaccessible),
        }
    }

    /// Whether the controller says anything of a group, or need not.
    pub fn mentions(&self, group: u32) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains_key(&group))
    }

    /// Sets the state of a group, which a completion has told.
    pub fn set(&mut self, group: u32, state: AnaState) {
        self.groups.get_or_insert_default().insert(group, state);
    }

    /// Whether a group is changing.
    pub fn is_changing(&self) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups.values().any(|state| *state == AnaState::Change))
    }

    /// All groups that are reported, in order.
    pub fn groups(&self) -> impl Iterator<Item = (u32, AnaState)> {
        self.groups.iter().flatten().map(|(group, state)| (*group, *state))
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    fn log(namespaces: bool) -> Vec<u8> {
        let mut log = AnaHeader::new(1, 3).as_bytes().to_vec();
        for (group, state) in [(1, AnaState::Optimized), (2, AnaState::Change), (9, AnaState::NonOptimized)] {
            log.extend_from_slice(AnaGroup::new(group, if namespaces { 2 } else { 0 }, 1, state).as_bytes());
            if namespaces {
                log.extend_from_slice(&[group as u8, 0, 0, 0, 200, 0, 0, 0]);
            }
        }
        log
    }

    #[test]
    fn with_and_without_namespaces() {
        for namespaces in [false, true] {
            let states = AnaStates::read(&log(namespaces));
            assert_eq!(states.state(1), AnaState::Optimized);
            assert_eq!(states.state(2), AnaState::Change);
            assert_eq!(states.state(9), AnaState::NonOptimized);
            assert_eq!(states.state(3), AnaState::Inaccessible, "not reported");
            assert!(states.is_changing() && states.mentions(9) && !states.mentions(3));
            assert_eq!(states.groups().count(), 3);
        }
        assert_eq!(AnaStates::default().state(3), AnaState::Optimized, "no ANA");
        assert!(AnaStates::default().mentions(3));
    }

    #[test]
    fn logs_that_lie() {
        let whole = log(true);
        for end in 0..whole.len() {
            let states = AnaStates::read(&whole[..end]);
            assert!(states.groups().count() <= end / 32);
        }
        let mut many = log(true);
        many[8] = 0xff;
        many[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(AnaStates::read(&many).groups().count(), 1);
        many[32] = 0x7;
        assert_eq!(AnaStates::read(&many).state(1), AnaState::Inaccessible, "a state that does not exist");
    }
}
