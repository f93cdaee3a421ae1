//! Packet-level simulation of the stack in virtual time: real stack code, real bytes on the wire, one seed, one result.
#![forbid(unsafe_code)]

pub mod conditions;
mod deadline;
mod engine;
pub mod evaluation;
pub mod experiment;
pub mod fuzz;
mod host;
pub mod link;
mod logarithm;
pub mod middlebox;
mod network;
pub mod packet;
pub mod profiles;
pub mod random;
pub mod relay;
pub mod results;
pub mod run;
pub mod scenario;
mod traffic;
pub mod train;

pub use run::{Outcome, RunError, run};
pub use traffic::TrafficError;
pub use traffic::nvme::{Disk, LOGICAL_BLOCK, NSID, Storage, StorageOptions};
