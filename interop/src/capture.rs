//! Captures, and what an independent decoder reads in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::{IoContext, LabError, Result};
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

/// How often to look whether the marks have been written.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes kept of each frame: all headers, with the longest options.
const SNAPLEN: &str = "200";

/// A capture in progress on interfaces of a namespace.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
    marks: Vec<Mark>,
}

impl Capture {
    /// Starts to capture the headers of all frames on `interfaces`, which have IPv4 addresses; it captures when this returns.
    ///
    /// # Errors
    /// `dumpcap` is missing or cannot open an interface.
    pub fn start(netns: &Netns, interfaces: &[&str], dir: &Path) -> Result<Self> {
        tools::require(&["dumpcap", "ping", "reordercap", "tshark"])?;
        let file = dir.join("capture.pcapng");
        let mut command = netns.command("dumpcap");
        command.arg("-q").args(["-B", BUFFER]).args(["-s", SNAPLEN]).args(["-N", QUEUED_FRAMES, "-C", QUEUED_BYTES]);
        for interface in interfaces {
            command.args(["-i", interface]);
        }
        command.arg("-w").arg(&file);
        let mut process = Process::spawn(command, "dumpcap", dir)?;
        process.wait_for_output("File: ", LIMIT)?;
        let marks =
            interfaces.iter().enumerate().map(|(number, interface)| Mark::new(netns, number, interface)).collect();
        Ok(Self { process, file, marks })
    }

    /// Ends the capture and gives its file, with the frames of all interfaces in the order of their times.
    ///
    /// # Errors
    /// `dumpcap` failed, or lost frames, so that a reader would draw wrong conclusions.
    pub fn stop(mut self) -> Result<PathBuf> {
        for mark in &mut self.marks {
            mark.send()?;
        }
        let begun = Instant::now();
        while let Some(missing) = self.find_marks()? {
            if begun.elapsed() > LIMIT {
                let what = "an interface captured to its end".to_owned();
                return Err(LabError::Unexpected {
                    what,
                    found: format!("nothing of {:?}", tools::line(&missing.sender)),
                });
            }
            thread::sleep(PAUSE);
        }
        self.process.signal(Signal::INT)?;
        let said = self.process.succeed(LIMIT)?.stderr;
        let lost = |line: &&str| line.contains("received/dropped") && !line.contains("(pcap:0/dumpcap:0/");
        if let Some(lost) = said.lines().find(lost) {
            return Err(LabError::Unexpected { what: "a capture that lost frames".to_owned(), found: lost.to_owned() });
        }
        let sorted = self.file.with_file_name("sorted.pcapng");
        tools::run(Command::new("reordercap").arg(&self.file).arg(&sorted))?;
        Ok(sorted)
    }

    /// Forgets the marks that have been written; one that has not been yet.
    fn find_marks(&mut self) -> Result<Option<&Mark>> {
        let written = fs::read(&self.file).context(|| format!("reading {}", self.file.display()))?;
        self.marks.retain(|mark| !written.windows(mark.text.len()).any(|window| window == mark.text.as_bytes()));
        Ok(self.marks.first())
    }
}

/// The last frame that is captured of an interface: `dumpcap` throws away what the kernel hands over after it was told to
/// end, and on a busy machine that may be what passed long before.
#[derive(Debug)]
struct Mark {
    /// What the frame carries, several times over.
    text: String,
    sender: Command,
}

impl Mark {
    fn new(netns: &Netns, number: usize, interface: &str) -> Self {
        // None is part of another one, and `ping` takes 16 bytes.
        let text = format!("the end of {number:02}.");
        let pattern: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut sender = netns.command("ping");
        sender.args(["-q", "-b", "-c", "1", "-W", "0.1", "-I", interface, "-p", &pattern, "255.255.255.255"]);
        Self { text, sender }
    }

    fn send(&mut self) -> Result<()> {
        let sent = self.sender.output().context(|| tools::line(&self.sender))?;
        // Nobody answers, which `ping` takes for a failure.
        if matches!(sent.status.code(), Some(0 | 1)) {
            return Ok(());
        }
        let found = String::from_utf8_lossy(&sent.stderr).into_owned();
        Err(LabError::Unexpected { what: tools::line(&self.sender), found })
    }
}

/// Reads `fields` of the frames of a capture that match a display filter, as `tshark` decodes them. A field that a frame
/// does not have is empty; one that it has several times is joined by commas.
///
/// # Errors
/// `tshark` is missing, or does not know a field.
pub fn tshark(file: &Path, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    // Random payload now and then looks like some protocol above TCP, and then like a broken one.
    decode(file, &["-d", "tcp.port==1-65535,data", "-Y", filter], fields)
}

/// The same of the frames in which a PDU of NVMe/TCP ends, on its port 4420; digests of headers and data are checked.
///
/// # Errors
/// `tshark` is missing, or does not know a field.
pub fn nvme_pdus(file: &Path, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut options = vec!["-d", "tcp.port==4420,nvme-tcp", "-Y", "nvme-tcp"];
    // What was sent again does not hide where PDUs begin.
    options.extend(["-o", "tcp.reassemble_out_of_order:TRUE"]);
    options.extend(["-o", "nvme-tcp.check_hdgst:TRUE", "-o", "nvme-tcp.check_ddgst:TRUE"]);
    decode(file, &options, fields)
}

fn decode(file: &Path, options: &[&str], fields: &[&str]) -> Result<Vec<Vec<String>>> {
    tools::require(&["tshark"])?;
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file).args(["-T", "fields", "-E", "separator=/t"]).args(options);
    // So that a reader can tell a frame that was damaged on its way, by `tcp.checksum.status`.
    command.args(["-o", "tcp.check_checksum:TRUE"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = tools::run(&mut command)?;
    Ok(output.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}
