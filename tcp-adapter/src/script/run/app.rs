//! The application in a script: its calls, and what it is told.

use bytes::Bytes;

use super::{Runner, nanos};
use crate::conformance::wire::pattern;
use crate::script::command::{Command, InfoSpec, Receive, field};
use crate::script::line::EventSpec;
use crate::script::number::{Bound, show_time};
use crate::script::peer::{LISTEN_PORT, address, stack_byte};
use crate::{ConnectRequest, Instant, TcpEvent, TcpId, TcpStack};

impl Runner {
    /// Makes a call, which must succeed, or fail with `error`.
    pub(super) fn app(&mut self, index: u8, command: &Command, error: Option<&str>) -> Result<(), String> {
        let result = match command {
            Command::Listen { backlog, fast } => self.listen(*backlog, *fast),
            Command::Unlisten => {
                let listener = self.listener.take().ok_or("the stack does not listen")?;
                self.stack.unlisten(listener);
                Ok(())
            }
            Command::Connect { port, fast } => self.connect(index, *port, *fast),
            Command::Send { .. }
            | Command::Receive(_)
            | Command::Shutdown
            | Command::Abort(_)
            | Command::AckNow
            | Command::Probe
            | Command::ProbeTail
            | Command::Pace(_) => {
                let conn = self.peer(index).conn.ok_or("there is no connection yet")?;
                self.app_connected(index, conn, command)?
            }
            Command::Window(_) | Command::Options(_) | Command::Verdict(_) | Command::SynVerdict(_) => {
                self.hook.configure(command);
                Ok(())
            }
        };
        match (result, error) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(error)) => Err(format!("the call succeeded instead of failing with {error}")),
            (Err(found), Some(error)) if found.starts_with(error) => Ok(()),
            (Err(found), _) => Err(format!("the call failed with {found}")),
        }
    }

    fn listen(&mut self, backlog: usize, fast: usize) -> Result<(), String> {
        let listener = self.stack.listen(None, LISTEN_PORT, backlog).map_err(|wrong| format!("{wrong:?}"))?;
        self.listener = Some(listener);
        if fast > 0 && !self.stack.allow_fast_open(listener, fast) {
            return Err("Unsupported".to_owned());
        }
        Ok(())
    }

    fn connect(&mut self, index: u8, port: Option<u16>, fast: Option<(u64, Bound)>) -> Result<(), String> {
        let remote = self.peer(index).address();
        let request = ConnectRequest { local: address(1, self.ipv4), local_port: port, remote };
        let conn = self.stack.connect(self.now, &request).map_err(|wrong| format!("{wrong:?}"))?;
        let local = self.stack.info(conn).map_or(0, |info| info.local.port());
        let peer = self.peer(index);
        peer.conn = Some(conn);
        peer.stack_port = local;
        if let Some((offered, expected)) = fast {
            let data: Bytes = (0..offered).map(stack_byte).collect();
            let taken = self.stack.fast_open(conn, &data).ok_or("Unsupported")? as u64;
            if !expected.contains(taken) {
                return Err(format!("the SYN takes {taken} bytes instead of {expected}"));
            }
        }
        Ok(())
    }

    /// The calls that need a connection. The outer error is the script's, the inner one the stack's.
    fn app_connected(&mut self, index: u8, conn: TcpId, command: &Command) -> Result<Result<(), String>, String> {
        let now = self.now;
        match command {
            &Command::Send { len, chunk, tag } => {
                let end = self.peer(index).sent + len;
                loop {
                    let start = self.peer(index).sent;
                    let bytes: Bytes = (start..end.min(start + chunk)).map(stack_byte).collect();
                    let len = bytes.len() as u64;
                    if let Err(wrong) = self.stack.send(now, conn, bytes, tag.unwrap_or(start)) {
                        return Ok(Err(format!("{wrong:?}")));
                    }
                    self.peer(index).sent += len;
                    if self.peer(index).sent == end {
                        break;
                    }
                }
            }
            Command::Receive(receive) => self.receive(index, conn, *receive)?,
            Command::Shutdown => self.stack.shutdown(now, conn),
            Command::Abort(options) => {
                return Ok(self.stack.abort(now, conn, options).map_err(|wrong| format!("{wrong:?}")));
            }
            Command::AckNow => self.stack.ack_now(now, conn),
            Command::Probe => self.stack.probe(now, conn),
            Command::ProbeTail => self.stack.probe_tail(now, conn),
            Command::Pace(rate) => {
                let is_set = self.stack.set_max_pacing_rate(now, conn, *rate);
                return Ok(is_set.then_some(()).ok_or_else(|| "Unsupported".to_owned()));
            }
            _ => {}
        }
        Ok(Ok(()))
    }

    fn receive(&mut self, index: u8, conn: TcpId, receive: Receive) -> Result<(), String> {
        let start = self.peer(index).received;
        while let Some(received) = self.stack.recv(conn) {
            let peer = self.peer(index);
            if received.offset != peer.received {
                return Err(format!("offset {} instead of {}", received.offset, peer.received));
            }
            let wrong = (peer.received..).zip(&received.bytes).find(|&(at, &byte)| byte != pattern(at));
            if let Some((at, _)) = wrong {
                return Err(format!("the byte received at offset {at} is wrong"));
            }
            peer.received += received.bytes.len() as u64;
            if receive == Receive::One {
                return Ok(());
            }
        }
        let len = self.peer(index).received - start;
        match receive {
            Receive::One => Err("there is nothing to receive".to_owned()),
            Receive::All(expected) if !expected.contains(len) => Err(format!("{len} bytes instead of {expected}")),
            Receive::All(_) => Ok(()),
        }
    }

    /// Waits for an event; it may have happened before.
    pub(super) fn expect_event(
        &mut self,
        index: u8,
        spec: EventSpec,
        low: Instant,
        high: Instant,
    ) -> Result<(), String> {
        self.advance(low, |_| false)?;
        let mut at = low;
        if !self.is_reported(index, spec) {
            self.advance(high + self.tolerance, |runner| runner.is_reported(index, spec))?;
            at = self.now.min(high);
        }
        if !self.take_event(index, spec) {
            let until = show_time(nanos(self.now - super::START));
            return Err(format!("{spec:?} was not reported until {until}; what was: {:?}", self.events));
        }
        self.nothing_before(at)?;
        self.previous = at;
        Ok(())
    }

    fn is_reported(&self, index: u8, spec: EventSpec) -> bool {
        let conn = self.peers.get(&index).and_then(|peer| peer.conn);
        conn.is_some_and(|conn| self.events.contains(&event(spec, conn)))
    }

    /// Whether an event has been reported; it counts as asked for.
    pub(super) fn take_event(&mut self, index: u8, spec: EventSpec) -> bool {
        let reported = self.is_reported(index, spec);
        if let Some(conn) = self.peer(index).conn {
            self.events.retain(|&seen| seen != event(spec, conn));
        }
        reported
    }

    /// Compares what the stack tells of a connection.
    pub(super) fn info(&mut self, index: u8, spec: &InfoSpec) -> Result<(), String> {
        let conn = self.peer(index).conn;
        let info = conn.and_then(|conn| self.stack.info(conn));
        let fields = match (spec, &info) {
            (InfoSpec::Gone, None) => return Ok(()),
            (InfoSpec::Gone, Some(_)) => return Err(format!("the connection is still there: {info:?}")),
            (InfoSpec::Fields(fields), _) => fields,
        };
        let Some((info, conn)) = info.zip(conn) else { return Err("the stack has no such connection".to_owned()) };
        let room = self.stack.send_room(conn);
        for &(name, expected) in fields {
            let value = field(name, &info, room);
            if !value.is_some_and(|value| expected.contains(value)) {
                let value = value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
                return Err(format!("{name}: {value} instead of {expected}\n    {info:?}"));
            }
        }
        Ok(())
    }
}

fn event(spec: EventSpec, conn: TcpId) -> TcpEvent {
    match spec {
        EventSpec::Established => TcpEvent::Established(conn),
        EventSpec::Readable => TcpEvent::Readable(conn),
        EventSpec::Writable => TcpEvent::Writable(conn),
        EventSpec::Finished => TcpEvent::Finished(conn),
        EventSpec::Closed(reason) => TcpEvent::Closed(conn, reason),
    }
}
