//! mptcp-core
