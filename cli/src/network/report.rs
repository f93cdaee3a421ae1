//! What is known of a connection and its paths, whichever stack carries it.

use std::net::SocketAddr;

use serde::Serialize;

/// A connection at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct StreamReport {
    /// Which stack and protocol carry it.
    pub(crate) transport: &'static str,
    /// Why the connection continues as plain TCP; `None` if it does not.
    pub(crate) fallback: Option<String>,
    /// One entry per subflow; plain TCP counts as one subflow.
    pub(crate) subflows: Vec<SubflowReport>,
}

/// A subflow at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SubflowReport {
    /// Number within the connection, where the stack numbers them; 0 elsewhere.
    pub(crate) id: u32,
    /// This end.
    pub(crate) local: SocketAddr,
    /// The other end.
    pub(crate) remote: SocketAddr,
    /// Payload bytes that this subflow has carried away.
    pub(crate) sent: u64,
    /// Payload bytes that have arrived on this subflow.
    pub(crate) received: u64,
    /// False once the subflow is closed.
    pub(crate) live: bool,
}

impl StreamReport {
    /// Takes a newer report, keeping the subflows that have gone since as no longer live.
    ///
    /// A stack forgets a subflow when it closes, but the bytes that it carried belong in the summary.
    pub(crate) fn update(&mut self, newer: StreamReport) {
        let StreamReport { transport, fallback, subflows } = newer;
        self.transport = transport;
        self.fallback = fallback.or_else(|| self.fallback.take());
        for known in &mut self.subflows {
            known.live = false;
        }
        for subflow in subflows {
            match self.subflows.iter_mut().find(|known| known.is_same(&subflow)) {
                Some(known) => *known = subflow,
                None => self.subflows.push(subflow),
            }
        }
    }
}

impl SubflowReport {
    fn is_same(&self, other: &Self) -> bool {
        (self.id, self.local, self.remote) == (other.id, other.local, other.remote)
    }
}

/// The share of each subflow in what all of them carried since `before`, such as `62% / 38%`.
pub(crate) fn shares(before: &StreamReport, now: &StreamReport) -> String {
    let carried: Vec<u64> = deltas(before, now).map(|(sent, received)| sent + received).collect();
    let total = carried.iter().sum::<u64>().max(1);
    let shares: Vec<String> =
        carried.iter().map(|bytes| format!("{:.0}%", *bytes as f64 * 100.0 / total as f64)).collect();
    shares.join(" / ")
}

/// Bytes sent and received on each subflow of `now` since `before`.
pub(crate) fn deltas(before: &StreamReport, now: &StreamReport) -> impl Iterator<Item = (u64, u64)> {
    now.subflows.iter().map(|subflow| {
        let old = before.subflows.iter().find(|old| old.is_same(subflow));
        let (sent, received) = old.map_or((0, 0), |old| (old.sent, old.received));
        (subflow.sent.saturating_sub(sent), subflow.received.saturating_sub(received))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subflow(port: u16, sent: u64) -> SubflowReport {
        let local = SocketAddr::from(([10, 0, 0, 1], port));
        SubflowReport { id: 0, local, remote: SocketAddr::from(([10, 0, 0, 2], 80)), sent, received: 0, live: true }
    }

    fn report(subflows: Vec<SubflowReport>) -> StreamReport {
        StreamReport { transport: "test", fallback: None, subflows }
    }

    #[test]
    fn closed_subflows_stay_in_the_summary() {
        let mut summary = report(vec![subflow(1, 10), subflow(2, 20)]);
        summary.update(report(vec![subflow(2, 50), subflow(3, 5)]));
        let seen: Vec<(u64, bool)> = summary.subflows.iter().map(|s| (s.sent, s.live)).collect();
        assert_eq!(seen, [(10, false), (50, true), (5, true)]);
    }

    #[test]
    fn shares_count_from_the_earlier_report() {
        let before = report(vec![subflow(1, 100)]);
        let now = report(vec![subflow(1, 130), subflow(2, 70)]);
        assert_eq!(shares(&before, &now), "30% / 70%");
        assert_eq!(shares(&now, &now), "0% / 0%");
    }
}
