//! The receive window of a connection whose layer above has none of its own.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Instant;

/// Largest shift of a window (RFC 7323 section 2.3).
const MAX_SHIFT: u8 = 14;
/// Largest value of the window field.
const MAX_FIELD: u32 = 65_535;
/// No round-trip time known.
const UNKNOWN: u32 = u32::MAX;
/// No window is being timed.
const NEXT: u64 = u64::MAX;

/// What one end lets the other send, and how much that becomes.
///
/// The buffer is a permission, not memory: there is as much memory as there are bytes received and not read.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    /// End of the largest window that was advertised.
    edge: u64,
    /// Bytes that may be held, at present and at most.
    buffer: u32,
    limit: u32,
    /// Bytes besides those that are held for which the stack had memory when that was last looked at.
    free: u32,
    shift: u8,
    /// Boxed, and not there while the layer above has windows of its own: very many connections have such a layer.
    tuning: Option<Box<Tuning>>,
}

/// What the buffer grows by.
#[derive(Debug)]
struct Tuning {
    /// Nanoseconds of a round trip, or [`UNKNOWN`].
    rtt: u32,
    /// When the measurement that is going on began, and what had been read by then.
    since: Instant,
    since_read: u64,
    /// The end of a window that was new when it was advertised, and when that was; [`NEXT`] to take the next one.
    timed_edge: u64,
    timed_since: Instant,
}

/// What a window depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveState {
    /// Everything before has been received.
    pub(crate) rcv_nxt: u64,
    /// Everything before has been read by the application.
    pub(crate) read: u64,
    /// Bytes held, in order and not read, or beyond gaps.
    pub(crate) held: u64,
    /// Payload of a full segment of our own, which stands for the peer's (RFC 9293 section 3.8.6.2.2).
    pub(crate) mss: u32,
    /// Whether the stack has little memory left.
    pub(crate) pressure: bool,
}

impl ReceiveWindow {
    /// For buffers of `initial` to `limit` bytes, and a shift of the window field that is 0 if the peer does not scale windows
    /// (RFC 7323 section 2.2). The SYN must have carried [`syn_window`](Self::syn_window).
    pub(crate) fn new(now: Instant, initial: usize, limit: usize, shift: u8) -> Self {
        let shift = shift.min(MAX_SHIFT);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(MAX_FIELD << shift);
        let edge = u64::from(Self::syn_window(initial));
        Self {
            edge,
            // Less than one unit could not be expressed, and the window would stay closed.
            buffer: u32::try_from(initial).unwrap_or(u32::MAX).min(limit).max(1 << shift),
            limit,
            free: u32::MAX,
            shift,
            tuning: Some(Box::new(Tuning::new(now))),
        }
    }

    /// The shift with which a window of `limit` bytes can be expressed, the smallest: a larger one makes it coarser.
    pub(crate) fn shift_for(limit: usize) -> u8 {
        (0..MAX_SHIFT).find(|shift| (MAX_FIELD as usize) << shift >= limit).unwrap_or(MAX_SHIFT)
    }

    /// The window field of a SYN, which is never scaled (RFC 7323 section 2.2).
    pub(crate) fn syn_window(initial: usize) -> u16 {
        u16::try_from(initial).unwrap_or(u16::MAX)
    }

    /// The window field of any other segment.
    pub(crate) fn field(&self, window: u32) -> u16 {
        u16::try_from(window >> self.shift).unwrap_or(u16::MAX)
    }

    /// Bytes before this offset have been permitted and are accepted (RFC 7323 section 2.4: whatever was in any window that was
    /// ever advertised).
    pub(crate) fn edge(&self) -> u64 {
        self.edge
    }

    /// Bytes that may be held at present.
    pub(crate) fn buffer(&self) -> u32 {
        self.buffer
    }

