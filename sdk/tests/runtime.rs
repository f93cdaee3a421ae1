//! Two runtimes, one per host, over wires in memory.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use common::{PATIENCE, PORT, addr, connect, hosts, join_all, pattern, server_addr, wait_until};
use mptcp_sdk::core::Counter;
use mptcp_sdk::core::scheduler::{DataView, Decision, SubflowView};
use mptcp_sdk::{
    CloseReason, ConnConfig, ConnState, ListenConfig, MptcpStream, Runtime, Scheduler, SchedulerKind, SubflowState,
};

/// Sends `len` bytes each way at once over `paths` paths, and compares them.
fn transfer(paths: usize, len: usize) -> (MptcpStream, MptcpStream, Runtime, Runtime) {
    let (server, client) = hosts(paths, |_| {});
    let (far, near) = connect(&server, &client);
    join_all(&far, &near, paths);
    let data = pattern(len);
    std::thread::scope(|scope| {
        for stream in [&far, &near] {
            let data = &data;
            scope.spawn(move || {
                stream.write_all(data).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut reader: &MptcpStream = stream;
                let mut got = Vec::new();
                reader.read_to_end(&mut got).unwrap();
                assert!(got == *data, "{} bytes received, {} expected", got.len(), data.len());
            });
        }
    });
    (far, near, server, client)
}

trait WriteAll {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()>;
}

impl WriteAll for MptcpStream {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer: &MptcpStream = self;
        Write::write_all(&mut writer, bytes)
    }
}

#[test]
fn bytes_pass_both_ways_over_one_path() {
    let (far, near, _server, _client) = transfer(1, 3_000_000);
    assert!(far.wait_closed(PATIENCE) && near.wait_closed(PATIENCE));
    let info = near.info().unwrap();
    assert_eq!(info.state, ConnState::Closed(CloseReason::Normal));
    assert_eq!((info.fallback, info.bytes_acked, info.bytes_received), (None, 3_000_001, 3_000_000));
}

#[test]
fn three_paths_share_the_load() {
    let (far, near, _server, _client) = transfer(3, 8_000_000);
    assert!(far.wait_closed(PATIENCE) && near.wait_closed(PATIENCE));
    for stream in [&far, &near] {
        let subflows = stream.subflows().unwrap();
        assert_eq!(subflows.len(), 3);
        for subflow in &subflows {
            assert_eq!(subflow.state, SubflowState::Closed);
            assert!(subflow.bytes_sent > 100_000, "{subflow:?}");
        }
        let received: u64 = subflows.iter().map(|subflow| subflow.bytes_received).sum();
        assert!(received >= 8_000_000);
    }
    let remotes: Vec<IpAddr> = near.subflows().unwrap().iter().map(|subflow| subflow.local.ip()).collect();
    for path in 0..3 {
        assert!(remotes.contains(&addr(2, path)));
    }
}

/// An application's own rule: always the last subflow.
#[derive(Debug)]
struct Last;

impl Scheduler for Last {
    fn name(&self) -> &'static str {
        "last"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let len = usize::try_from(data.available).unwrap_or(usize::MAX);
        let last = subflows.len() - 1;
        (subflows[last].room > 0).then_some(Decision { subflow: last, len, skip: 0 })
    }
}

#[test]
fn the_scheduler_can_be_changed_to_another_one_by_name_or_to_one_s_own() {
    let (server, client) = hosts(2, |_| {});
    let (far, near) = connect(&server, &client);
    near.write_all(b"!").unwrap();
    (&far).read_exact(&mut [0]).unwrap();
    let subflows = || near.subflows().unwrap();
    wait_until("both subflows are established", || {
        subflows().iter().filter(|subflow| subflow.state == SubflowState::Established).count() == 2
    });
    near.set_scheduler("ecf".parse::<SchedulerKind>().unwrap()).unwrap();
    assert_eq!(near.info().unwrap().scheduler, "ecf");
    let own: Box<dyn Scheduler> = Box::new(Last);
    near.set_scheduler(own).unwrap();
    assert_eq!(near.info().unwrap().scheduler, "last");
    let before = subflows().first().unwrap().bytes_sent;
    near.write_all(&pattern(100_000)).unwrap();
    (&far).read_exact(&mut vec![0; 100_000]).unwrap();
    assert_eq!(subflows().first().unwrap().bytes_sent, before);
}

