//! A host and a target, each in a thread, over the kernel's TCP and over two paths of our own stack.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod ends;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ends::{BLOCK, PATIENCE, Running, SIZE, config, engines};
use nvme_io::net::{KernelNet, Net, Protocol, StackNet};
use nvme_io::{FileOptions, FileStore, Host, HostConfig, HostError, Memory, Ring};
use nvme_tcp::command::{BlockRange, IoCommand, Nqn, Sqe, StatusCode};
use nvme_tcp::host::{Finished, Outcome, Request};
use nvme_tcp::pdu::Digests;
use nvme_tcp::target::TargetConfig;

/// Reads and writes of all lengths up to the limit, on all queues at a time, against a model of what the disk holds.
fn random_io<N: Net>(host: &mut Host<N>, count: usize) {
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let blocks = SIZE / u64::from(BLOCK);
    let mut model = vec![0_u8; usize::try_from(SIZE).unwrap()];
    // What is under way: no two of them overlap, unless both read.
    let mut under_way: Vec<Option<(BlockRange, bool)>> = vec![None; 64];
    let (mut begun, mut done) = (0, 0);
    while done < count {
        for queue in 0..host.queues() {
            while let Some(completion) = host.poll_finished(queue) {
                let token = usize::try_from(completion.request.token).unwrap();
                let (range, write) = under_way[token].take().unwrap();
                assert!(completion.outcome.is_success(), "{:?}", completion.outcome);
                if !write {
                    let start = usize::try_from(range.start).unwrap() * BLOCK as usize;
                    let read = completion.request.into_received().to_contiguous();
                    assert!(read[..] == model[start..start + read.len()], "at {start}");
                }
                done += 1;
            }
        }
        while begun < count
            && let Some(token) = under_way.iter().position(Option::is_none)
        {
            let most = if draw(8) == 0 { 64 } else { 4 };
            let length = 1 + draw(most);
            let range = BlockRange { start: draw(blocks - length), count: u32::try_from(length).unwrap() };
            let write = draw(2) == 0;
            let end = |range: &BlockRange| range.start + u64::from(range.count);
            let clashes = |(other, writes): &(BlockRange, bool)| {
                (write || *writes) && other.start < end(&range) && range.start < end(other)
            };
            let queue = usize::try_from(draw(host.queues() as u64)).unwrap();
            if under_way.iter().flatten().any(clashes) || host.room(queue) == 0 {
                break;
            }
            let request = if write {
                let start = usize::try_from(range.start).unwrap() * BLOCK as usize;
                let data: Vec<u8> = (0..range.count * BLOCK).map(|_| draw(256) as u8).collect();
                model[start..start + data.len()].copy_from_slice(&data);
                let command = IoCommand::Write { range, force_unit_access: draw(4) == 0 };
                Request::new(command.to_sqe(1), token as u64).sending(Bytes::from(data))
            } else {
                let command = IoCommand::Read { range, force_unit_access: false };
                Request::new(command.to_sqe(1), token as u64).receiving(range.count * BLOCK)
            };
            host.submit(queue, request).unwrap();
            under_way[token] = Some((range, write));
            begun += 1;
        }
        host.turn(Some(Duration::from_millis(100))).unwrap();
    }
}

fn execute<N: Net>(host: &mut Host<N>, sqe: Sqe) -> Finished<u64> {
    host.execute(0, Request::new(sqe, 0)).unwrap()
}

#[test]
fn what_is_written_over_kernel_tcp_is_read() {
    for digests in [Digests::NONE, Digests::BOTH] {
        let running = Running::over_the_kernel();
        let net = KernelNet::new(Protocol::Tcp).unwrap();
        let mut host = Host::connect(net, HostConfig::new(running.address, config(3, digests)), PATIENCE).unwrap();
        assert_eq!(host.queues(), 3);
        random_io(&mut host, 2_000);
        assert!(execute(&mut host, IoCommand::Flush.to_sqe(1)).outcome.is_success());
        host.shutdown(PATIENCE).unwrap();
        drop(host);
        wait_for("the controller to go", || running.target.controllers() == 0);
    }
}

