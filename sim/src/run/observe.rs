//! What is written down while a run is going on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mptcp_core::Observation;
use mptcp_core::scheduler::Learning;
use tcp_adapter::{Frame, Instant, InterfaceId};

use super::census::Census;
use crate::packet::Packet;
use crate::results::{CaptureId, Captures, Event, EventLog, Mark, PacketRef, file_name, until_new};

/// Where captures and events go.
pub type Sink = Box<dyn Write + Send>;

/// Captures and an event log, each if it is wanted, and the marks for the plots.
#[derive(Default)]
pub struct Observer {
    captures: Option<Capturing>,
    log: Option<EventLog<Sink>>,
    /// Names of hosts, and of the links of their interfaces.
    names: Vec<(String, Vec<String>)>,
    pub(crate) marks: Vec<Mark>,
    /// Whether the record is to have series.
    pub(crate) series: bool,
    /// What schedulers that learn begin with, if not with what comes with the stack.
    pub(crate) learning: Option<Learning>,
    /// Set by whoever wants the run to end, and what becomes of it then.
    stop: Option<(Arc<AtomicBool>, Stop)>,
    /// What hosts send and receive, if somebody wants to compare it with what they count.
    pub(crate) census: Option<Census>,
    /// The first thing that could not be written.
    error: Option<io::Error>,
}

struct Capturing {
    captures: Captures<Sink>,
    /// By host and interface.
    ids: Vec<Vec<CaptureId>>,
    /// Interfaces that have sent the packets that are under way.
    origins: BTreeMap<u64, CaptureId>,
    /// A frame that a host is just giving to the network. Whether it is lost at once is known in a moment.
    pending: Option<(u64, CaptureId, Box<Frame>)>,
}

/// What becomes of a run that is to end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody wants to know of it.
    GiveUp,
    /// What has happened counts.
    Keep,
}

/// Marks of a run at most: a link that flaps without end would fill memory.
const MOST_MARKS: usize = 10_000;

impl Observer {
    /// Writes nothing down but marks and figures.
    pub fn none() -> Self {
        Self::default()
    }

    /// Writes down the series of the report as well.
    pub fn with_series() -> Self {
        Self { series: true, ..Self::default() }
    }

    /// Gives the run up once this is set.
    pub fn until(mut self, stop: &Arc<AtomicBool>) -> Self {
        self.stop = Some((Arc::clone(stop), Stop::GiveUp));
        self
    }

    /// Ends the run once this is set: its record is of the time until then.
    pub fn as_far_as(mut self, stop: &Arc<AtomicBool>) -> Self {
        self.stop = Some((Arc::clone(stop), Stop::Keep));
        self
    }

