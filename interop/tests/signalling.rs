//! Signals between the stack and the kernel, with the counters of both as witnesses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::net::IpAddr;
use std::time::Duration;

use interop::capture::{Capture, tshark};
use interop::cli::Tcp;
use interop::counters::Mib;
use interop::encounter::{Encounter, Outcome, Role, Running};
use interop::endpoints;
use interop::lab::{Lab, PATHS, TRANSFER_LIMIT};
use interop::over_every_tcp;
use interop::process::wait_until;
use interop::topology::{Family, Link, kernel_addr, stack_addr};
use rustix::process::Signal;

/// Bytes in each direction.
const LEN: u64 = 1 << 20;

/// Time in which a signal takes effect.
const LIMIT: Duration = Duration::from_secs(60);

/// Flags of paths from which we join only what the kernel announces. The kernel takes no notice of our announcements, as the
/// tests that use this do not let it.
const FOLLOW: &str = ",signal";

/// Starts a connection that stays open, and waits until the kernel has accepted it and sent [`LEN`] bytes.
fn open(lab: &Lab, encounter: Encounter) -> Running {
    let mut running = encounter.held().start(lab).unwrap();
    running.peer.wait_for_output("peer: connected", LIMIT).unwrap();
    // The kernel does not announce what it is given before our first DSS is in, not even later.
    wait_until("what the kernel sends", LIMIT, || Ok(received(&running) >= LEN)).unwrap();
    running
}

/// Bytes that our end of the connection has received.
fn received(running: &Running) -> u64 {
    let ss = running.stack.control("ss --json").ok();
    let ss: Option<serde_json::Value> = ss.and_then(|ss| serde_json::from_str(&ss).ok());
    ss.and_then(|ss| ss["connections"][0]["bytes_received"].as_u64()).unwrap_or(0)
}

/// Makes the kernel's address on a path an endpoint, and returns its id.
fn announce(lab: &Lab, path: usize, flags: &str) -> u8 {
    let (addr, interface) = (kernel_addr(Family::V4, path), lab.topology.kernel_interface(path));
    endpoints::add(lab.topology.kernel(), addr, &interface, flags).unwrap()
}

/// Waits until a counter of the kernel has a value, and not more.
fn wait_for(lab: &Lab, counter: &str, value: u64) {
    wait_for_at_least(lab, counter, value);
    let mib = lab.topology.mib().unwrap();
    assert_eq!(mib[counter], value, "{counter}: {:?}", mib.nonzero());
}

fn wait_for_at_least(lab: &Lab, counter: &str, value: u64) {
    let mib = || lab.topology.mib().unwrap();
    let reached = wait_until(counter, LIMIT, || Ok(mib()[counter] >= value));
    reached.unwrap_or_else(|error| panic!("{error}; the kernel has counted {:?}", mib().nonzero()));
}

fn finish(running: Running) -> Outcome {
    let outcome = running.finish(TRANSFER_LIMIT).unwrap();
    assert_eq!(outcome.peer.multipath, Some(true));
    outcome
}

/// Counters of both ends that must agree, by their names: what one end sends, the other one receives.
fn assert_agree(sender: &Mib, receiver: &Mib, pairs: &[(&str, &str)]) {
    for (sent, received) in pairs {
        let counts = (sender[sent], receiver[received]);
        assert!(
            counts.0 == counts.1 && counts.0 > 0,
            "{sent}, {received}: {:?}, {:?}",
            sender.nonzero(),
            receiver.nonzero()
        );
    }
}

over_every_tcp!(
    we_join_an_address_that_the_kernel_announces_later,
    we_join_a_port_that_the_kernel_announces,
    the_kernel_joins_the_addresses_that_we_announce,
    the_kernel_joins_an_address_that_we_announce_later,
    the_kernel_gives_up_an_address_that_we_remove,
    the_kernel_spares_a_path_that_we_make_a_backup,
    both_ends_know_the_same_tokens,
    we_join_from_our_own_addresses_to_the_first_address,
    an_address_that_the_kernel_removes_is_given_up,
    a_path_that_the_kernel_makes_a_backup_is_spared,
    a_subflow_that_we_join_as_backup_is_one_for_the_kernel,
    a_kernel_that_closes_with_unread_data_is_understood,
    the_kernel_understands_that_we_abort,
    a_join_that_the_kernel_refuses_leaves_the_connection_alone,
    a_join_that_we_refuse_is_reset_with_a_reason,
);

