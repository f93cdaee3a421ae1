//! Captures, and what an independent decoder reads in them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::error::{LabError, Result};
use crate::netns::Netns;
use crate::process::Process;
use crate::tools;

/// Time in which a program of the capture begins, and ends.
const LIMIT: Duration = Duration::from_secs(60);

/// Kernel buffer of a capture in MiB: room for what passes while the disk is busy.
const BUFFER: &str = "64";

/// Frames and bytes that wait between the threads that capture and the one that writes.
const QUEUED_FRAMES: &str = "1000000";
const QUEUED_BYTES: &str = "250000000";

/// How late the kernel may hand over what it has captured: `dumpcap` asks for blocks every quarter of a second, and does
/// not ask again when it is told to end.
const LATE: Duration = Duration::from_millis(500);

/// Bytes kept of each frame: all headers, with the longest options.
const SNAPLEN: &str = "200";

/// A capture in progress on interfaces of a namespace.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture the headers of all frames on `interfaces`; it captures when this returns.
    ///
    /// # Errors
    /// `dumpcap` is missing or cannot open an interface.
    pub fn start(netns: &Netns, interfaces: &[&str], dir: &Path) -> Result<Self> {
        tools::require(&["dumpcap", "reordercap", "tshark"])?;
        let file = dir.join("capture.pcapng");
        let mut command = netns.command("dumpcap");
        command.arg("-q").args(["-B", BUFFER]).args(["-s", SNAPLEN]).args(["-N", QUEUED_FRAMES, "-C", QUEUED_BYTES]);
        for interface in interfaces {
            command.args(["-i", interface]);
        }
        command.arg("-w").arg(&file);
        let mut process = Process::spawn(command, "dumpcap", dir)?;
        process.wait_for_output("File: ", LIMIT)?;
        Ok(Self { process, file })
    }

    /// Ends the capture and gives its file, with the frames of all interfaces in the order of their times.
    ///
    /// # Errors
    /// `dumpcap` failed, or lost frames, so that a reader would draw wrong conclusions.
    pub fn stop(self) -> Result<PathBuf> {
        thread::sleep(LATE);
        self.process.signal(Signal::INT)?;
        let said = self.process.succeed(LIMIT)?.stderr;
        if let Some(lost) = said.lines().find(|line| line.contains("received/dropped") && !line.contains("/0 (")) {
            return Err(LabError::Unexpected { what: "a capture that lost frames".to_owned(), found: lost.to_owned() });
        }
        let sorted = self.file.with_file_name("sorted.pcapng");
        tools::run(Command::new("reordercap").arg(&self.file).arg(&sorted))?;
        Ok(sorted)
    }
}

/// Reads `fields` of the frames of a capture that match a display filter, as `tshark` decodes them. A field that a frame
/// does not have is empty; one that it has several times is joined by commas.
///
/// # Errors
/// `tshark` is missing, or does not know a field.
pub fn tshark(file: &Path, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    tools::require(&["tshark"])?;
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file).args(["-Y", filter, "-T", "fields", "-E", "separator=/t"]);
    // Random payload now and then looks like some protocol above TCP, and then like a broken one.
    command.args(["-d", "tcp.port==1-65535,data"]);
    // So that a reader can tell a frame that was damaged on its way, by `tcp.checksum.status`.
    command.args(["-o", "tcp.check_checksum:TRUE"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = tools::run(&mut command)?;
    Ok(output.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}
