//! A remote namespace as a disk for programs of others: fio, qemu-img and libnbd's tools, over `mptcp nvme nbd`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Background, Lines, mptcp};
use rustix::process::Signal;

const NQN: &str = "nqn.2026-11.org.example:nbd";

/// Starts a program, and reads the lines that it begins with.
fn start<'a>(args: impl IntoIterator<Item = &'a str>, lines: usize) -> (Background, Vec<String>) {
    let mut process = Background::start(mptcp(args).stderr(Stdio::inherit()));
    let lines = Lines::of(process.stdout()).take(lines).collect();
    (process, lines)
}

/// A target, and a server of its namespace.
struct Disk {
    nbd: Background,
    _target: Background,
    /// The target's.
    port: String,
    socket: PathBuf,
    /// Where else it listens.
    tcp: String,
}

impl Disk {
    fn new(name: &str, extra: &[&str]) -> Self {
        let mut target = vec!["nvme", "target", "--kernel", "tcp", "--nqn", NQN, "--listen", "127.0.0.1:0"];
        target.extend(["--namespace", "memory:64M"]);
        let (target, lines) = start(target, 1);
        let port = lines[0].rsplit_once(':').unwrap().1.to_owned();
        let socket = std::env::temp_dir().join(format!("mptcp-nbd-{}-{name}", std::process::id()));
        let mut nbd = vec!["nvme", "nbd", "--kernel", "tcp", "-a", "127.0.0.1", "-s", &port, "-n", NQN];
        nbd.extend(["--nr-io-queues", "2", "--listen", "127.0.0.1:0", "--socket", socket.to_str().unwrap()]);
        nbd.extend(extra);
        let (nbd, lines) = start(nbd, 3);
        let tcp = lines[1].rsplit_once(' ').unwrap().1.to_owned();
        Self { nbd, _target: target, port, socket, tcp }
    }

    fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", self.socket.display())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Who is killed leaves its socket behind.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Runs a program, which has to succeed, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (printed, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}\n{complaint}", output.status);
    printed.into_owned()
}

fn fio(uri: &str, options: &[&str]) {
    let mut command = Command::new("fio");
    command.args(["--name=job", "--ioengine=nbd", "--output-format=terse"]).arg(format!("--uri={uri}"));
    run(command.args(options));
}

/// A file with data that no two blocks of have in common.
fn image(path: &Path, len: u32) {
    let data: Vec<u8> = (0..len / 4).flat_map(|word| word.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect();
    std::fs::write(path, data).unwrap();
}

#[test]
fn fio_finds_what_it_wrote() {
    let disk = Disk::new("fio", &[]);
    let verified = ["--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--size=16M", "--iodepth=32"];
    let sizes = ["--rw=randwrite", "--bsrange=4k-64k", "--fsync=16"];
    fio(&disk.uri(), &[&verified[..], &sizes].concat());
    // Requests of a mebibyte are several commands.
    fio(&disk.tcp, &[&verified[..], &["--rw=write", "--bs=1M"]].concat());
    fio(&disk.uri(), &["--rw=randtrim", "--bs=64k", "--size=16M", "--iodepth=8"]);
    // Several clients, each with a part.
    let parts = ["--rw=randwrite", "--bs=4k", "--numjobs=4", "--offset_increment=16M", "--end_fsync=1"];
    fio(&disk.uri(), &[&verified[..], &parts].concat());
    // As many as the walk-through has.
    let many = ["--bs=4k", "--iodepth=32", "--numjobs=16", "--size=4M", "--offset_increment=4M", "--group_reporting"];
    for pattern in ["--rw=randread", "--rw=randwrite"] {
        fio(&disk.uri(), &[&[pattern][..], &many].concat());
    }
}

#[test]
fn images_come_back_as_they_were() {
    let disk = Disk::new("images", &["--export-name", "disk"]);
    let directory = std::env::temp_dir();
    let [original, by_qemu, by_libnbd] = ["original", "qemu", "libnbd"]
        .map(|name| directory.join(format!("mptcp-nbd-{}-{name}.img", std::process::id())));
    image(&original, 64 << 20);
    run(Command::new("qemu-img").args(["convert", "-n", "-f", "raw", "-O", "raw"]).arg(&original).arg(disk.uri()));
    run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "raw", &disk.tcp]).arg(&by_qemu));
    run(Command::new("nbdcopy").args(["--requests=64", "--connections=4", &disk.uri()]).arg(&by_libnbd));
    let data = std::fs::read(&original).unwrap();
    let same = [&by_qemu, &by_libnbd].map(|copy| std::fs::read(copy).unwrap() == data);
    for file in [&original, &by_qemu, &by_libnbd] {
        let _ = std::fs::remove_file(file);
    }
    assert_eq!(same, [true, true]);
}

#[test]
fn clients_learn_what_the_export_can_and_the_socket_goes_with_the_server() {
    let mut disk = Disk::new("info", &["-r", "-x", "disk"]);
    let info = run(Command::new("nbdinfo").args(["--json", &disk.uri()]));
    let json: serde_json::Value = serde_json::from_str(&info).unwrap();
    let export = &json["exports"][0];
    let numbers = ["export-size", "block_size_minimum", "block_size_maximum"].map(|key| export[key].as_u64());
    assert_eq!(numbers, [Some(64 << 20), Some(4096), Some(32 << 20)], "{info}");
    let flags = ["is_read_only", "can_multi_conn", "can_flush", "can_fua", "can_trim"].map(|key| export[key].as_bool());
    assert_eq!(flags, [true, true, true, true, false].map(Some), "{info}");
    let list = run(Command::new("nbdinfo").args(["--list", "--json", &disk.uri()]));
    assert!(list.contains("\"export-name\": \"disk\""), "{list}");
    assert!(disk.socket.exists());
    disk.nbd.signal(Signal::INT);
    assert_eq!((disk.nbd.wait().code(), disk.socket.exists()), (Some(130), false));
}

#[test]
fn mistakes_are_told_in_a_sentence() {
    let output = mptcp(["nvme", "nbd", "-a", "127.0.0.1", "-n", NQN]).output().unwrap();
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), sentence.starts_with("mptcp: say where to listen")),
        (Some(2), true),
        "{sentence}"
    );
    let disk = Disk::new("mistakes", &[]);
    let there = ["--kernel", "tcp", "-a", "127.0.0.1", "-s", &disk.port, "-n", NQN];
    let refusal = |options: &[&str]| {
        let arguments = ["nvme", "nbd"].iter().chain(&there).chain(options);
        let output = mptcp(arguments.copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, sentence) = refusal(&["--socket", disk.socket.to_str().unwrap()]);
    assert_eq!((code, sentence.contains("exists already")), (Some(1), true), "{sentence}");
    assert!(disk.socket.exists(), "the socket of another server stays");
    let (code, sentence) = refusal(&["--listen", "127.0.0.1:0", "--namespace-id", "7"]);
    assert_eq!((code, &sentence[..]), (Some(2), "mptcp: there is no namespace 7; there are 1\n"));
    let (code, sentence) = refusal(&["--listen", "192.0.2.1:10809"]);
    assert_eq!((code, sentence.contains("cannot listen on 192.0.2.1:10809")), (Some(1), true), "{sentence}");
}
