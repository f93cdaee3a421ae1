//! Network namespaces.

use std::fs;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Result;
use crate::tools;

/// How the names of all our namespaces start.
const PREFIX: &str = "mptcp-lab";

/// A network namespace of its own, deleted when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes an empty namespace whose loopback is up. `label` is for people who look at `ip netns`.
    ///
    /// # Errors
    /// Not root, or `ip` fails.
    pub fn new(label: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        tools::require_root()?;
        tools::require(&["ip", "ethtool", "tc"])?;
        sweep();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{label}", process::id());
        tools::run(&mut tools::command(&format!("ip netns add {name}")))?;
        let netns = Self { name };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// The name that `ip netns` knows.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these arguments on the namespace and returns what it writes.
    ///
    /// # Errors
    /// `ip` reports one.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        tools::run(&mut tools::command(&format!("ip -n {} {arguments}", self.name)))
    }

    /// Runs `tc` with these arguments on the namespace.
    ///
    /// # Errors
    /// `tc` reports one.
    pub fn tc(&self, arguments: &str) -> Result<String> {
        tools::run(&mut tools::command(&format!("tc -n {} {arguments}", self.name)))
    }

    /// Runs a command line inside the namespace to its end and returns its standard output.
    ///
    /// # Errors
    /// The command reports one.
    pub fn run(&self, words: &str) -> Result<String> {
        tools::run(&mut tools::command(&format!("ip netns exec {} {words}", self.name)))
    }

    /// A command that will run `program` inside the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Sets a sysctl of the namespace, such as `net.mptcp.enabled`.
    ///
    /// # Errors
    /// There is no such key, or it does not take the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let mut command = self.command("sh");
        command.args([
            "-c",
            "printf '%s' \"$1\" >\"$2\"",
            "sh",
            value,
            &format!("/proc/sys/{}", key.replace('.', "/")),
        ]);
        tools::run(&mut command).map(drop)
    }

    /// Reads a file as the namespace sees it, such as `/proc/net/netstat`.
    ///
    /// # Errors
    /// There is no such file.
    pub fn read(&self, path: &str) -> Result<String> {
        self.run(&format!("cat {path}"))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Removes what test programs left behind that were killed before they could.
fn sweep() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.trim_start_matches('-').split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            delete(&name);
        }
    }
}

fn delete(name: &str) {
    // Two sweeping tests may both try; the second finds nothing, which is what it wants.
    let _ = tools::run(&mut tools::command(&format!("ip netns del {name}")));
}
