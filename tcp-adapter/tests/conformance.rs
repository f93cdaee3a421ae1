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
