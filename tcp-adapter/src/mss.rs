//! Maximum segment sizes.

/// Payload of the segments to a peer that does not say how much it takes, in bytes (RFC 9293 section 3.7.1, MUST-15).
pub(crate) const fn default_mss(ipv6: bool) -> u16 {
    if ipv6 { 1220 } else { 536 }
}
