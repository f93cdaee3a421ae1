//! `mptcp demo --kernel`: a real file, three paths to the Linux kernel, one of which dies half-way.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mptcp_sdk::{Config, DeviceSpec, EndpointFlags, InterfaceSpec, IpCidr, Runtime};

use super::namespace::Namespace;
use super::peer::Peer;
use super::scratch::{Scratch, length, sha256};
use super::summary::Summary;
use super::{DemoArgs, needs};
use crate::failure::Failure;
use crate::human::bytes;
use crate::network::{Network, Stream, StreamReport, shares};
use crate::progress::Progress;
use crate::say;

/// Paths between the two ends.
pub(super) const PATHS: u8 = 3;

/// The path that dies.
pub(super) const VICTIM: u8 = 2;

/// Where the kernel's end listens.
const PORT: u16 = 5000;

/// How often progress is shown, and looked at for the half-way mark.
const TICK: Duration = Duration::from_millis(20);

/// Bytes per write.
const BLOCK: usize = 256 * 1024;

/// Longest random file: it has to fit into the temporary directory twice.
const MAX_SIZE: u64 = 8 << 30;

/// Runs the demonstration.
pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    if args.size > MAX_SIZE {
        return Err(Failure::Usage(format!("--size is {}, but at most 8G are possible", args.size)));
    }
    needs::check()?;
    let scratch = Scratch::new()?;
    let source = match &args.file {
        Some(path) => path.clone(),
        None => scratch.random_file(args.size)?,
    };
    let digest = sha256(&source)?;
    let announce = |line: &str| {
        if !args.json {
            say(line);
        }
    };

    let namespace = Namespace::create()?;
    let runtime = Runtime::new(config()).map_err(|error| Failure::Runtime(error.to_string()))?;
    for path in 0..PATHS {
        namespace.adopt(&tap(path), addr(path, KERNEL))?;
    }
    namespace.announce((1..PATHS).map(|path| addr(path, KERNEL)))?;
    let network = Network::user_space(runtime)?;
    let received = scratch.path("received");
    let peer = Peer::start(&namespace, PORT, &received)?;

    announce(&format!(
        "sending {} over {PATHS} paths to the Linux kernel in the namespace {}; path {} goes down half-way",
        bytes(length(&source)?),
        namespace.name(),
        VICTIM + 1
    ));
    let started = Instant::now();
    let stream = Arc::new(network.connect(SocketAddr::new(addr(0, KERNEL), PORT))?);
    Stream::abort_on_interrupt(&stream)?;
    let mut connection = send(&stream, &source, || namespace.set_down(&tap(VICTIM)))?;
    let kernel = peer.finish()?;
    let elapsed = started.elapsed();
    stream.settle(length(&source)?)?;
    connection.update(stream.report());
    let same = sha256(&received)? == digest;
    let summary = Summary { bytes: length(&source)?, elapsed, digest, same, connection, kernel };
    if args.json {
        say(&summary.json())
    } else {
        summary.print()
    }
    if same { Ok(()) } else { Err(Failure::Runtime("the file arrived altered".to_owned())) }
}

/// Ends of a path: the last byte of their addresses.
const KERNEL: u8 = 1;
pub(super) const OURS: u8 = 2;

/// Address of one end of a path, from a network that is set aside for tests (RFC 2544).
pub(super) fn addr(path: u8, end: u8) -> IpAddr {
    Ipv4Addr::new(198, 18, path + 1, end).into()
}

fn tap(path: u8) -> String {
    format!("mpd{path}-{}", std::process::id())
}

fn config() -> Config {
    let mut config = Config::default();
    for path in 0..PATHS {
        let cidr = IpCidr { addr: addr(path, OURS), prefix: 24 };
        let flags = EndpointFlags { subflow: path > 0, ..EndpointFlags::default() };
        config.interfaces.push(InterfaceSpec::new(DeviceSpec::Tap(tap(path)), [cidr]).with_flags(flags));
    }
    config.stack.limits.subflows = PATHS;
    config.stack.limits.add_addr_accepted = PATHS;
    config.linger = Duration::from_secs(2);
    config
}

/// Sends a file, calling `half_way` when half of it is sent.
fn send(
    stream: &Arc<Stream>,
    source: &Path,
    half_way: impl FnOnce() -> Result<(), Failure>,
) -> Result<StreamReport, Failure> {
    let total = length(source)?;
    let mut file = File::open(source).map_err(|error| Failure::file("read", source, &error))?;
    let sent = Arc::new(AtomicU64::new(0));
    let (writer, count) = (Arc::clone(stream), Arc::clone(&sent));
    let work = move || {
        let (mut stream, mut block) = (&*writer, vec![0; BLOCK]);
        loop {
            let len = file.read(&mut block)?;
            if len == 0 {
                return stream.shutdown(Shutdown::Write);
            }
            stream.write_all(&block[..len])?;
            count.fetch_add(len as u64, Ordering::Relaxed);
        }
    };
    let thread = std::thread::Builder::new().name("mptcp-demo".to_owned()).spawn(work);
    let thread = thread.map_err(|error| Failure::io("cannot start a thread", &error))?;
    let progress = Progress::start(Some(total));
    let mut connection = StreamReport::default();
    let mut half_way = Some(half_way);
    while !thread.is_finished() {
        std::thread::sleep(TICK);
        let done = sent.load(Ordering::Relaxed);
        if done >= total / 2
            && let Some(half_way) = half_way.take()
        {
            half_way()?;
        }
        connection.update(stream.report());
        progress.show(done, shares(&StreamReport::default(), &connection));
    }
    progress.finish();
    let result = thread.join().unwrap_or_else(|_| Err(std::io::Error::other("a worker thread has failed")));
    result.map_err(|error| Failure::io("cannot send", &error))?;
    Ok(connection)
}
