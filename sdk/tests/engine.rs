//! Two engines on one thread, which sleeps on their descriptors.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use mptcp_sdk::{
    CloseReason, Config, ConnConfig, ConnId, DeviceSpec, EndpointFlags, Engine, Event, InterfaceSpec, ListenConfig,
    Recv, StartError, SubflowState,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const PORT: u16 = 4420;

fn config(number: u8, sockets: Vec<UnixDatagram>) -> Config {
    let mut config = Config { seed: Some([number; 32]), ..Config::default() };
    for (path, socket) in sockets.into_iter().enumerate() {
        let addr = format!("10.0.{path}.{number}/24").parse().unwrap();
        // Host 1 serves: it announces where its other interfaces are; host 2 opens the subflows.
        let (signal, subflow) = (path > 0 && number == 1, path > 0 && number == 2);
        let flags = EndpointFlags { signal, subflow, ..EndpointFlags::default() };
        let spec = InterfaceSpec::new(DeviceSpec::UnixFd(OwnedFd::from(socket)), [addr]);
        config.interfaces.push(spec.with_flags(flags));
    }
    config.stack.limits.add_addr_accepted = 8;
    config
}

fn engines(paths: usize) -> [Engine; 2] {
    let (near, far) = (0..paths).map(|_| UnixDatagram::pair().unwrap()).unzip();
    [config(1, near), config(2, far)].map(|config| Engine::new(config).unwrap())
}

/// Whether the descriptors of the engines are readable, after at most `timeout`.
fn readable(engines: &[Engine; 2], timeout: Duration) -> [bool; 2] {
    let mut fds = engines.each_ref().map(|engine| PollFd::new(engine, PollFlags::IN));
    poll(&mut fds, Some(&Timespec::try_from(timeout).unwrap())).unwrap();
    fds.each_ref().map(|fd| !fd.revents().is_empty())
}

/// Polls whichever engine is readable, and nothing else, until `done`.
fn run(engines: &mut [Engine; 2], mut done: impl FnMut(usize, &mut Engine, Event) -> bool) {
    let mut finished = false;
    for engine in engines.iter_mut() {
        engine.poll();
    }
    while !finished {
        let ready = readable(engines, Duration::from_secs(60));
        assert!(ready.contains(&true), "both engines sleep and nothing is done");
        for (index, engine) in engines.iter_mut().enumerate().filter(|(index, _)| ready[*index]) {
            engine.poll();
            while let Some(event) = engine.poll_event() {
                finished |= done(index, engine, event);
            }
            // What the events led to leaves now.
            engine.poll();
        }
    }
}

#[test]
fn the_descriptor_tells_everything_there_is_to_do() {
    const LEN: usize = 2_000_000;
    let mut engines = engines(3);
    let data: bytes::Bytes = (0..LEN).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    engines[0].listen(None, PORT, ListenConfig::default()).unwrap();
    let remote = format!("10.0.0.1:{PORT}").parse().unwrap();
    let conn = engines[1].connect(None, remote, ConnConfig::default()).unwrap();
    let (mut sent, mut got) = (0, Vec::new());
    let mut accepted: Option<ConnId> = None;
    run(&mut engines, |index, engine, event| {
        match (index, event) {
            (0, Event::Incoming(listener)) => accepted = engine.accept(listener),
            (0, Event::Readable(_) | Event::Finished(_)) => {
                let Some(conn) = accepted else { return false };
                loop {
                    match engine.recv(conn, usize::MAX).unwrap() {
                        Recv::Data(bytes) => got.extend_from_slice(&bytes),
                        Recv::WouldBlock => break,
                        Recv::Finished => {
                            engine.close(conn);
                            accepted = None;
                            break;
                        }
                    }
                }
            }
            (1, Event::Established(_) | Event::Writable(_)) => {
                sent += engine.send(conn, data.slice(sent..)).unwrap();
                if sent == LEN {
                    engine.shutdown(conn);
                }
            }
            (1, Event::Closed(_, reason)) => {
                assert_eq!(reason, CloseReason::Normal);
                return true;
            }
            _ => {}
        }
        false
    });
    assert!(got == data);
    let report = engines[1].report(conn).unwrap();
    assert_eq!(report.past_subflows.len(), 3);
    assert!(report.past_subflows.iter().all(|subflow| subflow.state == SubflowState::Closed), "{report:?}");
    engines[1].close(conn);
    // The last acknowledgement may still be on its way to the other side.
    while engines.iter().any(|engine| engine.stack().connections().next().is_some()) {
        assert!(readable(&engines, Duration::from_secs(20)).contains(&true));
        for engine in &mut engines {
            engine.poll();
        }
    }
    let (name, stats) = engines[0].interface(mptcp_sdk::InterfaceId(0)).unwrap();
    assert!(name.starts_with("fd=") && stats.rx_frames > 0 && stats.tx_frames > 0);
}