#[test]
fn the_server_may_send_first_and_the_client_close_first() {
    let (server, client) = hosts(2, |_| {});
    let (far, near) = connect(&server, &client);
    far.write_all(b"welcome").unwrap();
    let mut greeting = [0; 7];
    (&near).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"welcome");
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&far).read(&mut [0; 1]).unwrap(), 0);
    // The other direction is still open.
    far.write_all(b"late").unwrap();
    drop(far);
    let mut rest = String::new();
    (&near).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "late");
    assert_eq!((&near).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!((near.local_addr().unwrap().ip(), near.peer_addr().unwrap()), (addr(2, 0), server_addr()));
}

#[test]
fn an_application_that_does_not_read_stops_the_peer() {
    const BUFFER: usize = 64 << 10;
    let (server, client) = hosts(1, |config| {
        config.stream_buffer = BUFFER;
        config.stack.send_buffer = BUFFER;
        config.stack.recv_buffer_initial = BUFFER;
        config.stack.recv_buffer_max = BUFFER;
    });
    let (far, near) = connect(&server, &client);
    near.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let chunk = pattern(16 << 10);
    let mut written = 0;
    // On a machine that stands still for a moment there may be no room for so long though the window is open.
    let start = Instant::now();
    loop {
        match (&near).write(&chunk[written % chunk.len()..]) {
            Ok(len) => written += len,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // Less than a segment, which is what a sender may leave unused.
                let window = near.info().unwrap().send_window;
                if window < 1460 {
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "{window} bytes of the window stay unused");
            }
        }
    }
    // Four buffers, and what is on the wire and in TCP's own.
    assert!(written < 4 * BUFFER + (2 << 20), "{written} bytes were taken of a stream that nobody reads");
    // Reading lets it go on.
    let mut got = vec![0; written];
    (&far).read_exact(&mut got).unwrap();
    assert!((0..written).all(|at| got[at] == chunk[at % chunk.len()]));
    near.write_all(&chunk).unwrap();
}

