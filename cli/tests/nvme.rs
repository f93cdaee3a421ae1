//! `mptcp nvme` over the kernel's TCP on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::nvme::{NQN, PROGRAM, Target};
use common::{Background, Lines, TempFile, assert_success, free_port, mptcp, run};

#[test]
fn a_disk_is_found_and_shown() {
    let target = Target::start(&["--namespace", "memory:8M", "--namespace", "null:1G"]);
    let log = target.succeed(&["discover"]);
    assert!(log.starts_with("Discovery Log Number of Records 1,") && log.contains(&format!("subnqn:  {NQN}")), "{log}");
    let log: serde_json::Value = serde_json::from_str(&target.succeed(&["discover", "--json"])).unwrap();
    assert_eq!(log["records"][0]["trsvcid"], target.port.as_str());
    let list: serde_json::Value = serde_json::from_str(&target.succeed(&["list", "-n", NQN, "--json"])).unwrap();
    let sizes: Vec<u64> =
        list["namespaces"].as_array().unwrap().iter().map(|one| one["bytes"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [8 << 20, 1 << 30]);
    let identity = target.succeed(&["identify", "-n", NQN]);
    assert!(identity.lines().any(|line| line == format!("subnqn: {NQN}")), "{identity}");
    let figures: serde_json::Value =
        serde_json::from_str(&target.succeed(&["perf", "-n", NQN, "--rw", "randrw", "--runtime", "1", "--json"]))
            .unwrap();
    assert!(
        figures["read"]["total_ios"].as_u64() > Some(0) && figures["write"]["total_ios"].as_u64() > Some(0),
        "{figures}"
    );
}

#[test]
fn what_was_flushed_survives_the_death_of_the_target() {
    for how in [&["--backend-io", "sync"][..], &["--backend-io", "uring"], &["--backend-io", "uring", "--buffered"]] {
        let (disk, data, back) = (
            TempFile::with_len("nvme-disk", 16 << 20),
            TempFile::with_len("nvme-data", 5_000_000),
            TempFile::named("nvme-back"),
        );
        let store = format!("file:{}", disk.path());
        let arguments = [&["--namespace", &store, "--block-size", "512"], how].concat();
        let target = Target::start(&arguments);
        target.succeed(&["write", "-n", NQN, "--start-block", "7", "-d", data.path(), "-g", "-G"]);
        drop(target);
        let target = Target::start(&arguments);
        target.succeed(&["read", "-n", NQN, "--start-block", "7", "-z", "5000000", "-d", back.path()]);
        assert!(back.bytes() == data.bytes(), "{how:?}");
    }
}

/// Has the kernel refuse `io_uring` to a process, as containers do.
fn without_io_uring(command: &mut Command) {
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let program = [
        // The number of the system call comes first.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, refused),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let confine = move || {
        let mut program = program;
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: the calls take numbers, and a program that lives longer than they take.
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0
        };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: two system calls are all that is done between fork and exec; nothing is allocated or locked.
    unsafe { command.pre_exec(confine) };
}

#[test]
fn a_target_does_without_io_uring_unless_it_is_asked_for() {
    let disk = TempFile::with_len("nvme-refused", 1 << 20);
    let store = format!("file:{}", disk.path());
    let mut command = Command::new(PROGRAM);
    command.args(["nvme", "target", "--kernel", "tcp", "--listen", "127.0.0.1:0", "--namespace", &store]);
    without_io_uring(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut process = command.spawn().unwrap();
    let line = |stream: &mut dyn std::io::Read| BufReader::new(stream).lines().next().unwrap().unwrap();
    let told = line(process.stderr.as_mut().unwrap());
    assert!(told.starts_with("mptcp: io_uring cannot be used, so threads read and write files themselves: "), "{told}");
    let port = line(process.stdout.as_mut().unwrap()).strip_prefix("listening on 127.0.0.1:").unwrap().to_owned();
    let target = Target { process, port };
    target.succeed(&["read", "-n", NQN, "-z", "4096", "-d", "/dev/null"]);
    let output = command.args(["--backend-io", "uring"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("mptcp: io_uring cannot be used: this process may not use it"), "{told}");
}

#[test]
fn a_slow_pipe_costs_no_connection() {
    let target = Target::start(&["--namespace", "memory:1M"]);
    let mut command = mptcp(["nvme", "write", "--kernel", "tcp", "-a", "127.0.0.1", "-s", &target.port, "-n", NQN]);
    let mut host = Background::start(command.stdin(Stdio::piped()));
    let mut input = host.stdin();
    input.write_all(b"before ").unwrap();
    // Longer than a controller waits for a host that has promised to be alive.
    std::thread::sleep(Duration::from_secs(8));
    input.write_all(b"after").unwrap();
    drop(input);
    let output = host.output();
    assert_success(&output);
    // A connection that was lost and made again would be told of.
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(target.succeed(&["read", "-n", NQN, "-z", "12"]), "before after");
}

#[test]
fn a_host_stays_connected_until_it_is_told_to_go() {
    let target = Target::start(&["--namespace", "memory:1M"]);
    let mut command = mptcp(["nvme", "connect", "--kernel", "tcp", "-a", "127.0.0.1", "-s", &target.port, "-n", NQN]);
    let mut host = Background::start(command.args(["-k", "10", "-i", "2"]));
    let mut lines = Lines::of(host.stdout());
    assert_eq!(lines.next().unwrap(), format!("connected to controller 1 of {NQN}, I/O queues: 2"));
    assert_eq!(lines.next().unwrap(), "namespace 1: 1.00 MiB in blocks of 4096 bytes");
    // Longer than the controller waits for a host that is silent.
    std::thread::sleep(Duration::from_secs(13));
    assert!(host.is_running(), "it is still there");
    host.signal(rustix::process::Signal::INT);
    assert_eq!((host.wait().code(), lines.next()), (Some(130), None));
}

#[test]
fn mistakes_get_a_sentence() {
    let target = Target::start(&["--namespace", "null:1M"]);
    let mistakes: [(&[&str], i32, &str); 5] = [
        (&["list", "-n", "disk"], 2, "mptcp: 'disk' is not the name of a subsystem or host: "),
        (&["list", "-n", "nqn.2026-11.org.example:none"], 1, "mptcp: cannot connect to 127.0.0.1:"),
        (&["read", "-n", NQN, "--namespace-id", "3"], 2, "mptcp: there is no namespace 3; there are 1"),
        (&["read", "-n", NQN, "--start-block", "256"], 2, "mptcp: namespace 1 has only 256 blocks"),
        (&["perf", "-n", NQN, "--bs", "1000"], 2, "mptcp: --bs must be a multiple of 4096"),
    ];
    for (arguments, code, sentence) in mistakes {
        let output = target.host(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.lines().count()), (Some(code), 1), "{message}");
        assert!(message.starts_with(sentence), "{message}");
    }
}

#[test]
fn a_port_that_another_target_has_is_not_shared() {
    let target = Target::start(&["--namespace", "null:1M", "--threads", "2"]);
    let address = format!("127.0.0.1:{}", target.port);
    for threads in ["1", "2"] {
        let mut command = mptcp(["nvme", "target", "--kernel", "tcp", "--listen", &address, "--namespace", "null:1M"]);
        let output = run(command.args(["--threads", threads]));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, format!("mptcp: cannot listen on {address}: the port is already in use\n"));
        assert_eq!(output.status.code(), Some(1));
    }
    // A target may have it for both families, and for all of its threads.
    let port = free_port().to_string();
    let arguments = ["--namespace", "null:1M", "--threads", "2", "--listen", &format!("[::]:{port}")];
    let both = Target::start_at("0.0.0.0", &port, &arguments);
    both.succeed(&["perf", "-n", NQN, "-i", "8", "--runtime", "1"]);
}
