//! `fio` as the user of a disk that `mptcp nvme nbd` offers.

use std::path::Path;
use std::process::Command;

use crate::error::Result;
use crate::process::Process;
use crate::tools;

/// Starts a job on the export at a unix socket. It fails unless every block that it has written comes back as it was. `words` are its options, such
/// as `--rw=randwrite --bs=4k`.
///
/// # Errors
/// `fio` is missing, or does not start.
pub fn start(socket: &Path, words: &str, label: &str, dir: &Path) -> Result<Process> {
    tools::require(&["fio"])?;
    let mut command = Command::new("fio");
    command.args(["--name=verify", "--ioengine=nbd"]).arg(format!("--uri=nbd+unix:///?socket={}", socket.display()));
    command.args(["--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0"]).args(words.split_whitespace());
    Process::spawn(command, label, dir)
}
