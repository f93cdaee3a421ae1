//! Whether what the stacks have counted is what the network has seen, and what it explains.

use mptcp_core::Counter;

use super::Fault;
use crate::run::census::Sign;
use crate::run::rest::HostRest;
use crate::scenario::{Behaviour, Link, LinkSpec, Middlebox, OptionChoice, Probability, Scenario};

/// Counters of what only somebody on the way could cause.
const NEVER: [Counter; 15] = [
    Counter::MPCapableFallbackSYNACK,
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
    for counter in NEVER {
        let value = mib.get(counter);
        // After a few SYNs without an answer, the next ones do not offer Multipath TCP.
        let least = if counter == Counter::MPCapableFallbackSYNACK { mib.get(Counter::MPCapableSYNTXDrop) } else { 0 };
        if value > least && !scenario.middleboxes.iter().any(|middlebox| explains(scenario, middlebox, counter)) {
            faults.push(Fault::Counter { host: name.clone(), counter: format!("{counter:?}"), value });
        }
    }
    let open = mib.get(Counter::MPCurrEstab);
    if open > 0 {
        faults.push(Fault::Counter { host: name.clone(), counter: "MPCurrEstab".to_owned(), value: open });
    }
}

/// Whether what a middlebox does may lead to what a counter of [`NEVER`] counts.
fn explains(scenario: &Scenario, middlebox: &Middlebox, counter: Counter) -> bool {
    match middlebox.behaviour {
        Behaviour::StripOption(which) => is_missed(scenario, which.option, counter),
        Behaviour::AlterOption(which) => is_garbled(which.option, counter),
        // Mappings of segments that were joined to others are gone.
        Behaviour::Coalesce { .. } => FALLBACK.contains(&counter) || counter == Counter::DSSNotMatching,
        // Data is acknowledged by somebody who knows nothing of DATA_ACKs.
        Behaviour::ProxyAck => FALLBACK.contains(&counter),
        Behaviour::AlterPayload { .. } => {
            scenario.mptcp.checksum && (FALLBACK.contains(&counter) || counter == Counter::DataCsumErr)
        }
        // Options and payload stay together, whatever becomes of segments and addresses.
        Behaviour::Nat { .. }
        | Behaviour::RewriteSequence
        | Behaviour::Split { .. }
        | Behaviour::DropSyn { .. }
        | Behaviour::Replay { .. }
        | Behaviour::Reset { .. } => false,
    }
}

/// Counters of fallbacks of established connections.
const FALLBACK: [Counter; 7] = [
    Counter::MPCapableFallbackACK,
    Counter::MPCapableDataFallback,
    Counter::DssFallback,
    Counter::FallbackFailed,
    Counter::InfiniteMapTx,
    Counter::InfiniteMapRx,
    Counter::MPFailTx,
];

/// Whether it may count that an option is missing. What is there is as it was sent.
fn is_missed(scenario: &Scenario, option: OptionChoice, counter: Counter) -> bool {
    let fallback = FALLBACK.contains(&counter);
    match option {
        OptionChoice::Mptcp | OptionChoice::MpCapable | OptionChoice::All => {
            fallback || matches!(counter, Counter::MPCapableFallbackSYNACK | Counter::DSSNotMatching)
        }
        OptionChoice::Dss => fallback || counter == Counter::DSSNotMatching,
        // An announcement that leaves no room for a DATA_ACK may come before the first one of these, and then without anything.
        OptionChoice::AddAddr => fallback && !scenario.links.iter().all(keeps_all_in_order),
        _ => false,
    }
}

/// Whether what a link takes arrives, as it was sent and after what was sent before.
fn keeps_all_in_order(link: &Link) -> bool {
    let is_even = |spec: &LinkSpec| {
        let whole = spec.loss.is_none() && spec.corrupt.p == Probability::ZERO;
        whole && spec.jitter.is_none() && spec.reorder.is_none() && spec.steps.is_none()
    };
    link.events.is_empty() && is_even(&link.up) && is_even(&link.down)
}

/// Whether it may count that a bit of an option is another.
fn is_garbled(option: OptionChoice, counter: Counter) -> bool {
    match option {
        // Keys are wrong, and with them all that depends on them, or DSS is. Tokens are drawn regardless.
        OptionChoice::Mptcp | OptionChoice::MpCapable | OptionChoice::All => counter != Counter::MPFallbackTokenInit,
        OptionChoice::Dss => {
            FALLBACK.contains(&counter)
                || matches!(
                    counter,
                    Counter::DSSNotMatching
                        | Counter::DSSCorruptionReset
                        | Counter::DataCsumErr
                        | Counter::OptionMalformed
                )
        }
        OptionChoice::MpJoin => matches!(counter, Counter::MPJoinSynAckHMacFailure | Counter::OptionMalformed),
        OptionChoice::AddAddr => matches!(counter, Counter::AddAddrHMacFailure | Counter::OptionMalformed),
        OptionChoice::RemoveAddr
        | OptionChoice::MpPrio
        | OptionChoice::MpFail
        | OptionChoice::MpFastclose
        | OptionChoice::MpTcprst => counter == Counter::OptionMalformed,
        OptionChoice::Sack | OptionChoice::Timestamps | OptionChoice::WindowScale | OptionChoice::Mss => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_explained(middlebox: &str, counter: Counter) -> bool {
        is_explained_over("", middlebox, counter)
    }

    fn is_explained_over(link: &str, middlebox: &str, counter: Counter) -> bool {
        let text = format!(
            "[links.p1]\n{link}[mptcp]\nchecksum = true\n[middlebox.m]\nlink = \"p1\"\n{middlebox}\n\
             [[traffic]]\nbytes = \"1B\"\n"
        );
        let scenario = Scenario::parse(&text, "test").unwrap();
        explains(&scenario, &scenario.middleboxes[0], counter)
    }

    #[test]
    fn middleboxes_explain_what_they_do_and_nothing_else() {
        let harmless = [
            "kind = \"nat\"",
            "kind = \"rewrite-sequence\"",
            "kind = \"split\"\nsize = \"99B\"",
            "kind = \"replay\"\nevery = 9\ndelay = \"1ms\"",
            "kind = \"drop-syn\"\noption = \"mptcp\"",
            "kind = \"strip-option\"\noption = \"sack\"",
        ];
        for middlebox in harmless {
            let explained: Vec<_> = NEVER.into_iter().filter(|counter| is_explained(middlebox, *counter)).collect();
            assert_eq!(explained, [], "{middlebox}");
        }
        let join = "kind = \"alter-option\"\noption = \"mp_join\"";
        assert!(is_explained(join, Counter::MPJoinSynAckHMacFailure) && !is_explained(join, Counter::DataCsumErr));
        let strip = "kind = \"strip-option\"\noption = \"dss\"";
        assert!(is_explained(strip, Counter::DssFallback) && !is_explained(strip, Counter::OptionMalformed));
        let payload = "kind = \"alter-payload\"\nevery = 9";
        assert!(is_explained(payload, Counter::DataCsumErr) && !is_explained(payload, Counter::AddAddrHMacFailure));
        let announcements = "kind = \"strip-option\"\noption = \"add_addr\"";
        assert!(!is_explained(announcements, Counter::DssFallback));
        for uneven in ["loss = \"1%\"\n", "jitter = \"1ms\"\n", "reorder = { p = \"1%\", gap = 3 }\n"] {
            assert!(is_explained_over(uneven, announcements, Counter::DssFallback), "{uneven}");
        }
    }
}
