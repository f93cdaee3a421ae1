//! mptcp-benches.
