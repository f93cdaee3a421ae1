//! The scenarios that come with the simulator.

use super::{Scenario, ScenarioError};

/// A scenario that comes with the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its name, that of its file in `sim/scenarios` without `.toml`.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

impl Shipped {
    /// The scenario of this name, be it one of the [evaluation](crate::evaluation).
    pub fn find(name: &str) -> Option<&'static Self> {
        SHIPPED.iter().chain(crate::evaluation::SCENARIOS).find(|scenario| scenario.name == name)
    }

    /// Reads it.
    ///
    /// # Errors
    /// None, as the tests read all of them.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        Scenario::parse(self.text, &format!("{}.toml", self.name))
    }

    /// What it shows, in one line.
    pub fn title(&self) -> String {
        self.scenario().map_or_else(|error| error.to_string(), |scenario| scenario.meta.name)
    }
}

/// The names of everything that [`Shipped::find`] finds.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().chain(crate::evaluation::SCENARIOS).map(|scenario| scenario.name)
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(Shipped { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),*]
    };
}

/// All of them but those of the [evaluation](crate::evaluation).
pub const SHIPPED: &[Shipped] = shipped![
    "bad-day",
    "two-paths",
    "asymmetric",
    "shared-bottleneck",
    "classes",
    "failover",
    "flapping",
    "slow-path-trap",
    "four-paths-lossless",
    "four-paths-lossy",
    "nvme-four-paths",
    "nvme-multipath",
    "bytedance",
    "blest",
    "blest-paced",
    "blest-web",
    "ecf-download",
    "ecf-streaming",
    "ecf-changing-rates",
    "simult-flows",
    "matrix",
];