fn we_join_an_address_that_the_kernel_announces_later(tcp: Tcp) {
    let lab = Lab::new("add-addr", Link::Tap).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 0).unwrap();
    let running = open(&lab, Encounter::new(tcp, Role::Client, Family::V4, LEN).path_flags(FOLLOW));
    for path in 1..PATHS {
        announce(&lab, path, "signal");
        wait_for(&lab, "MPJoinAckRx", path as u64);
    }
    let stack = finish(running).stack.mib;
    let kernel = lab.topology.mib().unwrap();
    assert_agree(&kernel, &stack, &[("AddAddrTx", "AddAddr")]);
    assert_agree(&stack, &kernel, &[("EchoAddTx", "EchoAdd"), ("MPJoinSynTx", "MPJoinSynRx")]);
}

fn we_join_a_port_that_the_kernel_announces(tcp: Tcp) {
    let lab = Lab::new("port", Link::Veth).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 0).unwrap();
    announce(&lab, 1, "signal port 7800");
    let running = open(&lab, Encounter::new(tcp, Role::Client, Family::V4, LEN).path_flags(FOLLOW));
    wait_for(&lab, "MPJoinPortAckRx", 1);
    finish(running);
}

fn the_kernel_joins_the_addresses_that_we_announce(tcp: Tcp) {
    for family in Family::ALL {
        let lab = Lab::new("announce", Link::Veth).unwrap();
        endpoints::set_limits(lab.topology.kernel(), 2, 2).unwrap();
        let running = open(&lab, Encounter::new(tcp, Role::Server, family, LEN));
        wait_for(&lab, "MPJoinSynAckRx", 2);
        let stack = finish(running).stack.mib;
        let kernel = lab.topology.mib().unwrap();
        assert_agree(&stack, &kernel, &[("AddAddrTx", "AddAddr")]);
        assert_agree(&kernel, &stack, &[("EchoAddTx", "EchoAdd"), ("MPJoinSynTx", "MPJoinSynRx")]);
    }
}

fn the_kernel_joins_an_address_that_we_announce_later(tcp: Tcp) {
    let lab = Lab::new("later", Link::Tap).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 2).unwrap();
    let running = open(&lab, Encounter::new(tcp, Role::Server, Family::V4, LEN).path_flags(""));
    for path in 1..PATHS {
        running.stack.control(&format!("path add {} --signal", stack_addr(Family::V4, path))).unwrap();
        wait_for(&lab, "MPJoinSynAckRx", path as u64);
    }
    finish(running);
}

fn the_kernel_gives_up_an_address_that_we_remove(tcp: Tcp) {
    let lab = Lab::new("withdraw", Link::Veth).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 2).unwrap();
    let running = open(&lab, Encounter::new(tcp, Role::Server, Family::V4, LEN));
    wait_for(&lab, "MPJoinSynAckRx", 2);
    running.stack.control(&format!("path del {}", stack_addr(Family::V4, 1))).unwrap();
    wait_for_at_least(&lab, "RmAddr", 1);
    let carried = lab.topology.traffic(1).unwrap();
    let stack = finish(running).stack.mib;
    // It is sent on both other subflows, and several times, as it has no echo.
    let counts = (stack["RmAddrTx"], lab.topology.mib().unwrap()["RmAddr"]);
    assert!((2..=6).contains(&counts.0) && (1..=counts.0).contains(&counts.1), "{counts:?}");
    let later = lab.topology.traffic(1).unwrap();
    assert!(later.rx - carried.rx < LEN / 4, "the rest went elsewhere: {carried:?}, {later:?}");
}

