//! What hosts have done with a subsystem, for its SMART / health log.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::command::IoCommand;

/// Queues with the same number modulo this count in one place. Those of a host on different cores do not, and so do not wait for each other's caches.
const PLACES: usize = 16;
/// Bytes of what the log counts in thousands.
const DATA_UNIT: u64 = 512;

/// Commands that stores have executed, and their data.
#[derive(Debug, Default)]
pub(super) struct Usage {
    places: [Place; PLACES],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Place {
    read: Counters,
    written: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    commands: AtomicU64,
    units: AtomicU64,
}

/// What one direction comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) commands: u64,
    /// In units of 512 bytes.
    pub(super) units: u64,
}

impl Total {
    /// In thousands, rounded up, as the log has it.
    pub(super) fn thousands(self) -> u128 {
        u128::from(self.units).div_ceil(1000)
    }
}

impl Usage {
    /// A command of this I/O queue was executed on so many bytes.
    pub(super) fn note(&self, queue: u16, command: &IoCommand, bytes: u64) {
        let place = &self.places[usize::from(queue) % PLACES];
        let counters = match command {
            IoCommand::Read { .. } | IoCommand::Compare { .. } | IoCommand::Verify { .. } => &place.read,
            IoCommand::Write { .. } => &place.written,
            _ => return,
        };
        counters.commands.fetch_add(1, Ordering::Relaxed);
        counters.units.fetch_add(bytes / DATA_UNIT, Ordering::Relaxed);
    }

    /// What was read, compared and verified.
    pub(super) fn read(&self) -> Total {
        self.total(|place| &place.read)
    }

    /// What was written.
    pub(super) fn written(&self) -> Total {
        self.total(|place| &place.written)
    }

    fn total(&self, which: fn(&Place) -> &Counters) -> Total {
        self.places.iter().map(which).fold(Total::default(), |sum, counters| Total {
            commands: sum.commands + counters.commands.load(Ordering::Relaxed),
            units: sum.units + counters.units.load(Ordering::Relaxed),
        })
    }
}