#[test]
fn the_descriptor_is_level_triggered_and_quiet_when_there_is_nothing_to_do() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let mut engine = Engine::new(config(1, vec![ours])).unwrap();
    while engine.poll().more {}
    let ready = |engine: &Engine| {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&engine.as_fd(), PollFlags::IN)], Some(&now)).unwrap() == 1
    };
    assert!(!ready(&engine));
    theirs.send(&[0xff; 60]).unwrap();
    assert!(ready(&engine) && ready(&engine), "it stays readable");
    assert_eq!(engine.poll().received, 1);
    assert!(!ready(&engine));
    let waker = engine.waker();
    waker.wake();
    assert!(ready(&engine));
    engine.poll();
    assert!(!ready(&engine));
    // A deadline makes it readable: the retransmission of a SYN that nobody answers.
    engine.connect(None, "10.0.0.9:1".parse().unwrap(), ConnConfig::default()).unwrap();
    engine.poll();
    let deadline = engine.next_deadline().unwrap();
    while engine.now() < deadline {
        engine.wait(None).unwrap();
        assert!(ready(&engine));
        engine.poll();
    }
}

#[test]
fn a_broken_interface_is_told_and_left_alone() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let (ours, theirs) = pair();
    let mut config = Config::default();
    config.interfaces.push(InterfaceSpec::new(DeviceSpec::UnixFd(ours), ["10.0.0.1/24".parse().unwrap()]));
    let mut engine = Engine::new(config).unwrap();
    let id = mptcp_sdk::InterfaceId(0);
    engine.poll();
    assert!(engine.interface_error(id).is_none());
    drop(theirs);
    engine.poll();
    assert!(engine.interface_error(id).is_some());
    engine.poll();
    // A descriptor that is for ever readable must not keep the caller from sleeping.
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&engine, PollFlags::IN)], Some(&now)).unwrap(), 0);
}

#[test]
fn frames_are_captured() {
    let path = std::env::temp_dir().join(format!("mptcp-sdk-capture-{}.pcapng", std::process::id()));
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let mut config = config(1, vec![ours]);
    config.capture = Some(path.clone());
    let mut engine = Engine::new(config).unwrap();
    theirs.send(&[0xff; 60]).unwrap();
    engine.poll();
    drop(engine);
    let file = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(file[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(file.windows(60).any(|window| window == [0xff; 60]));

    let (ours, _theirs) = UnixDatagram::pair().unwrap();
    let mut config = self::config(1, vec![ours]);
    config.capture = Some("/nonexistent/file".into());
    let error = Engine::new(config).unwrap_err();
    assert!(matches!(error, StartError::Capture { .. }) && !error.is_mistake());
    assert!(error.to_string().starts_with("cannot write the capture file /nonexistent/file: "), "{error}");
}

#[test]
fn sources_are_the_first_that_reach_the_peer() {
    let mut config = Config::default();
    for (addr, gateway) in [("10.1.0.1/24", None), ("10.2.0.1/24", Some("10.2.0.254")), ("fd00::1/64", None)] {
        let (ours, _) = UnixDatagram::pair().unwrap();
        let mut spec = InterfaceSpec::new(DeviceSpec::UnixFd(OwnedFd::from(ours)), [addr.parse().unwrap()]);
        spec.gateways.extend(gateway.map(|gateway| gateway.parse::<std::net::IpAddr>().unwrap()));
        config.interfaces.push(spec);
    }
    let engine = Engine::new(config).unwrap();
    let source = |remote: &str| engine.source_for(remote.parse().unwrap()).map(|addr| addr.to_string());
    assert_eq!(source("10.1.0.9").as_deref(), Some("10.1.0.1"));
    assert_eq!(source("192.0.2.1").as_deref(), Some("10.2.0.1"));
    assert_eq!(source("fd00::9").as_deref(), Some("fd00::1"));
    assert_eq!(source("2001:db8::1"), None);
}