fn the_kernel_spares_a_path_that_we_make_a_backup(tcp: Tcp) {
    let lab = Lab::new("our-prio", Link::Tap).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 0).unwrap();
    let encounter =
        Encounter::new(tcp, Role::Client, Family::V4, 4 * LEN).path_flags(",subflow").peer(|peer| peer.rate(8));
    let running = open(&lab, encounter);
    wait_for(&lab, "MPJoinAckRx", 2);
    for path in 1..PATHS {
        running.stack.control(&format!("path backup {} on", stack_addr(Family::V4, path))).unwrap();
    }
    wait_for(&lab, "MPPrioRx", 2);
    let before = [1, 2].map(|path| lab.topology.traffic(path).unwrap());
    let stack = finish(running).stack.mib;
    assert_agree(&stack, &lab.topology.mib().unwrap(), &[("MPPrioTx", "MPPrioRx")]);
    for (path, before) in [1, 2].into_iter().zip(before) {
        let after = lab.topology.traffic(path).unwrap();
        assert!(after.tx - before.tx < LEN / 4, "path {path}: {before:?}, {after:?}");
    }
}

fn both_ends_know_the_same_tokens(tcp: Tcp) {
    for role in Role::ALL {
        let lab = Lab::new("tokens", Link::Tap).unwrap();
        let running = open(&lab, Encounter::new(tcp, role, Family::V4, LEN));
        let ours: serde_json::Value = serde_json::from_str(&running.stack.control("ss --json").unwrap()).unwrap();
        let theirs = lab.topology.kernel().run("ss -HMni").unwrap();
        let connection = &ours["connections"][0];
        let token = |side: &str| format!("{:x}", connection[side].as_u64().unwrap_or_default());
        let word = |name: &str, token: String| format!("{name}:{token}");
        let known: Vec<&str> = theirs.split_whitespace().filter(|word| word.starts_with("token:")).collect();
        assert!(known.contains(&word("token", token("remote_token")).as_str()), "{role}: {connection}, {theirs}");
        finish(running);
    }
}

fn we_join_from_our_own_addresses_to_the_first_address(tcp: Tcp) {
    let lab = Lab::new("subflow", Link::Tap).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 0).unwrap();
    let running = open(&lab, Encounter::new(tcp, Role::Client, Family::V4, LEN).path_flags(",subflow"));
    wait_for(&lab, "MPJoinAckRx", 2);
    finish(running);
}

fn an_address_that_the_kernel_removes_is_given_up(tcp: Tcp) {
    let lab = Lab::new("remove", Link::Tap).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 0).unwrap();
    let id = announce(&lab, 1, "signal");
    let running = open(&lab, Encounter::new(tcp, Role::Client, Family::V4, LEN).path_flags(FOLLOW));
    wait_for(&lab, "MPJoinAckRx", 1);
    endpoints::remove(lab.topology.kernel(), id).unwrap();
    wait_for(&lab, "RmAddrTx", 1);
    let carried = lab.topology.traffic(1).unwrap();
    let stack = finish(running).stack.mib;
    assert_agree(&lab.topology.mib().unwrap(), &stack, &[("RmAddrTx", "RmAddr")]);
    let later = lab.topology.traffic(1).unwrap();
    assert!(later.rx - carried.rx < LEN / 4, "the rest went elsewhere: {carried:?}, {later:?}");
}

fn a_path_that_the_kernel_makes_a_backup_is_spared(tcp: Tcp) {
    let lab = Lab::new("prio", Link::Veth).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 0).unwrap();
    let id = announce(&lab, 1, "signal");
    let running = open(&lab, Encounter::new(tcp, Role::Client, Family::V4, LEN).path_flags(FOLLOW));
    wait_for(&lab, "MPJoinAckRx", 1);
    endpoints::set_backup(lab.topology.kernel(), id, true).unwrap();
    wait_for(&lab, "MPPrioTx", 1);
    let carried = lab.topology.traffic(1).unwrap();
    let stack = finish(running).stack.mib;
    assert_agree(&lab.topology.mib().unwrap(), &stack, &[("MPPrioTx", "MPPrioRx")]);
    let later = lab.topology.traffic(1).unwrap();
    assert!(later.rx - carried.rx < LEN / 4, "we spare a backup path: {carried:?}, {later:?}");
}

