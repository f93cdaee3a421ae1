//! The stack under test and the kernel in one connection.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{Stack, StackProcess, StackReport, Tcp};
use crate::endpoints;
use crate::error::{LabError, Result};
use crate::lab::{Lab, PATHS, PORT};
use crate::payload::Payload;
use crate::peer::{Peer, PeerReport};
use crate::process::{Feeder, Process, wait_until};
use crate::topology::{Family, kernel_addr, stack_addr};

/// Time in which all joins are made that are made at all.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Bytes sent before the joins.
const GREETING: usize = 1000;

/// Which end of the connection the stack under test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It connects.
    Client,
    /// It accepts.
    Server,
}

/// A connection to be: by default multipath on both sides, with one subflow per path, that carries as many bytes
/// in each direction.
#[derive(Clone, Debug)]
pub struct Encounter {
    tcp: Tcp,
    role: Role,
    family: Family,
    len: u64,
    subflows: usize,
    options: String,
    path_flags: String,
    peer: Peer,
    pace: Pace,
    capture: bool,
}

/// When the ends of a connection are done with sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// After the payload.
    Payload,
    /// Ours sends the payload in the end; the kernel's sends it at once and waits.
    Held,
    /// Both repeat the payload until the end.
    Endless,
    /// Ours sends a greeting; both send the payload in the end.
    Silent,
}

/// A connection under way.
#[derive(Debug)]
pub struct Running {
    /// Our program.
    pub stack: StackProcess,
    /// The kernel's peer.
    pub peer: Process,
    /// What our program sends.
    pub up: Payload,
    /// What the kernel sends.
    pub down: Payload,
    output: PathBuf,
    input: Input,
}

/// Where our program's input comes from.
#[derive(Debug)]
enum Input {
    File,
    Held,
    Endless(Feeder),
    Silent,
}

/// A connection that is over, with every byte where it should be.
#[derive(Debug)]
pub struct Outcome {
    /// What our program says.
    pub stack: StackReport,
    /// What the kernel's peer says.
    pub peer: PeerReport,
}

impl Encounter {
    /// A connection that carries `len` bytes in each direction at once.
    #[must_use]
    pub fn new(tcp: Tcp, role: Role, family: Family, len: u64) -> Self {
        let peer = match role {
            Role::Client => Peer::listen(PORT, kernel_addr(family, 0)),
            Role::Server => Peer::connect(stack_addr(family, 0), PORT),
        };
        // The end that connects also joins, since it may be behind a NAT; the other one announces its addresses.
        let path_flags = match role {
            Role::Client => String::new(),
            Role::Server => ",signal".to_owned(),
        };
        Self {
            tcp,
            role,
            family,
            len,
            subflows: PATHS - 1,
            options: String::new(),
            path_flags,
            peer,
            pace: Pace::Payload,
            capture: false,
        }
    }

    /// Adds options to the command line of our program.
    #[must_use]
    pub fn options(mut self, words: &str) -> Self {
        self.options = format!("{} {words}", self.options);
        self
    }

    /// Changes how many subflows besides the first our program lets a connection have; otherwise it is one per path.
    #[must_use]
    pub fn subflows(mut self, extra: usize) -> Self {
        self.subflows = extra;
        self
    }

    /// Replaces what our paths besides the first are used for, such as `,subflow,backup`.
    #[must_use]
    pub fn path_flags(mut self, flags: &str) -> Self {
        flags.clone_into(&mut self.path_flags);
        self
    }

    /// Changes what the kernel's peer does.
    #[must_use]
    pub fn peer(mut self, change: impl FnOnce(Peer) -> Peer) -> Self {
        self.peer = change(self.peer);
        self
    }

    /// Has our program write a capture, `stack.pcapng` in the directory of the test.
    #[must_use]
    pub fn capture(mut self) -> Self {
        self.capture = true;
        self
    }

