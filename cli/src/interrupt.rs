//! Ctrl-C and its like: clean up, then leave with the exit code that a shell expects.

use std::io::{self, Read};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crate::failure::Failure;

/// The end of a pipe that the signal handler writes to; -1 while there is none.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Set from the arrival of the signal.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What to do before leaving, newest first.
static CLEANUPS: Mutex<Vec<Box<dyn FnOnce() + Send>>> = Mutex::new(Vec::new());

/// Runs `cleanup` when SIGINT, SIGTERM or SIGHUP arrives, before the process leaves.
///
/// Several may be registered; they run in reverse order. A second signal leaves at once.
pub(crate) fn on_interrupt(cleanup: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let first = {
        let mut cleanups = CLEANUPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cleanups.push(Box::new(cleanup));
        PIPE.load(Ordering::Acquire) < 0
    };
    let installed = if first { install() } else { Ok(()) };
    installed.map_err(|error| Failure::io("cannot handle signals", &error))
}

/// Sleeps for ever if the process is being interrupted: what the cleaning up breaks is not worth reporting, and the
/// exit code is not for the caller to choose any more.
pub(crate) fn yield_to_interrupt() {
    while INTERRUPTED.load(Ordering::Acquire) {
        std::thread::park();
    }
}

fn install() -> io::Result<()> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    PIPE.store(write.into_raw_fd(), Ordering::Release);
    std::thread::Builder::new().name("mptcp-signals".to_owned()).spawn(move || wait(read))?;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let handler: extern "C" fn(libc::c_int) = on_signal;
        // SAFETY: an all-zero `sigaction` is valid (empty mask, no flags, default handler), and is then
        // given a handler that calls only functions that are safe in signal handlers.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_signal(signal: libc::c_int) {
    let fd = PIPE.swap(-1, Ordering::AcqRel);
    let number = signal.to_ne_bytes();
    // SAFETY: `write` and `_exit` are async-signal-safe; `number` outlives the call. A descriptor of -1 means
    // that an earlier signal is being dealt with, and whoever repeats it wants out now.
    unsafe {
        if fd < 0 {
            libc::_exit(128 + signal);
        }
        libc::write(fd, number.as_ptr().cast(), number.len());
    }
}

fn wait(pipe: OwnedFd) {
    let mut number = [0; 4];
    if std::fs::File::from(pipe).read_exact(&mut number).is_err() {
        return;
    }
    INTERRUPTED.store(true, Ordering::Release);
    let cleanups = std::mem::take(&mut *CLEANUPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    for cleanup in cleanups.into_iter().rev() {
        cleanup();
    }
    std::process::exit(128 + i32::from_ne_bytes(number));
}
