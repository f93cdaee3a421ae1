//! Windows: what the hook wants is what the peer sees and obeys.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::Factory;
use super::hook::SentSegment;
use super::packet::{ACK, Packet, SYN};
use super::wire::{Pump, Wire, assert_pattern};
use crate::{SegmentKind, TcpId, Verdict};

/// A receiver whose window ends at a point that the case moves.
struct Budget {
    limit: Rc<Cell<u64>>,
}

impl Budget {
    /// Installs the window at an end.
    fn install(wire: &mut Wire, end: usize, limit: u64) -> Self {
        let limit = Rc::new(Cell::new(limit));
        let received = Rc::new(Cell::new(0u64));
        let hook = &mut wire.ends[end].hook;
        let arrived = Rc::clone(&received);
        hook.on_segment = Box::new(move |_, segment| {
            if segment.offset <= arrived.get() {
                arrived.set(arrived.get().max(segment.offset + segment.len as u64));
            }
            Verdict::Accept
        });
        let end = Rc::clone(&limit);
        hook.on_transmit = Box::new(move |_, _, _| {
            Some(u32::try_from(end.get().saturating_sub(received.get())).expect("a small window"))
        });
        Self { limit }
    }

    /// Moves the end, and tells the peer.
    fn extend(&self, wire: &mut Wire, second: TcpId, limit: u64) {
        self.limit.set(limit);
        let now = wire.now;
        wire.ends[1].stack.ack_now(now, second);
    }
}

/// Shift of an end, from its SYN.
fn scale(wire: &Wire, end: usize) -> u32 {
    let syn = wire.sent(end).find(|packet| packet.has(SYN)).expect("a SYN");
    syn.option(3).map_or(0, |value| u32::from(value[0]))
}

/// A constant window of the hook's is on every segment, and the peer stays within it.
pub fn advertised_window_is_the_hooks(factory: Factory) {
    const WINDOW: u32 = 20_000;
    let mut wire = Wire::new(factory, 40);
    wire.listen();
    wire.ends[1].hook.on_transmit = Box::new(|_, _, _| Some(WINDOW));
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(300_000));
    assert!(wire.run_until(Duration::from_secs(30), |wire| wire.inbox(1, second).len() == 300_000));
    assert_pattern(wire.inbox(1, second), 300_000);
    let shift = scale(&wire, 1);
    for SentSegment { segment, .. } in &wire.ends[1].hook.sent {
        let scaled = segment.kind == SegmentKind::Established;
        assert_eq!(u32::from(segment.window_shift), if scaled { shift } else { 0 });
    }
    let mut edge = None;
    let mut full = 0;
    for (from, packet) in &wire.log {
        let syn = packet.has(SYN);
        if *from == 1 {
            let window = u32::from(packet.window) << if syn { 0 } else { shift };
            assert!((WINDOW - (1 << shift) + 1..=WINDOW).contains(&window), "window of {window} in {packet:?}");
            edge = Some(packet.ack.wrapping_add(window));
        } else if let Some(edge) = edge
            && !packet.payload.is_empty()
        {
            let end = packet.seq.wrapping_add(u32::try_from(packet.payload.len()).expect("a packet"));
            let left = edge.wrapping_sub(end).cast_signed();
            assert!(left >= 0, "{} bytes beyond the window", -left);
            full += u32::from(left < 1_500);
        }
    }
    assert!(full > 0, "the window was never used up, so nothing was tested");
}

/// A window that closes stops the peer, and one that opens lets it go on.
pub fn closed_window_opens_again(factory: Factory) {
    let mut wire = Wire::new(factory, 41);
    wire.listen();
    let budget = Budget::install(&mut wire, 1, 30_000);
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(100_000));
    for (limit, next) in [(30_000, 30_000), (60_000, 60_000), (100_000, 200_000)] {
        wire.run_for(Duration::from_secs(5));
        let arrived = wire.inbox(1, second).len();
        // The scale rounds the window down.
        assert!((limit - 300..=limit).contains(&arrived), "{arrived} bytes arrived with a window up to {limit}");
        budget.extend(&mut wire, second, next + 30_000);
        if limit == 60_000 {
            budget.extend(&mut wire, second, 200_000);
        }
        wire.run_for(Duration::from_millis(100));
    }
    assert!(wire.run_until(Duration::from_secs(5), |wire| wire.inbox(1, second).len() == 100_000));
    assert_pattern(wire.inbox(1, second), 100_000);
}

/// The segment that opens a closed window may be lost.
pub fn lost_window_update_is_recovered(factory: Factory) {
    let mut wire = Wire::new(factory, 42);
    wire.listen();
    let budget = Budget::install(&mut wire, 1, 30_000);
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(60_000));
    wire.run_for(Duration::from_secs(3));
    assert!(wire.inbox(1, second).len() <= 30_000);
    let lost = Rc::new(Cell::new(0));
    let count = Rc::clone(&lost);
    wire.ends[1].mangle = Some(Box::new(move |frame| {
        if count.get() == 0 && Packet::parse(&frame).is_some_and(|packet| packet.has(ACK)) {
            count.set(1);
            return vec![];
        }
        vec![frame]
    }));
    budget.extend(&mut wire, second, 1_000_000);
    let done = wire.run_until(Duration::from_secs(200), |wire| wire.inbox(1, second).len() == 60_000);
    assert_eq!(lost.get(), 1);
    assert!(done, "only {} bytes arrived", wire.inbox(1, second).len());
}

