//! The native engine: a TCP written for what runs above it.

mod config;
mod receive;
mod wheel;

pub use self::config::NativeConfig;
