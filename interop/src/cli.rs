//! The stack under test: our own `mptcp` program.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::counters::Mib;
use crate::error::{LabError, Result};
use crate::netns::Netns;
use crate::process::{Finished, Process, inherit};
use crate::tools;
use crate::topology::{Family, Link, Topology, kernel_addr, stack_addr};

/// Names a program to use in place of the one that is built here.
pub const PROGRAM_VARIABLE: &str = "MPTCP_BIN";

/// The profile of Cargo with which the program is built: it has to keep up with a kernel.
pub const PROFILE: &str = "lab";

/// Time in which the program has opened its paths and listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Our program, built with [`PROFILE`]; brings it up to date first.
///
/// # Errors
/// It does not compile.
pub fn program() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    if let Some(program) = env::var_os(PROGRAM_VARIABLE) {
        return Ok(PathBuf::from(program));
    }
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = &*built {
        return Ok(program.clone());
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--profile", PROFILE, "--package", "mptcp", "--message-format", "json"]);
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let messages = tools::run(&mut cargo)?;
    let program = executable(&messages).ok_or_else(|| LabError::Unexpected {
        what: tools::line(&cargo),
        found: "no executable among its messages".to_owned(),
    })?;
    Ok(built.insert(program).clone())
}

/// Starts a subcommand that measures or keeps time, such as `perf` or `sim relay`, with its output in `dir`. It goes before the other programs
/// of the machine, since a kernel, to which it is compared, works whatever they do.
///
/// # Errors
/// It does not compile, or it does not start.
pub fn start(netns: &Netns, words: &str, label: &str, dir: &Path) -> Result<Process> {
    let mut command = netns.command("nice");
    command.args(["-n", "-20"]).arg(program()?).args(words.split_whitespace());
    Process::spawn(command, label, dir)
}

/// The TCP beneath our program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// The native engine.
    Native,
    /// The smoltcp plug-in.
    Smoltcp,
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Smoltcp => "smoltcp",
        })
    }
}

/// Makes two tests of each function that is listed: one over each [`Tcp`], which it gets.
#[macro_export]
macro_rules! over_every_tcp {
    ($($test:ident),* $(,)?) => {
        mod native {
            $(#[test]
            fn $test() {
                super::$test($crate::cli::Tcp::Native);
            })*
        }

        mod smoltcp {
            $(#[test]
            fn $test() {
                super::$test($crate::cli::Tcp::Smoltcp);
            })*
        }
    };
}

/// A run of the program: a subcommand, its options, and the descriptors that it inherits.
#[derive(Debug)]
pub struct Stack {
    arguments: Vec<OsString>,
    sockets: Vec<OwnedFd>,
    listens: bool,
}

impl Stack {
    /// A subcommand with its own arguments, such as `perf --server`.
    #[must_use]
    pub fn subcommand(words: &str) -> Self {
        let arguments = words.split_whitespace().map(OsString::from).collect();
        Self { arguments, sockets: Vec::new(), listens: words.contains("--listen") || words.contains("--server") }
    }

    /// `cat` that accepts one connection.
    #[must_use]
    pub fn listen(port: u16) -> Self {
        Self::subcommand(&format!("cat --json --listen {port}"))
    }

    /// `cat` that connects.
    #[must_use]
    pub fn connect(addr: IpAddr, port: u16) -> Self {
        Self::subcommand(&format!("cat --json --connect {}", std::net::SocketAddr::new(addr, port)))
    }

    /// Chooses the TCP beneath.
    #[must_use]
    pub fn tcp(self, tcp: Tcp) -> Self {
        self.with(&format!("--stack {tcp}"))
    }

    /// Adds words to the command line.
    #[must_use]
    pub fn with(mut self, words: &str) -> Self {
        self.arguments.extend(words.split_whitespace().map(OsString::from));
        self
    }

    /// Adds an option whose value is a file.
    #[must_use]
    pub fn file(mut self, option: &str, path: &Path) -> Self {
        self.arguments.extend([OsString::from(option), path.into()]);
        self
    }

    /// Attaches every path of a topology in one family. `flags` is what each path but the first is used for, such as
    /// `,signal`.
    #[must_use]
    pub fn paths(mut self, topology: &Topology, family: Family, flags: &str) -> Self {
        for path in 0..topology.paths() {
            let flags = if path == 0 { "" } else { flags };
            self = self.with(&format!("--path {}{flags}", path_spec(topology, family, path)));
        }
        self
    }

    /// Attaches the stack to one end of a cable, see [`crate::guest::nic_pair`]; `addresses` is what follows the device in the
    /// option, such as `10.77.0.2/24,signal`.
    #[must_use]
    pub fn socket_path(mut self, socket: OwnedFd, addresses: &str) -> Self {
        self = self.with(&format!("--path unix:fd={},{addresses}", socket.as_raw_fd()));
        self.sockets.push(socket);
        self
    }

