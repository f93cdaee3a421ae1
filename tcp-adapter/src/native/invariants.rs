//! What must hold whatever a peer sends, for tests to check.

use super::pairs::Entry;
use super::send::Fin;
use super::{NativeStack, State};
use crate::TcpId;

impl NativeStack {
    /// Checks what ties the state of connections together.
    ///
    /// # Panics
    /// If something does not hold, with what.
    pub fn check_invariants(&mut self) {
        let mut held = 0;
        let mut seen = 0;
        for (id, state) in self.connections.iter() {
            seen += 1;
            let conn = match state {
                State::Live(conn) => conn,
                State::Ended(ended) => {
                    let unread: usize = ended.received.iter().map(|received| received.bytes.len()).sum();
                    assert_eq!(
                        ended.charged, unread,
                        "{id:?} has ended and is charged with something else than is unread"
                    );
                    held += unread;
                    continue;
                }
            };
            let entry = self.pair(&conn.template.tuple());
            assert!(matches!(entry, Some(Entry::Connection(known)) if *known == id), "{id:?}");
            let send = &conn.send;
            let end = send.buffer.end() + u64::from(matches!(send.fin, Fin::Sent | Fin::Acked));
            assert!(send.una <= send.nxt && send.nxt <= end, "{id:?}: {} {} {end}", send.una, send.nxt);
            assert_eq!(send.fin == Fin::Acked, send.una > send.buffer.end(), "{id:?}: {:?}", send.fin);
            send.flight.check(send.una, send.nxt);
            assert!(send.control.cwnd() >= u64::from(send.mss.min(1)), "{id:?}: a window of nothing");
            conn.receive.check_invariants(&self.config);
            assert!(send.buffer.held() <= self.config.send_buffer, "{id:?}: {} bytes to be sent", send.buffer.held());
            let holds = send.buffer.held() + conn.receive.held();
            assert_eq!(conn.charged, holds, "{id:?} holds something else than it is charged with");
            held += holds;
        }
        assert_eq!(self.memory.held(), held);
        assert!(held <= self.config.memory_limit, "{held} bytes held");
        assert_eq!(seen, self.connections.len());
        let dirty: Vec<TcpId> = self.dirty.iter().copied().collect();
        for id in dirty {
            assert!(self.live(id).is_none_or(|conn| conn.dirty), "{id:?} is in the list twice or by mistake");
        }
    }
}
