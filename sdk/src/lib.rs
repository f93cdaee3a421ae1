//! mptcp-sdk.
