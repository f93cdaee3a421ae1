//! mptcp-core
#![forbid(unsafe_code)]

pub mod stream;
