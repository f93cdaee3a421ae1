//! The console of a guest: commands go in, lines come out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::error::{IoContext, LabError, Result};

/// Time in which a guest that is told to halt is gone; it is killed then.
const HALT_LIMIT: Duration = Duration::from_secs(3);

/// A guest's process and the lines of its console.
#[derive(Debug)]
pub(super) struct Console {
    name: String,
    child: Child,
    stdin: Mutex<ChildStdin>,
    lines: Arc<Lines>,
}

/// What the guest has written, shared with the thread that reads it.
#[derive(Debug, Default)]
struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Console {
    /// Takes over a process whose standard input and output are pipes.
    pub(super) fn new(name: String, mut child: Child) -> Result<Self> {
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(LabError::GuestGone { name, console: "no pipes".to_owned() });
        };
        let lines = Arc::new(Lines::default());
        let shared = Arc::clone(&lines);
        let reader = thread::Builder::new().name(format!("console of {name}"));
        reader.spawn(move || shared.collect(stdout)).context(|| "starting a console reader".to_owned())?;
        Ok(Self { name, child, stdin: Mutex::new(stdin), lines })
    }

    /// Writes to the console.
    pub(super) fn send(&self, line: &str) -> Result<()> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).map_err(|_| self.gone())
    }

    /// Waits for a line that contains `text` and returns it from there on.
    pub(super) fn wait_for(&self, text: &str, limit: Duration) -> Result<String> {
        let start = Instant::now();
        let mut state = self.lines.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // A message of the kernel may stand before ours on the same line.
            if let Some(found) =
                state.lines.iter().rev().find_map(|line| line.find(text).map(|at| line[at..].to_owned()))
            {
                return Ok(found);
            }
            if state.ended {
                drop(state);
                return Err(self.gone());
            }
            let Some(left) = limit.checked_sub(start.elapsed()) else {
                let what = format!("{text:?} from the guest {}", self.name);
                return Err(LabError::Timeout {
                    what,
                    limit,
                    detail: format!("its console said: {}", tail(&state.lines)),
                });
            };
            state = self.lines.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All lines so far.
    pub(super) fn text(&self) -> String {
        self.lines.state.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    fn gone(&self) -> LabError {
        let state = self.lines.state.lock().unwrap_or_else(PoisonError::into_inner);
        LabError::GuestGone { name: self.name.clone(), console: tail(&state.lines) }
    }
}

impl Lines {
    fn collect(&self, stdout: ChildStdout) {
        for line in BufReader::new(stdout).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.state.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
            self.changed.notify_all();
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // A guest that halts by itself ends its own helper processes.
        let start = Instant::now();
        if self.send("halt\n").is_ok() {
            while start.elapsed() < HALT_LIMIT && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(15)..].join("\n")
}
