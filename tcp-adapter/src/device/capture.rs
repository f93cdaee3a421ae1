//! A tap on a device: everything that passes also goes into a capture file.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pcapng::{CapturedInterface, CapturedPacket, Direction, PcapngWriter};
use super::{Device, DeviceCapabilities, DeviceStats};
use crate::Frame;

/// A pcapng file that several [`Capture`]s write into; clones are handles to the same file.
///
/// The first error ends the capture and is kept for [`CaptureFile::take_error`]; traffic goes on undisturbed.
#[derive(Debug)]
pub struct CaptureFile<W>(Arc<Mutex<State<W>>>);

#[derive(Debug)]
enum State<W> {
    Writing(PcapngWriter<W>),
    Ended(Option<io::Error>),
}

impl<W: Write> CaptureFile<W> {
    /// Starts a file, written by the program `application`. A buffered `sink` is worth while.
    pub fn new(sink: W, application: &str) -> Self {
        let state = PcapngWriter::new(sink, application).map_or_else(|error| State::Ended(Some(error)), State::Writing);
        Self(Arc::new(Mutex::new(state)))
    }

    /// The error that ended the capture, if there was one and it was not taken before.
    pub fn take_error(&self) -> Option<io::Error> {
        match &mut *self.lock() {
            State::Writing(_) => None,
            State::Ended(error) => error.take(),
        }
    }

    /// Flushes the sink.
    pub fn flush(&self) {
        self.write(PcapngWriter::flush);
    }

    fn is_writing(&self) -> bool {
        matches!(*self.lock(), State::Writing(_))
    }

    fn write<T>(&self, work: impl FnOnce(&mut PcapngWriter<W>) -> io::Result<T>) -> Option<T> {
        let mut state = self.lock();
        let State::Writing(writer) = &mut *state else { return None };
        match work(writer) {
            Ok(value) => Some(value),
            Err(error) => {
                *state = State::Ended(Some(error));
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // A sink that panicked has at worst left half a block behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Clone for CaptureFile<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Tells the time since the UNIX epoch.
pub type Clock = Box<dyn FnMut() -> Duration + Send>;

/// A device with a tap: it behaves as the device inside, and copies all frames to a capture file.
///
/// A frame that the device dropped when sending is in the file too, with a comment. Checksums that are left to the
/// device are captured as they are, unfinished, and super-segments uncut.
pub struct Capture<D, W> {
    device: D,
    file: CaptureFile<W>,
    /// None if the capture had ended before this device was added.
    interface: Option<CapturedInterface>,
    clock: Clock,
    /// The frame being sent: one at a time, to know what became of each.
    current: VecDeque<Frame>,
}

impl<D: Device, W: Write + Send> Capture<D, W> {
    /// Adds `device` to `file` as the interface `name`.
    pub fn new(device: D, file: &CaptureFile<W>, name: &str, clock: Clock) -> Self {
        let file = file.clone();
        let interface = file.write(|writer| writer.add_interface(name));
        Self { device, file, interface, clock, current: VecDeque::new() }
    }

    /// The device inside.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The error that ended the capture, if there was one and it was not taken before. The file is that of all
    /// devices that share it, so is the error.
    pub fn take_error(&self) -> Option<io::Error> {
        self.file.take_error()
    }
}

impl<D: Device, W: Write + Send> Device for Capture<D, W> {
    fn capabilities(&self) -> DeviceCapabilities {
        self.device.capabilities()
    }

    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame>) -> io::Result<usize> {
        let before = frames.len();
        let received = self.device.receive(budget, frames);
        if let Some(interface) = self.interface {
            for frame in &frames[before..] {
                let (direction, time, comment) = (Direction::Inbound, (self.clock)(), None);
                self.file
                    .write(|file| file.write_packet(CapturedPacket { interface, direction, time, frame, comment }));
            }
        }
        received
    }

    fn transmit(&mut self, frames: &mut VecDeque<Frame>) -> io::Result<usize> {
        let Some(interface) = self.interface.filter(|_| self.file.is_writing()) else {
            return self.device.transmit(frames);
        };
        let mut count = 0;
        while let Some(next) = frames.pop_front() {
            let direction = Direction::Outbound;
            let time = (self.clock)();
            // The device keeps what it sends. Slices of the payload are shared, the head is copied.
            let frame = &next.clone();
            self.current.push_back(next);
            let sent = self.device.transmit(&mut self.current);
            if let Some(stays) = self.current.pop_front() {
                frames.push_front(stays);
                return sent.map(|_| count);
            }
            let comment = if matches!(sent, Ok(1)) { None } else { Some("not sent: the device dropped this frame") };
            self.file.write(|file| file.write_packet(CapturedPacket { interface, direction, time, frame, comment }));
            count += sent?;
        }
        Ok(count)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.device.readiness()
    }

    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}

impl<D: fmt::Debug, W> fmt::Debug for Capture<D, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("device", &self.device).finish_non_exhaustive()
    }
}