    /// Starts a program that has neither control socket nor counters.
    ///
    /// # Errors
    /// It does not compile, or it does not start.
    pub fn spawn_alone(self, netns: Option<&Netns>, label: &str, dir: &Path) -> Result<Process> {
        let mut command = command_in(netns)?;
        command.args(self.arguments);
        inherit(&mut command, self.sockets);
        Process::spawn(command, label, dir)
    }

    /// Starts the program in a namespace with its files in `dir`: `label.mib.json` for its counters, `label.sock` for its
    /// control socket. One that listens does so when this returns.
    ///
    /// # Errors
    /// It does not compile, or it does not start.
    pub fn spawn(self, netns: Option<&Netns>, label: &str, dir: &Path) -> Result<StackProcess> {
        let Self { mut arguments, sockets, listens } = self;
        let (mib, control) = (dir.join(format!("{label}.mib.json")), dir.join(format!("{label}.sock")));
        for (option, path) in [("--mib", &mib), ("--control", &control)] {
            arguments.extend([OsString::from(option), path.into()]);
        }
        let mut command = command_in(netns)?;
        command.args(arguments);
        inherit(&mut command, sockets);
        let mut process = Process::spawn(command, label, dir)?;
        if listens {
            process.wait_for("its control socket", START_LIMIT, |_| control.exists())?;
        }
        Ok(StackProcess { process, mib, control })
    }
}

/// The program while it runs.
#[derive(Debug)]
pub struct StackProcess {
    /// The process itself.
    pub process: Process,
    mib: PathBuf,
    control: PathBuf,
}

/// What the program says in the end.
#[derive(Debug)]
pub struct StackReport {
    /// The line of JSON: `sent`, `received`, `fallback`, `subflows` and so on.
    pub summary: serde_json::Value,
    /// Its counters, by the names of the kernel's.
    pub mib: Mib,
}

impl StackProcess {
    /// Runs another subcommand on this process by way of its control socket, such as `ss --json` or `path del 10.77.1.2`, and
    /// returns what it prints.
    ///
    /// # Errors
    /// It reports one.
    pub fn control(&self, words: &str) -> Result<String> {
        let mut command = Command::new(program()?);
        command.args(words.split_whitespace()).arg("--control").arg(&self.control);
        tools::run(&mut command)
    }

    /// Waits for the program to end with success, and reads its report.
    ///
    /// # Errors
    /// It fails or takes longer than `limit`, or its report cannot be read.
    pub fn succeed(self, limit: Duration) -> Result<StackReport> {
        let (finished, mib) = self.wait(limit)?;
        let finished = finished.success()?;
        let line = finished.stderr.lines().rev().find(|line| line.starts_with('{'));
        let unexpected = || LabError::Unexpected { what: "the summary".to_owned(), found: finished.stderr.clone() };
        let summary = serde_json::from_str(line.ok_or_else(unexpected)?).map_err(|_| unexpected())?;
        Ok(StackReport { summary, mib })
    }

    /// Waits for the program to end, with success or not, and reads its counters.
    ///
    /// # Errors
    /// It takes longer than `limit`, or has not written its counters.
    pub fn wait(self, limit: Duration) -> Result<(Finished, Mib)> {
        let finished = self.process.wait(limit)?;
        match tools::read(&self.mib) {
            Ok(text) => Ok((finished, Mib::from_json(&text)?)),
            // A program that failed early has a better reason than this.
            Err(error) => Err(finished.success().err().unwrap_or(error)),
        }
    }
}

impl StackReport {
    /// Why the connection fell back to TCP; `None` if it did not.
    #[must_use]
    pub fn fallback(&self) -> Option<&str> {
        self.summary["fallback"].as_str()
    }
}

/// The value of `--path` for a path of a topology: device, address, and the kernel as the gateway to its other addresses.
#[must_use]
pub fn path_spec(topology: &Topology, family: Family, path: usize) -> String {
    let kind = match topology.link() {
        Link::Tap => "tap",
        Link::Veth => "eth",
    };
    let (ours, gateway) = (stack_addr(family, path), kernel_addr(family, path));
    format!("{kind}:{},{ours}/{},gw={gateway}", topology.stack_interface(path), family.prefix())
}

fn command_in(netns: Option<&Netns>) -> Result<Command> {
    let program = program()?;
    Ok(match netns {
        Some(netns) => netns.command(program),
        None => Command::new(program),
    })
}

fn executable(messages: &str) -> Option<PathBuf> {
    let values = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    values.filter_map(|value| value["executable"].as_str().map(PathBuf::from)).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/lab/mptcp\"}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/lab/mptcp")));
        assert_eq!(executable(""), None);
    }
}
