//! `mptcp nvme` with a target that demands secrets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};

use common::TempFile;
use common::nvme::{NQN, PROGRAM, Target};

const HOST: &str = "nqn.2026-11.org.example:host";

/// A target that wants HOST to know the first secret, and knows the second.
fn guarded(own: &str, controller: &str) -> Target {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[subsystem]]\nnqn = \"{NQN}\"\n[[subsystem.host]]\nnqn = \"{HOST}\"\n\
         dhchap-secret = \"{own}\"\ndhchap_ctrl_secret = \"{controller}\"\ndhchap-hash = \"hmac(sha384)\"\n\
         [[subsystem.namespace]]\nstore = \"memory:1M\"\n"
    );
    Target::of_file("nvme-guarded", &text)
}

fn list(target: &Target, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["nvme", "list", "--kernel", "tcp", "-a", "127.0.0.1", "-s", &target.port, "-n", NQN, "-q", HOST]);
    command.args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn generate(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(["nvme", "gen-dhchap-key"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Arguments and environment of a command.
type Way<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

#[test]
fn a_disk_is_for_those_who_know_the_secret() {
    let (own, controller, other) = (generate(&["-m", "1"]), generate(&[]), generate(&["-l", "64"]));
    assert!(own.starts_with("DHHC-1:01:") && controller.starts_with("DHHC-1:00:") && own != generate(&["-m", "1"]));
    let target = guarded(&own, &controller);
    let file = TempFile::named("nvme-secret");
    std::fs::write(file.path(), format!("{own}\n")).unwrap();
    let at_file = format!("@{}", file.path());
    let good: [Way<'_>; 4] = [
        (&["-S", &own], &[]),
        (&["--dhchap-secret", &own, "--dhchap-ctrl-secret", &controller], &[]),
        (&["-S", &at_file, "-C", &controller], &[]),
        (&[], &[("NVME_DHCHAP_SECRET", &own), ("NVME_DHCHAP_CTRL_SECRET", &controller)]),
    ];
    for (arguments, environment) in good {
        let output = list(&target, arguments, environment);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let bad: [(&[&str], i32, &str); 6] = [
        (&[], 1, "the controller demands authentication, and this host has no secret"),
        (&["-S", &other], 1, "the controller did not accept the authentication: the secret is wrong"),
        (&["-S", &own, "-C", &other], 1, "the controller did not prove that it knows the subsystem's secret"),
        (&["-C", &controller], 2, "--dhchap-ctrl-secret needs --dhchap-secret"),
        (&["-S", &own[..20]], 2, "--dhchap-secret: a secret has the form"),
        (&["-S", "@/nowhere"], 2, "cannot read /nowhere"),
    ];
    for (arguments, code, sentence) in bad {
        let output = list(&target, arguments, &[]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.lines().count()), (Some(code), 1), "{message}");
        assert!(message.contains(sentence), "{message}");
        assert!(!message.contains(&other[10..20]) && !message.contains(&own[10..18]), "{message}");
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_not_left_out() {
    let mut command = Command::new(PROGRAM);
    command.args(["nvme", "list", "--kernel", "tcp", "-a", "127.0.0.1", "-s", "1", "-n", NQN]);
    for variable in ["NVME_DHCHAP_SECRET", "NVME_DHCHAP_CTRL_SECRET"] {
        let output = command.env(variable, OsStr::from_bytes(b"DHHC-1:00:\xff:")).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message, format!("mptcp: {variable}: a secret has the form DHHC-1:hh:BASE64:\n"));
        assert_eq!(output.status.code(), Some(2));
        command.env_remove(variable);
    }
}

#[test]
fn secrets_are_made_as_nvme_cli_makes_them() {
    let bytes = "00".repeat(32);
    // What Python's zlib and hmac make of them.
    assert_eq!(generate(&["-s", &bytes]), "DHHC-1:00:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACtVQoZ:");
    assert_eq!(
        generate(&["-m", "1", "-n", HOST, "-s", &bytes]),
        "DHHC-1:01:OA/FanRVfRXwwUejUcz0bi4KAHrS9zZ+8rQX74EdR3qw5g69:"
    );
    for mistake in [&["-l", "33"][..], &["-m", "2", "-l", "32"], &["-s", "00"], &["-s", "zz"]] {
        let output = Command::new(PROGRAM).args(["nvme", "gen-dhchap-key"]).args(mistake).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{mistake:?}");
    }
}
