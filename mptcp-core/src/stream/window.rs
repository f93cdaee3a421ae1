//! How much more the peer may send on the connection.

use std::time::Duration;

use tcp_adapter::Instant;

/// The largest window that TCP can express: 65535 shifted by 14, just under 1 GiB (RFC 7323 section 2.3).
const WINDOW_MAX: usize = 65_535 << 14;

/// The receive window of one connection, shared by all its subflows (RFC 8684 section 3.3.4).
///
/// The window is relative to the DATA_ACK, and its right edge never moves back. The
/// buffer behind it grows by dynamic right-sizing (Fisk and Feng, 2001): what the application reads
/// within one round trip is what the peer had in flight, so a buffer of twice that leaves
/// room for a sender that doubles its rate each round trip. With several subflows, the slowest
/// one sets the round trip, as a tight bound on the need is the largest round-trip time times the
/// bandwidth of all paths (section 3.3.4).
#[derive(Clone, Debug)]
pub struct ReceiveWindow {
    buffer: usize,
    max: usize,
    right_edge: u64,
    /// The same as the peer has seen it, which the scale of the window field has rounded.
    shown_edge: u64,
    /// Start of the running measurement; `None` before the first read.
    since: Option<Instant>,
    /// Bytes read since then.
    read: usize,
    /// The measurement lasts until then at least.
    until: Instant,
}

impl ReceiveWindow {
    /// A window over a buffer of `initial` bytes that may grow to `max`.
    ///
    /// `max` is cut to 65535 << 14, the most that TCP can announce, and `initial` to `max`.
    pub fn new(initial: usize, max: usize) -> Self {
        let max = max.min(WINDOW_MAX);
        Self { buffer: initial.min(max), max, right_edge: 0, shown_edge: 0, since: None, read: 0, until: Instant::ZERO }
    }

    /// The window to announce with a DATA_ACK of `rcv_nxt`, with `unread` bytes in order that
    /// wait for the application: a multiple of `1 << shift` bytes, the scale of the window field (at most 14, RFC 7323
    /// section 2.3). The right edge moves accordingly.
    ///
    /// Bytes out of order do not count: they lie within the window already.
    ///
    /// The window is rounded down, unless the edge that the peer has seen would move back: then up. So that
    /// edge runs ahead of the right edge while small segments come in that no one reads, but not beyond what
    /// [is accepted](Self::accepted_edge).
    pub fn advertise(&mut self, rcv_nxt: u64, unread: usize, shift: u8) -> u32 {
        let unit = 1 << shift.min(14);
        // Less could never be announced.
        self.buffer = self.buffer.max(usize::try_from(unit).unwrap_or(usize::MAX)).min(self.max);
        self.right_edge = self.right_edge.max(self.possible_edge(rcv_nxt, unread));
        let exact = self.right_edge.saturating_sub(rcv_nxt);
        let shown = self.shown_edge.saturating_sub(rcv_nxt);
        let mut window = exact - exact % unit;
        if window < shown {
            let up = shown.next_multiple_of(unit);
            if rcv_nxt.saturating_add(up) <= self.accepted_edge() {
                window = up;
            }
        }
        self.shown_edge = self.shown_edge.max(rcv_nxt.saturating_add(window));
        u32::try_from(window).unwrap_or(u32::MAX)
    }

    /// The first position that the peer may not send.
    pub const fn right_edge(&self) -> u64 {
        self.right_edge
    }

    /// The first position that is not accepted: one buffer beyond the right edge.
    ///
    /// Linux takes the window of a DATA_ACK that comes in on one subflow for that of all, even if it is older than the
    /// DATA_ACK that it knows, and so overruns the right edge by as much as the window was once larger. Such bytes are
    /// acknowledged by TCP already; if they were dropped, the connection would stand still for a retransmission timeout
    /// of the connection level.
    pub const fn accepted_edge(&self) -> u64 {
        self.right_edge.saturating_add(self.buffer as u64)
    }

    /// Size of the buffer in bytes.
    pub const fn buffer(&self) -> usize {
        self.buffer
    }

    /// The application has read `bytes`. `rtt` tells the round-trip time of the slowest subflow in use; it is asked
    /// only when a measurement may be over.
    ///
    /// Once at least a round trip is measured in which the application read more than half the buffer, the
    /// buffer grows to twice what it read. Without a known `rtt` reads are only counted.
    pub fn on_read(&mut self, now: Instant, bytes: usize, rtt: impl FnOnce() -> Option<Duration>) {
        let Some(since) = self.since else {
            // These bytes arrived before the measurement began.
            self.since = Some(now);
            return;
        };
        self.read = self.read.saturating_add(bytes);
        if now < self.until {
            return;
        }
        let Some(rtt) = rtt() else { return };
        if now.saturating_since(since) < rtt {
            self.until = since + rtt;
            return;
        }
        if self.read > self.buffer / 2 {
            self.buffer = self.buffer.max(self.read.saturating_mul(2).min(self.max));
        }
        self.since = Some(now);
        self.until = now + rtt;
        self.read = 0;
    }

    /// Whether a window update is worth a segment of its own.
    ///
    /// It is once the edge can move by half the buffer or by two segments of `mss` bytes,
    /// whichever is less: smaller steps would invite small segments (RFC 9293 section
    /// 3.8.6.2.2, which asks for at least one segment).
    pub fn update_needed(&self, rcv_nxt: u64, unread: usize, mss: usize) -> bool {
        let gain = self.possible_edge(rcv_nxt, unread).saturating_sub(self.right_edge);
        let worthwhile = (self.buffer / 2).min(mss.saturating_mul(2)).max(1);
        gain >= worthwhile as u64
    }

