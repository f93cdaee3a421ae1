//! What both ends say of what they have to send.

/// How urgent something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Commands, completions, R2Ts and whatever else is small and waited for.
    Latency,
    /// Data.
    Bulk,
}

/// What a `poll_transmit` has appended: one PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// How urgent it is.
    pub class: Class,
    /// Bytes.
    pub length: usize,
    /// Whether a message ends here: with all PDUs, except when more data of the same command follows.
    pub end_of_message: bool,
}
