//! DH-HMAC-CHAP with Linux at the other end, in both roles: hosts prove who they are, and subsystems likewise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::fmt::Write as _;
use std::time::Duration;

use interop::cli::Stack;
use interop::guest::UmlGuest;
use interop::nvme::{self, KERNEL_TARGET, NQN};
use interop::payload::Payload;
use interop::process::Finished;
use interop::slots::Slot;

const LIMIT: Duration = Duration::from_secs(180);

// A guest beside others takes many seconds for the larger groups: both ends are given 120 s, and more than the usual keep-alive timeout.

/// What is agreed on: every hash function, every group, and the controller's proof with some of them.
const AGREEMENTS: [Agreement; 6] = [
    Agreement { hash: "sha256", group: "null", mutual: false },
    Agreement { hash: "sha384", group: "ffdhe2048", mutual: true },
    Agreement { hash: "sha512", group: "ffdhe3072", mutual: true },
    Agreement { hash: "sha256", group: "ffdhe4096", mutual: false },
    Agreement { hash: "sha384", group: "ffdhe6144", mutual: false },
    Agreement { hash: "sha512", group: "ffdhe8192", mutual: true },
];

struct Agreement {
    hash: &'static str,
    group: &'static str,
    mutual: bool,
}

impl Agreement {
    /// The name of the host that authenticates so.
    fn host(&self) -> String {
        format!("nqn.2026-11.org.example:{}-{}", self.hash, self.group)
    }
}

/// A secret that our program has made, for use with a hash function (1 to 3) or none (0).
fn our_secret(guest: &UmlGuest, hash: u8) -> String {
    let program = Stack::subcommand(&format!("nvme gen-dhchap-key --hmac {hash}"));
    program.spawn_alone(None, "secret", guest.dir()).unwrap().succeed(LIMIT).unwrap().stdout.trim().to_owned()
}

/// The same by nvme-cli.
fn their_secret(guest: &UmlGuest, hash: u8) -> String {
    let secret = guest.exec(&format!("nvme gen-dhchap-key --hmac {hash}"), LIMIT).unwrap();
    secret.lines().find(|line| line.starts_with("DHHC-1:")).unwrap().to_owned()
}

#[test]
fn linux_proves_itself_to_our_target_and_has_it_prove_itself() {
    let _slot = Slot::take().unwrap();
    let (guest, cables) = nvme::cabled_guest("host", 1).unwrap();
    let (own, controller, other) = (their_secret(&guest, 2), our_secret(&guest, 1), our_secret(&guest, 0));

    let mut config = format!(
        "listen = [\"10.77.0.2:4420\"]\nsetup-timeout = 120\n[[subsystem]]\nnqn = \"{NQN}\"\n[[subsystem.namespace]]\nstore = \"memory:16M\"\n"
    );
    for agreement in &AGREEMENTS {
        let Agreement { hash, group, mutual } = agreement;
        write!(config, "[[subsystem.host]]\nnqn = \"{}\"\ndhchap-secret = \"{own}\"\n", agreement.host()).unwrap();
        write!(config, "dhchap-hash = \"hmac({hash})\"\ndhchap-dhgroup = \"{group}\"\n").unwrap();
        if *mutual {
            writeln!(config, "dhchap-ctrl-secret = \"{controller}\"").unwrap();
        }
    }
    let file = guest.dir().join("target.toml");
    std::fs::write(&file, config).unwrap();
    let target = Stack::subcommand("nvme target").file("--config", &file);
    let target = target.socket_path(cables[0].try_clone().unwrap(), "10.77.0.2/24");
    let mut target = target.spawn_alone(None, "target", guest.dir()).unwrap();
    target.wait_for_output("listening on 10.77.0.2", LIMIT).unwrap();

    let connect = |host: &str, secrets: &str| {
        let patience = "--nr-io-queues=2 --keep-alive-tmo=60";
        format!("nvme connect -t tcp -a 10.77.0.2 -s 4420 -n {NQN} --hostnqn {host} {patience} {secrets}")
    };
    for (round, agreement) in AGREEMENTS.iter().enumerate() {
        let prove = if agreement.mutual { format!("--dhchap-ctrl-secret='{controller}'") } else { String::new() };
        let script = format!(
            "set -e
            {}
            for i in $(seq 100); do [ -b /dev/nvme0n1 ] && break; sleep 0.05; done
            head -c 1048576 /dev/urandom >/run/sent
            dd if=/run/sent of=/dev/nvme0n1 bs=64k oflag=direct seek={round} 2>/dev/null
            dd if=/dev/nvme0n1 bs=64k iflag=direct skip={round} count=16 2>/dev/null | cmp - /run/sent
            cat /sys/class/nvme/nvme0/state
            nvme disconnect -n {NQN}",
            connect(&agreement.host(), &format!("--dhchap-secret='{own}' {prove}"))
        );
        let output = guest.exec(&script, LIMIT).unwrap();
        assert!(output.contains("live"), "{} {}: {output}", agreement.hash, agreement.group);
    }
    // Who has no secret, a wrong one, or expects another proof, gets nothing.
    let host = AGREEMENTS[1].host();
    for secrets in [
        String::new(),
        format!("--dhchap-secret='{other}'"),
        format!("--dhchap-secret='{own}' --dhchap-ctrl-secret='{other}'"),
    ] {
        let script = format!(
            "{} && echo accepted || echo refused
            sleep 0.5; ls /dev | grep nvme0n || echo no disk",
            connect(&host, &secrets)
        );
        let output = guest.exec(&script, LIMIT).unwrap();
        let said = |line: &str| output.lines().any(|found| found.trim() == line);
        assert!(said("refused") && said("no disk") && !said("accepted"), "{secrets}: {output}");
    }
    assert!(target.is_running());
}