    /// Where the free part of the buffer ends.
    const fn possible_edge(&self, rcv_nxt: u64, unread: usize) -> u64 {
        rcv_nxt.saturating_add(self.buffer.saturating_sub(unread) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Option<Duration> = Some(Duration::from_millis(10));

    #[test]
    fn the_right_edge_never_moves_back() {
        let mut window = ReceiveWindow::new(1_000, 1_000);
        assert_eq!(window.advertise(0, 0, 0), 1_000);
        assert_eq!(window.advertise(600, 600, 0), 400, "what is unread is not offered again");
        assert_eq!(window.advertise(600, 900, 0), 400, "not even if the owner counts more unread");
        assert_eq!(window.right_edge(), 1_000);
        assert_eq!(window.advertise(1_000, 1_000, 0), 0, "a full buffer closes the window");
        assert_eq!(window.advertise(1_000, 300, 0), 700);
        assert_eq!(window.right_edge(), 1_700);
    }

    #[test]
    fn the_edge_that_the_peer_sees_never_moves_back_either() {
        let mut window = ReceiveWindow::new(1_000, 1_000);
        assert_eq!(window.advertise(0, 0, 4), 992);
        assert_eq!(window.advertise(3, 3, 4), 992, "995 is seen, of 997 at most");
        assert_eq!(window.advertise(10, 10, 4), 992, "up, to 1002, as 986 is less than 995");
        assert_eq!(window.advertise(11, 11, 0), 991, "another subflow has another scale");
        assert_eq!(window.advertise(12, 12, 14), 0, "16384 would be beyond what is accepted");
        assert_eq!(window.advertise(500, 0, 4), 992, "and down again once there is room");
        assert_eq!((window.right_edge(), window.accepted_edge()), (1_500, 2_500));
        let (mut window, mut seen) = (ReceiveWindow::new(1_000, 1_000), 0);
        for position in 0..1_500 {
            let edge = position + u64::from(window.advertise(position, 1_000.min(position as usize), 4));
            assert!(edge >= seen && edge <= window.accepted_edge(), "{seen}, {edge}");
            seen = edge;
        }
    }

    #[test]
    fn an_application_that_keeps_up_makes_the_buffer_grow() {
        let mut window = ReceiveWindow::new(64_000, 1_000_000);
        let mut now = Instant::ZERO;
        window.on_read(now, 0, || RTT);
        let mut sizes = Vec::new();
        // A sender limited by the window only: one full buffer per round trip, in 1 ms steps.
        for _ in 0..6 {
            let per_step = window.buffer() / 10;
            for _ in 0..10 {
                now += Duration::from_millis(1);
                window.on_read(now, per_step, || RTT);
            }
            sizes.push(window.buffer());
        }
        assert_eq!(sizes, [128_000, 256_000, 512_000, 1_000_000, 1_000_000, 1_000_000]);
    }

    #[test]
    fn a_slow_application_does_not() {
        let mut window = ReceiveWindow::new(64_000, 1_000_000);
        for millis in 0..1_000 {
            window.on_read(Instant::from_millis(millis), 3_200, || RTT);
        }
        assert_eq!(window.buffer(), 64_000, "exactly half the buffer per round trip");
        window.on_read(Instant::from_millis(1_000), 0, || RTT);
        window.on_read(Instant::from_millis(1_005), 500_000, || RTT);
        assert_eq!(window.buffer(), 64_000, "not before a round trip has passed");
        window.on_read(Instant::from_millis(1_010), 1, || RTT);
        assert_eq!(window.buffer(), 1_000_000);
        for millis in 1_011..2_000 {
            window.on_read(Instant::from_millis(millis), 1, || RTT);
        }
        assert_eq!(window.buffer(), 1_000_000, "never shrinks");
    }

    #[test]
    fn nothing_is_concluded_without_a_round_trip_time() {
        let mut window = ReceiveWindow::new(1_000, 100_000);
        window.on_read(Instant::ZERO, 5_000, || RTT);
        window.on_read(Instant::from_millis(20), 5_000, || None);
        assert_eq!(window.buffer(), 1_000);
        window.on_read(Instant::from_millis(30), 1_000, || RTT);
        assert_eq!(window.buffer(), 12_000, "the first read is left out, the second was counted");
    }

    #[test]
    fn growth_moves_the_edge() {
        let mut window = ReceiveWindow::new(1_000, 100_000);
        window.advertise(0, 0, 0);
        window.on_read(Instant::ZERO, 0, || RTT);
        window.on_read(Instant::from_millis(10), 1_000, || RTT);
        assert!(window.update_needed(1_000, 0, 100));
        assert_eq!(window.advertise(1_000, 0, 0), 2_000);
    }

    #[test]
    fn updates_wait_for_a_worthwhile_step() {
        let mut window = ReceiveWindow::new(10_000, 10_000);
        window.advertise(0, 0, 0);
        assert!(!window.update_needed(0, 0, 1_000));
        assert!(!window.update_needed(1_999, 0, 1_000));
        assert!(window.update_needed(2_000, 0, 1_000), "two segments");
        assert!(!window.update_needed(2_000, 1, 1_000), "one byte is still unread");
        assert!(!window.update_needed(4_999, 0, 9_000));
        assert!(window.update_needed(5_000, 0, 9_000), "half the buffer");
        window.advertise(5_000, 0, 0);
        assert!(!window.update_needed(5_000, 0, 9_000));
    }

    #[test]
    fn sizes_stay_within_what_tcp_can_announce() {
        let mut window = ReceiveWindow::new(usize::MAX, usize::MAX);
        assert_eq!(window.buffer(), WINDOW_MAX);
        assert_eq!(window.advertise(7, 0, 0), WINDOW_MAX as u32);
        assert_eq!(ReceiveWindow::new(500, 100).buffer(), 100);
    }
}
