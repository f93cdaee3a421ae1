//! Ctrl-C and its like: clean up, then leave with the exit code that a shell expects.

use std::io::{self, Read};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failure::Failure;

/// The end of a pipe that the signal handler writes to; -1 while there is none.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Set from the arrival of the signal.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What to do before leaving.
static REGISTRY: Mutex<Registry> = Mutex::new(Registry { installed: false, cleanups: Vec::new() });

struct Registry {
    /// Whether signals are caught.
    installed: bool,
    /// The newest is the last.
    cleanups: Vec<Box<dyn FnOnce() + Send>>,
}

/// Runs `cleanup` when SIGINT, SIGTERM or SIGHUP arrives, before the process leaves.
///
/// Several may be registered; they run in reverse order. A second signal leaves at once. Whoever comes after a signal
/// sleeps for ever: nothing may be begun that would not be cleaned up.
pub(crate) fn on_interrupt(cleanup: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let mut registry = registry();
    if INTERRUPTED.load(Ordering::Acquire) {
        drop(registry);
        yield_to_interrupt();
        return Ok(());
    }
    if !registry.installed {
        install().map_err(|error| Failure::io("cannot handle signals", &error))?;
        registry.installed = true;
    }
    registry.cleanups.push(Box::new(cleanup));
    Ok(())
}

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
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
    let cleanups = {
        let mut registry = registry();
        INTERRUPTED.store(true, Ordering::Release);
        std::mem::take(&mut registry.cleanups)
    };
    for cleanup in cleanups.into_iter().rev() {
        cleanup();
    }
    std::process::exit(128 + i32::from_ne_bytes(number));
}
