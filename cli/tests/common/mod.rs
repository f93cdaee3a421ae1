//! What the tests of the command line share.
#![allow(dead_code, reason = "every test binary compiles all of this and uses a part")]
#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

pub(crate) mod nvme;

use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing in these tests takes nearly this long, on a machine that is busy with other things either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The program under test with these arguments, its standard streams captured and no input.
pub(crate) fn mptcp<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mptcp"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that does not outlive its test.
pub(crate) struct Background(Option<Child>);

impl Background {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Its standard input, which must be a pipe.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.0.as_mut().unwrap().stdin.take().unwrap()
    }

    /// Its standard output, which must be a pipe.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.0.as_mut().unwrap().stdout.take().unwrap()
    }

    /// Its standard error, which must be a pipe.
    pub(crate) fn stderr(&mut self) -> ChildStderr {
        self.0.as_mut().unwrap().stderr.take().unwrap()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = self.0.as_mut().unwrap();
        ended(child, PATIENCE).unwrap_or_else(|| panic!("process {} does not end", child.id()))
    }

    /// The same, with what is left of its standard streams.
    pub(crate) fn output(mut self) -> Output {
        let mut child = self.0.take().unwrap();
        if ended(&mut child, PATIENCE).is_none() {
            child.kill().unwrap();
            panic!("the process does not end: {:?}", child.wait_with_output());
        }
        child.wait_with_output().unwrap()
    }
}

impl Drop for Background {
    /// With SIGINT first, so that it can take away what it has made, and with SIGKILL if it does not end.
    fn drop(&mut self) {
        if let Some(child) = &mut self.0
            && child.try_wait().is_ok_and(|status| status.is_none())
        {
            let pid = Pid::from_child(child);
            for signal in [Signal::INT, Signal::CONT] {
                let _ = kill_process(pid, signal);
            }
            if ended(child, Duration::from_secs(20)).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Waits so long at most for the end of a process.
fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            None if started.elapsed() < patience => std::thread::sleep(Duration::from_millis(10)),
            status => return status,
        }
    }
}

/// The lines of a process as they come, which nobody waits for in vain for ever.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    /// Of one of its standard streams.
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // It ends with the stream; what comes once nobody reads any more is let go, so that the pipe stays empty.
            BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Self(lines)
    }

    /// The first line with `part` in it, from the one that comes next; those before it are passed over.
    pub(crate) fn with(&mut self, part: &str) -> String {
        let found = self.find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("the stream ends without {part:?}"))
    }
}

impl Iterator for Lines {
    type Item = String;

    /// The next line, or None at the end of the stream.
    fn next(&mut self) -> Option<String> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("waited in vain for a line"),
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    Background::start(command).output()
}

/// A port that nobody listens on, and that no other test is given.
///
/// Not one of those that the kernel gives to connections: a connection to such a port can meet itself. And found
/// without trying to listen: a process that another test starts at that moment would keep the socket for a while.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % 100 * 200;
    loop {
        let number = start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed)) % 200;
        let port = u16::try_from(10_000 + number).unwrap();
        if !is_listened_on(port) {
            return port;
        }
    }
}

/// Waits until somebody listens on `port`, without connecting to it.
pub(crate) fn wait_for_listener(port: u16) {
    wait_until("somebody listens", || is_listened_on(port));
}

fn is_listened_on(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(table).unwrap();
        // The local address ends in the port in hexadecimal; state 0A is LISTEN.
        table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().unwrap_or("");
            local.ends_with(&format!(":{port:04X}")) && fields.nth(1) == Some("0A")
        })
    })
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file that is removed at the end of its test.
pub(crate) struct TempFile(pub(crate) PathBuf);

impl TempFile {
    /// A file of this length whose bytes do not repeat soon.
    pub(crate) fn with_len(name: &str, len: usize) -> Self {
        let this = Self::named(name);
        let mut file = std::fs::File::create(&this.0).unwrap();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(state ^ (state >> 33)).to_le_bytes());
        }
        file.write_all(&bytes[..len]).unwrap();
        file.rewind().unwrap();
        this
    }

    /// A name for a file that does not exist yet.
    pub(crate) fn named(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("mptcp-test-{}-{name}", std::process::id())))
    }

    /// The name.
    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.0).unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The last line of `bytes` as JSON.
pub(crate) fn last_json(bytes: &[u8]) -> serde_json::Value {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Asserts success and shows what was printed otherwise.
pub(crate) fn assert_success(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}