#[test]
fn reads_time_out_and_can_be_tried_without_blocking() {
    let (server, client) = hosts(1, |_| {});
    let (far, near) = connect(&server, &client);
    let start = Instant::now();
    near.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!((&near).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= Duration::from_millis(50));
    near.set_read_timeout(None).unwrap();
    near.set_nonblocking(true).unwrap();
    assert_eq!((&near).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(near.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    far.write_all(b"x").unwrap();
    wait_until("a byte arrives", || (&near).read(&mut [0; 1]).is_ok_and(|len| len == 1));
}

#[test]
fn an_abort_reaches_blocked_readers_on_both_sides() {
    let (server, client) = hosts(2, |_| {});
    let (far, near) = connect(&server, &client);
    near.write_all(b"x").unwrap();
    (&far).read_exact(&mut [0]).unwrap();
    let clone = near.try_clone().unwrap();
    std::thread::scope(|scope| {
        let local = scope.spawn(|| (&near).read(&mut [0; 1]).unwrap_err().kind());
        let remote = scope.spawn(|| (&far).read(&mut [0; 1]).unwrap_err().kind());
        std::thread::sleep(Duration::from_millis(50));
        clone.abort();
        assert_eq!(local.join().unwrap(), ErrorKind::ConnectionAborted);
        assert_eq!(remote.join().unwrap(), ErrorKind::ConnectionReset);
    });
    assert_eq!((&far).write(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!((&near).write(b"x").unwrap_err().kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn dropping_with_bytes_unread_resets_and_without_closes() {
    let (server, client) = hosts(1, |_| {});
    let (far, near) = connect(&server, &client);
    far.write_all(b"unread").unwrap();
    wait_until("the bytes have arrived", || near.info().unwrap().bytes_received == 6);
    drop(near);
    assert_eq!((&far).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let (far, near) = connect(&server, &client);
    near.write_all(&pattern(100_000)).unwrap();
    drop(near);
    let mut got = Vec::new();
    (&far).read_to_end(&mut got).unwrap();
    assert!(got == pattern(100_000));
}

#[test]
fn connecting_fails_for_the_right_reason() {
    let (server, client) = hosts(1, |_| {});
    let kind = |remote: &str, timeout| client.connect_timeout(remote.parse().unwrap(), timeout).unwrap_err().kind();
    assert_eq!(kind("10.0.1.1:9", PATIENCE), ErrorKind::ConnectionRefused);
    assert_eq!(kind("10.0.1.77:9", Duration::from_millis(50)), ErrorKind::TimedOut);
    assert_eq!(kind("192.0.2.1:9", PATIENCE), ErrorKind::HostUnreachable);
    assert_eq!(kind("[fd00::1]:9", PATIENCE), ErrorKind::HostUnreachable);
    assert_eq!(kind("10.0.1.1:0", PATIENCE), ErrorKind::InvalidInput);
    let local = Some(addr(9, 0));
    let foreign = client.connect_with(local, server_addr(), ConnConfig::default(), None);
    assert_eq!(foreign.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    // What was abandoned is gone.
    wait_until("nothing is left", || client.connections().unwrap().is_empty());
    drop(server);
}

#[test]
fn listeners_take_a_port_once_and_give_it_back() {
    let (server, client) = hosts(1, |_| {});
    let listener = server.bind(server_addr()).unwrap();
    assert_eq!(server.bind(server_addr()).unwrap_err().kind(), ErrorKind::AddrInUse);
    let error = server.bind(SocketAddr::new(addr(9, 0), PORT)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    assert_eq!(error.to_string(), "address 10.0.1.9 belongs to no interface of this stack");
    let start = Instant::now();
    let nobody = listener.accept_timeout(Duration::from_millis(50));
    assert!(nobody.unwrap_err().kind() == ErrorKind::TimedOut && start.elapsed() >= Duration::from_millis(50));
    // Whoever is not accepted when the listener goes is reset.
    let near = client.connect(server_addr()).unwrap();
    wait_until("the server has the connection", || !server.connections().unwrap().is_empty());
    drop(listener);
    assert_eq!((&near).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    server.bind(SocketAddr::new([0, 0, 0, 0].into(), PORT)).unwrap();
}

/// Sends a text of the client's own and reads it back.
fn talk(client: &Runtime, number: usize) {
    let stream = client.connect_timeout(server_addr(), PATIENCE).unwrap();
    let text = format!("client {number}").repeat(1000);
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut echo = String::new();
    (&stream).read_to_string(&mut echo).unwrap();
    assert!(echo == text, "{} bytes came back of {}: {:?}", echo.len(), text.len(), stream.report());
}

fn echo(stream: &MptcpStream) {
    let (mut reader, mut all) = (stream, Vec::new());
    reader.read_to_end(&mut all).unwrap();
    stream.write_all(&all).unwrap();
}

fn assert_nothing_left(runtimes: [&Runtime; 2]) {
    for runtime in runtimes {
        wait_until("everything is closed", || runtime.connections().unwrap().is_empty());
        assert_eq!(runtime.call(|engine| engine.stack().memory_held()).unwrap(), 0);
    }
}

#[test]
fn many_clients_are_served_at_once() {
    const CLIENTS: usize = 60;
    let (server, client) = hosts(1, |_| {});
    let listener = server.bind(server_addr()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = &client;
            scope.spawn(move || (0..5).for_each(|_| talk(client, number)));
        }
        for _ in 0..CLIENTS * 5 {
            let (stream, _) = listener.accept_timeout(PATIENCE).unwrap();
            scope.spawn(move || echo(&stream));
        }
    });
    assert_nothing_left([&server, &client]);
}

#[test]
fn who_finds_the_backlog_full_is_served_later() {
    const CLIENTS: usize = 8;
    const BACKLOG: usize = 2;
    let (server, client) = hosts(1, |_| {});
    std::thread::scope(|scope| {
        // It ends with this, and with it the clients that wait, should something fail.
        let config = ListenConfig { backlog: BACKLOG, ..ListenConfig::default() };
        let listener = server.bind_with(server_addr(), config).unwrap();
        let connected = || server.connections().unwrap().len();
        let dropped = || server.call(|engine| engine.stack().mib().get(Counter::BacklogDrop)).unwrap();
        for number in 0..CLIENTS {
            let client = &client;
            scope.spawn(move || talk(client, number));
            wait_until("the client is heard", || connected() > number || dropped() > 0);
        }
        // As many wait for the application as for the runtime.
        assert_eq!(connected(), 2 * BACKLOG);
        for _ in 0..CLIENTS {
            let (stream, _) = listener.accept_timeout(PATIENCE).unwrap();
            scope.spawn(move || echo(&stream));
        }
    });
    assert_nothing_left([&server, &client]);
}

#[test]
fn the_end_of_a_runtime_sends_what_was_written_and_fails_what_is_left() {
    let (server, client) = hosts(2, |config| config.linger = Duration::from_secs(20));
    let (far, near) = connect(&server, &client);
    let data = pattern(2_000_000);
    let (reader, expected) = (far, data.clone());
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        (&reader).read_to_end(&mut got).unwrap();
        assert!(got == expected);
    });
    let listener = client.bind(SocketAddr::new(addr(2, 0), 7)).unwrap();
    near.write_all(&data).unwrap();
    let second = client.clone();
    let start = Instant::now();
    drop(client);
    near.write_all(b"").unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "only the last handle stops the runtime");
    drop(second);
    assert!(start.elapsed() < Duration::from_secs(20), "the linger time is for peers that do not close");
    reader.join().unwrap();
    assert_eq!((&near).write(b"x").unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!((&near).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn the_last_counters_know_of_the_end() {
    let (server, client) = hosts(2, |_| {});
    let (far, near) = connect(&server, &client);
    near.write_all(b"x").unwrap();
    (&far).read_exact(&mut [0]).unwrap();
    near.abort();
    let mib = |engine: &mut mptcp_sdk::Engine| engine.stack().mib().iter().collect::<Vec<_>>();
    let counters = client.shutdown_then(PATIENCE, mib).unwrap();
    assert!(counters.contains(&("MPTcpExtMPFastcloseTx", 1)) && counters.contains(&("MPTcpExtMPCurrEstab", 0)));
    assert_eq!(client.shutdown_then(PATIENCE, mib).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(client.connect(server_addr()).unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn lingering_is_bounded() {
    let (server, client) = hosts(1, |config| config.linger = Duration::from_millis(100));
    let (far, near) = connect(&server, &client);
    let start = Instant::now();
    // The server never closes its direction.
    drop(near);
    drop(client);
    assert!((Duration::from_millis(100)..Duration::from_secs(10)).contains(&start.elapsed()));
    drop(far);
    drop(server);
}

#[test]
fn plain_tcp_is_told_and_works() {
    let (server, client) = hosts(2, |_| {});
    let listener = server.bind(server_addr()).unwrap();
    let config = ConnConfig { mptcp: Some(false), ..ConnConfig::default() };
    let near = client.connect_with(None, server_addr(), config, Some(PATIENCE)).unwrap();
    let (far, _) = listener.accept_timeout(PATIENCE).unwrap();
    assert!(near.info().unwrap().fallback.is_some() && far.info().unwrap().fallback.is_some());
    let data = pattern(1_000_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            near.write_all(&data).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        (&far).read_to_end(&mut got).unwrap();
        assert!(got == data);
    });
}

#[test]
fn pieces_pass_without_copies_and_keep_their_order() {
    let (server, client) = hosts(2, |_| {});
    let (far, near) = connect(&server, &client);
    let data = bytes::Bytes::from(pattern(700_000));
    near.write_all_bytes(data.clone()).unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    loop {
        let piece = far.read_bytes(1000).unwrap();
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() <= 1000);
        got.extend_from_slice(&piece);
    }
    assert!(got == data);
}

#[test]
fn shutting_down_reading_ends_reads_and_does_not_stop_the_peer() {
    let (server, client) = hosts(1, |config| config.stream_buffer = 16 << 10);
    let (far, near) = connect(&server, &client);
    near.shutdown(Shutdown::Read).unwrap();
    assert_eq!((&near).read(&mut [0; 1]).unwrap(), 0);
    far.write_all(&pattern(5_000_000)).unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    near.write_all(b"still").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    (&far).read_to_string(&mut got).unwrap();
    assert_eq!(got, "still");
}

#[test]
fn what_came_before_shutting_down_reading_resets_nothing() {
    let (server, client) = hosts(1, |_| {});
    let (far, near) = connect(&server, &client);
    far.write_all(b"never read").unwrap();
    wait_until("the bytes have arrived", || near.info().unwrap().bytes_received == 10);
    (&near).read_exact(&mut [0; 3]).unwrap();
    far.write_all(b"nor this").unwrap();
    wait_until("more bytes have arrived", || near.info().unwrap().bytes_received == 18);
    near.shutdown(Shutdown::Read).unwrap();
    near.write_all(&pattern(1_000_000)).unwrap();
    drop(near);
    let mut got = Vec::new();
    (&far).read_to_end(&mut got).unwrap();
    assert!(got == pattern(1_000_000), "{} bytes", got.len());
}

#[test]
fn first_bytes_may_be_more_than_the_send_buffer_holds() {
    let (server, client) = hosts(1, |_| {});
    let listener = server.bind(server_addr()).unwrap();
    let first = pattern(6 << 20);
    let config = ConnConfig::default();
    let near = client.connect_fast(None, server_addr(), config, first.clone().into(), Some(PATIENCE)).unwrap();
    let (far, _) = listener.accept().unwrap();
    let mut got = vec![0; first.len()];
    (&far).read_exact(&mut got).unwrap();
    assert!(got == first);
    // Not blocked by what was never written.
    near.set_write_timeout(Some(PATIENCE)).unwrap();
    near.write_all(&first).unwrap();
    (&far).read_exact(&mut got).unwrap();
    assert!(got == first);
}
