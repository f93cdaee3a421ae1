//! Counters under the names of the Linux kernel's MIB (`MPTcpExt…` in `/proc/net/netstat`).

/// Declares the counters once: the enum, the table of names and the count follow from the list.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A counter. The variant is the kernel's name without the prefix `MPTcpExt`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $name,)*
        }

        const NAMES: &[&str] = &[$(concat!("MPTcpExt", stringify!($name)),)*];
    };
}

counters! {
    /// SYNs with MP_CAPABLE received.
    MPCapableSYNRX,
    /// SYNs with MP_CAPABLE sent, retransmissions included.
    MPCapableSYNTX,
    /// SYN/ACKs with MP_CAPABLE received.
    MPCapableSYNACKRX,
    /// Third ACKs with MP_CAPABLE received.
    MPCapableACKRX,
    /// Passive opens that fell back since the third ACK had no valid MP_CAPABLE.
    MPCapableFallbackACK,
    /// Active opens that fell back since the SYN/ACK had no valid MP_CAPABLE.
    MPCapableFallbackSYNACK,
    /// Active opens that dropped MP_CAPABLE after unanswered SYNs.
    MPCapableSYNTXDrop,
    /// Active opens that got an answer only without MP_CAPABLE.
    Blackhole,
    /// Active opens that were not MPTCP by configuration, for lack of a token or because of an earlier black hole.
    MPCapableSYNTXDisabled,
    /// Connections that fell back since their first data came without a valid mapping.
    MPCapableDataFallback,
    /// Connections that fell back since data was acknowledged without DATA_ACK, or DSS was stripped.
    DssFallback,
    /// Active opens that fell back since both ends opened at once.
    SimultConnectFallback,
    /// Situations that asked for a fallback when it was no longer possible.
    FallbackFailed,
    /// Connections that fell back since no unique token could be drawn.
    MPFallbackTokenInit,
    /// Segments sent again at the connection level (re-injections).
    MPTCPRetrans,
    /// MP_JOIN SYNs with a token that no connection has.
    MPJoinNoTokenFound,
    /// MP_JOIN SYNs sent.
    MPJoinSynTx,
    /// MP_JOIN SYNs that could not be sent.
    MPJoinSynTxConnectErr,
    /// MP_JOIN SYNs received.
    MPJoinSynRx,
    /// MP_JOIN SYNs with the backup flag received.
    MPJoinSynBackupRx,
    /// MP_JOIN SYN/ACKs received.
    MPJoinSynAckRx,
    /// MP_JOIN SYN/ACKs with the backup flag received.
    MPJoinSynAckBackupRx,
    /// MP_JOIN SYN/ACKs whose HMAC was wrong.
    MPJoinSynAckHMacFailure,
    /// MP_JOIN ACKs received.
    MPJoinAckRx,
    /// MP_JOIN ACKs whose HMAC was wrong or missing.
    MPJoinAckHMacFailure,
    /// MP_JOIN SYNs that were refused by limits or state.
    MPJoinRejected,
    /// Data segments that no mapping covered.
    DSSNotMatching,
    /// DSS mappings that changed an earlier one.
    DSSCorruptionReset,
    /// Infinite mappings sent.
    InfiniteMapTx,
    /// Infinite mappings received.
    InfiniteMapRx,
    /// Mappings whose checksum did not fit the data.
    DataCsumErr,
    /// Segments queued out of order at the connection level.
    OFOQueue,
    /// Bytes dropped as duplicates at the connection level.
    DuplicateData,
    /// ADD_ADDR received.
    AddAddr,
    /// ADD_ADDR sent.
    AddAddrTx,
    /// ADD_ADDR echoes received.
    EchoAdd,
    /// ADD_ADDR echoes sent.
    EchoAddTx,
    /// ADD_ADDR that did not fit into any segment.
    AddAddrTxDrop,
    /// ADD_ADDR with a port received.
    PortAdd,
    /// ADD_ADDR not acted on, by limit or policy.
    AddAddrDrop,
    /// ADD_ADDR with a wrong HMAC.
    AddAddrHMacFailure,
    /// REMOVE_ADDR received.
    RmAddr,
    /// REMOVE_ADDR sent.
    RmAddrTx,
    /// REMOVE_ADDR for an id that is not known.
    RmAddrDrop,
    /// Subflows closed by a REMOVE_ADDR.
    RmSubflow,
    /// MP_PRIO sent.
    MPPrioTx,
    /// MP_PRIO received.
    MPPrioRx,
    /// MP_FAIL sent.
    MPFailTx,
    /// MP_FAIL received.
    MPFailRx,
    /// MP_FASTCLOSE sent.
    MPFastcloseTx,
    /// MP_FASTCLOSE received.
    MPFastcloseRx,
    /// MP_TCPRST sent.
    MPRstTx,
    /// MP_TCPRST received.
    MPRstRx,
    /// Subflows that stopped answering.
    SubflowStale,
    /// Subflows that answered again.
    SubflowRecover,
    /// Established connections now.
    MPCurrEstab,
    /// Bytes that arrived beyond the connection-level window.
    RcvPruned,
    /// SYNs dropped for a full backlog or want of memory.
    BacklogDrop,
    /// Window probes sent at the connection level.
    WinProbe,
    /// Malformed MPTCP options; the kernel has no such counter.
    OptionMalformed,
}

/// The counters of one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mib {
    values: [u64; NAMES.len()],
}

impl Mib {
    /// The value of one counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// All counters with the kernel's names, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NAMES.iter().copied().zip(self.values.iter().copied())
    }

    pub(crate) fn bump(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    pub(crate) fn add(&mut self, counter: Counter, amount: u64) {
        let value = &mut self.values[counter as usize];
        *value = value.saturating_add(amount);
    }

    pub(crate) fn lower(&mut self, counter: Counter) {
        let value = &mut self.values[counter as usize];
        *value = value.saturating_sub(1);
    }
}

impl Default for Mib {
    fn default() -> Self {
        Self { values: [0; NAMES.len()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_carry_the_kernels_names() {
        let mut mib = Mib::default();
        mib.bump(Counter::MPJoinAckRx);
        mib.add(Counter::OFOQueue, 3);
        mib.lower(Counter::MPCurrEstab);
        assert_eq!(mib.get(Counter::MPJoinAckRx), 1);
        let set: Vec<_> = mib.iter().filter(|(_, value)| *value > 0).collect();
        assert_eq!(set, [("MPTcpExtMPJoinAckRx", 1), ("MPTcpExtOFOQueue", 3)]);
    }
}
