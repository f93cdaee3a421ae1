//! `cargo xtask ci`: all checks, in the order in which they fail soonest.

use std::thread;

use interop::guest;

use crate::steps::{StepError, cargo, step};

/// Runs all checks. The guests' kernel is built meanwhile where it is not cached; the tests that need it wait for it.
pub(crate) fn run() -> Result<(), StepError> {
    if !guest::is_built()? {
        eprintln!("==> building the guests' kernel in the background (about ten minutes, once)");
    }
    let kernel = thread::spawn(guest::kernel);
    step(&mut cargo("fmt --all --check"))?;
    step(&mut cargo("clippy --workspace --all-targets -- -D warnings"))?;
    step(&mut cargo("build --release --package mptcp"))?;
    step(&mut cargo("test --workspace"))?;
    // By now a test has reported a failed build; a panic would be a bug of the build itself.
    match kernel.join() {
        Ok(built) => built.map(drop).map_err(StepError::from),
        Err(_) => Err(StepError::Setup("the build of the guests' kernel panicked".to_owned())),
    }
}
