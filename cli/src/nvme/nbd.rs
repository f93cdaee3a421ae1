//! `mptcp nvme nbd`: a remote namespace as a disk for any program.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use clap::Args;
use nvme_io::nbd::NbdServer;
use nvme_io::net::Net;

use super::copy::namespace;
use super::host::{FAREWELL, failed};
use super::persistence::LastingOptions;
use crate::failure::Failure;
use crate::human::bytes;
use crate::interrupt::{on_interrupt, yield_to_interrupt};
use crate::say;
use crate::undo::Undo;

/// Bytes of the longest name of an export that the protocol allows.
const LONGEST_NAME: usize = 4096;

/// Offer a namespace as a disk to NBD clients
///
/// qemu-img, qemu-nbd, nbd-client, fio and everything that uses libnbd can then read and write it.
#[derive(Args)]
pub(crate) struct NbdArgs {
    /// Namespace
    #[arg(long, value_name = "NSID", default_value = "1")]
    namespace_id: u32,
    /// Address to listen on; may be given several times. The port of NBD is 10809. Nobody is asked for a password
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Unix socket to listen on, which is removed in the end
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Name of the export, beside the empty one
    #[arg(short = 'x', long, value_name = "NAME", default_value = "")]
    export_name: String,
    /// Refuse writes
    #[arg(short = 'r', long)]
    read_only: bool,
    #[command(flatten)]
    subsystem: LastingOptions,
}

pub(super) fn run(args: &NbdArgs) -> Result<(), Failure> {
    if args.listen.is_empty() && args.socket.is_none() {
        return Err(Failure::Usage(
            "say where to listen: --socket PATH, or --listen ADDR:PORT, such as --listen 127.0.0.1:10809".to_owned(),
        ));
    }
    if args.export_name.len() > LONGEST_NAME {
        return Err(Failure::Usage(format!("--export-name can have {LONGEST_NAME} bytes at most")));
    }
    let host = args.subsystem.connect()?;
    let namespace = namespace(&host, args.namespace_id)?;
    let server = NbdServer::new(host, &namespace, args.export_name.clone(), args.read_only);
    let socket = args.socket.as_deref().map(SocketFile::bind).transpose()?;
    let result = serve(args, server, socket.as_ref());
    drop(socket);
    // If this is the end because of a signal, its exit code counts.
    yield_to_interrupt();
    result
}

fn serve<N: Net>(args: &NbdArgs, mut server: NbdServer<N>, socket: Option<&SocketFile>) -> Result<(), Failure> {
    let no_thread = |error: io::Error| Failure::io("cannot start a thread", &error);
    let stopper = server.stopper();
    let (done, is_done) = mpsc::channel::<()>();
    on_interrupt(move || {
        stopper.stop();
        let _ = is_done.recv_timeout(FAREWELL);
    })?;
    let mut uris = Vec::new();
    for address in &args.listen {
        let refused = |error: io::Error| Failure::io(format_args!("cannot listen on {address}"), &error);
        let listener = TcpListener::bind(address).map_err(refused)?;
        uris.push(format!("nbd://{}/{}", listener.local_addr().map_err(refused)?, args.export_name));
        server.listen(listener).map_err(no_thread)?;
    }
    if let Some(SocketFile { path, listener, .. }) = socket {
        let listener = listener.try_clone().map_err(|error| Failure::file("listen on", path, &error))?;
        uris.push(format!("nbd+unix:///{}?socket={}", args.export_name, path.display()));
        server.listen(listener).map_err(no_thread)?;
    }
    let export = server.export();
    say(&format!(
        "namespace {}, {} in blocks of {} bytes{}",
        args.namespace_id,
        bytes(export.size),
        export.block_size,
        if export.is_read_only { ", read-only" } else { "" }
    ));
    uris.iter().for_each(|uri| say(&format!("listening on {uri}")));
    let result = server.run().map_err(|error| failed(&error));
    if result.is_ok() {
        // What does not come of it is worth no failure.
        let _ = server.shutdown(FAREWELL / 2);
    }
    drop(done);
    result
}

/// A unix socket with its file, which goes when it does.
struct SocketFile {
    path: PathBuf,
    listener: UnixListener,
    _removal: Undo,
}

impl SocketFile {
    fn bind(path: &Path) -> Result<Self, Failure> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                Failure::Runtime(format!("{} exists already; remove it, unless somebody listens there", path.display()))
            }
            io::ErrorKind::NotFound => {
                Failure::Runtime(format!("cannot listen on {}: no such directory", path.display()))
            }
            // There is no other reason for that.
            io::ErrorKind::InvalidInput => {
                Failure::Usage(format!("cannot listen on {}: a socket's path has 107 bytes at most", path.display()))
            }
            _ => Failure::file("listen on", path, &error),
        };
        let (path, doomed) = (path.to_owned(), path.to_owned());
        let bind = || UnixListener::bind(&path).map_err(refused);
        let remove = move || drop(std::fs::remove_file(doomed));
        let (listener, removal) = Undo::after(bind, remove)?;
        Ok(Self { path, listener, _removal: removal })
    }
}
