//! Runs a script against a stack.

mod app;
mod hook;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::hook::ScriptHook;
use super::expect::differences;
use super::line::{Action, Line, When};
use super::number::show_time;
use super::options::{OptionSpec, TcpOption};
use super::parse::Script;
use super::peer::{PEER_MAC, Peer, STACK_MAC, address};
use super::segment::SegmentSpec;
use super::{StackFactory, options};
use crate::conformance::neighbour;
use crate::conformance::packet::Packet;
use crate::{Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, ListenerId, Offload, TcpEvent, TcpStack};

/// Time 0 of every script: some time after the epoch, so that nothing happens to be 0.
const START: Instant = Instant::from_millis(1_000_000);
/// Steps that a stack may take without time passing.
const RESTLESS: u32 = 10_000;
/// Lines of the trace that a message shows.
const SHOWN: usize = 60;

/// Runs all of a script; the error is for a person to read.
pub(super) fn run(script: &Script, file: &str, factory: StackFactory<'_>) -> Result<(), String> {
    let mut runner = Runner::new(script, factory).map_err(|wrong| format!("{file}: {wrong}"))?;
    for line in &script.lines {
        runner.line(line).map_err(|wrong| runner.report(file, line, &wrong))?;
    }
    match script.lines.last() {
        Some(last) => runner.nothing_left().map_err(|wrong| runner.report(file, last, &wrong)),
        None => Err(format!("{file}: an empty script")),
    }
}

/// A segment that the stack has sent and that no line has expected yet.
struct SentSegment {
    at: Instant,
    peer: u8,
    packet: Packet,
    pieces: Option<u16>,
}

struct Runner {
    stack: Box<dyn TcpStack>,
    hook: ScriptHook,
    ipv4: bool,
    isn: u32,
    tolerance: Duration,
    now: Instant,
    /// When the line before happened.
    previous: Instant,
    peers: BTreeMap<u8, Peer>,
    /// Values of the options that the stack has sent last, of kinds that are not known.
    last_options: BTreeMap<u8, Vec<u8>>,
    listener: Option<ListenerId>,
    unexpected: VecDeque<SentSegment>,
    events: Vec<TcpEvent>,
    trace: Vec<String>,
}

impl Runner {
    fn new(script: &Script, factory: StackFactory<'_>) -> Result<Self, String> {
        let settings = &script.settings;
        let mut stack = factory(&settings.stack, settings.seed)?;
        let interface = stack.add_interface(InterfaceConfig {
            mac: STACK_MAC,
            mtu: settings.mtu,
            addrs: vec![IpCidr { addr: address(1, true), prefix: 24 }, IpCidr { addr: address(1, false), prefix: 64 }],
            routes: Vec::new(),
        });
        if settings.offload {
            stack.set_offload(interface, Offload { checksum: true, segmentation: true });
        }
        Ok(Self {
            stack,
            hook: ScriptHook::default(),
            ipv4: !settings.ipv6,
            isn: settings.isn,
            tolerance: settings.tolerance,
            now: START,
            previous: START,
            peers: BTreeMap::new(),
            last_options: BTreeMap::new(),
            listener: None,
            unexpected: VecDeque::new(),
            events: Vec::new(),
            trace: Vec::new(),
        })
    }

    fn line(&mut self, line: &Line) -> Result<(), String> {
        let (low, high) = self.window(line.when);
        match &line.action {
            Action::Expect(spec) => {
                for piece in spec.burst() {
                    self.expect(line.peer, &piece, low, high)?;
                }
                return Ok(());
            }
            Action::ExpectAny(spec) => {
                self.advance(high, |_| false)?;
                self.forget(line.peer, spec.as_ref());
            }
            Action::Event(spec) => return self.expect_event(line.peer, *spec, low, high),
            action => {
                self.advance(high, |_| false)?;
                self.nothing_before(high)?;
                self.note(line.text.split_once(char::is_whitespace).map_or("", |(_, action)| action.trim()));
                self.act(line.peer, action)?;
                self.settle()?;
            }
        }
        self.previous = high;
        Ok(())
    }

