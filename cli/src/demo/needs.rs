//! What the demonstration needs of its surroundings.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Checks for everything, installing what can be installed.
pub(super) fn check() -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return missing("root, to make a network namespace and TAP interfaces: try it with sudo");
    }
    if !Path::new("/dev/net/tun").exists() {
        return missing("/dev/net/tun: load the kernel module tun, or give the container that device");
    }
    if !Path::new("/proc/sys/net/mptcp/enabled").exists() {
        return missing("a kernel with Multipath TCP (CONFIG_MPTCP), version 5.6 or later");
    }
    if !ip_is_there() {
        install_ip();
        if !ip_is_there() {
            return missing("the program ip: install the package iproute2");
        }
    }
    Ok(())
}

fn missing(what: &str) -> Result<(), Failure> {
    Err(Failure::Runtime(format!("the demonstration needs {what}")))
}

fn ip_is_there() -> bool {
    silent(Command::new("ip").arg("-V"))
}

/// Tries the package manager of Debian and its relatives.
fn install_ip() {
    if !silent(Command::new("apt-get").args(["install", "-y", "iproute2"])) {
        // The lists of packages may be missing or old.
        silent(Command::new("apt-get").arg("update"));
        silent(Command::new("apt-get").args(["install", "-y", "iproute2"]));
    }
}

/// Runs a command without a word; whether it succeeded.
fn silent(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
