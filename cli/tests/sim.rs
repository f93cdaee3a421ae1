//! `mptcp sim`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::path::PathBuf;

use common::{Background, assert_success, mptcp, run, wait_until};
use rustix::process::Signal;

/// What a subcommand prints.
fn printed(args: &[&str]) -> String {
    let output = run(&mut mptcp(args.iter().copied()));
    assert_success(&output);
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The sentence with which a subcommand refuses, without the program's name.
fn refused(args: &[&str]) -> String {
    let output = run(&mut mptcp(args.iter().copied()));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let sentence = text.strip_prefix("mptcp: ").unwrap().strip_suffix('\n').unwrap();
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence.to_owned()
}

/// A scenario file that is removed with its test.
struct ScenarioFile(PathBuf);

impl ScenarioFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mptcp-sim-test-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for ScenarioFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const SMALL: &str = "[links.p1]\nrate = \"10Mbit\"\n[[traffic]]\nbytes = \"1MB\"\n";

#[test]
fn scenarios_and_profiles_are_listed() {
    let list = printed(&["sim", "list"]);
    for name in ["two-paths", "four-paths-lossy", "blest", "simult-flows", "starlink-like", "datacentre-100g"] {
        assert!(list.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name} in\n{list}");
    }
    // Every scenario that is listed can be explained.
    let scenarios = list.split("Link profiles:").next().unwrap();
    for line in scenarios.lines().skip(1).filter(|line| !line.is_empty()) {
        printed(&["sim", "explain", line.split_whitespace().next().unwrap()]);
    }
}

#[test]
fn an_explanation_says_everything_and_explains_itself() {
    let file = ScenarioFile::new("explain", SMALL);
    let explained = printed(&["sim", "explain", file.path(), "--set", "links.p1.delay=20ms", "--set", "run.seed=9"]);
    for line in
        ["rate = \"10Mbit\"", "delay = \"20ms\"", "seed = 9", "scheduler = \"completion-time\"", "[hosts.server]"]
    {
        assert!(explained.lines().any(|found| found == line), "{line} in\n{explained}");
    }
    let again = ScenarioFile::new("again", &explained);
    assert_eq!(printed(&["sim", "explain", again.path()]), explained);
}

#[test]
fn a_range_makes_a_sweep() {
    let explained = printed(&["sim", "explain", "two-paths", "--set", "links.lte.delay=10ms..50ms step 10ms"]);
    assert!(explained.contains("delay = \"10ms..50ms step 10ms\""), "{explained}");
}

#[test]
fn mistakes_name_the_line_and_the_key() {
    let table = [
        (
            "[links.p1]\nrate = \"10Mbit\"\ndealy = \"5ms\"\n",
            ":3: [links.p1] has no key 'dealy' (did you mean 'delay'?); its keys are ",
        ),
        ("[links.p1]\nrate = \"10 Mbps\"\n", ":2: links.p1.rate is \"10 Mbps\": 'Mbps' means bytes to tc"),
        ("[links.p1]\nrate = \"0bit\"\n", ":2: links.p1.rate is \"0bit\", but must be above 0"),
        ("[links.p1]\nrate = { trace = \"no-such.trace\" }\n", ":2: links.p1.rate.trace names the file '"),
        (
            "[links.p1]\nrate = { trace = \"/\" }\n",
            ":2: links.p1.rate.trace names the file '/', which cannot be read: it is a f",
        ),
        (
            "[links.p1]\n[report]\ninterval = \"1ns\"\n",
            ":3: report.interval is 1ns: a run without run.time, which may be",
        ),
        ("[hosts.a]\n[hosts.b]\n[links.p1]\nto = \"b\"\n", "links.p1.from is 'client', but there is no such host"),
        ("[links.p1\n", ":1: "),
    ];
    for (text, part) in table {
        let file = ScenarioFile::new("mistake", &format!("{text}[[traffic]]\nbytes = \"1MB\"\n"));
        let sentence = refused(&["sim", "explain", file.path()]);
        assert!(sentence.starts_with(file.path()) && sentence.contains(part), "{sentence}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    assert_eq!(
        refused(&["sim", "explain", "two-path"]),
        "there is no file 'two-path', and no scenario of this name (did you mean 'two-paths'?)"
    );
    assert_eq!(refused(&["sim", "explain", "/no/such.toml"]), "/no/such.toml: there is no such file");
    let sentence = refused(&["sim", "explain", "two-paths", "--set", "links.wifi.dealy=1ms"]);
    assert!(sentence.contains("(did you mean 'delay'?)"), "{sentence}");
    let sentence = refused(&["sim", "explain", "two-paths", "--set", "delay"]);
    assert!(sentence.contains("'delay' is not KEY=VALUE, such as links.wifi.delay=20ms"), "{sentence}");
    assert_eq!(refused(&["sim", "explain"]), "say FILE or NAME (see 'mptcp sim explain --help')");
    // Options that do nothing without another one, though clap takes the conflict with a third for enough.
    for (words, part) in [
        ("sim train --runs 1 --out w.toml --weights none", "cannot be used with '--weights <FILE>'"),
        ("sim train --runs 1 --out w.toml --seeds 3", "cannot be used with"),
        ("perf --kernel tcp --client 127.0.0.1 --bulk --size 64", "cannot be used with"),
        ("perf --kernel tcp --client 127.0.0.1 --reverse --depth 9", "cannot be used with"),
        ("sim fuzz --random-scenarios 0", "'0' for '--random-scenarios <N>'"),
        ("sim fuzz --seed 18446744073709551614", "--seed <N>"),
        ("sim fuzz --folder Cargo.toml", "--folder Cargo.toml: this is a file"),
        ("sim run two-paths --seed 18446744073709551614", "--seed <N>"),
        ("sim evaluate --seeds 1 --only short --out short", "must be named *.md"),
        ("sim run two-paths --weights /no/such", "cannot read /no/such: no such file"),
    ] {
        let sentence = refused(&words.split(' ').collect::<Vec<_>>());
        assert!(sentence.contains(part), "{words}: {sentence}");
    }
    let file = ScenarioFile::new("unexpected", "[links.p1]\n[[traffic]]\nbytes = \"1MB\"\n");
    assert_eq!(refused(&["sim", "run", file.path(), "--expect"]), "--expect: the scenario has no [[expect]]");
}

const TWO_VARIANTS: &str = r#"
[links.p1]
rate = "10Mbit"
delay = "5ms"
[links.p2]
rate = "5Mbit"
delay = "20ms"
[[traffic]]
name = "bulk"
bytes = "300KiB"
[sweep.variant]
keys = ["traffic.bulk.transport"]
values = ["tcp", "mptcp"]
[[expect]]
metric = "goodput"
of = "bulk"
min = "100Mbit"
"#;

/// A folder that is removed with its test.
struct OutFolder(PathBuf);

impl OutFolder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("mptcp-sim-out-{}-{name}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn has(&self, file: &str) -> bool {
        self.0.join(file).metadata().is_ok_and(|file| file.len() > 0)
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_run_writes_its_folder_and_repeats_itself() {
    let file = ScenarioFile::new("run", TWO_VARIANTS);
    let (out, pcap) = (OutFolder::new("run"), OutFolder::new("pcap"));
    let run = |extra: &[&str]| {
        let args = ["sim", "run", file.path(), "--out", out.path(), "--seed", "3"];
        printed(&[&args, extra].concat())
    };
    let table = run(&["--qlog", "--pcap", pcap.path()]);
    assert!(table.contains("mptcp  mptcp  p2"), "{table}");
    assert!(table.contains("FAILED") && table.contains("--at variant=tcp --seed 3"), "{table}");
    for name in ["report.html", "summary.json", "summary.txt", "tcp/series/links.csv", "mptcp/events.qlog.jsonl"] {
        assert!(out.has(name), "{name}");
    }
    for name in ["tcp/pcap/client-p1.pcapng", "mptcp/pcap/server-p2.pcapng"] {
        assert!(pcap.has(name), "{name}");
    }
    let one = run(&["--json", "--at", "variant=mptcp"]);
    let page = std::fs::read(out.0.join("report.html")).unwrap();
    assert!(one.starts_with('{') && one.contains("\"seed\": 3"), "{one}");
    assert_eq!(run(&["--json", "--at", "variant=mptcp"]), one);
    assert_eq!(std::fs::read(out.0.join("report.html")).unwrap(), page);
}

#[test]
fn expectations_decide_the_exit_code_if_asked_to() {
    let file = ScenarioFile::new("expect", TWO_VARIANTS);
    let out = OutFolder::new("expect");
    let output = run(&mut mptcp(["sim", "run", file.path(), "--out", out.path(), "--expect"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let met = ["sim", "run", file.path(), "--out", out.path(), "--expect", "--set", "expect.0.min=1Mbit"];
    printed(&met);
}

/// Published figures that are demanded to within 1 %, of runs that are as long as steady figures need.
#[test]
fn published_levels_of_four_paths_are_reached() {
    let out = OutFolder::new("levels");
    let reached = |arguments: &[&str]| {
        let expected = ["--expect", "--out", out.path()];
        printed(&[&["sim", "sweep"], arguments, &expected].concat())
    };
    // 456 MiB/s over four connections, 445 to 450 over MPTCP.
    let lossless = reached(&["four-paths-lossless", "--set", "run.time=1.5s", "--set", "run.warmup=500ms"]);
    assert!(lossless.contains("6 of 6 runs done"), "{lossless}");
    // With losses everywhere and BBR, nine tenths of what MPTCP carries without any.
    let lossy = ["--at", "variant=all-lossy", "--at", "congestion=bbr", "--at", "transport=mptcp"];
    let lossy = reached(&[&["nvme-four-paths", "--set", "run.time=3s"][..], &lossy].concat());
    assert!(lossy.contains("2 of 2 runs done"), "{lossy}");
}

#[test]
fn a_sweep_writes_its_maps() {
    let file = ScenarioFile::new("sweep", TWO_VARIANTS);
    let out = OutFolder::new("sweep");
    let text = printed(&[
        "sim",
        "sweep",
        file.path(),
        "--out",
        out.path(),
        "--repeat",
        "2",
        "--set",
        "links.p1.delay=[\"5ms\", \"9ms\"]",
    ]);
    assert!(text.contains("8 of 8 runs done"), "{text}");
    assert!(out.has("points.csv") && out.has("report.html") && out.has("summary.json"));
}

#[test]
fn what_cannot_be_run_is_said_in_one_sentence() {
    let file = ScenarioFile::new("wrong", TWO_VARIANTS);
    let sentence = refused(&["sim", "run", file.path(), "--at", "variant=udp"]);
    assert!(sentence.contains("has no value 'udp'; its values are tcp, mptcp"), "{sentence}");
    let sentence = refused(&["sim", "run", file.path(), "--repeat", "50"]);
    assert!(sentence.contains("100 points") && sentence.contains("mptcp sim sweep"), "{sentence}");
    // A file that is there and is not what it should be.
    let trace = ScenarioFile::new("trace", "1\n0\n");
    for (condition, key, kind) in [
        (
            "rate = { trace = FILE }",
            "rate.trace",
            "no trace of delivery opportunities: line 2: earlier than the line before",
        ),
        (
            "loss = { model = \"trace\", file = \"/dev/null\" }",
            "loss.file",
            "no trace of losses: the trace has no entries",
        ),
    ] {
        let condition = condition.replace("FILE", &format!("{:?}", trace.path()));
        let file = ScenarioFile::new("contents", &format!("[links.p1]\n{condition}\n[[traffic]]\nbytes = \"1MB\"\n"));
        let sentence = refused(&["sim", "run", file.path()]);
        assert!(sentence.starts_with(&format!("{}:2: links.p1.{key} names the file '", file.path())), "{sentence}");
        assert!(sentence.ends_with(kind), "{sentence}");
    }
}

#[test]
fn random_scenarios_are_run_and_shown() {
    let text = printed(&["sim", "fuzz", "--random-scenarios", "5", "--seed", "77"]);
    assert_eq!(text, "5 of 5 random scenarios run, 0 of them failed\n");
    let drawn = printed(&["sim", "fuzz", "--seed", "77", "--show"]);
    let file = ScenarioFile::new("drawn", &drawn);
    assert!(printed(&["sim", "explain", file.path()]).contains("[[traffic]]"));
}

/// What a command prints that is interrupted once it has worked for two seconds, however long that takes.
fn interrupted(mut command: std::process::Command) -> String {
    let child = Background::start(&mut command);
    let of_process = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap();
    let catches_interrupts = || {
        let status = of_process("status");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (Signal::INT.as_raw() - 1) != 0
    };
    wait_until("it can be interrupted", catches_interrupts);
    let has_worked = || {
        let stat = of_process("stat");
        // The 14th and the 15th field, in hundredths of a second; the second ends with the last parenthesis.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() >= 200
    };
    wait_until("it has worked for a while", has_worked);
    child.signal(Signal::INT);
    let output = child.output();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_interrupted_sweep_keeps_what_is_done() {
    // Many short runs and one that would take minutes, which must not be waited for.
    let text =
        SMALL.replace("1MB", "20kB") + "[sweep.size]\nkeys = [\"traffic.0.bytes\"]\nvalues = [\"20kB\", \"200GB\"]\n";
    let file = ScenarioFile::new("interrupt", &text);
    let out = OutFolder::new("interrupt");
    let command = mptcp(["sim", "sweep", file.path(), "--repeat", "200", "--out", out.path()]);
    let text = interrupted(command);
    let done = text.split(" of 400 runs done").next().and_then(|text| text.split_whitespace().last()).unwrap();
    let done: usize = done.parse().unwrap();
    assert!((1..400).contains(&done), "{text}");
    let points = std::fs::read_to_string(out.0.join("points.csv")).unwrap();
    assert_eq!(points.lines().count(), done + 1);
    let page = std::fs::read_to_string(out.0.join("report.html")).unwrap();
    assert!(page.contains(&format!("{done} of 400 runs are done")) && page.ends_with("</html>\n"));
    assert!(out.has("summary.json") && text.contains("report: "));
}

#[test]
fn a_relay_names_what_is_wrong_before_it_needs_anything() {
    let relay = |rest: &[&str]| refused(&[&["sim", "relay", "--tap", "mptcp-none0"], rest].concat());
    let pair = |rest: &[&str]| relay(&[&["--tap", "mptcp-none1"], rest].concat());
    let alone = "the interface 'mptcp-none0' has no other end: give a second --tap";
    assert_eq!(relay(&["--rate", "1Mbit"]), alone);
    let twice = relay(&["--tap", "mptcp-none0"]);
    assert_eq!(twice, "the interface 'mptcp-none0' is named twice, but has one other end");
    let rate = pair(&["--rate", "10Mbut,1Mbit"]);
    assert!(rate.contains("links.mptcp-none0-mptcp-none1.up.rate") && rate.contains("10Mbut"), "{rate}");
    let twice = pair(&["--rate", "1Mbit", "--rate", "2Mbit"]);
    assert_eq!(twice, "--rate is given twice for the link of 'mptcp-none0'");
    let profile = pair(&["--profile", "lta"]);
    assert!(profile.contains("did you mean 'lte'?"), "{profile}");
    let sweep = pair(&["--set", "delay=1ms..9ms step 1ms"]);
    assert!(sweep.ends_with("delay must be one value, not several"), "{sweep}");
    assert!(pair(&["--set", "delay"]).contains("is not KEY=VALUE"));
    let none = refused(&["sim", "relay"]);
    assert!(none.contains("--tap"), "{none}");
}

#[test]
fn an_interrupted_run_keeps_what_it_has() {
    // The second of three would take minutes.
    let text = SMALL.to_owned()
        + "[sweep.size]\nkeys = [\"traffic.0.bytes\"]\nvalues = [\"20kB\", \"200GB\", \"30kB\"]\n\
           [report]\ninterval = \"10s\"\n[[expect]]\nmetric = \"goodput\"\nof = \"bulk-0\"\nmax = \"1bit\"\n";
    let file = ScenarioFile::new("cut", &text);
    let out = OutFolder::new("cut");
    let text = interrupted(mptcp(["sim", "run", file.path(), "--out", out.path(), "--expect"]));
    assert!(text.contains("Interrupted: 1 of 3 runs are complete. '200GB' was stopped at "), "{text}");
    // Nothing is expected of what is half done.
    assert_eq!(text.matches("FAILED").count(), 1, "{text}");
    let summary = std::fs::read_to_string(out.0.join("summary.json")).unwrap();
    let of = |words: &str| summary.matches(words).count();
    assert_eq!(
        (of("\"interrupted\": false"), of("\"interrupted\": true"), of("\"planned\": 3")),
        (1, 1, 1),
        "{summary}"
    );
    let page = std::fs::read_to_string(out.0.join("report.html")).unwrap();
    assert!(page.contains("Interrupted: 1 of 3 runs are complete.") && page.ends_with("</html>\n"));
    for name in ["20kB/series/links.csv", "200GB/series/links.csv", "200GB/series/connections.csv", "summary.txt"] {
        assert!(out.has(name), "{name}");
    }
    assert!(!out.0.join("30kB").exists() && text.contains("report: "), "{text}");
}

/// What was typed is wrong, not the disk.
#[test]
fn a_file_is_no_folder_for_results() {
    let file = ScenarioFile::new("no-folder", SMALL);
    for (subcommand, option) in [("run", "--out"), ("run", "--pcap"), ("sweep", "--out")] {
        let sentence = refused(&["sim", subcommand, file.path(), option, file.path()]);
        assert_eq!(sentence, format!("{option} {}: this is a file", file.path()));
    }
}