    fn act(&mut self, peer: u8, action: &Action) -> Result<(), String> {
        match action {
            Action::Inject(spec) => {
                for mut piece in spec.burst() {
                    self.bring_back(&mut piece);
                    let frame = self.peer(peer).frame(&piece)?;
                    self.inject(frame)?;
                }
            }
            Action::InjectIcmp(spec) => {
                let frame = self.peer(peer).icmp(spec)?;
                self.inject(frame)?;
            }
            Action::Nothing => self.nothing_left()?,
            Action::App(command, error) => self.app(peer, command, error.as_deref())?,
            Action::NoEvent(spec) => {
                if self.take_event(peer, *spec) {
                    return Err(format!("{spec:?} was reported"));
                }
            }
            Action::Info(spec) => self.info(peer, spec)?,
            Action::NewPeer(distance) => {
                let renewed = self.peer(peer).renewed(*distance);
                self.peers.insert(peer, renewed);
            }
            // They do nothing to the stack.
            Action::Expect(_) | Action::ExpectAny(_) | Action::Event(_) => {}
        }
        Ok(())
    }

    /// Replaces the options that are to be what the stack has sent last.
    fn bring_back(&self, spec: &mut SegmentSpec) {
        for option in &mut spec.options {
            if let OptionSpec::Last(kind) = *option
                && let Some(value) = self.last_options.get(&kind)
            {
                *option = OptionSpec::Other(kind, Some(value.clone()));
            }
        }
    }

    fn peer(&mut self, index: u8) -> &mut Peer {
        let (ipv4, isn) = (self.ipv4, self.isn);
        self.peers.entry(index).or_insert_with(|| Peer::new(index, ipv4, isn))
    }

    fn window(&self, when: When) -> (Instant, Instant) {
        let base = if when.relative { self.previous } else { START };
        (base + Duration::from_nanos(when.low), base + Duration::from_nanos(when.high))
    }

    fn inject(&mut self, frame: Frame) -> Result<(), String> {
        self.stack.handle_frame(self.now, InterfaceId(0), frame, &mut self.hook);
        self.settle()
    }