/// Both windows are closed with bytes waiting at both ends, and open without a word: probes find out.
pub fn windows_that_open_silently_are_probed(factory: Factory) {
    let mut wire = Wire::new(factory, 44);
    wire.listen();
    let limits = [0, 1].map(|end| Budget::install(&mut wire, end, 10_000).limit);
    let ids = wire.open(true);
    for end in [0, 1] {
        wire.ends[end].pumps.insert(ids[end], Pump::new(30_000));
    }
    wire.run_for(Duration::from_millis(900));
    for limit in &limits {
        limit.set(1_000_000);
    }
    let done = wire.run_until(Duration::from_secs(120), |wire| {
        [0, 1].into_iter().all(|end| wire.inbox(end, ids[end]).len() == 30_000)
    });
    assert!(done, "{} and {} bytes arrived", wire.inbox(0, ids[0]).len(), wire.inbox(1, ids[1]).len());
}

/// What was sent within the window is taken even if the window has closed meanwhile.
pub fn window_that_moves_back_loses_nothing(factory: Factory) {
    let mut wire = Wire::new(factory, 45);
    wire.listen();
    let budget = Budget::install(&mut wire, 1, 1_000_000);
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(800_000));
    wire.run_until(Duration::from_secs(5), |wire| wire.inbox(1, second).len() > 50_000);
    // The next burst has left half a round trip later.
    wire.run_for(Duration::from_millis(15));
    assert!(wire.ends[0].stack.info(first).is_some_and(|info| info.in_flight > 10_000), "nothing is in flight");
    budget.extend(&mut wire, second, 0);
    wire.run_for(Duration::from_millis(500));
    let info = wire.ends[0].stack.info(first).expect("open");
    assert_eq!((info.in_flight, info.retransmissions), (0, 0), "what was in flight was not taken");
    assert!(wire.inbox(1, second).len() < 800_000, "the window never closed");
    budget.extend(&mut wire, second, 2_000_000);
    assert!(wire.run_until(Duration::from_secs(5), |wire| wire.inbox(1, second).len() == 800_000));
    assert_pattern(wire.inbox(1, second), 800_000);
}

/// A byte at a closed window is not taken, but answered, or the peer would not know of the window.
pub fn bytes_at_a_closed_window_are_answered(factory: Factory) {
    let mut wire = Wire::new(factory, 46);
    wire.listen();
    Budget::install(&mut wire, 1, 10_000);
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(10_000));
    wire.run_for(Duration::from_secs(9));
    let template = wire.sent(0).find(|packet| !packet.payload.is_empty()).expect("data").clone();
    let start = wire.sent(0).find(|packet| packet.has(SYN)).expect("a SYN").seq.wrapping_add(1);
    let taken = |wire: &Wire| wire.ends[1].stack.info(second).expect("open").rcv_nxt;
    let mut before = 0;
    for _ in 0..4 {
        wire.log.clear();
        before = taken(&wire);
        let seq = start.wrapping_add(u32::try_from(before).expect("small"));
        wire.inject(1, Packet { seq, payload: vec![1; 1_000], ..template.clone() }.to_frame());
        wire.settle();
        let expected = start.wrapping_add(u32::try_from(taken(&wire)).expect("small"));
        assert!(matches!(&wire.log[..], [(1, answer)] if answer.ack == expected), "{:?}", wire.log);
    }
    // The scale may have left a few bytes of window for the first one.
    assert_eq!(taken(&wire), before);
    assert!(before <= 10_000, "{before} bytes taken");
}

/// Without a window of the hook's, the stack's own closes when nobody reads, and opens when somebody does.
pub fn own_window_follows_the_reader(factory: Factory) {
    const TOTAL: u64 = 8 << 20;
    let mut wire = Wire::new(factory, 43);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[1].reading = false;
    wire.ends[0].pumps.insert(first, Pump::new(TOTAL));
    wire.run_for(Duration::from_secs(30));
    let waiting = wire.ends[1].stack.info(second).expect("open").rcv_nxt;
    assert!(waiting < TOTAL, "everything was taken although nobody read");
    let shift = scale(&wire, 1);
    let last = wire.sent(1).last().expect("acknowledgements");
    assert!(u32::from(last.window) << shift < 1_500, "the window is still open");
    wire.ends[1].reading = true;
    wire.ends[1].read(second);
    wire.log.clear();
    wire.settle();
    assert!(matches!(&wire.log[..], [(1, update), ..] if update.window > 0), "nobody was told: {:?}", wire.log);
    assert!(wire.run_until(Duration::from_secs(60), |wire| wire.inbox(1, second).len() as u64 == TOTAL));
    assert_pattern(wire.inbox(1, second), TOTAL);
}
