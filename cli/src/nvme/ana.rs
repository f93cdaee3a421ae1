//! The words for states of asymmetric namespace access (ANA): those of the Linux kernel, as target and as host.

use nvme_tcp::command::AnaState;
use serde::Deserialize;

const STATES: [AnaState; 5] =
    [AnaState::Optimized, AnaState::NonOptimized, AnaState::Inaccessible, AnaState::PersistentLoss, AnaState::Change];

/// A state as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct AnaWord(pub(super) AnaState);

impl TryFrom<String> for AnaWord {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = STATES.into_iter().find(|state| word(*state) == text);
        found.map(Self).ok_or_else(|| format!("'{text}' is no ANA state: say {}", STATES.map(word).join(", ")))
    }
}

/// A state as it is written.
pub(super) const fn word(state: AnaState) -> &'static str {
    match state {
        AnaState::Optimized => "optimized",
        AnaState::NonOptimized => "non-optimized",
        AnaState::Inaccessible => "inaccessible",
        AnaState::PersistentLoss => "persistent-loss",
        AnaState::Change => "change",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in STATES {
            assert_eq!(AnaWord::try_from(word(state).to_owned()), Ok(AnaWord(state)));
        }
        assert_eq!(
            AnaWord::try_from("lost".to_owned()),
            Err("'lost' is no ANA state: say optimized, non-optimized, inaccessible, persistent-loss, change"
                .to_owned())
        );
    }
}