    /// Lets the stack do what it can do without time passing.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..RESTLESS {
            let mut rests = true;
            for (port, conn) in std::mem::take(&mut self.hook.accepted) {
                self.learn(port, conn);
            }
            while let Some(event) = self.stack.poll_event() {
                rests = false;
                self.note(&format!("      event {event:?}"));
                if let TcpEvent::Established(conn) = event
                    && let Some(info) = self.stack.info(conn)
                {
                    self.learn(info.remote.port(), conn);
                    self.took_with_syn(info.remote.port(), info.snd_una);
                }
                self.events.push(event);
            }
            let mut frames = Vec::new();
            self.stack.poll_transmit(self.now, &mut self.hook, &mut |_, frame| frames.push(frame));
            for frame in frames {
                rests = false;
                self.sent(&frame)?;
            }
            if rests {
                return Ok(());
            }
        }
        Err("the stack does not come to rest".to_owned())
    }

    /// A passive connection is known by the port of its peer.
    fn learn(&mut self, port: u16, conn: crate::TcpId) {
        if let Some(index) = Peer::index_of(port) {
            self.peer(index).conn = Some(conn);
        }
    }

    /// What the peer has taken with the SYN needs not be sent any more.
    fn took_with_syn(&mut self, port: u16, bytes: u64) {
        if let Some(index) = Peer::index_of(port) {
            self.peer(index).sent = bytes;
        }
    }

    fn sent(&mut self, frame: &Frame) -> Result<(), String> {
        if let Some(answer) = neighbour::answer(frame, [STACK_MAC.0, PEER_MAC.0]) {
            self.stack.handle_frame(self.now, InterfaceId(0), answer, &mut self.hook);
            return Ok(());
        }
        let Some(packet) = Packet::parse(frame) else {
            let is_tcp = match frame.head.get(12..24) {
                Some([0x08, 0x00, ip @ ..]) => ip[9] == 6,
                Some([0x86, 0xdd, ip @ ..]) => ip[6] == 6,
                _ => false,
            };
            return if is_tcp { Err(format!("the stack sent a malformed segment: {frame:02x?}")) } else { Ok(()) };
        };
        let index = Peer::index_of(packet.destination.port());
        let index = index.ok_or_else(|| format!("the stack sent a segment to {}", packet.destination))?;
        let found = options::parse(&packet.options).unwrap_or_default();
        self.peer(index).observe(&packet, &found);
        for option in &found {
            if let TcpOption::Other(kind, value) = option {
                self.last_options.insert(*kind, value.clone());
            }
        }
        let pieces = frame.meta.segment_size.map(Into::into);
        let digit = if index == 1 { String::new() } else { index.to_string() };
        let text = format!("      >>{digit} {}", self.peer(index).show(&packet, pieces));
        self.note(&text);
        self.unexpected.push_back(SentSegment { at: self.now, peer: index, packet, pieces });
        Ok(())
    }

    /// Lets time pass until `end`, or until `done` says so.
    fn advance(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let mut steps = 0;
        loop {
            self.settle()?;
            if done(self) {
                return Ok(());
            }
            let due = self.stack.poll_timeout().filter(|&at| at <= end);
            let Some(due) = due else {
                self.now = self.now.max(end);
                return Ok(());
            };
            steps = if due > self.now { 0 } else { steps + 1 };
            if steps > RESTLESS {
                return Err("the stack wants to be called again and again without time passing".to_owned());
            }
            self.now = self.now.max(due);
            self.stack.handle_timeout(self.now, &mut self.hook);
        }
    }

    fn expect(&mut self, index: u8, spec: &SegmentSpec, low: Instant, high: Instant) -> Result<(), String> {
        let latest = high + self.tolerance;
        self.advance(latest, |runner| runner.unexpected.iter().any(|sent| sent.peer == index))?;
        let at = self.unexpected.iter().position(|sent| sent.peer == index);
        let Some(sent) = at.and_then(|at| self.unexpected.remove(at)) else {
            return Err(format!("nothing was sent until {}", self.show_at(latest)));
        };
        let mut wrong = differences(spec, self.peer(index), &sent.packet, sent.pieces);
        if sent.at + self.tolerance < low || sent.at > latest {
            wrong.push(format!(
                "time: {} ({} after the line before) instead of {}..{}",
                self.show_at(sent.at),
                show_time(nanos(sent.at - self.previous)),
                self.show_at(low),
                self.show_at(high)
            ));
        }
        if !wrong.is_empty() {
            let shown = self.peer(index).show(&sent.packet, sent.pieces);
            return Err(format!("the stack sent >> {shown}\n    - {}", wrong.join("\n    - ")));
        }
        self.previous = sent.at;
        Ok(())
    }

    /// Forgets the segments that any number of is fine.
    fn forget(&mut self, index: u8, spec: Option<&SegmentSpec>) {
        let Some(spec) = spec else {
            self.unexpected.clear();
            return;
        };
        let peer = self.peer(index).clone();
        self.unexpected
            .retain(|sent| sent.peer != index || !differences(spec, &peer, &sent.packet, sent.pieces).is_empty());
    }

    fn nothing_before(&mut self, time: Instant) -> Result<(), String> {
        let Some(sent) = self.unexpected.front().filter(|sent| sent.at < time) else { return Ok(()) };
        let shown = self.peers.get(&sent.peer).map(|peer| peer.show(&sent.packet, sent.pieces)).unwrap_or_default();
        Err(format!("nothing was expected, but at {} the stack sent >> {shown}", self.show_at(sent.at)))
    }

    fn nothing_left(&mut self) -> Result<(), String> {
        self.settle()?;
        self.nothing_before(Instant::from_nanos(u64::MAX))
    }

    fn note(&mut self, text: &str) {
        let line = format!("{:>12}  {text}", self.show_at(self.now));
        self.trace.push(line);
    }

    fn show_at(&self, time: Instant) -> String {
        show_time(nanos(time - START))
    }

    fn report(&self, file: &str, line: &Line, wrong: &str) -> String {
        let skipped = self.trace.len().saturating_sub(SHOWN);
        let trace = self.trace[skipped..].join("\n    ");
        let earlier = if skipped > 0 { format!(" (the last {SHOWN} lines)") } else { String::new() };
        format!(
            "{file}:{}: at {}\n    {}\n{wrong}\nwhat happened{earlier}:\n    {trace}",
            line.number,
            self.show_at(self.now),
            line.text
        )
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
