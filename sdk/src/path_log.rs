//! The last things that happened to paths, for those who come to look.

use std::collections::VecDeque;
use std::net::IpAddr;

use mptcp_core::Event;
use tcp_adapter::Instant;

/// Something that happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathEvent {
    /// An event of the stack that concerns connections, subflows or addresses.
    Stack(Event),
    /// The link of an interface works (true), or does not any more.
    Link {
        /// Name of the interface.
        interface: String,
        /// Whether it works.
        up: bool,
    },
    /// An interface has got an address (true), or has lost it.
    Address {
        /// Name of the interface.
        interface: String,
        /// The address.
        addr: IpAddr,
        /// Whether it is there.
        there: bool,
    },
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathLogEntry {
    /// Counts all entries from 1.
    pub number: u64,
    /// When, on the engine's clock.
    pub at: Instant,
    /// What.
    pub event: PathEvent,
}

/// Entries that are kept.
const MAX_ENTRIES: usize = 1024;

/// The log of an engine.
#[derive(Debug, Default)]
pub(crate) struct PathLog {
    entries: VecDeque<PathLogEntry>,
    last: u64,
}

impl PathLog {
    /// Enters an event of the stack, if it is about paths.
    pub(crate) fn note_event(&mut self, at: impl FnOnce() -> Instant, event: Event) {
        let about_paths =
            !matches!(event, Event::Incoming(_) | Event::Readable(_) | Event::Writable(_) | Event::Finished(_));
        if about_paths {
            self.note(at(), PathEvent::Stack(event));
        }
    }

    pub(crate) fn note(&mut self, at: Instant, event: PathEvent) {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.last += 1;
        self.entries.push_back(PathLogEntry { number: self.last, at, event });
    }

    /// The entries after the one with this number, the oldest first.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &PathLogEntry> {
        self.entries.iter().filter(move |entry| entry.number > number)
    }

    /// The number of the last entry, 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entries_are_kept_and_numbered() {
        let mut log = PathLog::default();
        let link = |up| PathEvent::Link { interface: "eth7".to_owned(), up };
        for turn in 0..2000_u64 {
            log.note(Instant::from_millis(turn), link(turn % 2 == 0));
        }
        assert_eq!(
            (log.last(), log.after(0).count(), log.after(1990).count(), log.after(2000).count()),
            (2000, 1024, 10, 0)
        );
        let first = log.after(1999).next().unwrap();
        assert_eq!((first.number, &first.event), (2000, &link(false)));
    }
}
