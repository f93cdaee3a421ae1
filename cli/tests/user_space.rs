//! The command line over paths in user space: unix sockets that carry Ethernet frames, so that no privilege is needed.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use common::{Background, Lines, TempFile, assert_success, last_json, mptcp, run, wait_until};
use rustix::process::Signal;
use serde_json::Value;

/// Three wires between two hosts, as files of sockets in a directory of their own.
struct Wires {
    dir: PathBuf,
}

const PATHS: usize = 3;

impl Wires {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("mptcp-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self { dir }
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// The options for the paths of one host: 1 serves and announces its addresses, 2 connects.
    fn paths(&self, host: usize) -> Vec<String> {
        let path = |path: usize| {
            let (own, peer) = (self.file(&format!("{path}-{host}")), self.file(&format!("{path}-{}", 3 - host)));
            let flag = if host == 1 && path > 0 { ",signal" } else { "" };
            ["--path".to_owned(), format!("unix:{own},10.0.{path}.{host}/24,peer={peer}{flag}")]
        };
        (0..PATHS).flat_map(path).collect()
    }

    fn command(&self, host: usize, args: &[&str]) -> std::process::Command {
        let paths = self.paths(host);
        mptcp(args.iter().copied().chain(paths.iter().map(String::as_str)))
    }

    /// Starts a command of host 1, and waits until it can be talked to.
    fn serve(&self, args: &[&str]) -> Background {
        let control = self.file("server.sock");
        let args: Vec<&str> = args.iter().copied().chain(["--control", &control]).collect();
        // An input that stays open keeps the connection open where nothing else is to be sent.
        let server = Background::start(self.command(1, &args).stdin(Stdio::piped()));
        wait_until("the server runs", || mptcp(["ss", "--control", &control]).status().unwrap().success());
        server
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn counter(file: &str, name: &str) -> u64 {
    let counters: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    counters[name].as_u64().unwrap_or_else(|| panic!("there is no counter {name} in {counters}"))
}

#[test]
fn a_file_travels_over_three_paths() {
    let wires = Wires::new("cat");
    let (up, down) = (TempFile::with_len("user-up", 12_000_000), TempFile::with_len("user-down", 3_000_000));
    let (at_server, at_client) = (wires.file("at-server"), wires.file("at-client"));
    let (mib, pcap) = (wires.file("mib"), wires.file("frames.pcapng"));
    let server = wires.serve(&["cat", "--listen", "7000", "--input", down.path(), "--output", &at_server, "--json"]);
    let client = run(&mut wires.command(
        2,
        &[
            "cat",
            "--connect",
            "10.0.0.1:7000",
            "--input",
            up.path(),
            "--output",
            &at_client,
            "--json",
            "--mib",
            &mib,
            "--pcap",
            &pcap,
            "--scheduler",
            "round-robin",
            "--checksum",
        ],
    ));
    assert_success(&client);
    let server = server.output();
    assert_success(&server);
    assert!(std::fs::read(at_server).unwrap() == up.bytes(), "the server received other bytes");
    assert!(std::fs::read(at_client).unwrap() == down.bytes(), "the client received other bytes");
    for (output, sent, received) in [(&client, 12_000_000_u64, 3_000_000_u64), (&server, 3_000_000, 12_000_000)] {
        let summary = last_json(&output.stderr);
        assert_eq!(summary["transport"], "user-space mptcp");
        assert_eq!((summary["sent"].as_u64(), summary["received"].as_u64()), (Some(sent), Some(received)));
        assert_eq!(summary["fallback"], Value::Null);
        let subflows = summary["subflows"].as_array().unwrap();
        assert_eq!(subflows.len(), PATHS, "{summary}");
        let sum = |what: &str| subflows.iter().map(|subflow| subflow[what].as_u64().unwrap()).sum::<u64>();
        assert!(sum("sent") >= sent && sum("received") >= received, "{summary}");
        assert!(subflows.iter().all(|subflow| subflow["live"] == false), "{summary}");
    }
    assert_eq!(counter(&mib, "MPTcpExtMPJoinSynTx"), 2);
    assert_eq!(std::fs::read(pcap).unwrap()[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    // Nothing is left behind, sockets included.
    let is_socket = |entry: &std::fs::DirEntry| entry.file_type().unwrap().is_socket();
    let sockets: Vec<_> = std::fs::read_dir(&wires.dir).unwrap().map(Result::unwrap).filter(is_socket).collect();
    assert!(sockets.is_empty(), "{sockets:?}");
}

#[test]
fn throughput_and_latency_are_measured_per_path() {
    let wires = Wires::new("perf");
    let server = wires.serve(&["perf", "--server"]);
    let measure = |args: &[&str]| {
        let args: Vec<&str> = ["perf", "--client", "10.0.0.1", "--json"].iter().chain(args).copied().collect();
        let output = run(&mut wires.command(2, &args));
        assert_success(&output);
        last_json(&output.stdout)
    };
    let bulk = measure(&["--bidir", "--bytes", "4M"]);
    assert_eq!((bulk["client"]["sent"].as_u64(), bulk["client"]["received"].as_u64()), (Some(4 << 20), Some(4 << 20)));
    assert_eq!(bulk["server"]["received"], 4 << 20);
    assert_eq!(bulk["subflows"].as_array().unwrap().len(), PATHS);
    let intervals = bulk["intervals"].as_array().unwrap();
    assert!(intervals.iter().any(|interval| interval["paths"].as_array().unwrap().len() == PATHS), "{bulk}");
    let rr = measure(&["--rr", "--time", "3", "--depth", "8", "--size", "1K"]);
    assert!(rr["requests"].as_u64().unwrap() > 10 && rr["p99_us"].as_f64().unwrap() > 0.0, "{rr}");
    drop(server);
}

#[test]
fn iperf3_tests_run_over_several_connections() {
    let wires = Wires::new("iperf3");
    let server = wires.serve(&["perf", "--iperf3", "--server", "--json", "--one-off"]);
    let args = ["perf", "--iperf3", "--client", "10.0.0.1", "--bidir", "--bytes", "1M", "--json"];
    let client = run(&mut wires.command(2, &args));
    assert_success(&client);
    let server = server.output();
    assert_success(&server);
    let (client, server) = (last_json(&client.stdout), last_json(&server.stdout));
    assert_eq!(client["server"], server["server"]);
    for side in ["client", "server"] {
        let streams = client[side]["streams"].as_array().unwrap();
        assert_eq!(streams.len(), 2, "one each way: {client}");
        assert!(streams.iter().all(|stream| stream["bytes"].as_i64().unwrap() >= 1 << 20), "{client}");
    }
}

#[test]
fn a_running_transfer_is_shown_and_its_paths_are_changed() {
    let wires = Wires::new("control");
    let control = wires.file("client.sock");
    let _server = wires.serve(&["cat", "--listen", "7000"]);
    let mut client = wires.command(2, &["cat", "--connect", "10.0.0.1:7000", "--control", &control]);
    // The input stays open, and so the connection.
    let client = Background::start(client.stdin(Stdio::piped()));
    let ask = |args: &[&str]| run(&mut mptcp(args.iter().copied().chain(["--control", &control])));
    let subflows = || {
        let shown = ask(&["ss", "--json"]);
        // Before the socket is there, nothing is shown; before the connection is, an empty list.
        let shown = if shown.status.success() { last_json(&shown.stdout) } else { Value::Null };
        shown["connections"][0]["subflows"].as_array().cloned().unwrap_or_default()
    };
    let established = || subflows().iter().filter(|subflow| subflow["state"] == "established").count();
    wait_until("the connection is open", || established() >= 1);

    let list = last_json(&ask(&["path", "list", "--json"]).stdout);
    let addrs: Vec<&str> = list.as_array().unwrap().iter().map(|entry| entry["addr"].as_str().unwrap()).collect();
    assert_eq!(addrs, ["10.0.1.2", "10.0.2.2"], "paths besides the first of a client are endpoints");
    assert_success(&ask(&["path", "backup", "10.0.1.2", "on"]));
    assert_success(&ask(&["path", "del", "10.0.2.2"]));
    let list = String::from_utf8(ask(&["path", "list"]).stdout).unwrap();
    assert_eq!(list.lines().count(), 1);
    assert!(list.contains("10.0.1.2 subflow backup"), "{list}");
    let added = ask(&["path", "add", "10.0.2.2", "--subflow"]);
    assert!(String::from_utf8_lossy(&added.stdout).starts_with("endpoint "), "{added:?}");

    assert_success(&ask(&["path", "fullmesh", "10.0.2.2", "on"]));
    assert!(String::from_utf8(ask(&["path", "list"]).stdout).unwrap().contains("10.0.2.2 subflow fullmesh"));
    assert_success(&ask(&["path", "fullmesh", "10.0.2.2", "off"]));

    let table = String::from_utf8(ask(&["ss"]).stdout).unwrap();
    assert!(table.contains("established") && table.contains("-> 10.0.0.1:7000"), "{table}");

    assert_mistake(&ask(&["path", "add", "10.0.2.2", "--subflow"]), 1, "endpoint 10.0.2.2 exists already");
    assert_mistake(
        &ask(&["path", "add", "192.0.2.1"]),
        1,
        "endpoint address 192.0.2.1 belongs to no interface of this stack",
    );
    assert_mistake(&ask(&["path", "del", "10.9.9.9"]), 1, "there is no endpoint 10.9.9.9");
    assert_mistake(&ask(&["path", "close", "7.7", "0"]), 1, "there is no connection 7.7");

    let text = |args: &[&str]| String::from_utf8(ask(args).stdout).unwrap();
    assert_eq!(text(&["path", "limits"]), "subflows 8 add-addr-accepted 8\n");
    assert_success(&ask(&["path", "limits", "--subflows", "5"]));
    assert_eq!(text(&["path", "limits"]), "subflows 5 add-addr-accepted 8\n");
    let link = wires.file("1-2");
    assert_success(&ask(&["path", "link", &link, "down"]));
    assert!(text(&["path", "link"]).contains(&format!("{link} down 10.0.1.2/24")));
    let rule = format!("dev={link},metered");
    assert_success(&ask(&["path", "policy", "add", &rule]));
    assert_eq!(text(&["path", "policy"]), format!("0    {rule}\n"));
    assert_success(&ask(&["path", "policy", "flush"]));
    assert_eq!(text(&["path", "policy", "list"]), "");
    for (mistake, part) in [
        ("path policy add cheap", "'cheap' is not known"),
        ("path policy add regular,never", "'never' says otherwise or again"),
        ("path policy add dev=none,never", "there is no interface 'none'"),
        ("path add 10.0.2.2 --fullmesh --signal", "'fullmesh' needs the flag 'subflow' and excludes 'signal'"),
        ("path add 10.0.2.2 --port 77", "a port needs the flag 'signal'"),
        ("path add 10.0.2.2 --dev none", "there is no interface 'none'"),
        ("path del abc", "write its address, or its number from 1 to 255"),
        ("path scheduler x blest", "as 'mptcp ss' does"),
        ("path weight 0.0 0 0", "0 is not in 1.."),
        ("path link none down", "there is no interface 'none'"),
        ("path attach tap:none,10.0.9.1/24,mtu=99", "mtu is 99, but must be 576 to 65535"),
    ] {
        assert_mistake_about(&ask(&mistake.split(' ').collect::<Vec<_>>()), 2, part);
    }
    assert_success(&ask(&["path", "strategy", "nic-pairs"]));
    assert_eq!(text(&["path", "strategy"]), "nic-pairs\n");
    assert_mistake_about(&ask(&["path", "strategy", "mesh"]), 2, "there is no path strategy 'mesh'");
    assert_eq!(text(&["path", "blackholes"]), "");
    assert_success(&ask(&["path", "policy", "node", "1"]));
    assert_eq!(text(&["path", "policy"]), "node 1\n");
    assert_success(&ask(&["path", "policy", "node", "none"]));
    assert_mistake_about(&ask(&["path", "policy", "node", "first"]), 2, "write a number from 0, or none");
    for (command, part) in [("policy", "\"rules\":[]"), ("link", "\"interface\""), ("limits", "\"subflows\":5")] {
        let json: serde_json::Value = serde_json::from_str(&text(&["path", command, "--json"])).unwrap();
        assert!(json.to_string().contains(part), "{command}: {json}");
    }
    assert_mistake_about(&ask(&["path", "attach", "tap0"]), 2, "'tap0'");
    let more = wires.file("9-1");
    let spec = format!("unix:{more},10.0.9.2/24,peer={},subflow", wires.file("9-2"));
    assert_success(&ask(&["path", "attach", &spec]));
    assert!(text(&["path", "list"]).contains("10.0.9.2 subflow"));
    assert_mistake_about(&ask(&["path", "attach", &spec]), 1, "10.0.9.2");
    // It ends with the process.
    let mut monitor = mptcp(["path", "monitor", "--all", "--control", &control]);
    let mut monitor = Background::start(&mut monitor);
    let mut lines = Lines::of(monitor.stdout());
    let first = lines.next().unwrap();
    drop(client);
    assert_success(&monitor.output());
    let told = [first].into_iter().chain(lines).collect::<Vec<_>>().join("\n");
    assert!(told.contains("established") && told.contains("link-down interface"), "{told}");
}

#[test]
fn classes_have_no_more_than_they_may() {
    let wires = Wires::new("classes");
    let up = TempFile::with_len("classes-up", 300_000);
    let at_server = wires.file("at-server");
    let server = wires.serve(&["cat", "--listen", "7000", "--input", "/dev/null", "--output", &at_server]);
    let started = std::time::Instant::now();
    // What nothing is said of is bulk, which has 100,000 bytes a second here.
    let limited = ["cat", "--connect", "10.0.0.1:7000", "--input", up.path(), "--qos", "bulk=8:800kbit"];
    assert_success(&run(&mut wires.command(2, &limited)));
    // Less a burst of 16 KiB: it cannot be faster, whatever the machine does.
    assert!(started.elapsed().as_secs_f64() > (300_000.0 - 16_384.0) / 100_000.0, "{:?}", started.elapsed());
    assert_success(&server.output());
    assert!(std::fs::read(at_server).unwrap() == up.bytes(), "the server received other bytes");
}

#[test]
fn mistakes_are_told_without_a_process_too() {
    let wires = Wires::new("nobody");
    let nobody = wires.dir.to_str().unwrap();
    let ask = |line: &str| run(mptcp(line.split(' ')).env("XDG_RUNTIME_DIR", nobody));
    assert_mistake(&ask("path list"), 1, &format!("no running process has a control socket in {nobody}"));
    for (mistake, part) in [
        ("path policy add dev=eth0,meterd", "'meterd' is not known"),
        ("path add 10.0.0.1 --subflow --fullmesh --signal", "'fullmesh' needs"),
        ("path add 10.0.0.1 --port 77", "a port needs the flag 'signal'"),
        ("path scheduler x blest", "as 'mptcp ss' does"),
        ("path strategy fullmesh --connection x", "as 'mptcp ss' does"),
        ("path backup abc on", "write its address, or its number"),
        ("path del 0", "write its address, or its number"),
    ] {
        assert_mistake_about(&ask(mistake), 2, part);
    }
    assert_mistake_about(&ask("path policy add dev=eth0,metered"), 1, "no running process");
}

/// What each subflow of the first connection has been given, by its number.
fn given(control: &str) -> Vec<u64> {
    let shown = last_json(&run(&mut mptcp(["ss", "--json", "--control", control])).stdout);
    let subflows = shown["connections"][0]["subflows"].as_array().cloned().unwrap_or_default();
    subflows.iter().map(|subflow| subflow["bytes_sent"].as_u64().unwrap()).collect()
}

#[test]
fn the_weight_of_a_subflow_changes_its_share() {
    let wires = Wires::new("weight");
    let control = wires.file("client.sock");
    let at_server = wires.file("at-server");
    let _server = wires.serve(&["cat", "--listen", "7000", "--output", &at_server]);
    let args = ["cat", "--connect", "10.0.0.1:7000", "--control", &control, "--scheduler", "round-robin"];
    let mut client = Background::start(wires.command(2, &args).stdin(Stdio::piped()));
    let mut input = client.stdin();
    let shown = || {
        let shown = run(&mut mptcp(["ss", "--json", "--control", &control]));
        if shown.status.success() { last_json(&shown.stdout)["connections"][0].clone() } else { Value::Null }
    };
    let established = || {
        let subflows = shown()["subflows"].as_array().cloned().unwrap_or_default();
        subflows.iter().filter(|subflow| subflow["state"] == "established").count()
    };
    wait_until("all subflows are there", || established() == PATHS);
    let id = shown()["id"].as_str().unwrap().to_owned();
    let numbers: Vec<u64> =
        shown()["subflows"].as_array().unwrap().iter().map(|subflow| subflow["id"].as_u64().unwrap()).collect();
    let heavy = numbers[1].to_string();
    assert_success(&run(&mut mptcp(["path", "weight", &id, &heavy, "6", "--control", &control])));
    // In portions that every path has room for: one that is full loses its turn.
    let mut total = 0;
    for _ in 0..60 {
        input.write_all(&[7; 60_000]).unwrap();
        total += 60_000;
        let arrived = || std::fs::metadata(&at_server).is_ok_and(|file| file.len() == total);
        wait_until("a portion is there", arrived);
    }
    let given = given(&control);
    assert!(given[1] > 2 * given[0] && given[1] > 2 * given[2], "{given:?}");
}

#[test]
fn a_sender_waits_for_a_receiver_that_is_slow_to_acknowledge() {
    let wires = Wires::new("slow");
    let up = TempFile::with_len("slow-up", 3_000_000);
    let (at_server, control) = (wires.file("at-server"), wires.file("server.sock"));
    let server = Background::start(
        &mut wires.command(1, &["cat", "--listen", "7000", "--output", &at_server, "--control", &control]),
    );
    wait_until("the server runs", || mptcp(["ss", "--control", &control]).status().unwrap().success());
    let mut client = wires.command(2, &["cat", "--connect", "10.0.0.1:7000"]);
    let mut client = Background::start(client.stdin(Stdio::piped()));
    let mut input = client.stdin();
    let bytes = up.bytes();
    let (first, last) = bytes.split_at(2_800_000);
    input.write_all(first).unwrap();
    let arrived = || std::fs::metadata(&at_server).is_ok_and(|file| file.len() == first.len() as u64);
    wait_until("the first part is there", arrived);
    // The last part is handed over, and for longer than anything waits at the end of a process nobody takes it.
    server.signal(Signal::STOP);
    input.write_all(last).unwrap();
    drop(input);
    std::thread::sleep(Duration::from_secs(14));
    server.signal(Signal::CONT);
    assert_success(&client.output());
    assert_success(&server.output());
    assert!(std::fs::read(at_server).unwrap() == bytes, "the server received other bytes");
}

fn assert_mistake(output: &Output, code: i32, sentence: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr, format!("mptcp: {sentence}\n"));
}

/// The same for a sentence that lists choices.
fn assert_mistake_about(output: &Output, code: i32, part: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.starts_with("mptcp: ") && stderr.lines().count() == 1 && stderr.contains(part), "{stderr}");
}

#[test]
fn mistakes_in_paths_are_told_in_one_sentence() {
    let cat = |args: &[&str]| run(&mut mptcp(["cat", "--connect", "10.0.0.1:1"].iter().chain(args).copied()));
    let nothing = cat(&[]);
    assert_mistake(
        &nothing,
        2,
        "say what carries the bytes: --path for paths in user space, or --kernel tcp or --kernel mptcp",
    );
    let unknown = cat(&["--path", "wifi:x,10.0.0.2/24"]);
    assert_mistake(&unknown, 2, "--path: 'wifi' is not a kind of device: choose tap, eth or unix");
    let gateway = cat(&["--path", "unix:/tmp/x,10.0.0.2/24,peer=/tmp/y,gw=10.9.9.9"]);
    let allowed = "an address of another host on one of the interface's networks";
    assert_mistake(&gateway, 2, &format!("interfaces[0].gateways is 10.9.9.9, but must be {allowed}"));
    let stack = cat(&["--path", "unix:/tmp/x,10.0.0.2/24,peer=/tmp/y", "--stack", "lwip"]);
    assert_mistake(&stack, 2, "there is no TCP plug-in 'lwip': choose native or smoltcp");
    let path = ["--path", "unix:/tmp/x,10.0.0.2/24,peer=/tmp/y"];
    let congestion = cat(&[&path[..], &["--congestion", "vegas"]].concat());
    assert_eq!(congestion.status.code(), Some(2));
    let told = String::from_utf8_lossy(&congestion.stderr);
    assert!(told.contains("'vegas' is no congestion control: cubic, reno, dctcp or bbr"), "{told}");
    let lacking = cat(&[&path[..], &["--stack", "smoltcp", "--congestion", "bbr"]].concat());
    let advice = "the TCP plug-in 'smoltcp' has no congestion control 'bbr': choose cubic or reno";
    assert_mistake(&lacking, 2, advice);
    let wires = Wires::new("mistakes");
    let unreachable = run(&mut wires.command(2, &["cat", "--connect", "192.0.2.1:1"]));
    let advice = "add a gateway to the interface, or use an address of its network";
    assert_mistake(
        &unreachable,
        1,
        &format!("cannot connect to 192.0.2.1:1: no route from 10.0.0.2 to 192.0.2.1:1: {advice}"),
    );
    for (options, part) in [
        ("--congestion bbr --coupling lia", "so --congestion bbr would have no effect"),
        ("--weights /no/such --scheduler ecf", "--weights is for --scheduler peekaboo"),
        ("--qos video=3", "there is no class 'video': choose latency, bulk or background"),
        ("--qos background=9", "class 'background' has more weight than 'bulk'"),
    ] {
        let options: Vec<&str> = options.split(' ').collect();
        assert_mistake_about(&cat(&[&path[..], &options[..]].concat()), 2, part);
    }
    let scheduler = cat(&["--path", "x", "--scheduler", "fast"]);
    assert_eq!(scheduler.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&scheduler.stderr).contains("there is no scheduler 'fast'"), "{scheduler:?}");
    let both = cat(&["--path", "x", "--kernel", "tcp"]);
    assert!(String::from_utf8_lossy(&both.stderr).contains("cannot be used with"), "{both:?}");
    let gone = run(&mut mptcp(["ss", "--control", "/nonexistent.sock"]));
    assert_mistake(&gone, 1, "cannot use the control socket /nonexistent.sock: there is no such socket");
}

#[test]
fn an_interrupted_end_tells_its_peer_and_cleans_up() {
    let wires = Wires::new("interrupt");
    let mib = wires.file("mib");
    let server = wires.serve(&["cat", "--listen", "7000", "--mib", &mib]);
    let mut client = wires.command(2, &["cat", "--connect", "10.0.0.1:7000"]);
    let client = Background::start(client.stdin(Stdio::piped()));
    let connected = || {
        let shown = run(&mut mptcp(["ss", "--json", "--control", &wires.file("server.sock")]));
        last_json(&shown.stdout)["connections"][0]["state"].is_string()
    };
    wait_until("the connection is open", connected);
    server.signal(Signal::INT);
    let server = server.output();
    assert_eq!(server.status.code(), Some(128 + 2), "{server:?}");
    assert!(server.stderr.is_empty(), "{server:?}");
    assert_mistake(&client.output(), 1, "cannot receive: the peer reset the connection");
    assert_eq!(counter(&mib, "MPTcpExtMPFastcloseTx") + counter(&mib, "MPTcpExtMPRstTx"), 1);
    assert!(!PathBuf::from(wires.file("server.sock")).exists());
}
