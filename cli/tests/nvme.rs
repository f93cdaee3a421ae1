//! `mptcp nvme` over the kernel's TCP on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::nvme::{NQN, PROGRAM, Target};
use common::{Background, Lines, TempFile, assert_success, free_port, last_json, mptcp, run};

#[test]
fn a_disk_is_found_and_shown() {
    let target = Target::start(&["--namespace", "memory:8M", "--namespace", "null:1G"]);
    let log = target.succeed(&["discover", "-t", "tcp"]);
    assert!(log.starts_with("Discovery Log Number of Records 1,") && log.contains(&format!("subnqn:  {NQN}")), "{log}");
    for line in ["treq:    not specified, sq flow control disable supported", "eflags:  none", "sectype: none"] {
        assert!(log.lines().any(|one| one == line), "{log}");
    }
    let log = last_json(target.succeed(&["discover", "--json"]).as_bytes());
    assert_eq!(log["records"][0]["trsvcid"], target.port.as_str());
    assert_eq!(log["records"][0]["sectype"], "none");
    let figures: serde_json::Value =
        serde_json::from_str(&target.succeed(&["perf", "-n", NQN, "--rw", "randrw", "--runtime", "1", "--json"]))
            .unwrap();
    assert!(
        figures["read"]["total_ios"].as_u64() > Some(0) && figures["write"]["total_ios"].as_u64() > Some(0),
        "{figures}"
    );
}

#[test]
fn disks_are_described_in_the_words_of_nvme_cli() {
    let target = Target::start(&["--namespace", "memory:8M", "--namespace", "null:1G", "--block-size", "512"]);
    let list = target.succeed(&["list", "--transport", "tcp", "-n", NQN]);
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["Node", "SN", "Model", "Namespace", "Usage", "Format", "FW", "Rev"]);
    let node = format!("127.0.0.1:{}", target.port);
    assert_eq!((lines.len(), lines[2][0], lines[2][2], lines[2][3]), (4, node.as_str(), "mptcp", "0x1"), "{list}");
    assert_eq!(lines[2][3..9], ["0x1", "0", "B", "/", "8.00", "MiB"], "nothing was written: {list}");
    assert_eq!(lines[3][3..13], ["0x2", "1.00", "GiB", "/", "1.00", "GiB", "512", "B", "+", "0"], "{list}");
    let list = last_json(target.succeed(&["list", "-n", NQN, "--json"]).as_bytes());
    let devices = list["Devices"].as_array().unwrap();
    let numbers = |key: &str| devices.iter().map(|one| one[key].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!((numbers("NameSpace"), numbers("PhysicalSize")), (vec![1, 2], vec![8 << 20, 1 << 30]));
    assert_eq!(numbers("UsedBytes"), [0, 1 << 30]);
    assert_eq!((numbers("SectorSize"), numbers("MaximumLBA")), (vec![512, 512], vec![16_384, 2 << 20]));
    assert_eq!(devices[0]["Address"], format!("traddr=127.0.0.1,trsvcid={}", target.port));

    let identity = target.succeed(&["identify", "-t", "tcp", "-n", NQN]);
    let expected = ["NVME Identify Controller:", "vid       : 0", "mn        : mptcp", "ver       : 0x10400"];
    let expected =
        expected.into_iter().chain(["nn        : 1024", "NVME Identify Namespace 2:", "nsze      : 0x200000"]);
    let expected = expected.chain(["ncap      : 0x200000", "nuse      : 0x200000", "nuse      : 0"]);
    for line in expected.chain([format!("subnqn    : {NQN}").as_str()]) {
        assert!(identity.lines().any(|one| one == line), "{line}: {identity}");
    }
    assert!(!identity.contains(['[', '{', '"']), "nothing is left of JSON: {identity}");
    let identity = last_json(target.succeed(&["identify", "-n", NQN, "--json"]).as_bytes());
    assert_eq!((identity["subnqn"].as_str(), identity["cntrltype"].as_u64()), (Some(NQN), Some(1)));
    let namespace = &identity["namespaces"][1];
    assert_eq!(["nsid", "lbads", "nsze"].map(|key| namespace[key].as_u64()), [Some(2), Some(9), Some(0x20_0000)]);
    assert_eq!(namespace["uuid"], devices[1]["UUID"]);
}

