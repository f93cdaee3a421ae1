//! mptcp-sim.
