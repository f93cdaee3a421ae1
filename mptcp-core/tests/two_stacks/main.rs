//! Two whole stacks on wires in memory and in virtual time, over the same TCP and over different ones.
#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected shall fail")]
#![expect(clippy::needless_range_loop, reason = "hosts are told apart by their number")]
#![expect(clippy::duplicate_mod, reason = "the tests run over every pair of TCPs")]

mod middlebox;
mod tcp;

/// All tests, with hosts 0 and 1 over these TCPs, and `more` that need what these can do.
macro_rules! suite {
    ($name:ident, $tcps:expr $(, $more:ident)*) => {
        #[path = "."]
        mod $name {
            const TCPS: [crate::tcp::Tcp; 2] = $tcps;

            mod addresses;
            mod blackhole;
            mod closing;
            mod cork;
            mod coupling;
            mod ends;
            mod failover;
            mod fallback;
            mod handshake;
            mod hostile;
            mod joins;
            mod keepalive;
            mod links;
            mod log;
            mod mappings;
            mod moving;
            mod pacing;
            mod paths;
            mod policy;
            mod random;
            mod resets;
            mod schedulers;
            mod signalling;
            mod transfer;
            mod truncation;
            mod world;
            $(mod $more;)*
        }
    };
}

suite!(native, [crate::tcp::Tcp::Native; 2], cookies, fast_open, qos);
suite!(smoltcp, [crate::tcp::Tcp::Smoltcp; 2], no_fast_open);
suite!(native_and_smoltcp, [crate::tcp::Tcp::Native, crate::tcp::Tcp::Smoltcp], no_fast_open);
suite!(smoltcp_and_native, [crate::tcp::Tcp::Smoltcp, crate::tcp::Tcp::Native], cookies, no_fast_open);
