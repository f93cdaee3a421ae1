//! Whether what the stacks have counted is what the network has seen, and what it explains.

use mptcp_core::Counter;

use super::Fault;
use crate::run::census::Sign;
use crate::run::rest::HostRest;
use crate::scenario::Scenario;

/// Counters of what only somebody on the way could cause.
const NEVER: [Counter; 14] = [
    Counter::MPCapableFallbackACK,
    Counter::MPCapableDataFallback,
    Counter::DssFallback,
    Counter::FallbackFailed,
    Counter::MPFallbackTokenInit,
    Counter::MPJoinSynAckHMacFailure,
    Counter::DSSNotMatching,
    Counter::DSSCorruptionReset,
    Counter::InfiniteMapTx,
    Counter::InfiniteMapRx,
    Counter::DataCsumErr,
    Counter::MPFailTx,
    Counter::AddAddrHMacFailure,
    Counter::OptionMalformed,
];

/// What is counted each time it is sent.
const SENT: [(Counter, Sign); 6] = [
    (Counter::MPCapableSYNTX, Sign::CapableSyn),
    (Counter::MPJoinSynTx, Sign::JoinSyn),
    (Counter::AddAddrTx, Sign::AddAddr),
    (Counter::EchoAddTx, Sign::EchoAdd),
    (Counter::RmAddrTx, Sign::RemoveAddr),
    (Counter::MPPrioTx, Sign::Prio),
];

/// What is counted once, however often TCP sends it.
const TOLD: [(Counter, Sign); 3] = [
    (Counter::MPFastcloseTx, Sign::Fastclose),
    (Counter::MPFailTx, Sign::Fail),
    (Counter::InfiniteMapTx, Sign::InfiniteMapping),
];

/// What is counted when it is received, unless TCP finds that the segment is not acceptable or was damaged.
const RECEIVED: [(Counter, Sign); 14] = [
    (Counter::MPCapableSYNRX, Sign::CapableSyn),
    (Counter::MPCapableSYNACKRX, Sign::CapableSynAck),
    (Counter::MPCapableACKRX, Sign::Capable),
    (Counter::MPJoinSynRx, Sign::JoinSyn),
    (Counter::MPJoinSynAckRx, Sign::JoinSynAck),
    (Counter::MPJoinAckRx, Sign::JoinAck),
    (Counter::AddAddr, Sign::AddAddr),
    (Counter::EchoAdd, Sign::EchoAdd),
    (Counter::RmAddr, Sign::RemoveAddr),
    (Counter::MPPrioRx, Sign::Prio),
    (Counter::MPFailRx, Sign::Fail),
    (Counter::MPFastcloseRx, Sign::Fastclose),
    (Counter::MPRstRx, Sign::Reset),
    (Counter::InfiniteMapRx, Sign::InfiniteMapping),
];

/// Looks for faults in the counters of a host whose connections are all gone.
pub(super) fn judge(scenario: &Scenario, host: &HostRest, faults: &mut Vec<Fault>) {
    let HostRest { name, mib, seen, .. } = host;
    let mut expect = |counter: Counter, seen: u64, holds: fn(u64, u64) -> bool| {
        let value = mib.get(counter);
        if !holds(value, seen) {
            faults.push(Fault::Miscounted { host: name.clone(), counter: format!("{counter:?}"), value, seen });
        }
    };
    for (counter, sign) in SENT {
        expect(counter, seen.sent.of(sign), |value, seen| value == seen);
    }
    for (counter, sign) in TOLD {
        expect(counter, seen.sent.of(sign), |value, seen| value > 0 || seen == 0);
    }
    for (counter, sign) in RECEIVED {
        expect(counter, seen.received.of(sign), |value, seen| value <= seen);
    }
    let never = if scenario.middleboxes.is_empty() { &NEVER[..] } else { &[] };
    let explained = |counter| match counter {
        // After a few SYNs without an answer, the next ones do not offer Multipath TCP.
        Counter::MPCapableFallbackSYNACK => mib.get(Counter::MPCapableSYNTXDrop),
        _ => 0,
    };
    let fallen_back = (!never.is_empty()).then_some(Counter::MPCapableFallbackSYNACK);
    for counter in never.iter().copied().chain([Counter::MPCurrEstab]).chain(fallen_back) {
        let value = mib.get(counter);
        if value > explained(counter) {
            faults.push(Fault::Counter { host: name.clone(), counter: format!("{counter:?}"), value });
        }
    }
}
