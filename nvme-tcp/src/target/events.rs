//! Asynchronous events of a controller.

use std::collections::VecDeque;

use super::queue::SlotId;
use crate::command::{AsyncEvent, EventMask, lid};

/// Asynchronous Event Requests that may be outstanding: AERL + 1.
pub(super) const MAX_REQUESTS: usize = 4;

/// The events that there are, each with the bit of the mask that enables it.
const KINDS: [(AsyncEvent, EventMask); 3] = [
    (AsyncEvent::NAMESPACES_CHANGED, EventMask::NAMESPACE_ATTRIBUTES),
    (AsyncEvent::ANA_CHANGED, EventMask::ANA_CHANGE),
    (AsyncEvent::DISCOVERY_CHANGED, EventMask::DISCOVERY_LOG),
];

/// Which requests wait for events, and which events for requests.
///
/// An event that was reported is not reported again before the host has read its log page; what happens until then is in the page.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) mask: EventMask,
    waiting: VecDeque<SlotId>,
    states: [EventState; KINDS.len()],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EventState {
    #[default]
    Quiet,
    /// It happened; a request is needed.
    Pending,
    /// The host knows, and has not read the page.
    Reported,
    /// The host knows, but it happened again.
    ReportedAndPending,
}

impl Events {
    /// Keeps a request; false if there are too many.
    pub(super) fn wait(&mut self, request: SlotId) -> bool {
        let room = self.waiting.len() < MAX_REQUESTS;
        if room {
            self.waiting.push_back(request);
        }
        room
    }

    /// An event happened.
    pub(super) fn raise(&mut self, event: AsyncEvent) {
        for ((kind, mask), state) in KINDS.iter().zip(&mut self.states) {
            if *kind == event && self.mask.contains(*mask) {
                *state = match *state {
                    EventState::Quiet | EventState::Pending => EventState::Pending,
                    EventState::Reported | EventState::ReportedAndPending => EventState::ReportedAndPending,
                };
            }
        }
    }

    /// The host has read a log page.
    pub(super) fn page_was_read(&mut self, page: u8) {
        for ((kind, _), state) in KINDS.iter().zip(&mut self.states) {
            if kind.log_page == page {
                *state = match *state {
                    // What the page says now includes what happened in between.
                    EventState::Reported | EventState::ReportedAndPending => EventState::Quiet,
                    other => other,
                };
            }
        }
    }

    /// A request that an event completes.
    pub(super) fn next(&mut self) -> Option<(SlotId, AsyncEvent)> {
        let index = self.states.iter().position(|state| *state == EventState::Pending)?;
        let request = self.waiting.pop_front()?;
        self.states[index] = EventState::Reported;
        Some((request, KINDS[index].0))
    }

    /// Takes a request out, if it waits.
    pub(super) fn abort(&mut self, request: SlotId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| *waiting != request);
        self.waiting.len() != before
    }

    /// The controller was reset: takes all requests out and forgets all events.
    pub(super) fn reset(&mut self) -> VecDeque<SlotId> {
        std::mem::take(self).waiting
    }
}

/// What an event configuration may enable with a controller for I/O, or for discovery.
pub(super) const fn available(discovery: bool) -> EventMask {
    if discovery { EventMask::DISCOVERY_LOG } else { EventMask::NAMESPACE_ATTRIBUTES.union(EventMask::ANA_CHANGE) }
}

const _: () = assert!(AsyncEvent::ANA_CHANGED.log_page == lid::ANA);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_reported_once_until_its_page_is_read() {
        let mut events = Events { mask: EventMask::ANA_CHANGE, ..Events::default() };
        events.raise(AsyncEvent::NAMESPACES_CHANGED);
        assert!(events.wait(1) && events.wait(2));
        assert_eq!(events.next(), None, "not enabled");
        events.raise(AsyncEvent::ANA_CHANGED);
        assert_eq!(events.next(), Some((1, AsyncEvent::ANA_CHANGED)));
        events.raise(AsyncEvent::ANA_CHANGED);
        assert_eq!(events.next(), None);
        events.page_was_read(lid::CHANGED_NAMESPACES);
        events.page_was_read(lid::ANA);
        assert_eq!(events.next(), None, "the page had it");
        events.raise(AsyncEvent::ANA_CHANGED);
        assert_eq!(events.next(), Some((2, AsyncEvent::ANA_CHANGED)));
    }

    #[test]
    fn events_wait_for_requests_and_requests_are_limited() {
        let mut events = Events { mask: available(false), ..Events::default() };
        events.raise(AsyncEvent::NAMESPACES_CHANGED);
        assert_eq!(events.next(), None);
        for request in 0..4 {
            assert!(events.wait(request));
        }
        assert!(!events.wait(4));
        assert_eq!(events.next(), Some((0, AsyncEvent::NAMESPACES_CHANGED)));
        assert!(events.abort(2) && !events.abort(2));
        assert_eq!(events.reset(), [1, 3]);
    }
}
