//! Packet-level simulation of the stack in virtual time: real stack code, real bytes on the wire, one seed, one result.
#![forbid(unsafe_code)]

pub mod conditions;
pub mod link;
pub mod middlebox;
pub mod packet;
pub mod profiles;
pub mod random;
pub mod results;
pub mod scenario;