/// Most reads wait until others have left, and begin without anything having come.
#[test]
fn reads_go_on_when_others_have_left() {
    let running = Running::with_config(TargetConfig { max_outbound: 4096, ..TargetConfig::default() });
    let net = KernelNet::new(Protocol::Tcp).unwrap();
    let mut host = Host::connect(net, HostConfig::new(running.address, config(2, Digests::NONE)), PATIENCE).unwrap();
    random_io(&mut host, 500);
    host.shutdown(PATIENCE).unwrap();
}

#[test]
fn what_is_written_over_two_paths_of_our_stack_is_read() {
    let [ours, theirs] = engines();
    let running = Running::start(StackNet::new(theirs), "10.9.1.2:4420");
    let mut host =
        Host::connect(StackNet::new(ours), HostConfig::new(running.address, config(2, Digests::BOTH)), PATIENCE)
            .unwrap();
    random_io(&mut host, 2_000);
    let stack = host.net().engine().stack();
    let subflows: Vec<usize> = stack
        .connections()
        .filter_map(|conn| host.net().engine().report(conn))
        .map(|report| report.subflows.len())
        .collect();
    assert_eq!(subflows, [2, 2, 2], "the admin queue and two others");
    host.shutdown(PATIENCE).unwrap();
}

#[test]
fn what_is_written_to_a_file_is_read() {
    let path = std::env::temp_dir().join(format!("nvme-io-end-to-end-{}", std::process::id()));
    let options = FileOptions { read_only: false, block_size: BLOCK, direct: true };
    let ring = || Ring::new(256, Memory::new(4 << 20)).unwrap();
    let [ours, theirs] = engines();
    let kernel = || -> Box<dyn Net + Send> { Box::new(KernelNet::new(Protocol::Tcp).unwrap()) };
    let stack = |engine| -> Box<dyn Net + Send> { Box::new(StackNet::new(engine)) };
    let cases = [
        (kernel(), kernel(), "127.0.0.1:0", None),
        (kernel(), kernel(), "127.0.0.1:0", Some(ring())),
        (stack(ours), stack(theirs), "10.9.1.2:4420", Some(ring())),
    ];
    for (ours, theirs, address, ring) in cases {
        std::fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
        let store = Arc::new(FileStore::open(&path, options).unwrap());
        let running = Running::with_store(theirs, address, store, ring);
        let mut host =
            Host::connect(ours, HostConfig::new(running.address, config(3, Digests::NONE)), PATIENCE).unwrap();
        random_io(&mut host, 2_000);
        assert!(execute(&mut host, IoCommand::Flush.to_sqe(1)).outcome.is_success());
        host.shutdown(PATIENCE).unwrap();
    }
    std::fs::remove_file(path).unwrap();
}

/// How long a connection may take to begin and to end where a test is about that: longer than the machine stands still.
const TIMEOUT: Duration = Duration::from_secs(4);

/// What comes until the target has closed or reset the connection.
fn until_the_end(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    if let Err(error) = stream.read_to_end(&mut received) {
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    }
    received
}

#[test]
fn mistakes_are_answered_and_what_is_wrong_ends() {
    let running = Running::with_timeout(TIMEOUT);
    let mut host = Host::connect(
        KernelNet::new(Protocol::Tcp).unwrap(),
        HostConfig::new(running.address, config(1, Digests::NONE)),
        PATIENCE,
    )
    .unwrap();
    let beyond = BlockRange { start: SIZE / u64::from(BLOCK), count: 1 };
    let completion = execute(&mut host, IoCommand::Verify { range: beyond }.to_sqe(1));
    let Outcome::Answered { status, .. } = completion.outcome else { panic!("{:?}", completion.outcome) };
    assert_eq!(status.code, StatusCode::LbaOutOfRange);
    // Who says nothing is given up, and so is who says nonsense; the host that behaves stays.
    let mut idle = TcpStream::connect(running.address).unwrap();
    let mut rude = TcpStream::connect(running.address).unwrap();
    rude.write_all(&[0xff; 256]).unwrap();
    for stream in [&mut idle, &mut rude] {
        let farewell = until_the_end(stream);
        // A C2HTermReq, or nothing.
        assert!(farewell.is_empty() || farewell[0] == 0x03, "{farewell:?}");
        stream.shutdown(std::net::Shutdown::Both).ok();
    }
    assert!(execute(&mut host, IoCommand::Flush.to_sqe(1)).outcome.is_success());
}

