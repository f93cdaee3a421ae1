//! Programs that run beside a test.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::{Pid, Signal};

use crate::error::{IoContext, LabError, Result};
use crate::tools;

/// How often a waiting test looks whether what it waits for has happened.
const POLL: Duration = Duration::from_millis(2);

/// A program that runs beside the test, with its output kept in files. Killed with its whole process group when
/// dropped.
#[derive(Debug)]
pub struct Process {
    label: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A thread that writes to a program's standard input, see [`Process::feed_endlessly`].
#[derive(Debug)]
pub struct Feeder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

/// How a program ended, and all that it wrote.
#[derive(Debug)]
pub struct Finished {
    /// Name of the process in messages.
    pub label: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command`; what it writes goes to `label.out` and `label.err` in `dir`. Its standard input is a pipe,
    /// see [`Process::feed`].
    ///
    /// # Errors
    /// The program is missing or the files cannot be created.
    pub fn spawn(mut command: Command, label: &str, dir: &Path) -> Result<Self> {
        let [stdout, stderr] = ["out", "err"].map(|kind| dir.join(format!("{label}.{kind}")));
        let create = |path: &Path| File::create(path).context(|| format!("creating {}", path.display()));
        command.stdin(Stdio::piped()).stdout(create(&stdout)?).stderr(create(&stderr)?);
        end_with_us(&mut command, Signal::KILL);
        let mut child = command.spawn().context(|| format!("starting `{}`", tools::line(&command)))?;
        let stdin = child.stdin.take();
        Ok(Self { label: label.to_owned(), child, stdin, stdout, stderr })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Writes to the program's standard input; blocks while the program does not read.
    ///
    /// # Errors
    /// The program has closed it, or [`Process::finish_input`] has.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let closed = self.closed();
        let stdin = self.stdin.as_mut().ok_or(closed)?;
        stdin.write_all(bytes).and_then(|()| stdin.flush()).context(|| format!("writing to {}", self.label))
    }

    /// Starts a thread that writes `bytes` again and again to the program's standard input, which is its own from now on.
    ///
    /// # Errors
    /// The input was closed or taken before.
    pub fn feed_endlessly(&mut self, bytes: Vec<u8>) -> Result<Feeder> {
        let mut stdin = self.stdin.take().ok_or_else(|| self.closed())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let feed = move || {
            let mut fed = 0;
            // A program that has ended is noticed by whoever waits for it.
            while !stopped.load(Ordering::Relaxed) && stdin.write_all(&bytes).is_ok() {
                fed += bytes.len() as u64;
            }
            fed
        };
        let thread = thread::Builder::new().name(format!("input of {}", self.label)).spawn(feed);
        Ok(Feeder { stop, thread: thread.context(|| "starting a feeder".to_owned())? })
    }

    /// Ends the program's standard input.
    pub fn finish_input(&mut self) {
        self.stdin = None;
    }

    /// What the program has written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        lossy(&self.stdout)
    }

    /// What the program has written to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        lossy(&self.stderr)
    }

    /// Waits until the program has written `text` to either output.
    ///
    /// # Errors
    /// It did not in time, or it ended before it did.
    pub fn wait_for_output(&mut self, text: &str, limit: Duration) -> Result<()> {
        let written = |process: &Self| process.stdout().contains(text) || process.stderr().contains(text);
        self.wait_for(&format!("{text:?}"), limit, written)
    }

    /// Waits until `done` says so of the running program; `what` is the name of that in messages.
    ///
    /// # Errors
    /// It did not in time, or the program ended before it did.
    pub fn wait_for(&mut self, what: &str, limit: Duration, done: impl Fn(&Self) -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            // In this order, because what is waited for may be the last thing that the program does.
            let ended = !self.is_running();
            if done(self) {
                return Ok(());
            }
            if ended || start.elapsed() > limit {
                let what = format!("{what} of {}", self.label);
                return Err(LabError::Timeout { what, limit, detail: self.describe() });
            }
            thread::sleep(POLL);
        }
    }

    /// Waits for the program to end, with success or not.
    ///
    /// # Errors
    /// It still runs after `limit`; it is killed then.
    pub fn wait(mut self, limit: Duration) -> Result<Finished> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().context(|| format!("waiting for {}", self.label))?;
            if let Some(status) = ended {
                return Ok(Finished {
                    label: self.label.clone(),
                    status,
                    stdout: self.stdout(),
                    stderr: self.stderr(),
                });
            }
            if start.elapsed() > limit {
                return Err(LabError::Timeout {
                    what: format!("the end of {}", self.label),
                    limit,
                    detail: self.describe(),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// Waits for the program to end with success.
    ///
    /// # Errors
    /// It still runs after `limit`, or it reports an error.
    pub fn succeed(self, limit: Duration) -> Result<Finished> {
        self.wait(limit)?.success()
    }

    /// Sends a signal to the program, such as [`Signal::INT`] to one that writes its results then.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal)
            .map_err(Into::into)
            .context(|| format!("sending {signal:?} to {}", self.label))
    }

    fn closed(&self) -> LabError {
        LabError::Unexpected { what: self.label.clone(), found: "standard input is closed".to_owned() }
    }

    fn describe(&self) -> String {
        format!("stdout: {}; stderr: {}", tail(&self.stdout()), tail(&self.stderr()))
    }
}

impl Feeder {
    /// Ends the input after the bytes that are being written, and returns how many there were.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}

impl Finished {
    /// Passes on a program that ended with success.
    ///
    /// # Errors
    /// It ended otherwise; the error has what it wrote.
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        let output = if self.stderr.trim().is_empty() { tail(&self.stdout) } else { tail(&self.stderr) };
        Err(LabError::Failed { line: self.label, status: self.status, output })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // The group, because `ip netns exec sh -c ...` and the like may have children of their own.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Waits until `done` says so.
///
/// # Errors
/// It did not within `limit`, or `done` itself failed.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > limit {
            return Err(LabError::Timeout {
                what: what.to_owned(),
                limit,
                detail: "the state did not change".to_owned(),
            });
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Lets the child inherit sockets under the numbers that they have here. Their flags change in the child only, so that
/// other processes that are started meanwhile do not hold them too.
pub(crate) fn inherit(command: &mut Command, sockets: Vec<OwnedFd>) {
    let clear = move || {
        for socket in &sockets {
            rustix::io::fcntl_setfd(socket.as_fd(), FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe functions may be
    // called; it makes nothing but fcntl system calls on descriptors that the command owns, and does not allocate.
    unsafe { command.pre_exec(clear) };
}

/// Gives the child a process group of its own, and this signal when the thread that starts it ends: a test program that is
/// killed cannot clean up.
pub(crate) fn end_with_us(command: &mut Command, signal: Signal) {
    command.process_group(0);
    let ask = move || rustix::process::set_parent_process_death_signal(Some(signal)).map_err(Into::into);
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe functions may be
    // called; it makes nothing but one prctl system call.
    unsafe { command.pre_exec(ask) };
}

fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The last lines of an output, enough to see why a program failed.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.trim().lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::WorkDir;

    /// Longer than anything here takes on a busy machine.
    const LIMIT: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_are_reported() {
        let dir = WorkDir::new("process").unwrap();
        let mut process = Process::spawn(shell("read x; echo got $x; echo bad >&2; exit 4"), "a", dir.path()).unwrap();
        process.feed(b"this\n").unwrap();
        process.wait_for_output("got this", LIMIT).unwrap();
        let finished = process.wait(LIMIT).unwrap();
        assert_eq!((finished.status.code(), finished.stderr.as_str()), (Some(4), "bad\n"));
        assert!(finished.success().unwrap_err().to_string().contains("bad"));
    }

    #[test]
    fn a_program_that_outlives_its_time_is_killed_with_its_children() {
        let dir = WorkDir::new("process").unwrap();
        let process = Process::spawn(shell("sleep 60 & echo $!; wait"), "b", dir.path()).unwrap();
        wait_until("output", LIMIT, || Ok(!process.stdout().is_empty())).unwrap();
        let child = format!("/proc/{}/stat", process.stdout().trim());
        assert!(matches!(process.wait(Duration::from_millis(20)), Err(LabError::Timeout { .. })));
        // A killed child stays a zombie until its new parent collects it, which may be never in a container.
        let gone = || Ok(fs::read_to_string(&child).map_or(true, |stat| stat.contains(") Z ")));
        wait_until("the end of the child", LIMIT, gone).unwrap();
    }
}