#[test]
fn a_file_says_how_disks_are_reached_and_who_else_knows_some() {
    let text = format!(
        "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\ncntlid-min = 300\ncntlid-max = 310\n\
         referrals = [{{ address = \"127.0.0.9:8009\", portid = 7 }}]\n\
         [[subsystem]]\nnqn = \"{NQN}\"\nserial = \"S-1\"\n\
         [[subsystem.namespace]]\nstore = \"null:1M\"\n\
         [[subsystem.namespace]]\nstore = \"null:1M\"\nana-group = 2\n\
         [[subsystem.ana]]\nport = 1\ngroup = 2\nstate = \"non-optimized\"\n\
         [[subsystem.ana]]\nport = 2\ngroup = 2\nstate = \"inaccessible\"\n"
    );
    let target = Target::of_file("nvme-ways", &text);
    let log = last_json(target.succeed(&["discover", "--json"]).as_bytes());
    let entries: Vec<(u64, &str)> = log["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["portid"].as_u64().unwrap(), one["subtype"].as_str().unwrap()))
        .collect();
    assert_eq!(entries, [(1, "nvme subsystem"), (2, "nvme subsystem"), (7, "discovery subsystem referral")]);
    let referral = &log["records"][2];
    assert_eq!((referral["traddr"].as_str(), referral["trsvcid"].as_str()), (Some("127.0.0.9"), Some("8009")));
    for (record, state) in [(0, "non-optimized"), (1, "inaccessible")] {
        let port = log["records"][record]["trsvcid"].as_str().unwrap();
        let arguments = ["nvme", "identify", "--kernel", "tcp", "-a", "127.0.0.1", "-s", port, "-n", NQN, "--json"];
        let output = run(&mut mptcp(arguments));
        assert_success(&output);
        let known = last_json(&output.stdout);
        assert_eq!(known["sn"], "S-1");
        assert!((300..=310).contains(&known["cntlid"].as_u64().unwrap()), "{known}");
        let groups: Vec<(u64, &str)> = known["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["anagrpid"].as_u64().unwrap(), one["ana_state"].as_str().unwrap()))
            .collect();
        assert_eq!(groups, [(1, "optimized"), (2, state)]);
    }
}

#[test]
fn mistakes_in_a_file_and_beside_it_get_a_sentence() {
    let target = |arguments: &[&str]| {
        let output = run(mptcp(["nvme", "target", "--kernel", "tcp"]).args(arguments));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let replaced: [&[&str]; 5] = [
        &["--block-size", "512"],
        &["--buffered"],
        &["--nqn", NQN],
        &["--namespace", "null:1M"],
        &["--listen", "127.0.0.1:0"],
    ];
    for option in replaced {
        let (code, sentence) = target(&[&["--config", "/nowhere"], option].concat());
        assert_eq!((code, sentence.lines().count()), (Some(2), 1), "{sentence}");
        assert!(
            ["--config", "cannot be used with", option[0]].iter().all(|part| sentence.contains(part)),
            "{sentence}"
        );
    }
    let subsystem = format!("[[subsystem]]\nnqn = \"{NQN}\"\n[[subsystem.namespace]]\nstore = \"null:1M\"\n");
    let ana = "[[subsystem.ana]]\nport = 1\ngroup = 1\nstate = \"optimized\"\n";
    let mistakes = [
        ("subsystem = []\n".to_owned(), "FILE: there is nothing to export: no [[subsystem]]".to_owned()),
        (format!("{subsystem}ana-grp = 1\n"), "FILE:6: unknown field `ana-grp`".to_owned()),
        (format!("{subsystem}{}", ana.replace("optimized", "good")), "FILE:9: 'good' is no ANA state: say ".to_owned()),
        (
            format!("{subsystem}{}", ana.replace("group = 1", "group = 2")),
            format!("[[subsystem.ana]] of {NQN}: there is no group 2: no namespace has it as ana-group"),
        ),
        (
            subsystem.replace("[[subsystem.n", "serial = \"ninety-nine bottles\\t\"\n[[subsystem.n"),
            format!("the serial of {NQN} cannot be "),
        ),
        (format!("cntlid-min = 0\n{subsystem}"), "cntlid-min cannot be 0: 1 to 65519".to_owned()),
    ];
    let file = TempFile::named("nvme-mistakes");
    for (text, expected) in mistakes {
        std::fs::write(file.path(), format!("listen = [\"127.0.0.1:0\"]\n{text}")).unwrap();
        let (code, sentence) = target(&["--config", file.path()]);
        assert_eq!((code, sentence.lines().count()), (Some(2), 1), "{sentence}");
        let expected = format!("mptcp: {}", expected.replace("FILE", file.path()));
        assert!(sentence.starts_with(&expected), "{sentence} instead of {expected}");
    }
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
    let mistakes: [(&[&str], i32, &str); 6] = [
        (
            &["list", "-t", "rdma", "-n", NQN],
            2,
            "mptcp: invalid value 'rdma' for '--transport <TRTYPE>' [possible values: tcp]",
        ),
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
