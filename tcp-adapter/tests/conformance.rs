//! The conformance suite on every implementation of `TcpStack`.

/// The smoltcp plug-in.
mod smoltcp {
    use tcp_adapter::TcpStack;
    use tcp_adapter::smoltcp::{SmoltcpConfig, SmoltcpStack};

    fn factory(seed: u64) -> Box<dyn TcpStack> {
        let config = SmoltcpConfig { recv_buffer: 1 << 20, ..SmoltcpConfig::default() };
        Box::new(SmoltcpStack::new(config, seed))
    }

    tcp_adapter::tcp_conformance_tests!(factory);
}

/// The same with windows too small to be scaled, little room, and another congestion control.
mod smoltcp_small {
    use tcp_adapter::TcpStack;
    use tcp_adapter::smoltcp::{CongestionControl, SmoltcpConfig, SmoltcpStack};

    fn factory(seed: u64) -> Box<dyn TcpStack> {
        let config = SmoltcpConfig {
            send_buffer: 40_000,
            recv_buffer: 50_000,
            notsent_lowat: 10_000,
            congestion_control: CongestionControl::Reno,
            ..SmoltcpConfig::default()
        };
        Box::new(SmoltcpStack::new(config, seed))
    }

    tcp_adapter::tcp_conformance_tests!(factory);
}

/// The native engine.
mod native {
    use tcp_adapter::TcpStack;
    use tcp_adapter::native::{NativeConfig, NativeStack};

    fn factory(seed: u64) -> Box<dyn TcpStack> {
        // A SYN beyond the backlog is to be dropped, as the suite has it; cookies have tests of their own.
        let config = NativeConfig { recv_buffer: 1 << 20, syn_cookies: false, ..NativeConfig::default() };
        Box::new(NativeStack::new(config, seed))
    }

    tcp_adapter::tcp_conformance_tests!(factory);
}

/// The same as a peer of the last century: no options, small buffers, windows too small to be scaled.
mod native_plain {
    use tcp_adapter::TcpStack;
    use tcp_adapter::congestion::Algorithm;
    use tcp_adapter::native::{NativeConfig, NativeStack};

    fn factory(seed: u64) -> Box<dyn TcpStack> {
        let config = NativeConfig {
            send_buffer: 40_000,
            recv_buffer: 50_000,
            notsent_lowat: 10_000,
            congestion: Algorithm::Reno,
            sack: false,
            timestamps: false,
            window_scaling: false,
            pacing: false,
            syn_cookies: false,
            ..NativeConfig::default()
        };
        Box::new(NativeStack::new(config, seed))
    }

    tcp_adapter::tcp_conformance_tests!(factory);
}
