//! The network namespace in which the kernel's end lives.

use std::net::IpAddr;
use std::process::{Command, Stdio};

use crate::failure::{Failure, plain};
use crate::undo::Undo;

/// A network namespace that is removed at the end, with everything in it.
pub(super) struct Namespace {
    name: String,
    _removal: Undo,
}

impl Namespace {
    /// Makes one for this process.
    pub(super) fn create() -> Result<Self, Failure> {
        let name = format!("mptcp-demo-{}", std::process::id());
        let doomed = name.clone();
        let ((), removal) = Undo::after(|| ip(&["netns", "add", &name]), move || remove(&doomed))?;
        let namespace = Self { name, _removal: removal };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes an interface in, gives it an address, and brings it up.
    pub(super) fn adopt(&self, interface: &str, addr: IpAddr) -> Result<(), Failure> {
        ip(&["link", "set", interface, "netns", &self.name])?;
        self.ip(&["addr", "add", &format!("{addr}/24"), "dev", interface])?;
        self.ip(&["link", "set", interface, "up"])
    }

    /// Has the kernel announce addresses to its peers, and take as many subflows.
    pub(super) fn announce(&self, addrs: impl Iterator<Item = IpAddr>) -> Result<(), Failure> {
        self.ip(&["mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "8"])?;
        for addr in addrs {
            self.ip(&["mptcp", "endpoint", "add", &addr.to_string(), "signal"])?;
        }
        Ok(())
    }

    /// Takes an interface down.
    pub(super) fn set_down(&self, interface: &str) -> Result<(), Failure> {
        self.ip(&["link", "set", interface, "down"])
    }

    /// A command that runs inside.
    pub(super) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    fn ip(&self, args: &[&str]) -> Result<(), Failure> {
        let inside: Vec<&str> = ["-n", &self.name].iter().chain(args).copied().collect();
        ip(&inside)
    }
}

fn remove(name: &str) {
    if let Err(failure) = ip(&["netns", "del", name]) {
        crate::complain(&failure);
    }
}

fn ip(args: &[&str]) -> Result<(), Failure> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::Runtime(format!("cannot run ip: {}", plain(&error))))?;
    if output.status.success() {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&output.stderr);
    let answer = answer.lines().next().unwrap_or("no reason given");
    Err(Failure::Runtime(format!("'ip {}' failed: {answer}", args.join(" "))))
}
