//! The native engine: a TCP written for what runs above it.

mod config;

pub use self::config::NativeConfig;
