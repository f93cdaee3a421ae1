//! What the benchmarks share: two whole stacks on a wire, in one process, on one thread and in virtual time.
//!
//! [`World`] has MPTCP above the TCP stacks, [`Pair`] nothing. They hold the stacks and move frames, and are the
//! application on both ends, which compares every byte that it reads with what the other end wrote. So no figure stands
//! for bytes that did not arrive.

use std::time::Duration;

mod bare;
mod compare;
mod engine;
mod nvme;
mod pair;
mod place;
mod simulation;
mod stream;
mod world;

pub use bare::bare_smoltcp;
pub use compare::{Side, TURNS, medians};
pub use engine::{Engine, TcpSetup};
pub use nvme::{Backing, Carrier, Job, Kernel, LOADS, Load};
pub use pair::Pair;
pub use simulation::bottleneck;
pub use stream::{Altered, Position, pattern};
pub use world::{Setup, Wire, World};

/// How long criterion measures: short, so that all benchmarks together take a few minutes.
pub fn quick() -> criterion::Criterion {
    criterion::Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .nresamples(10_000)
        .without_plots()
}
