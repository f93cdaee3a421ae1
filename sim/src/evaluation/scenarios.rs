//! The scenarios of the evaluation.

use crate::scenario::Shipped;

macro_rules! scenarios {
    ($($name:literal),* $(,)?) => {
        &[$(Shipped { name: $name, text: include_str!(concat!("../../evaluation/", $name, ".toml")) }),*]
    };
}

/// All of them; `mptcp sim run` and `mptcp sim sweep` take their names.
pub(crate) const SCENARIOS: &[Shipped] = scenarios![
    "eval-simult-flows",
    "eval-slow-path-objects",
    "eval-slow-path-bulk",
    "eval-small-window",
    "eval-large-windows",
    "eval-lossy-paths",
    "eval-unequal-paths",
    "eval-failover",
    "eval-failover-return",
    "eval-flapping",
    "eval-short-objects",
    "eval-lossy-tails",
    "eval-local-queue",
    "eval-bytedance",
    "eval-shared-bottleneck",
    "eval-two-bottlenecks",
];