    /// Keeps the connection open in both directions until [`Running::finish`]: our program sends only then, and the kernel's
    /// peer, which sends at once, does not end its direction before.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.pace = Pace::Held;
        self.peer = self.peer.hold();
        self
    }

    /// Repeats the payload in both directions until [`Running::finish`].
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.pace = Pace::Endless;
        self.peer = self.peer.endless();
        self
    }

    /// Carries the payload in both directions at once, and but for its first bytes not before every path has its subflow: an
    /// interface that is only coming up may need a second for its handshake, in which all bytes could be over.
    ///
    /// # Errors
    /// A path has no subflow in time, or what [`Self::start`] and [`Running::finish`] complain about.
    pub fn run(&self, lab: &Lab, limit: Duration) -> Result<Outcome> {
        let silent = Self { pace: Pace::Silent, peer: self.peer.clone().wait(), ..self.clone() };
        let mut running = silent.start(lab)?;
        // Subflows may be added once a DSS has come in (RFC 8684 section 3.1), so there must be data.
        let first = running.up.bytes()?[..GREETING].to_vec();
        running.stack.process.feed(&first)?;
        let wanted = lab.topology.paths() as u64 - 1;
        wait_until("the joins", JOIN_LIMIT, || {
            let mib = lab.topology.mib()?;
            Ok(mib["MPJoinAckRx"] + mib["MPJoinSynAckRx"] >= wanted)
        })?;
        running.finish(limit)
    }

    /// Lets the kernel have a subflow on every path: where it accepts, it announces its addresses; where it connects, it
    /// follows our announcements.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn admit_joins(&self, lab: &Lab) -> Result<()> {
        let kernel = lab.topology.kernel();
        let extra = u8::try_from(PATHS - 1).unwrap_or(u8::MAX);
        endpoints::set_limits(kernel, extra, extra)?;
        if self.role == Role::Server {
            return Ok(());
        }
        for path in 1..PATHS {
            let interface = lab.topology.kernel_interface(path);
            endpoints::add(kernel, kernel_addr(self.family, path), &interface, "signal")?;
        }
        Ok(())
    }

    /// Starts both ends, the one that accepts first.
    ///
    /// # Errors
    /// One of them does not start.
    pub fn start(&self, lab: &Lab) -> Result<Running> {
        let (up, down) = (lab.payload("up", self.len)?, lab.payload("down", self.len)?);
        let output = lab.dir.file("received");
        let (topology, dir) = (&lab.topology, lab.dir.path());
        let stack = match self.role {
            Role::Client => Stack::connect(kernel_addr(self.family, 0), PORT),
            Role::Server => Stack::listen(PORT),
        };
        let stack = stack.tcp(self.tcp).with(&format!("--subflows {} {}", self.subflows, self.options));
        let stack = if self.capture { stack.file("--pcap", &lab.dir.file("stack.pcapng")) } else { stack };
        let stack = stack.paths(topology, self.family, &self.path_flags).file("--output", &output);
        let stack = if self.pace == Pace::Payload { stack.file("--input", &up.path) } else { stack };
        let start_stack = || stack.spawn(Some(topology.stack()), "stack", dir);
        let start_peer = || self.peer.clone().send(&down).spawn(topology.kernel(), "peer", dir);
        let (mut stack, peer) = match self.role {
            Role::Client => {
                let peer = start_peer()?;
                (start_stack()?, peer)
            }
            Role::Server => (start_stack()?, start_peer()?),
        };
        let input = match self.pace {
            Pace::Payload => Input::File,
            Pace::Held => Input::Held,
            Pace::Silent => Input::Silent,
            Pace::Endless => Input::Endless(stack.process.feed_endlessly(up.bytes()?)?),
        };
        Ok(Running { stack, peer, up, down, output, input })
    }
}

impl Running {
    /// Waits until the kernel has received and sent `bytes` more on a path.
    ///
    /// # Errors
    /// It has not within `limit`.
    pub fn wait_for_traffic(&self, lab: &Lab, path: usize, bytes: u64, limit: Duration) -> Result<()> {
        let before = lab.topology.traffic(path)?;
        wait_until(&format!("{bytes} bytes in both directions of path {path}"), limit, || {
            let now = lab.topology.traffic(path)?;
            Ok(now.rx.saturating_sub(before.rx).min(now.tx.saturating_sub(before.tx)) >= bytes)
        })
    }

    /// Waits for both ends and compares what each has received with what the other has sent.
    ///
    /// # Errors
    /// One of them fails or takes longer than `limit`, or bytes are missing or wrong.
    pub fn finish(self, limit: Duration) -> Result<Outcome> {
        let Self { mut stack, mut peer, mut up, down, output, input } = self;
        let endless = matches!(input, Input::Endless(_));
        match input {
            Input::File => {}
            Input::Silent => {
                peer.finish_input();
                stack.process.feed(&up.bytes()?[GREETING..])?;
                stack.process.finish_input();
            }
            Input::Held => {
                stack.process.feed(&up.bytes()?)?;
                stack.process.finish_input();
            }
            Input::Endless(feeder) => up = up.repeated(feeder.finish())?,
        }
        peer.finish_input();
        let stack = stack.succeed(limit)?;
        let peer = PeerReport::of(peer, limit)?;
        let down = if endless { down.repeated(peer.sent)? } else { down };
        let wrong = |end: &str, found: String| LabError::Unexpected { what: format!("what {end} received"), found };
        if !peer.has(&up) {
            return Err(wrong("the kernel", format!("{peer:?}; {} bytes were sent", up.len)));
        }
        let received = Payload::of(&output)?;
        if !received.same_content(&down) {
            return Err(wrong(
                "the stack",
                format!("{} bytes; {} were sent: {}", received.len, down.len, stack.summary),
            ));
        }
        Ok(Outcome { stack, peer })
    }
}

impl Role {
    /// Both roles.
    pub const ALL: [Self; 2] = [Self::Client, Self::Server];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}