#[test]
fn our_host_proves_itself_to_linux_and_has_it_prove_itself() {
    let _slot = Slot::take().unwrap();
    let (guest, cables) = nvme::cabled_guest("target", 1).unwrap();
    guest.exec(&nvme::export(1), LIMIT).unwrap();
    let (own, controller, other) = (our_secret(&guest, 3), their_secret(&guest, 0), our_secret(&guest, 1));
    let mut allow = format!("set -e\ncd /sys/kernel/config/nvmet\necho 0 >subsystems/{NQN}/attr_allow_any_host\n");
    for agreement in &AGREEMENTS {
        let (host, Agreement { hash, group, mutual }) = (agreement.host(), agreement);
        write!(
            allow,
            "mkdir hosts/{host}\necho -n '{own}' >hosts/{host}/dhchap_key\n\
             echo -n 'hmac({hash})' >hosts/{host}/dhchap_hash\necho -n {group} >hosts/{host}/dhchap_dhgroup\n"
        )
        .unwrap();
        if *mutual {
            writeln!(allow, "echo -n '{controller}' >hosts/{host}/dhchap_ctrl_key").unwrap();
        }
        writeln!(allow, "ln -s /sys/kernel/config/nvmet/hosts/{host} subsystems/{NQN}/allowed_hosts/{host}").unwrap();
    }
    guest.exec(&allow, LIMIT).unwrap();

    let host = |words: &str, nqn: &str, secrets: &[&str]| -> Finished {
        let host = Stack::subcommand(words).with(&format!("-a {KERNEL_TARGET} -n {NQN} -q {nqn} -i 2"));
        let host = host.with("--connect-timeout 120 -k 60");
        let host = secrets.iter().fold(host, |host, word| host.with(word));
        let host = host.socket_path(cables[0].try_clone().unwrap(), "10.77.0.2/24");
        host.spawn_alone(None, "host", guest.dir()).unwrap().wait(LIMIT).unwrap()
    };
    const LEN: u64 = 1 << 20;
    let sent = Payload::create(guest.dir().join("sent"), LEN, 9).unwrap();
    let received = guest.dir().join("received");
    for agreement in &AGREEMENTS {
        let mut secrets = vec!["-S", &own];
        if agreement.mutual {
            secrets.extend(["-C", &controller]);
        }
        let nqn = agreement.host();
        host(&format!("nvme write -d {}", sent.path.display()), &nqn, &secrets).success().unwrap();
        host(&format!("nvme read -z {LEN} -d {}", received.display()), &nqn, &secrets).success().unwrap();
        assert_eq!(sent.bytes().unwrap(), std::fs::read(&received).unwrap());
    }
    let nqn = AGREEMENTS[1].host();
    let failures: [(&[&str], &str); 3] = [
        (&[], "the controller demands authentication, and this host has no secret"),
        (&["-S", &other], "the controller did not accept the authentication"),
        (&["-S", &own, "-C", &other], "the controller did not prove that it knows the subsystem's secret"),
    ];
    for (secrets, sentence) in failures {
        let finished = host("nvme list", &nqn, secrets);
        assert!(finished.stderr.contains(sentence), "{}", finished.stderr);
        assert!(finished.success().is_err());
    }
}
