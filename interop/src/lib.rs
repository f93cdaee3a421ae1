//! The laboratory in which the stack is proven against real kernels.
//!
//! Everything here is a building block for the tests in `interop/tests`: network namespaces and the
//! links between them, peers that speak Multipath TCP through the kernel's own sockets, kernels that run as guests,
//! and readers of what a run leaves behind (counters, captures). Every block undoes itself when it is dropped, also while a
//! test panics.
//!
//! The blocks need Linux, root, and the programs that `cargo xtask setup` installs. A test that lacks one of them
//! fails and names it; none is skipped.

pub mod capture;
pub mod cli;
pub mod counters;
pub mod decoded;
pub mod encounter;
pub mod endpoints;
pub mod error;
pub mod figures;
pub mod fio;
pub mod guest;
pub mod lab;
pub mod netns;
pub mod nvme;
pub mod payload;
pub mod peer;
pub mod process;
pub mod relay;
pub mod slots;
pub mod tcp;
pub mod tools;
pub mod topology;
pub mod workdir;

pub use error::{LabError, Result};
