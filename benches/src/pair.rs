//! Two TCP stacks on a wire, with nothing above them.

use std::net::SocketAddr;

use bytes::Bytes;
use tcp_adapter::{
    ConnectRequest, Frame, Instant, InterfaceId, OptionSpace, SegmentHook, SegmentIn, SegmentOut, SynSegment,
    SynVerdict, TcpEvent, TcpId, Verdict,
};

use crate::engine::Engine;
use crate::place::{DELAY, PORT, address, interface};
use crate::stream::{Position, pattern};
use crate::world::Setup;

/// Bytes of one call into the stack at most, as the layer above would have it.
const CHUNK: usize = 64 << 10;

/// Turns without a byte read after which a transfer has failed.
const PATIENCE: u32 = 1_000;

/// Two TCP stacks: 0 connects, 1 listens.
pub struct Pair<T> {
    now: Instant,
    stacks: [T; 2],
    conns: [Option<TcpId>; 2],
    sent: [u64; 2],
    to_send: [u64; 2],
    received: [Position; 2],
    arriving: [Vec<Frame>; 2],
    frames: u64,
}

/// Takes everything and adds nothing: plain TCP.
struct Nothing;

impl SegmentHook for Nothing {
    fn on_syn(&mut self, _now: Instant, _conn: TcpId, _syn: &SynSegment<'_>) -> SynVerdict {
        SynVerdict::Accept
    }

    fn on_segment(&mut self, _now: Instant, _conn: TcpId, _segment: &SegmentIn<'_>) -> Verdict {
        Verdict::Accept
    }

    fn on_transmit(&mut self, _: Instant, _: TcpId, _: &SegmentOut, _: &mut OptionSpace) -> Option<u32> {
        None
    }
}

impl<T: Engine> Pair<T> {
    /// Two stacks with a connection. MPTCP and idle connections are not for this.
    ///
    /// # Panics
    /// If it does not come about.
    pub fn connected(setup: &Setup) -> Self {
        let mut stacks = [0, 1].map(|host| {
            let mut stack = T::build(&setup.tcp, host);
            let id = stack.add_interface(interface(host, 0, setup.mtu));
            stack.set_offload(id, setup.offload);
            stack
        });
        stacks[1].listen(None, PORT, 1).expect("the port is free");
        let now = Instant::from_millis(1000);
        let request =
            ConnectRequest { local: address(0, 0), local_port: None, remote: SocketAddr::new(address(1, 0), PORT) };
        stacks[0].connect(now, &request).expect("can connect");
        let mut pair = Self {
            now,
            stacks,
            conns: [None; 2],
            sent: [0; 2],
            to_send: [0; 2],
            received: [Position(0); 2],
            arriving: [Vec::new(), Vec::new()],
            frames: 0,
        };
        pair.run("no connection", |pair| pair.conns.iter().all(Option::is_some));
        pair
    }

    /// Has stack 0 send so much and runs until it was read.
    ///
    /// # Panics
    /// If it does not arrive, or not as it was sent.
    pub fn transfer(&mut self, bytes: u64) {
        self.bring(0, bytes);
    }

    /// Has both sides send so much in turn, each when it has got what the other one sent.
    ///
    /// # Panics
    /// If something does not arrive, or not as it was sent.
    pub fn ping_pong(&mut self, times: u32, bytes: u64) {
        for _ in 0..times {
            self.bring(0, bytes);
            self.bring(1, bytes);
        }
    }

    fn bring(&mut self, from: usize, bytes: u64) {
        self.to_send[from] += bytes;
        let end = self.to_send[from];
        self.run("bytes are missing", |pair| pair.received[1 - from].0 == end);
    }

    /// Frames that stack 0 has sent so far.
    pub fn frames_sent(&self) -> u64 {
        self.frames
    }

    fn run(&mut self, failure: &str, done: impl Fn(&Self) -> bool) {
        let mut idle = 0;
        while !done(self) {
            let before = self.received;
            self.turn();
            idle = if self.received == before { idle + 1 } else { 0 };
            assert!(idle < PATIENCE, "{failure} at {:?} of {:?}", self.received, self.to_send);
        }
    }

    fn turn(&mut self) {
        for host in 0..2 {
            self.send(host);
            self.receive(host);
        }
        let mut quiet = true;
        for from in 0..2 {
            let [first, second] = &mut self.arriving;
            let there = if from == 0 { second } else { first };
            let before = there.len();
            self.stacks[from].poll_transmit(self.now, &mut Nothing, &mut |InterfaceId(_), frame| there.push(frame));
            if from == 0 {
                self.frames += (there.len() - before) as u64;
            }
            quiet &= there.is_empty();
        }
        let next = self.stacks.each_mut().map(|stack| stack.poll_timeout()).into_iter().flatten().min();
        self.now = if quiet { next.map_or(self.now + DELAY, |at| at.max(self.now)) } else { self.now + DELAY };
        for (stack, arriving) in self.stacks.iter_mut().zip(&mut self.arriving) {
            for frame in arriving.drain(..) {
                stack.handle_frame(self.now, InterfaceId(0), frame, &mut Nothing);
            }
            if stack.poll_timeout().is_some_and(|at| at <= self.now) {
                stack.handle_timeout(self.now, &mut Nothing);
            }
        }
        for (stack, conn) in self.stacks.iter_mut().zip(&mut self.conns) {
            while let Some(event) = stack.poll_event() {
                if let TcpEvent::Established(id) = event {
                    *conn = Some(id);
                }
            }
        }
    }

    fn send(&mut self, host: usize) {
        let Some(conn) = self.conns[host] else { return };
        while self.sent[host] < self.to_send[host] {
            let left = usize::try_from(self.to_send[host] - self.sent[host]).unwrap_or(usize::MAX);
            let room = self.stacks[host].send_room(conn).min(CHUNK).min(left);
            if room == 0 {
                break;
            }
            let bytes: Bytes = pattern(self.sent[host], room);
            let len = bytes.len() as u64;
            self.stacks[host].send(self.now, conn, bytes, self.sent[host]).expect("there is room");
            self.sent[host] += len;
        }
    }

    fn receive(&mut self, host: usize) {
        let Some(conn) = self.conns[host] else { return };
        while let Some(received) = self.stacks[host].recv(conn) {
            self.received[host].check(&received.bytes).expect("every byte arrives as it was sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use tcp_adapter::native::NativeStack;
    use tcp_adapter::smoltcp::SmoltcpStack;

    use super::*;

    #[test]
    fn bytes_pass() {
        let setup = Setup::default();
        let (mut smoltcp, mut native) =
            (Pair::<SmoltcpStack>::connected(&setup), Pair::<NativeStack>::connected(&setup));
        smoltcp.ping_pong(10, 64);
        native.ping_pong(10, 64);
        smoltcp.transfer(1_000_000);
        native.transfer(1_000_000);
        assert!(smoltcp.frames_sent() > 600 && native.frames_sent() > 600);
    }
}
