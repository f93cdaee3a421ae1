//! mptcp.
fn main() {}