    /// Whether the run is to end now, and what becomes of it.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.stop.as_ref().filter(|(asked, _)| asked.load(Ordering::Relaxed)).map(|(_, stop)| *stop)
    }

    /// Has schedulers that learn begin with this.
    pub fn with_learning(mut self, learning: Learning) -> Self {
        self.learning = Some(learning);
        self
    }

    /// Writes events to `log`.
    pub fn with_log(mut self, log: EventLog<Sink>) -> Self {
        self.log = Some(log);
        self
    }

    /// Captures what passes the interfaces: `open` gives a sink for each, by the names of its host and link.
    ///
    /// # Errors
    /// Those of the sinks.
    pub fn with_captures<E: From<io::Error>>(
        mut self,
        scenario: &crate::scenario::Scenario,
        mut open: impl FnMut(&str) -> Result<Sink, E>,
    ) -> Result<Self, E> {
        let mut captures = Captures::new();
        let mut ids = Vec::new();
        let mut names = BTreeSet::new();
        for host in &scenario.hosts {
            let mut own = Vec::new();
            for link in scenario.links_of(&host.name) {
                let name = format!("{} {}", host.name, scenario.links[link].name);
                let name = until_new(&name, |name| names.insert(file_name(name)));
                own.push(captures.add(&name, open(&name)?)?);
            }
            ids.push(own);
        }
        self.captures = Some(Capturing { captures, ids, origins: BTreeMap::new(), pending: None });
        Ok(self)
    }

    pub(crate) fn name(&mut self, scenario: &crate::scenario::Scenario) {
        let links = |host: &str| scenario.links_of(host).map(|link| scenario.links[link].name.clone()).collect();
        self.names = scenario.hosts.iter().map(|host| (host.name.clone(), links(&host.name))).collect();
    }

    /// Whether packets are written into files.
    pub(crate) fn captures(&self) -> bool {
        self.captures.is_some()
    }

    /// Whether anybody wants to know of events.
    pub(crate) fn logs(&self) -> bool {
        self.log.is_some()
    }

    pub(crate) fn event(&mut self, now: Instant, event: &Event<'_>) {
        if let Some(log) = &mut self.log {
            note(&mut self.error, log.write(now, event));
        }
    }

    /// The stack of a host has done something with data of a connection.
    pub(crate) fn observed(&mut self, now: Instant, host: &str, connection: &str, observation: &Observation) {
        if !self.logs() {
            return;
        }
        match *observation {
            Observation::Scheduled { subflow, dsn, len, .. } => {
                let (subflow, dsn, length) = (&*subflow.to_string(), dsn.0, len.into());
                self.event(now, &Event::SchedulerChoice { host, connection, subflow, dsn, length });
            }
            Observation::Reinjected { from, to, dsn, len, .. } => {
                let (from, to) = (from.map(|from| from.to_string()), &*to.to_string());
                let (from, dsn, length) = (from.as_deref(), dsn.0, len.into());
                self.event(now, &Event::Reinjected { host, connection, from, to, dsn, length });
            }
            Observation::Mapped { subflow, dsn, ssn, len, .. } => {
                let (subflow, dsn, length) = (&*subflow.to_string(), dsn.0, len.into());
                self.event(now, &Event::DssMapped { host, connection, subflow, dsn, ssn, length });
            }
            Observation::Acknowledged { subflow, data_ack, .. } => {
                let (subflow, data_ack) = (&*subflow.to_string(), data_ack.0);
                self.event(now, &Event::DataAck { host, connection, subflow, data_ack });
            }
            _ => {}
        }
    }

    /// A host gives a packet to the network. [`sent`](Self::sent) must follow.
    pub(crate) fn sending(&mut self, now: Instant, host: usize, interface: InterfaceId, packet: &Packet) {
        if let Some(census) = &mut self.census {
            census.sent(host, &packet.frame);
        }
        if let Some(Capturing { ids, origins, pending, .. }) = &mut self.captures {
            let id = ids[host][interface.0];
            origins.insert(packet.id, id);
            *pending = Some((packet.id, id, packet.frame.clone()));
        }
        if let Some(log) = &mut self.log {
            let (host, links) = &self.names[host];
            let event = Event::PacketSent { host, interface: &links[interface.0], packet: reference(packet) };
            note(&mut self.error, log.write(now, &event));
        }
    }

    /// The network has taken the packet.
    pub(crate) fn sent(&mut self, now: Instant) {
        if let Some(Capturing { captures, pending, .. }) = &mut self.captures
            && let Some((_, id, frame)) = pending.take()
        {
            note(&mut self.error, captures.sent(id, now, &frame));
        }
    }

    /// A packet has reached a host.
    pub(crate) fn received(&mut self, now: Instant, host: usize, interface: InterfaceId, packet: &Packet) {
        if let Some(census) = &mut self.census {
            census.received(host, &packet.frame);
        }
        if let Some(Capturing { captures, ids, origins, .. }) = &mut self.captures {
            origins.remove(&packet.id);
            note(&mut self.error, captures.received(ids[host][interface.0], now, &packet.frame));
        }
        if let Some(log) = &mut self.log {
            let (host, links) = &self.names[host];
            let event = Event::PacketReceived { host, interface: &links[interface.0], packet: reference(packet) };
            note(&mut self.error, log.write(now, &event));
        }
    }

    /// A packet was lost.
    pub(crate) fn dropped(&mut self, now: Instant, place: &str, packet: &Packet, reason: &str) {
        if let Some(Capturing { captures, origins, pending, .. }) = &mut self.captures {
            let at_once = pending.take_if(|(id, ..)| *id == packet.id);
            let comment = format!("{reason} at {place}");
            if let Some((_, id, frame)) = at_once {
                note(&mut self.error, captures.dropped(id, now, &frame, &comment));
            } else if let Some(id) = origins.remove(&packet.id) {
                note(&mut self.error, captures.dropped(id, now, &packet.frame, &comment));
            }
        }
        if let Some(log) = &mut self.log {
            let event = Event::PacketDropped { place, packet: reference(packet), trigger: reason };
            note(&mut self.error, log.write(now, &event));
        }
    }

    /// A link has changed.
    pub(crate) fn link_changed(&mut self, now: Instant, link: &str, change: &str) {
        if self.marks.len() < MOST_MARKS {
            self.marks.push(Mark { time: now, text: format!("{link}: {change}") });
        }
        self.event(now, &Event::LinkChanged { link, change });
    }

    /// Flushes everything.
    ///
    /// # Errors
    /// The first thing that could not be written, now or before.
    pub(crate) fn finish(self) -> io::Result<()> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if let Some(capturing) = self.captures {
            capturing.captures.finish()?;
        }
        if let Some(log) = self.log {
            log.finish()?;
        }
        Ok(())
    }
}

fn reference(packet: &Packet) -> PacketRef {
    PacketRef { id: packet.id, length: packet.len() as u64 }
}

/// Keeps the first error.
fn note(first: &mut Option<io::Error>, result: io::Result<()>) {
    if let Err(error) = result {
        first.get_or_insert(error);
    }
}
