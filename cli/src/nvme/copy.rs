//! `mptcp nvme read` and `mptcp nvme write`: bytes of a namespace from and to files.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use nvme_tcp::command::{BlockRange, IoCommand};
use nvme_tcp::host::{Finished, Namespace, Outcome, Request};

use super::host::{AnyHost, failed, leave};
use super::persistence::LastingOptions;
use crate::failure::Failure;
use crate::human::parse_count;

/// Bytes of one command, unless the controller takes less.
const CHUNK: u64 = 128 * 1024;

/// Commands at a time.
const DEPTH: usize = 8;

/// Which part of a namespace.
#[derive(Args)]
struct Part {
    /// Namespace
    #[arg(long, value_name = "NSID", default_value = "1")]
    namespace_id: u32,
    /// First block
    #[arg(long, value_name = "LBA", default_value = "0")]
    start_block: u64,
}

/// Read from a namespace
#[derive(Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    part: Part,
    /// Bytes to read, such as 4096, 64K or 10M [default: to the end]
    #[arg(short = 'z', long, value_name = "BYTES", value_parser = parse_count)]
    data_size: Option<u64>,
    /// Where to put them [default: standard output]
    #[arg(short = 'd', long, value_name = "FILE")]
    data: Option<PathBuf>,
    #[command(flatten)]
    subsystem: LastingOptions,
}

/// Write to a namespace, and flush
///
/// The last block is filled up with zeroes.
#[derive(Args)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    part: Part,
    /// What to write [default: standard input]
    #[arg(short = 'd', long, value_name = "FILE")]
    data: Option<PathBuf>,
    #[command(flatten)]
    subsystem: LastingOptions,
}

pub(super) fn read(args: &ReadArgs) -> Result<(), Failure> {
    let mut output: Box<dyn Write> = match &args.data {
        Some(path) => {
            let file = std::fs::File::create(path).map_err(|error| Failure::file("write", path, &error))?;
            Box::new(std::io::BufWriter::new(file))
        }
        None => Box::new(std::io::stdout().lock()),
    };
    let mut host = args.subsystem.connect_at_leisure()?;
    let namespace = namespace(&host, args.part.namespace_id)?;
    let size = namespace.blocks * u64::from(namespace.block_size);
    let start = offset(&namespace, args.part.start_block)?;
    let length = args.data_size.unwrap_or(size - start);
    if length > size - start {
        return Err(Failure::Usage(format!(
            "namespace {} has only {} bytes from there on",
            namespace.nsid,
            size - start
        )));
    }
    // Whole blocks are read, and of the last what was asked for is written.
    let chunk = chunk(&host, &namespace);
    let (mut at, mut left) = (start, length);
    while left > 0 {
        let mut batch = Vec::new();
        while left > 0 && batch.len() < DEPTH {
            let len = left.min(chunk);
            batch.push((range(&namespace, at, len), len));
            (at, left) = (at + len, left - len);
        }
        let requests = batch.iter().zip(0..).map(|((range, _), token)| {
            let command = IoCommand::Read { range: *range, force_unit_access: false };
            let bytes = range.count * namespace.block_size;
            Request::new(command.to_sqe(namespace.nsid), token).receiving(bytes)
        });
        let requests = requests.collect();
        for (finished, (_, len)) in run(&mut host, requests)?.into_iter().zip(batch) {
            check(&finished)?;
            let bytes = finished.request.into_received().to_contiguous();
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            output.write_all(&bytes[..len]).map_err(|error| Failure::io("cannot write the data", &error))?;
        }
    }
    output.flush().map_err(|error| Failure::io("cannot write the data", &error))?;
    leave(host);
    Ok(())
}

