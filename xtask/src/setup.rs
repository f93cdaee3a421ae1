//! `cargo xtask setup`: installs what the tests need.

use std::process::Command;

use interop::tools;

use crate::steps::{StepError, step};

/// Packages of Debian and its relatives, by what they are for.
const PACKAGES: [(&str, &[&str]); 4] = [
    ("paths and their instruments", &["iproute2", "iputils-ping", "ethtool", "tshark", "wireshark-common"]),
    ("peers", &["python3", "iperf3", "mptcpize"]),
    ("disks and who uses them", &["nvme-cli", "fio", "libnbd-bin", "qemu-utils", "e2fsprogs"]),
    ("the guests' kernel", &["gcc", "make", "flex", "bison", "bc", "binutils", "libc6-dev", "xz-utils", "tar", "dpkg"]),
];

/// Installs all packages. Does nothing on a machine that has them.
pub(crate) fn run() -> Result<(), StepError> {
    let packages = || PACKAGES.iter().flat_map(|(_, packages)| packages.iter().copied());
    if tools::require(&["apt-get", "dpkg-query"]).is_err() {
        let names: Vec<&str> = packages().collect();
        return Err(StepError::Setup(format!(
            "there is no apt-get; install what gives the programs of these Debian packages: {}",
            names.join(" ")
        )));
    }
    let missing: Vec<&str> = packages().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        eprintln!("everything is installed");
        return Ok(());
    }
    if tools::require_root().is_err() {
        return Err(StepError::Setup(format!("not root; run `apt-get install {}` as root", missing.join(" "))));
    }
    step(apt_get().arg("update"))?;
    step(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(missing))
}

/// `apt-get` that asks nothing.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
    command
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    tools::run(&mut query).is_ok_and(|status| status == "installed")
}