#[test]
fn a_wrong_name_and_a_closed_port_are_told() {
    let running = Running::over_the_kernel();
    let mut wrong = config(1, Digests::NONE);
    wrong.admin.identity.subsystem = Nqn::new("nqn.2026-11.org.example:none").unwrap();
    let connect = |address, config| {
        Host::connect(KernelNet::new(Protocol::Tcp).unwrap(), HostConfig::new(address, config), PATIENCE).err().unwrap()
    };
    let error = connect(running.address, wrong);
    assert!(matches!(error, HostError::Controller(_)), "{error}");
    assert!(error.to_string().ends_with("is invalid (SCT 0x1, SC 0x82, DNR): the name of the subsystem"), "{error}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = connect(closed, config(1, Digests::NONE));
    assert!(matches!(&error, HostError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused), "{error}");
}

#[test]
fn an_address_is_for_one_target_unless_both_share_it() {
    let new = || KernelNet::new(Protocol::Tcp).unwrap();
    let (mut one, mut other) = (new(), new());
    let (_, address) = one.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    for mut other in [new(), new().sharing_ports()] {
        assert_eq!(other.listen(address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    }
    drop(one);
    other.listen(address).unwrap();
    drop(other);
    let (mut one, mut other) = (new().sharing_ports(), new().sharing_ports());
    one.listen(address).unwrap();
    other.listen(address).unwrap();
    assert_eq!(new().listen(address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn a_host_that_is_gone_leaves_nothing_behind() {
    let running = Running::over_the_kernel();
    let host = Host::connect(
        KernelNet::new(Protocol::Tcp).unwrap(),
        HostConfig::new(running.address, config(4, Digests::NONE)),
        PATIENCE,
    )
    .unwrap();
    assert_eq!(running.target.controllers(), 1);
    // As if it had been killed: no shutdown, but connections end. (What becomes of a host whose connections do not is up to keep-alive.)
    drop(host);
    wait_for("the controller to go", || running.target.controllers() == 0);
}

#[test]
fn who_floods_the_target_is_turned_away() {
    let running = Running::with_timeout(TIMEOUT);
    let mut held: Vec<_> = (0..8).map(|_| TcpStream::connect(running.address).unwrap()).collect();
    let mut one_more = TcpStream::connect(running.address).unwrap();
    assert_eq!(until_the_end(&mut one_more), [0; 0], "it is closed");
    // At once, before the others have had their time.
    for stream in &mut held {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
    }
    // Those that say nothing make room for who does.
    for stream in &mut held {
        assert_eq!(until_the_end(stream), [0; 0]);
    }
    let net = KernelNet::new(Protocol::Tcp).unwrap();
    Host::connect(net, HostConfig::new(running.address, config(1, Digests::NONE)), PATIENCE)
        .unwrap()
        .shutdown(PATIENCE)
        .unwrap();
}

#[test]
fn congestion_control_is_the_kernels() {
    let running = Running::over_the_kernel();
    let connect = |name: &str| {
        let net = KernelNet::new(Protocol::Tcp).unwrap().with_congestion_control(name.to_owned());
        Host::connect(net, HostConfig::new(running.address, config(1, Digests::NONE)), PATIENCE)
    };
    connect("reno").unwrap().shutdown(PATIENCE).unwrap();
    let error = connect("none-such").err().unwrap();
    assert!(error.to_string().contains("'none-such'"), "{error}");
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