pub(super) fn write(args: &WriteArgs) -> Result<(), Failure> {
    let (mut input, known): (Box<dyn Read>, _) = match &args.data {
        Some(path) => {
            let (file, length) = open(path).map_err(|error| Failure::file("read", path, &error))?;
            (Box::new(file), length)
        }
        None => (Box::new(std::io::stdin().lock()), None),
    };
    let mut host = args.subsystem.connect_at_leisure()?;
    let namespace = namespace(&host, args.part.namespace_id)?;
    let size = namespace.blocks * u64::from(namespace.block_size);
    let mut at = offset(&namespace, args.part.start_block)?;
    if let Some(length) = known.filter(|length| *length > size - at) {
        let room = size - at;
        return Err(Failure::Usage(format!("there are {length} bytes to write, and room for {room}")));
    }
    let chunk = chunk(&host, &namespace);
    let mut is_full = false;
    while !is_full {
        let mut requests = Vec::new();
        while requests.len() < DEPTH {
            let mut data = Vec::new();
            input
                .by_ref()
                .take(chunk)
                .read_to_end(&mut data)
                .map_err(|error| Failure::io("cannot read what to write", &error))?;
            if data.is_empty() {
                break;
            }
            data.resize(data.len().next_multiple_of(namespace.block_size as usize), 0);
            if at + data.len() as u64 > size {
                is_full = true;
                data.truncate(usize::try_from(size - at).unwrap_or(usize::MAX));
                if data.is_empty() {
                    break;
                }
            }
            let range = range(&namespace, at, data.len() as u64);
            at += data.len() as u64;
            let command = IoCommand::Write { range, force_unit_access: false };
            let token = requests.len() as u64;
            requests.push(Request::new(command.to_sqe(namespace.nsid), token).sending(Bytes::from(data)));
        }
        if requests.is_empty() {
            break;
        }
        run(&mut host, requests)?.iter().try_for_each(check)?;
    }
    let flush =
        host.execute(0, Request::new(IoCommand::Flush.to_sqe(namespace.nsid), 0)).map_err(|error| failed(&error))?;
    check(&flush)?;
    leave(host);
    if is_full {
        return Err(Failure::Runtime(format!("namespace {} is full: the rest is not written", namespace.nsid)));
    }
    Ok(())
}

/// A file to be read, and its length if it has one.
fn open(path: &Path) -> std::io::Result<(File, Option<u64>)> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    Ok((file, found.is_file().then_some(found.len())))
}

/// Has the first queue do all of them, and waits. Returns them in their order.
fn run(host: &mut AnyHost, requests: Vec<Request<u64>>) -> Result<Vec<Finished<u64>>, Failure> {
    let count = requests.len();
    for request in requests {
        while host.room(0) == 0 {
            host.turn(Some(Duration::from_millis(1))).map_err(|error| failed(&error))?;
        }
        host.submit(0, request)
            .map_err(|refused| Failure::Runtime(format!("the queue takes nothing: {}", refused.reason)))?;
    }
    let mut done = Vec::with_capacity(count);
    while done.len() < count {
        match host.poll_finished(0) {
            Some(finished) => done.push(finished),
            None => host.turn(None).map_err(|error| failed(&error))?,
        }
    }
    done.sort_by_key(|finished| finished.request.token);
    Ok(done)
}

pub(super) fn namespace(host: &AnyHost, nsid: u32) -> Result<Namespace, Failure> {
    if let Some(reason) = host.controller().unusable_namespaces().get(&nsid) {
        return Err(Failure::Runtime(format!("namespace {nsid} cannot be used: {reason}")));
    }
    host.controller().namespaces().get(&nsid).cloned().ok_or_else(|| {
        let known: Vec<String> = host.controller().namespaces().keys().map(u32::to_string).collect();
        Failure::Usage(format!("there is no namespace {nsid}; there are {}", known.join(", ")))
    })
}

pub(super) fn check(finished: &Finished<u64>) -> Result<(), Failure> {
    match finished.outcome {
        Outcome::Answered { status, .. } if status.is_success() => Ok(()),
        Outcome::Answered { status, .. } => Err(Failure::Runtime(format!("a command failed: {status}"))),
        Outcome::Lost { .. } => Err(Failure::Runtime("the connection was lost".to_owned())),
    }
}

fn offset(namespace: &Namespace, block: u64) -> Result<u64, Failure> {
    if block < namespace.blocks {
        return Ok(block * u64::from(namespace.block_size));
    }
    Err(Failure::Usage(format!("namespace {} has only {} blocks", namespace.nsid, namespace.blocks)))
}

/// Bytes of one command: whole blocks.
fn chunk(host: &AnyHost, namespace: &Namespace) -> u64 {
    let block = u64::from(namespace.block_size);
    let most = host.controller().max_transfer().map_or(CHUNK, |most| most.min(CHUNK));
    (most / block).max(1) * block
}

/// The blocks of a range of bytes that begins with a block.
fn range(namespace: &Namespace, at: u64, len: u64) -> BlockRange {
    let block = u64::from(namespace.block_size);
    BlockRange { start: at / block, count: u32::try_from(len.div_ceil(block)).unwrap_or(u32::MAX) }
}
