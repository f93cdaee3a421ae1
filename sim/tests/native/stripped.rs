//! Options that are taken away on the way.

/// An echo of ADD_ADDR may leave no room for a DATA_ACK. If it were the first acknowledgement of data, who strips it would leave one without options, and
/// only one host would fall back (RFC 8684 section 3.7).
#[test]
fn without_the_echoes_of_addresses_a_connection_stays_multipath_and_ends() {
    let text = r#"
        [links.p1]
        delay = "3ms"
        [links.p2]
        delay = "30ms"
        addresses = ["fd00:2::1/64", "fd00:2::2/64"]
        [middlebox.m0]
        link = "p1"
        direction = "up"
        kind = "strip-option"
        option = "add_addr"
        segments = "all"
        [mptcp]
        checksum = true
        [[traffic]]
        name = "requests"
        kind = "request"
        request = "30B"
        response = "6B"
        count = 2
        depth = 2
    "#;
    let scenario = mptcp_sim::scenario::Scenario::parse(text, "test.toml").unwrap();
    let outcome = mptcp_sim::run(&scenario, 1).unwrap();
    assert!(outcome.unfinished.is_empty(), "{:?}", outcome.unfinished);
}

/// The server has fallen back, and the client does not know: it has had a DATA_ACK. A DATA-RTO comes while TCP still repeats what is missing, and has no room. What
/// the client then sent once more, when there is room, would be new data to the server.
#[test]
fn a_peer_that_has_fallen_back_unheard_gets_nothing_twice() {
    let text = r#"
        [hosts.client]
        recv_buffer = "16384B"
        send_buffer = "16384B"
        [hosts.server]
        [links.p1]
        rate = "150kbit"
        delay = "35ms"
        [middlebox.m0]
        link = "p1"
        direction = "both"
        kind = "strip-option"
        option = "dss"
        segments = "all"
        skip = 1
        [mptcp]
        checksum = false
        [[traffic]]
        name = "upload"
        direction = "up"
        bytes = "42825B"
    "#;
    let scenario = mptcp_sim::scenario::Scenario::parse(text, "test.toml").unwrap();
    // A run fails that delivers bytes which were not sent.
    let outcome = mptcp_sim::run(&scenario, 1).unwrap();
    assert_eq!(
        outcome.unfinished,
        [("upload".to_owned(), "connection reset by peer, 16384 bytes delivered".to_owned())]
    );
}