fn a_subflow_that_we_join_as_backup_is_one_for_the_kernel(tcp: Tcp) {
    let lab = Lab::new("backup", Link::Tap).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 0).unwrap();
    let running = open(&lab, Encounter::new(tcp, Role::Client, Family::V4, LEN).path_flags(",subflow,backup"));
    wait_for(&lab, "MPJoinSynBackupRx", 2);
    finish(running);
    for path in 1..PATHS {
        let traffic = lab.topology.traffic(path).unwrap();
        assert!(traffic.rx.max(traffic.tx) < LEN / 4, "path {path}: {traffic:?}");
    }
}

fn a_kernel_that_closes_with_unread_data_is_understood(tcp: Tcp) {
    for role in Role::ALL {
        let lab = Lab::new("fastclose", Link::Tap).unwrap();
        let encounter = Encounter::new(tcp, role, Family::V4, 32 << 20).peer(|peer| peer.abort_after(LEN));
        encounter.admit_joins(&lab).unwrap();
        let running = encounter.start(&lab).unwrap();
        let (finished, stack) = running.stack.wait(LIMIT).unwrap();
        assert!(!finished.status.success(), "{role}: the transfer was cut off");
        assert!(finished.stderr.starts_with("mptcp: ") || finished.stderr.contains("\nmptcp: "), "{}", finished.stderr);
        assert!(stack["MPFastcloseRx"] >= 1, "{role}: {:?}", stack.nonzero());
        assert!(lab.topology.mib().unwrap()["MPFastcloseTx"] >= 1, "{role}");
    }
}

fn the_kernel_understands_that_we_abort(tcp: Tcp) {
    for role in Role::ALL {
        let lab = Lab::new("abort", Link::Veth).unwrap();
        let encounter = Encounter::new(tcp, role, Family::V6, LEN);
        encounter.admit_joins(&lab).unwrap();
        let running = open(&lab, encounter);
        wait_for(&lab, if role == Role::Client { "MPJoinAckRx" } else { "MPJoinSynAckRx" }, 2);
        running.stack.process.signal(Signal::INT).unwrap();
        wait_for_at_least(&lab, "MPFastcloseRx", 1);
        let mut peer = running.peer;
        peer.finish_input();
        let peer = interop::peer::PeerReport::of(peer, LIMIT).unwrap();
        assert!(peer.error.is_some_and(|error| error.contains("reset")), "{role}");
    }
}

fn a_join_that_the_kernel_refuses_leaves_the_connection_alone(tcp: Tcp) {
    let lab = Lab::new("refused", Link::Tap).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 0, 0).unwrap();
    let capture = capture(&lab);
    let running = open(&lab, Encounter::new(tcp, Role::Client, Family::V4, LEN).path_flags(",subflow"));
    wait_for(&lab, "MPJoinRejected", 2);
    let stack = finish(running).stack.mib;
    let refused = resets(capture, &stack_addr(Family::V4, 1));
    assert!(!refused.is_empty() && stack["MPRstRx"] >= refused.len() as u64, "{refused:?}, {:?}", stack.nonzero());
}

fn a_join_that_we_refuse_is_reset_with_a_reason(tcp: Tcp) {
    let lab = Lab::new("refusing", Link::Veth).unwrap();
    endpoints::set_limits(lab.topology.kernel(), 2, 2).unwrap();
    let capture = capture(&lab);
    let encounter = Encounter::new(tcp, Role::Server, Family::V4, LEN).subflows(0);
    let running = open(&lab, encounter);
    // The kernel gives up on a subflow that is reset; it counts no reset before the subflow is established.
    wait_for_at_least(&lab, "MPJoinSynTx", 1);
    finish(running);
    let refused = resets(capture, &kernel_addr(Family::V4, 1));
    assert!(!refused.is_empty() && refused.iter().all(|reason| *reason == "0x03"), "{refused:?}");
}

fn capture(lab: &Lab) -> Capture {
    Capture::start(lab.topology.kernel(), &["k0", "k1", "k2"], lab.dir.path()).unwrap()
}

/// Reasons in the MP_TCPRST of resets to an address.
fn resets(capture: Capture, to: &IpAddr) -> Vec<String> {
    let filter = format!("tcp.flags.reset == 1 && ip.dst == {to}");
    let rows = tshark(&capture.stop().unwrap(), &filter, &["tcp.options.mptcp.rst_reason"]).unwrap();
    rows.concat()
}