    /// Notes for how many bytes besides those that are held the stack has memory: no more is promised from now on.
    pub(crate) fn note_free(&mut self, bytes: usize) {
        self.free = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// The window for a segment that leaves now, in bytes: a multiple of the scale.
    ///
    /// Its end never moves back by a whole unit of the scale, and forward only by a segment or half of the buffer at least. It is never
    /// farther from what was read than the limit.
    pub(crate) fn advertise(&mut self, now: Instant, state: &ReceiveState) -> u32 {
        let unit = 1u64 << self.shift;
        if let Some(edge) = self.next_edge(state) {
            let window = edge.saturating_sub(state.rcv_nxt) / unit * unit;
            if state.rcv_nxt + window >= self.edge {
                self.move_edge(now, state.rcv_nxt + window);
                return narrow(window);
            }
        }
        let remaining = self.edge.saturating_sub(state.rcv_nxt);
        // Rounding down would take something back, so it is rounded up. A peer that sends single bytes could open the window by that as fast
        // as it fills it: from some excess on, and where the limit is, it is rounded down (RFC 7323 section 2.4 knows such windows).
        let window = remaining.next_multiple_of(unit);
        let most = u64::from(self.buffer + self.buffer / 16).min(u64::from(self.limit));
        if state.rcv_nxt + window > self.edge.max(state.read + most) {
            return narrow(remaining / unit * unit);
        }
        self.edge = state.rcv_nxt + window;
        narrow(window)
    }

    /// The window that the layer above wants to advertise instead, cut to what the limit leaves beside `unread` bytes in order, rounded down to the
    /// scale.
    pub(crate) fn advertise_told(&mut self, rcv_nxt: u64, unread: usize, window: u32) -> u32 {
        let left = self.limit.saturating_sub(u32::try_from(unread).unwrap_or(u32::MAX));
        let window = window.min(left) >> self.shift << self.shift;
        self.edge = self.edge.max(rcv_nxt + u64::from(window));
        if self.tuning.is_some() {
            self.end_tuning();
        }
        window
    }

    /// The layer above has windows of its own, from now on.
    #[cold]
    #[inline(never)]
    fn end_tuning(&mut self) {
        self.tuning = None;
    }

    /// The SYN carries `room` bytes of the stack's own window, from `rcv_nxt` on: data of the peer's SYN may have been taken (RFC 7413 section
    /// 4.2.2). Its window field.
    #[cold]
    #[inline(never)]
    pub(crate) fn own_in_syn(&mut self, rcv_nxt: u64, room: usize) -> u16 {
        let field = Self::syn_window(room);
        self.edge = self.edge.max(rcv_nxt + u64::from(field));
        field
    }

    /// The SYN carries the window that the layer above wants, cut to the limit: nothing else is permitted so far. Its window field.
    pub(crate) fn told_in_syn(&mut self, window: u32) -> u16 {
        let field = u16::try_from(window.min(self.limit)).unwrap_or(u16::MAX);
        self.edge = u64::from(field);
        field
    }

    /// Whether the application has read so much that the peer should be told without waiting for a segment to leave.
    ///
    /// A sender with half of its window left is not stopped yet, and one update for each half of a window is few.
    pub(crate) fn wants_update(&self, state: &ReceiveState) -> bool {
        let remaining = self.edge.saturating_sub(state.rcv_nxt);
        self.next_edge(state).is_some_and(|edge| edge.saturating_sub(state.rcv_nxt) >= 2 * remaining)
    }

    /// The peer has echoed a timestamp that was sent this long ago, on a segment with new data (RFC 7323 section 4).
    ///
    /// The peer may have had nothing to send for part of that time, so less counts at once and more by and by.
    pub(crate) fn on_rtt(&mut self, sample: Duration) {
        let sample = clamp_rtt(u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX));
        if let Some(tuning) = &mut self.tuning {
            tuning.rtt = if sample < tuning.rtt { sample } else { tuning.rtt + (sample - tuning.rtt) / 8 };
        }
    }

    /// Data has arrived: lets the buffer grow if the application has read more than half of it within a round trip. Then the
    /// window is or will be what limits the sender.
    pub(crate) fn on_data(&mut self, now: Instant, state: &ReceiveState) {
        let Some(tuning) = &mut self.tuning else { return };
        if state.rcv_nxt >= tuning.timed_edge {
            // What has arrived could not be sent before the window for it had come, so a round trip takes no longer than this.
            tuning.rtt = tuning.rtt.min(clamp_rtt(since(now, tuning.timed_since)));
            tuning.timed_edge = NEXT;
        }
        if tuning.rtt == UNKNOWN || since(now, tuning.since) < u64::from(tuning.rtt) {
            return;
        }
        let read = state.read.saturating_sub(tuning.since_read);
        if read > u64::from(self.buffer / 2) && !state.pressure {
            self.buffer = self.buffer.saturating_mul(2).min(self.limit);
        }
        tuning.since = now;
        tuning.since_read = state.read;
    }

    fn move_edge(&mut self, now: Instant, edge: u64) {
        let tuning = self.tuning.get_or_insert_with(|| Box::new(Tuning::new(now)));
        if tuning.timed_edge == NEXT && edge > self.edge {
            tuning.timed_edge = edge;
            tuning.timed_since = now;
        }
        self.edge = edge;
    }

    /// Where the window may end now, if that is enough farther than before (RFC 9293 section 3.8.6.2.2).
    fn next_edge(&self, state: &ReceiveState) -> Option<u64> {
        // Short of memory, a few segments at a time keep every connection going, or one unit of the scale, as less than that would be none. What
        // was permitted before stays so.
        let few = state.mss.saturating_mul(4).max(1 << self.shift);
        let buffer = u64::from(if state.pressure { self.buffer.min(few) } else { self.buffer });
        let buffer = buffer.min(state.held.saturating_add(u64::from(self.free)));
        let step = u64::from(state.mss).min(buffer / 2).max(1);
        let edge = state.read + buffer;
        (edge >= self.edge + step).then_some(edge)
    }
}

impl Tuning {
    fn new(now: Instant) -> Self {
        // The window of the SYN may have been known for long.
        Self { rtt: UNKNOWN, since: now, since_read: 0, timed_edge: NEXT, timed_since: now }
    }
}

fn narrow(window: u64) -> u32 {
    u32::try_from(window).unwrap_or(u32::MAX)
}

fn since(now: Instant, earlier: Instant) -> u64 {
    now.as_nanos().saturating_sub(earlier.as_nanos())
}

/// Not zero, and less than [`UNKNOWN`], which is four seconds.
fn clamp_rtt(nanos: u64) -> u32 {
    u32::try_from(nanos).unwrap_or(UNKNOWN).clamp(1, UNKNOWN - 1)
}
