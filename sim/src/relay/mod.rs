//! Real-time mode: links between devices of the operating system, as the simulator models them.
//!
//! A [`Relay`] is sans-IO: it takes frames that came in at the ends of its links, keeps them for as long as each link would have
//! them, loses what the link would lose, and gives out the rest. A [`Driver`] moves the frames between devices and a relay by a clock. So real
//! hosts meet over the conditions of a scenario, random numbers included: the same seed decides alike about the n-th packet
//! of a direction. When packets come is up to the hosts.

mod driver;

use std::collections::VecDeque;

use tcp_adapter::{Frame, Instant};

use crate::conditions::{ConditionsError, Timetable};
use crate::link::{Output, Pipe, PipeStats};
use crate::packet::{Boxes, Packet};
use crate::random::Streams;
use crate::scenario::Link;

pub use driver::{DriveError, Driver};

/// Frames at most that wait for a device to take them; further ones are lost.
const MOST_ARRIVED: usize = 4096;

/// Links in real time, without I/O and without a clock. Times must not go backwards from call to call.
#[derive(Debug)]
pub struct Relay {
    links: Vec<[Direction; 2]>,
    boxes: Boxes,
    output: Output,
    packets: u64,
}

/// One direction of a link.
#[derive(Debug)]
struct Direction {
    pipe: Pipe,
    timetable: Timetable,
    arrived: VecDeque<Frame>,
    stuck: u64,
}

impl Relay {
    /// These links, with the conditions that they have at time zero, and all their events to come.
    ///
    /// # Errors
    /// A trace that is missing or malformed, or conditions that contradict each other.
    pub fn new(links: &[Link], seed: u64) -> Result<Self, ConditionsError> {
        let streams = Streams::new(seed);
        let direction = |link: &Link, up| -> Result<Direction, ConditionsError> {
            let pipe = Pipe::new(link.pipe(up)?, &link.pipe_name(up), &streams);
            let pipe = pipe.map_err(|error| ConditionsError::Link { link: link.name.clone(), error })?;
            let timetable = link.timetable(up, streams)?;
            Ok(Direction { pipe, timetable, arrived: VecDeque::new(), stuck: 0 })
        };
        let links = links.iter().map(|link| Ok([direction(link, true)?, direction(link, false)?]));
        Ok(Self {
            links: links.collect::<Result<_, ConditionsError>>()?,
            boxes: Boxes::default(),
            output: Output::default(),
            packets: 0,
        })
    }

    /// Number of links.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is no link.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// A frame enters a link, `up` at its `from` end.
    ///
    /// # Panics
    /// There is no such link.
    pub fn handle_frame(&mut self, now: Instant, link: usize, up: bool, frame: Frame) {
        let packet = Packet::new(self.packets, self.boxes.pack(frame), now);
        self.packets += 1;
        let direction = &mut self.links[link][usize::from(!up)];
        direction.change(now, &mut self.output);
        direction.pipe.offer(now, packet, &mut self.output);
        direction.collect(&mut self.output, &mut self.boxes);
    }

    /// Does everything that is due at `now` or before.
    pub fn handle_timeout(&mut self, now: Instant) {
        for direction in self.links.iter_mut().flatten() {
            direction.change(now, &mut self.output);
            direction.pipe.handle_timeout(now, &mut self.output);
            direction.collect(&mut self.output, &mut self.boxes);
        }
    }

    /// When [`Self::handle_timeout`] has something to do; never if nothing is on its way and nothing is to happen.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = |direction: &Direction| [direction.pipe.poll_timeout(), direction.timetable.next_at()];
        self.links.iter().flatten().flat_map(due).flatten().min()
    }

    /// Frames that have come out of a direction of a link, first come first; the caller takes what it can pass on.
    ///
    /// # Panics
    /// There is no such link.
    pub fn arrived(&mut self, link: usize, up: bool) -> &mut VecDeque<Frame> {
        &mut self.links[link][usize::from(!up)].arrived
    }

    /// The books of a direction, up to the last call.
    ///
    /// # Panics
    /// There is no such link.
    pub fn stats(&self, link: usize, up: bool) -> PipeStats {
        self.links[link][usize::from(!up)].pipe.stats()
    }

    /// Frames of a direction that have come out and were lost since nobody took them for long.
    ///
    /// # Panics
    /// There is no such link.
    pub fn stuck(&self, link: usize, up: bool) -> u64 {
        self.links[link][usize::from(!up)].stuck
    }
}

impl Direction {
    /// Carries out the timetable, each change at its own time.
    fn change(&mut self, now: Instant, output: &mut Output) {
        while self.timetable.next_at().is_some_and(|at| at <= now) {
            let Some((at, changes)) = self.timetable.next() else { break };
            // Later than the last call, which has carried out all that was due by then: so times do not go backwards.
            for change in changes {
                // Every change was tried when the timetable was made, and one that fails changes nothing.
                let _ = self.pipe.apply(at, &change, output);
            }
            self.pipe.forget_eras();
        }
    }

    fn collect(&mut self, output: &mut Output, boxes: &mut Boxes) {
        for packet in output.delivered.drain(..) {
            let frame = boxes.unpack(packet.frame);
            if self.arrived.len() < MOST_ARRIVED {
                self.arrived.push_back(frame);
            } else {
                self.stuck += 1;
            }
        }
        for (packet, _) in output.dropped.drain(..) {
            boxes.unpack(packet.frame);
        }
    }
}

#[cfg(test)]
mod tests;
