//! One descriptor that tells when an engine has something to do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use tcp_adapter::Instant;

use crate::StartError;

/// Who is woken for nothing once an hour does not mind. Milliseconds that do not fit an int need another system call, which older kernels do not have.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// An epoll instance over the devices, a timer for the next deadline, and an event for other threads.
#[derive(Debug)]
pub(crate) struct Readiness {
    epoll: OwnedFd,
    timer: OwnedFd,
    waker: Waker,
    /// When the timer fires, or has fired; `None` if it is off.
    armed: Option<Instant>,
}

/// Makes the descriptor of an engine readable, from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Event>);

#[derive(Debug)]
struct Event {
    fd: OwnedFd,
    /// Set from the wake-up until the engine has seen it: further ones cost no system call.
    pending: AtomicBool,
}

impl Waker {
    /// Makes the descriptor readable until the next [`poll`](crate::Engine::poll).
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::SeqCst) {
            // It could only fail by blocking, with the counter at its end, and then the descriptor is readable.
            let _ = rustix::io::write(&self.0.fd, &1_u64.to_ne_bytes());
        }
    }

    fn clear(&self) {
        if self.0.pending.load(Ordering::SeqCst) {
            // Read first: a wake-up in between finds `pending` set and leaves the counter alone, and what it is about
            // was stored before, so that the caller sees it. If there is nothing to read, whoever has set `pending` is about to write, which is
            // for the next time: nobody would read it otherwise.
            if rustix::io::read(&self.0.fd, &mut [0; 8]).is_ok() {
                self.0.pending.store(false, Ordering::SeqCst);
            }
        }
    }
}

impl Readiness {
    pub(crate) fn new() -> Result<Self, StartError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(StartError::os("make an epoll descriptor"))?;
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(StartError::os("make an event descriptor"))?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(StartError::os("make a timer descriptor"))?;
        let waker = Waker(Arc::new(Event { fd, pending: AtomicBool::new(false) }));
        let this = Self { epoll, timer, waker, armed: None };
        this.watch(this.waker.0.fd.as_fd())?;
        this.watch(this.timer.as_fd())?;
        Ok(this)
    }

    /// Includes a device.
    pub(crate) fn watch(&self, fd: BorrowedFd<'_>) -> Result<(), StartError> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
            .map_err(StartError::os("watch a descriptor"))
    }

    /// Leaves a device out from now on.
    pub(crate) fn forget(&self, fd: BorrowedFd<'_>) {
        // A descriptor that is not there any more needs no watching either.
        let _ = epoll::delete(&self.epoll, fd);
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Forgets the wake-ups so far.
    pub(crate) fn clear(&self) {
        self.waker.clear();
    }

    /// Sets the timer so that the descriptor is readable from `deadline` on.
    ///
    /// A timer that fires early costs one poll without effect, so a deadline that moves into the future, as most do
    /// with every acknowledgement, costs no system call.
    pub(crate) fn arm(&mut self, now: Instant, deadline: Option<Instant>) -> io::Result<()> {
        let fired = self.armed.is_some_and(|armed| armed <= now);
        let earlier = match (deadline, self.armed) {
            (Some(deadline), Some(armed)) => deadline < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !fired && !earlier {
            return Ok(());
        }
        // Zero would turn the timer off instead of letting it fire at once.
        let wait = deadline.map_or(Duration::ZERO, |deadline| (deadline - now).max(Duration::from_nanos(1)));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?;
        let timer = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        self.armed = deadline;
        Ok(())
    }

    /// Sleeps until the descriptor is readable, `timeout` at most.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        // An hour fits.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout.min(LONGEST_WAIT)).ok());
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 1];
        match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn readable(readiness: &Readiness) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(readiness, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn a_wake_up_lasts_until_it_is_seen() {
        let readiness = Readiness::new().unwrap();
        assert!(!readable(&readiness));
        let waker = readiness.waker().clone();
        std::thread::spawn(move || {
            waker.wake();
            waker.wake();
        })
        .join()
        .unwrap();
        assert!(readable(&readiness) && readable(&readiness));
        readiness.clear();
        assert!(!readable(&readiness));
        readiness.waker().wake();
        assert!(readable(&readiness));
    }

    #[test]
    fn the_timer_fires_at_the_deadline_and_can_be_moved() {
        let mut readiness = Readiness::new().unwrap();
        let start = std::time::Instant::now();
        let now = || Instant::from_nanos(u64::try_from(start.elapsed().as_nanos()).unwrap());
        readiness.arm(now(), Some(now() + Duration::from_secs(3600))).unwrap();
        assert!(!readable(&readiness));
        readiness.arm(now(), Some(now() + Duration::from_millis(5))).unwrap();
        readiness.wait(Some(Duration::from_secs(60))).unwrap();
        assert!(readable(&readiness) && start.elapsed() >= Duration::from_millis(5));
        readiness.arm(now(), None).unwrap();
        assert!(!readable(&readiness));
        readiness.arm(now(), Some(Instant::ZERO)).unwrap();
        readiness.wait(Some(Duration::from_secs(60))).unwrap();
        assert!(readable(&readiness));
    }

    #[test]
    fn devices_are_watched() {
        use std::os::unix::net::UnixDatagram;
        let readiness = Readiness::new().unwrap();
        let (a, b) = UnixDatagram::pair().unwrap();
        readiness.watch(a.as_fd()).unwrap();
        assert!(!readable(&readiness));
        b.send(b"frame").unwrap();
        assert!(readable(&readiness));
        readiness.forget(a.as_fd());
        assert!(!readable(&readiness));
    }
}
