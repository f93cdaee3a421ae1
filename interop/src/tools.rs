//! Programs of the machine: whether they are there, and running them to their end.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{IoContext, LabError, Result};

/// Fails unless the caller is root.
///
/// # Errors
/// [`LabError::NotRoot`].
pub fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}

/// Fails unless all `programs` are installed.
///
/// # Errors
/// [`LabError::MissingTool`] with the first one that is not.
pub fn require(programs: &[&str]) -> Result<()> {
    match programs.iter().find(|program| find(program).is_none()) {
        Some(missing) => Err(LabError::MissingTool((*missing).to_owned())),
        None => Ok(()),
    }
}

/// Where a program is installed. Looks in the system's directories before `PATH`, since wrappers of
/// version managers that may stand first in `PATH` do not work in guests and start slowly.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    system.into_iter().chain(env::split_paths(&path)).map(|dir| dir.join(program)).find(|file| is_program(file))
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// The program is missing, or ends with anything but success.
pub fn run(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().map_err(|source| {
        let program = command.get_program().to_string_lossy().into_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => LabError::MissingTool(program),
            _ => LabError::Io { what: program, source },
        }
    })?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
    let output = if stderr.is_empty() { stdout.trim().to_owned() } else { stderr };
    Err(LabError::Failed { line: line(command), status, output })
}

/// A command for a program with arguments separated by white space, for the many short command
/// lines of `ip`, `tc` and the like.
#[must_use]
pub fn command(words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// The command line as a person would type it.
#[must_use]
pub fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for word in command.get_args() {
        line.push(' ');
        line.push_str(&word.to_string_lossy());
    }
    line
}

/// Reads a file as text.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).context(|| format!("reading {}", path.display()))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let error = require(&["sh", "no-such-program-here"]).unwrap_err();
        assert_eq!(error.to_string(), "the program \"no-such-program-here\" is not installed: run `cargo xtask setup`");
        assert!(matches!(run(&mut command("no-such-program-here")), Err(LabError::MissingTool(_))));
    }

    #[test]
    fn a_failure_carries_its_command_and_output() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo went wrong >&2; exit 3"]);
        let error = run(&mut command).unwrap_err().to_string();
        assert!(error.contains("went wrong") && error.contains("exit status: 3"), "{error}");
    }
}
