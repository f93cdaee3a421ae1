//! `cargo xtask test`: all tests, after what they need has been installed and built.

use std::thread;

use interop::{cli, guest};

use crate::setup;
use crate::steps::{StepError, cargo, step};

/// Runs all tests. The guests' kernel is built meanwhile where it is not cached; the tests that need it wait for it.
pub(crate) fn run() -> Result<(), StepError> {
    setup::run()?;
    if !guest::is_built()? {
        eprintln!("==> building the guests' kernel in the background (about ten minutes, once)");
    }
    let kernel = thread::spawn(guest::kernel);
    let tested = build_and_test();
    // In any case before this ends, or it would leave a compiler behind. By now a test has reported a failed build; a
    // panic would be a bug of the build itself.
    let built = match kernel.join() {
        Ok(built) => built.map(drop).map_err(StepError::from),
        Err(_) => Err(StepError::Setup("the build of the guests' kernel panicked".to_owned())),
    };
    tested.and(built)
}

fn build_and_test() -> Result<(), StepError> {
    step(&mut cargo(&format!("build --locked --profile {} --package mptcp", cli::PROFILE)))?;
    // All of them, also after a failure: whoever waits this long wants to hear of every one.
    step(&mut cargo("test --locked --workspace --features tcp-adapter/conformance --no-fail-fast"))
}
