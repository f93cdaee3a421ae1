//! Everything at once, as a multipath layer would do it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::Factory;
use super::hook::mapping;
use super::wire::{Link, Pump, Random, Wire, assert_pattern};
use crate::{CloseReason, Verdict};

/// Bytes each way.
const TOTAL: u64 = 60_000;

/// Windows that close, move and open, acknowledgements for their options at any time, and a
/// bad wire: all bytes arrive, and both ends close.
pub fn moving_windows_and_signals_over_a_bad_wire(factory: Factory) {
    for seed in 0..40 {
        run(factory, 1_000 + seed);
    }
}

fn run(factory: Factory, seed: u64) {
    let mut wire = Wire::new(factory, seed);
    wire.listen();
    let budgets = [0, 1].map(|end| install(&mut wire, end, seed));
    let ids = wire.open(seed.is_multiple_of(2));
    let loss = u32::try_from(seed % 5 * 30).expect("small");
    wire.set_links(Link { loss, duplicate: 20, reorder: 60, ..Link::default() });
    for end in [0, 1] {
        let pump = Pump { chunk: 5_000, vary: true, close: true, ..Pump::new(TOTAL) };
        wire.ends[end].pumps.insert(ids[end], pump);
    }
    let mut random = Random(seed);
    let deadline = wire.now + Duration::from_secs(4_000);
    while wire.now < deadline && (wire.closed(0, ids[0]).is_none() || wire.closed(1, ids[1]).is_none()) {
        let end = usize::from(random.below(2) == 0);
        match random.below(4) {
            // A window stays closed at times, and nothing is said when it opens.
            0 => budgets[end].set(budgets[end].get() + random.below(20_000)),
            1 => {
                budgets[end].set(budgets[end].get() + random.below(20_000));
                let now = wire.now;
                wire.ends[end].stack.ack_now(now, ids[end]);
            }
            2 => {
                let now = wire.now;
                wire.ends[end].stack.ack_now(now, ids[end]);
            }
            _ => {
                let now = wire.now;
                wire.ends[end].stack.probe(now, ids[end]);
            }
        }
        let pause = if random.below(20) == 0 { 3_000_000 } else { 30_000 };
        wire.run_for(Duration::from_micros(random.below(pause)));
    }
    for end in [0, 1] {
        assert_pattern(wire.inbox(end, ids[end]), TOTAL);
        assert_eq!(wire.closed(end, ids[end]), Some(CloseReason::Normal), "seed {seed}, end {end}");
    }
}

/// A window that ends at a point that the case moves, large options, and some segments taken for signals.
fn install(wire: &mut Wire, end: usize, seed: u64) -> Rc<Cell<u64>> {
    let budget = Rc::new(Cell::new(10_000u64));
    let received = Rc::new(Cell::new(0u64));
    let hook = &mut wire.ends[end].hook;
    let arrived = Rc::clone(&received);
    let mut random = Random(seed + end as u64);
    hook.on_segment = Box::new(move |_, segment| {
        // What is out of order stays uncounted, so the window moves in jumps.
        if segment.offset <= arrived.get() {
            arrived.set(arrived.get().max(segment.offset + segment.len as u64));
        }
        if random.below(3) == 0 { Verdict::AcceptSignal } else { Verdict::Accept }
    });
    let limit = Rc::clone(&budget);
    hook.on_transmit = Box::new(move |_, segment, options| {
        // In a SYN there is no room for it.
        let _ = options.push(&mapping(segment.chunk));
        Some(u32::try_from(limit.get().saturating_sub(received.get())).expect("a small window"))
    });
    budget
}
