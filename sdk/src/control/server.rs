//! The end that answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::MAX_LINE;
use super::answer::answer;
use super::message::{Reply, Request};
use crate::{Runtime, WeakRuntime};

/// Answers on a control socket, on a thread of its own, until it is dropped. It does not keep the runtime running.
///
/// The socket is for the user who runs the process, and root: whoever can connect can close every path.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    /// Device and inode of the socket that was made here: the file may have been replaced since.
    file: (u64, u64),
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

/// How long a client may take for a line, or keep quiet. Clients are served one after the other.
const PATIENCE: Duration = Duration::from_secs(2);

impl ControlServer {
    /// Makes the socket and starts answering for `runtime`. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if another process listens there; whatever the file system says.
    pub fn start(runtime: &Runtime, path: &Path) -> io::Result<Self> {
        let listener = bind(path)?;
        listener.set_nonblocking(true)?;
        let meta = std::fs::metadata(path)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let (runtime, stopped) = (runtime.downgrade(), stop.try_clone()?);
        let serve = move || serve(&listener, &runtime, &stopped);
        let thread = std::thread::Builder::new().name("mptcp-control".to_owned()).spawn(serve)?;
        Ok(Self { path: path.to_owned(), file: (meta.dev(), meta.ino()), stop, thread: Some(thread) })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // Adding to a counter at zero cannot fail.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has said so already.
            let _ = thread.join();
        }
        let ours = std::fs::metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file);
        if ours {
            // If it is gone by now, so much the better.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where control sockets are unless told otherwise: `$XDG_RUNTIME_DIR`, or `/run`.
pub fn default_directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => dir.into(),
        None => "/run".into(),
    }
}

/// Name of the control socket of the process `pid` unless told otherwise.
pub fn default_path(pid: u32) -> PathBuf {
    default_directory().join(format!("mptcp-{pid}.sock"))
}

/// Listens under a name of its own first, so that whoever finds the socket at `path` is answered, and nobody finds it before it is private.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!(".{}", std::process::id()));
    let staged = PathBuf::from(staged);
    // What a process of the same number has left: no other one has this name.
    let _ = std::fs::remove_file(&staged);
    let listener = UnixListener::bind(&staged)?;
    let placed =
        std::fs::set_permissions(&staged, std::fs::Permissions::from_mode(0o600)).and_then(|()| place(&staged, path));
    // The other name stays.
    let _ = std::fs::remove_file(&staged);
    placed.map(|()| listener)
}

/// Gives a socket the name `path`, unless somebody listens there.
fn place(staged: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(staged, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match UnixStream::connect(path) {
            // A process that was killed leaves its socket behind.
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
                std::fs::hard_link(staged, path)
            }
            _ => Err(io::ErrorKind::AddrInUse.into()),
        },
        placed => placed,
    }
}

fn serve(listener: &UnixListener, runtime: &WeakRuntime, stop: &OwnedFd) {
    while let Ok(Woken::Ready) = wait(listener.as_fd(), stop, None) {
        if let Ok((client, _)) = listener.accept()
            && let Err(error) = talk(client, runtime, stop)
        {
            tracing::debug!(%error, "a client of the control socket has left");
        }
    }
}

/// Why [`wait`] has ended.
enum Woken {
    Ready,
    Stopped,
    TooLate,
}

/// Waits until a descriptor can be read, or the server is to stop.
fn wait(fd: BorrowedFd<'_>, stop: &OwnedFd, timeout: Option<Duration>) -> io::Result<Woken> {
    let timeout = timeout.map(Timespec::try_from).transpose().map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut fds = [fd, stop.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))?;
    Ok(match ready {
        0 => Woken::TooLate,
        _ if !fds[1].revents().is_empty() => Woken::Stopped,
        _ => Woken::Ready,
    })
}

fn talk(client: UnixStream, runtime: &WeakRuntime, stop: &OwnedFd) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(client.try_clone()?);
    loop {
        if lines.buffer().is_empty() && !matches!(wait(client.as_fd(), stop, Some(PATIENCE))?, Woken::Ready) {
            return Ok(());
        }
        let mut line = String::new();
        if (&mut lines).take(MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let reply = match serde_json::from_str::<Request>(&line) {
            Ok(request) => runtime.call(move |engine| answer(engine, request))?,
            Err(error) => Reply::Error(format!("the request is not understood: {error}")),
        };
        let mut text = serde_json::to_vec(&reply)?;
        text.push(b'\n');
        (&client).write_all(&text)?;
    }
}
