//! `mptcp cat`: one connection, both directions at once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::failure::Failure;
use crate::human::{ListenAddr, parse_listen, parse_remote};
use crate::network::{NetworkOptions, Role, Stream, StreamReport, shares};
use crate::progress::Progress;

/// Connect or listen, and pass bytes both ways (like netcat)
///
/// Sends the input and writes what arrives to the output. At the end of the input the sending direction is closed, and
/// receiving goes on; the command is done when both directions are. Where one end is the Linux kernel, its joins of
/// further paths need a connection that its end has not closed: give that end an input that stays open.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("end").required(true).args(["listen", "connect"]))]
pub(crate) struct CatArgs {
    /// Wait for one connection
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen)]
    listen: Option<ListenAddr>,
    /// Connect to this address
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_remote)]
    connect: Option<SocketAddr>,
    /// Send this file instead of standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Write what arrives to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print a summary on standard error at the end, as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
}

/// Bytes per read and write. Larger ones gain nothing; smaller ones cost calls.
const BLOCK: usize = 256 * 1024;

/// How often the progress bar and the account of each subflow are brought up to date.
const TICK: Duration = Duration::from_millis(100);

/// Runs the subcommand.
pub(crate) fn run(args: &CatArgs) -> Result<(), Failure> {
    let (input, total) = open_input(args)?;
    let output = open_output(args)?;
    let role = if args.listen.is_some() { Role::Server } else { Role::Client };
    let network = args.network.open(role)?;
    // The listener stays to the end: the kernel answers joins only while somebody listens.
    let (_listener, stream) = match (args.listen, args.connect) {
        (Some(at), _) => {
            let listener = network.listen(at)?;
            let stream = listener.accept(None).map_err(|error| Failure::io("cannot accept a connection", &error))?;
            (Some(listener), stream)
        }
        (None, Some(remote)) => (None, network.connect(remote)?),
        (None, None) => return Err(Failure::Usage("say --listen [ADDR:]PORT or --connect ADDR:PORT".to_owned())),
    };
    let stream = Arc::new(stream);
    Stream::abort_on_interrupt(&stream)?;

    let summary = Transfer::start(stream, input, output)?.wait(total);
    if args.json {
        let line = serde_json::to_string(&summary.account)
            .map_err(|error| Failure::Runtime(format!("cannot write the summary: {error}")))?;
        // A closed standard error must not turn a finished transfer into a failure.
        let _ = writeln!(io::stderr(), "{line}");
    }
    summary.result
}

fn open_input(args: &CatArgs) -> Result<(File, Option<u64>), Failure> {
    let path = args.input.as_deref().unwrap_or(Path::new("standard input"));
    let open = || {
        let file = match &args.input {
            Some(path) => File::open(path)?,
            None => File::from(io::stdin().as_fd().try_clone_to_owned()?),
        };
        let meta = file.metadata()?;
        Ok((file, meta.is_file().then_some(meta.len())))
    };
    open().map_err(|error| Failure::file("read", path, &error))
}

/// The output without a buffer: what has arrived must not wait for a line to be complete.
fn open_output(args: &CatArgs) -> Result<File, Failure> {
    let path = args.output.as_deref().unwrap_or(Path::new("standard output"));
    let open = || match &args.output {
        Some(path) => File::create(path),
        None => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
    };
    open().map_err(|error| Failure::file("write", path, &error))
}

/// The two directions under way.
struct Transfer {
    stream: Arc<Stream>,
    started: Instant,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    ends: Receiver<Result<(), Failure>>,
}

/// How a transfer went.
struct Outcome {
    account: Account,
    result: Result<(), Failure>,
}

/// The line that `--json` prints.
#[derive(Serialize)]
struct Account {
    sent: u64,
    received: u64,
    seconds: f64,
    #[serde(flatten)]
    connection: StreamReport,
    error: Option<String>,
}

impl Transfer {
    fn start(stream: Arc<Stream>, input: File, output: File) -> Result<Self, Failure> {
        let (end, ends) = mpsc::channel();
        let sent = Arc::new(AtomicU64::new(0));
        let received = Arc::new(AtomicU64::new(0));
        let transfer = Self { stream, started: Instant::now(), sent, received, ends };
        let (stream, count) = (Arc::clone(&transfer.stream), Arc::clone(&transfer.sent));
        spawn("mptcp-send", end.clone(), move || send(&stream, input, &count))?;
        let (stream, count) = (Arc::clone(&transfer.stream), Arc::clone(&transfer.received));
        spawn("mptcp-receive", end, move || receive(&stream, output, &count))?;
        Ok(transfer)
    }

    /// Waits for the end of both directions, or the first failure of one.
    fn wait(self, total: Option<u64>) -> Outcome {
        let progress = Progress::start(total);
        let mut connection = self.stream.report();
        let mut running = 2;
        let mut result = Ok(());
        while running > 0 && result.is_ok() {
            match self.ends.recv_timeout(TICK) {
                Ok(end) => {
                    running -= 1;
                    result = end;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => running = 0,
            }
            let before = connection.clone();
            connection.update(self.stream.report());
            if progress.is_visible() {
                let (sent, received) = self.counts();
                let done = if total.is_some() { sent } else { sent + received };
                progress.show(done, shares(&before, &connection));
            }
        }
        match result {
            Ok(()) => result = self.stream.settle(self.sent.load(Ordering::Relaxed)),
            Err(_) => self.stream.abort(),
        }
        progress.finish();
        connection.update(self.stream.report());
        let (sent, received) = self.counts();
        let account = Account {
            sent,
            received,
            seconds: self.started.elapsed().as_secs_f64(),
            connection,
            error: result.as_ref().err().map(ToString::to_string),
        };
        Outcome { account, result }
    }

    fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

fn spawn(
    name: &str,
    end: Sender<Result<(), Failure>>,
    work: impl FnOnce() -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let run = move || {
        // The receiver is gone only if the other direction has failed, which is what gets reported.
        let _ = end.send(work());
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|error| Failure::io("cannot start a thread", &error))
}

fn send(mut stream: &Stream, mut input: impl Read, count: &AtomicU64) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    loop {
        let len = match input.read(&mut block) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::io("cannot read the input", &error)),
        };
        stream.write_all(&block[..len]).map_err(|error| Failure::io("cannot send", &error))?;
        count.fetch_add(len as u64, Ordering::Relaxed);
    }
    match stream.shutdown(Shutdown::Write) {
        // The peer may have taken everything and be gone by now.
        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
            Err(Failure::io("cannot close the sending direction", &error))
        }
        _ => Ok(()),
    }
}

fn receive(mut stream: &Stream, mut output: impl Write, count: &AtomicU64) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    loop {
        let len = match stream.read(&mut block) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::io("cannot receive", &error)),
        };
        output.write_all(&block[..len]).map_err(output_failure)?;
        count.fetch_add(len as u64, Ordering::Relaxed);
    }
    output.flush().map_err(output_failure)
}

fn output_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::Runtime("the reader of the output is gone".to_owned())
    } else {
        Failure::io("cannot write the output", &error)
    }
}
