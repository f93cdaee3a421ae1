//! The `stack` lines of scripts, as settings of the native engine.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use tcp_adapter::TcpStack;
use tcp_adapter::native::{NativeConfig, NativeStack};
use tcp_adapter::script::StackSetting;

/// An engine that does not pace, so that a script can say when things leave, unless it sets `pacing on`.
pub(crate) fn stack(settings: &[StackSetting], seed: u64) -> Result<Box<dyn TcpStack>, String> {
    let mut config = NativeConfig { pacing: false, ..NativeConfig::default() };
    for (key, value) in settings {
        set(&mut config, key, value)?;
    }
    Ok(Box::new(NativeStack::new(config, seed)))
}

fn set(config: &mut NativeConfig, key: &str, value: &str) -> Result<(), String> {
    match key {
        "send_buffer" => config.send_buffer = parsed(value)?,
        "recv_buffer" => {
            config.recv_buffer = parsed(value)?;
            config.recv_buffer_initial = config.recv_buffer_initial.min(config.recv_buffer);
        }
        "recv_buffer_initial" => config.recv_buffer_initial = parsed(value)?,
        "memory_limit" => config.memory_limit = parsed(value)?,
        "notsent_lowat" => config.notsent_lowat = parsed(value)?,
        "max_connections" => config.max_connections = parsed(value)?,
        "congestion" => config.congestion = parsed(value)?,
        "sack" => config.sack = switch(value)?,
        "timestamps" => config.timestamps = switch(value)?,
        "window_scaling" => config.window_scaling = switch(value)?,
        "ecn" => config.ecn = switch(value)?,
        "pacing" => config.pacing = switch(value)?,
        "max_pacing_rate" => config.max_pacing_rate = Some(parsed(value)?),
        "min_rto" => config.min_rto = time(value)?,
        "max_rto" => config.max_rto = time(value)?,
        "delayed_ack" => config.delayed_ack = time(value)?,
        "nagle" => config.nagle = switch(value)?,
        "handshake_timeout" => config.handshake_timeout = time(value)?,
        "user_timeout" => config.user_timeout = time(value)?,
        "keep_alive" => config.keep_alive = Some(time(value)?),
        "time_wait" => config.time_wait = time(value)?,
        "syn_cookies" => config.syn_cookies = switch(value)?,
        "max_segmented" => config.max_segmented = parsed(value)?,
        _ => return Err(format!("'{key}' is no setting of the native engine")),
    }
    Ok(())
}

fn parsed<T: FromStr<Err: Display>>(value: &str) -> Result<T, String> {
    value.replace('_', "").parse().map_err(|wrong| format!("'{value}': {wrong}"))
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("'{value}' is neither on nor off")),
    }
}

fn time(value: &str) -> Result<Duration, String> {
    let unit_at = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let (count, unit) = value.split_at(unit_at);
    let count: u64 = parsed(count)?;
    match unit {
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "min" => Ok(Duration::from_secs(count * 60)),
        _ => Err(format!("'{value}' is not a time such as 200ms")),
    }
}
