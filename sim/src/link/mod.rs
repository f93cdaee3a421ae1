//! Links: one direction of each is a [`Pipe`].
//!
//! A pipe takes packets at virtual times and gives them back later, twice, altered, or not at all. It has netem's
//! vocabulary and semantics: rate, delay with jitter, loss, duplication, corruption, reordering, and a limit; and
//! besides queues that manage themselves, Mahimahi's traces, and changes at any time. Nothing in it knows hosts, flows
//! or connections, so any number of senders may share a pipe, which makes it a bottleneck.

mod burst;
mod chance;
mod config;
mod delay;
mod distribution;
mod error;
mod headers;
mod line;
mod loss;
mod mahimahi;
mod pipe;
mod queue;
mod rate;
mod serializer;
mod stats;
#[cfg(test)]
mod testing;

pub(crate) use burst::Bursts;
pub use burst::{GSO_MAX_BYTES, LossUnit};
pub use chance::{Chance, Probability};
pub use config::{Change, Composition, LinkState, PipeConfig, Reorder};
pub(crate) use delay::parse_millis;
pub use delay::{DelayModel, DelayTrace, DeliveryOrder, Jitter};
pub use distribution::DistTable;
pub use error::{LinkError, TraceError};
pub(crate) use headers::longest_ip_packet;
pub use loss::{FourState, GilbertElliott, LossList, LossModel, LossTrace, Periodic};
pub use mahimahi::{MahimahiTrace, OPPORTUNITY_BYTES};
pub use pipe::Pipe;
pub use queue::{CoDelConfig, FqCoDelConfig, Limit, PieConfig, QueueConfig, RedConfig, StepConfig};
pub use rate::{BitRate, RateModel, RateSteps};
pub use serializer::Framing;
pub use stats::{Count, DropReason, Output, PipeStats};
