//! Moves frames between devices and a relay, by a clock.

use std::io;
use std::num::NonZeroU64;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tcp_adapter::device::Device;
use tcp_adapter::{Frame, Instant};

use super::Relay;

/// Frames taken from one device before the others have their turn.
const BURST: usize = 64;

/// How often a device is looked at that has no descriptor to sleep on.
const LOOK: Duration = Duration::from_micros(100);

/// How late the system may wake the thread: by itself it adds 50 us to every wait, as much as some links take in all.
const TIMER_SLACK: NonZeroU64 = NonZeroU64::MIN;

/// A device failed.
#[derive(Debug, thiserror::Error)]
#[error("device {end} of link {link} has failed: {source}")]
pub struct DriveError {
    /// Index of the link.
    pub link: usize,
    /// Index of the device within the link: 0 at its `from` end, 1 at its `to` end.
    pub end: usize,
    /// The system's reason.
    pub source: io::Error,
}

/// A relay and the devices at the ends of its links.
#[derive(Debug)]
pub struct Driver<D, C> {
    relay: Relay,
    /// Of each link: at its `from` end, at its `to` end.
    ends: Vec<[D; 2]>,
    clock: C,
    received: Vec<Frame>,
    latest: Duration,
}

impl<D: Device, C: Fn() -> Instant> Driver<D, C> {
    /// Puts devices at the ends of all links. `clock` tells the time since the links have the conditions of their start.
    ///
    /// # Panics
    /// There are more or fewer pairs of devices than links.
    pub fn new(relay: Relay, ends: Vec<[D; 2]>, clock: C) -> Self {
        assert_eq!(relay.len(), ends.len(), "every link has two ends");
        // A system that refuses leaves it at being late.
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK));
        Self { relay, ends, clock, received: Vec::new(), latest: Duration::ZERO }
    }

    /// Relays until `stop` says so, which is asked after every round, and at least every `patience`.
    ///
    /// # Errors
    /// A device is gone or broken.
    pub fn run(&mut self, patience: Duration, mut stop: impl FnMut() -> bool) -> Result<(), DriveError> {
        while !stop() {
            if !self.turn()? {
                self.sleep(patience);
            }
        }
        Ok(())
    }

    /// Takes what the devices have received, does what is due, and sends what has arrived. True if there is more to take.
    ///
    /// # Errors
    /// A device is gone or broken.
    pub fn turn(&mut self) -> Result<bool, DriveError> {
        let Self { relay, ends, clock, received, latest } = self;
        let now = clock();
        if let Some(due) = relay.poll_timeout().filter(|due| *due <= now) {
            *latest = (*latest).max(now - due);
        }
        relay.handle_timeout(now);
        let mut more = false;
        for (link, ends) in ends.iter_mut().enumerate() {
            for (end, device) in ends.iter_mut().enumerate() {
                let failed = |source| DriveError { link, end, source };
                more |= device.receive(BURST, received).map_err(failed)? == BURST;
                for frame in received.drain(..) {
                    relay.handle_frame(now, link, end == 0, frame);
                }
            }
        }
        for (link, ends) in ends.iter_mut().enumerate() {
            for (end, device) in ends.iter_mut().enumerate() {
                let arrived = relay.arrived(link, end == 1);
                if !arrived.is_empty() {
                    device.transmit(arrived).map_err(|source| DriveError { link, end, source })?;
                }
            }
        }
        Ok(more)
    }

    /// The relay.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// The devices: of each link, that at its `from` end and that at its `to` end.
    pub fn ends(&self) -> &[[D; 2]] {
        &self.ends
    }

    /// The longest time by which anything was done after it was due. Links are as their conditions say to within this time.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// Sleeps until there is something to do, `most` at most.
    fn sleep(&self, most: Duration) {
        let devices = || self.ends.iter().flatten();
        let mut ready: Vec<PollFd<'_>> =
            devices().filter_map(Device::readiness).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let most = if ready.len() == 2 * self.ends.len() { most } else { most.min(LOOK) };
        let due = self.relay.poll_timeout().map(|due| due - (self.clock)());
        let wait = due.map_or(most, |due| due.min(most));
        // An interrupted wait is one that is over, and there is none of its length that the system would not take.
        let timeout = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let _ = poll(&mut ready, Some(&timeout));
    }
}
