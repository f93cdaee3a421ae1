//! The control socket of a runtime.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use mptcp_sdk::adapter::device::MemoryDevice;
use mptcp_sdk::control::{ControlClient, ControlError, ControlServer, Reply, Request};
use mptcp_sdk::{Config, DeviceSpec, InterfaceSpec, Runtime};

/// Two hosts with two wires between them. No endpoints: these come by the control socket.
fn hosts() -> [Runtime; 2] {
    let (mut near, mut far) = (Config::default(), Config::default());
    for path in 0..2 {
        let (a, b) = MemoryDevice::pair(1500, 256);
        for (config, device, host) in [(&mut near, a, 1), (&mut far, b, 2)] {
            let device = DeviceSpec::Custom { device: Box::new(device), name: format!("wire{path}") };
            config.interfaces.push(InterfaceSpec::new(device, [format!("10.0.{path}.{host}/24").parse().unwrap()]));
        }
    }
    [near, far].map(|config| Runtime::new(config).unwrap())
}

fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("mptcp-sdk-{}-{name}.sock", std::process::id()))
}

fn refusal(client: &mut ControlClient, request: &Request) -> String {
    match client.request(request) {
        Err(ControlError::Refused(sentence)) => sentence,
        other => panic!("{other:?} is no refusal"),
    }
}

/// The same of what is wrong in itself, which the refusals above are not.
fn mistake(client: &mut ControlClient, request: &Request) -> String {
    match client.request(request) {
        Err(ControlError::Mistake(sentence)) => sentence,
        other => panic!("{other:?} is no mistake"),
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 60, "waited in vain until {what}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn paths_are_shown_and_changed() {
    let [server, client] = hosts();
    let path = socket("paths");
    let control = ControlServer::start(&client, &path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let listener = server.bind("10.0.0.1:7".parse().unwrap()).unwrap();
    let near = client.connect("10.0.0.1:7".parse().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (&near).write_all(b"x").unwrap();
    far.read_bytes(1).unwrap();

    let mut ask = ControlClient::connect(&path).unwrap();
    let connection = |ask: &mut ControlClient| match ask.request(&Request::Connections).unwrap() {
        Reply::Connections(mut connections) if connections.len() == 1 => connections.remove(0),
        other => panic!("{other:?} is not one connection"),
    };
    let shown = connection(&mut ask);
    assert_eq!((shown.state.as_str(), shown.bytes_sent, shown.subflows.len()), ("established", 1, 1));
    assert_eq!(shown.remote, "10.0.0.1:7".parse().unwrap());

    // An endpoint by hand, and a subflow by hand: the peer has not announced its second address.
    let add = |subflow| Request::AddEndpoint {
        addr: "10.0.1.2".parse().unwrap(),
        port: None,
        signal: false,
        subflow,
        backup: false,
        fullmesh: false,
        laminar: false,
        interface: None,
        ndiffports: None,
    };
    let Reply::EndpointAdded(id) = ask.request(&add(true)).unwrap() else { panic!() };
    assert!(refusal(&mut ask, &add(true)).contains("exists already"));
    let Request::AddEndpoint { addr, .. } = add(true) else { panic!() };
    let wrong = |signal, fullmesh, port| Request::AddEndpoint {
        addr,
        port,
        signal,
        subflow: true,
        backup: false,
        fullmesh,
        laminar: false,
        interface: None,
        ndiffports: None,
    };
    assert!(mistake(&mut ask, &wrong(true, true, None)).contains("'fullmesh'"));
    assert!(mistake(&mut ask, &wrong(false, false, Some(77))).contains("a port needs the flag 'signal'"));
    ask.request(&Request::SetBackup { id, backup: true }).unwrap();
    let Reply::Endpoints(endpoints) = ask.request(&Request::Endpoints).unwrap() else { panic!() };
    assert_eq!(endpoints.iter().map(|e| (e.id, e.backup, e.subflow)).collect::<Vec<_>>(), [(id, true, true)]);

    wait_until("the connection can have subflows", || {
        let create = Request::CreateSubflow {
            connection: shown.id.clone(),
            local: "10.0.1.2".parse().unwrap(),
            remote: "10.0.1.1:7".parse().unwrap(),
            backup: false,
        };
        ask.request(&create).is_ok()
    });
    wait_until("the subflow is established", || {
        connection(&mut ask).subflows.iter().filter(|subflow| subflow.state == "established").count() == 2
    });
    let close = Request::CloseSubflow { connection: shown.id.clone(), subflow: 1 };
    ask.request(&close).unwrap();
    wait_until("the subflow is gone", || connection(&mut ask).past_subflows.len() == 1);
    assert!(refusal(&mut ask, &close).contains("no such subflow"));
    ask.request(&Request::RemoveEndpoint { id }).unwrap();
    assert!(!refusal(&mut ask, &Request::RemoveEndpoint { id }).is_empty());
    let unknown = Request::CloseSubflow { connection: "9.9".to_owned(), subflow: 0 };
    assert_eq!(refusal(&mut ask, &unknown), "there is no connection 9.9");

    let schedule = |name: &str| Request::SetScheduler { connection: shown.id.clone(), scheduler: name.to_owned() };
    assert_eq!(ask.request(&schedule("blest")).unwrap(), Reply::Done);
    assert_eq!(connection(&mut ask).scheduler, "blest");
    assert!(mistake(&mut ask, &schedule("fast")).contains("there is no scheduler 'fast': choose round-robin, "));

    let weigh = |subflow, weight| Request::SetWeight { connection: shown.id.clone(), subflow, weight };
    assert_eq!(ask.request(&weigh(0, 3)).unwrap(), Reply::Done);
    assert_eq!(mistake(&mut ask, &weigh(0, 0)), "weight is 0, but must be 1 to 4294967295");
    assert!(refusal(&mut ask, &weigh(9, 3)).contains("no such subflow"));

    let Reply::Counters(counters) = ask.request(&Request::Counters).unwrap() else { panic!() };
    assert_eq!(counters["MPTcpExtMPCapableSYNTX"], 1);
    drop(control);
    assert!(!path.exists());
}

#[test]
fn limits_links_policy_and_strategy_are_shown_and_changed() {
    let [_server, client] = hosts();
    let path = socket("settings");
    let _control = ControlServer::start(&client, &path).unwrap();
    let mut ask = ControlClient::connect(&path).unwrap();
    let before = ask.request(&Request::Limits).unwrap();
    assert_eq!(before, Reply::Limits { subflows: 2, add_addr_accepted: 0 });
    ask.request(&Request::SetLimits { subflows: Some(7), add_addr_accepted: None }).unwrap();
    assert_eq!(ask.request(&Request::Limits).unwrap(), Reply::Limits { subflows: 7, add_addr_accepted: 0 });
    let too_many = Request::SetLimits { subflows: Some(65), add_addr_accepted: None };
    assert_eq!(mistake(&mut ask, &too_many), "subflows is 65, but must be 0 to 64");

    let links = |ask: &mut ControlClient| match ask.request(&Request::Links).unwrap() {
        Reply::Links(links) => links.into_iter().map(|link| (link.interface, link.up)).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let wires = |up| vec![("wire0".to_owned(), true), ("wire1".to_owned(), up)];
    assert_eq!(links(&mut ask), wires(true));
    ask.request(&Request::SetLink { interface: "wire1".to_owned(), up: false }).unwrap();
    assert_eq!(links(&mut ask), wires(false));
    let unknown = Request::SetLink { interface: "wire9".to_owned(), up: false };
    assert_eq!(mistake(&mut ask, &unknown), "there is no interface 'wire9': choose one of wire0, wire1");
    let events = |ask: &mut ControlClient, after| match ask.request(&Request::Events { after }).unwrap() {
        Reply::Events { last, events } => (last, events),
        other => panic!("{other:?}"),
    };
    let (last, all) = events(&mut ask, Some(0));
    assert_eq!(
        (last, all.len(), all[0].event.as_str(), all[0].details["interface"].as_str()),
        (1, 1, "link-down", "wire1")
    );
    ask.request(&Request::SetLink { interface: "wire1".to_owned(), up: true }).unwrap();
    assert_eq!(events(&mut ask, Some(last)).1[0].event, "link-up");
    assert_eq!(events(&mut ask, None), (2, Vec::new()));

    let rules = |ask: &mut ControlClient| match ask.request(&Request::Policy).unwrap() {
        Reply::Policy { rules, .. } => rules.into_iter().map(|rule| (rule.rule, rule.used)).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    for rule in ["dev=wire1,metered", "src=10.0.1.0/24,max-bytes=5000"] {
        ask.request(&Request::AddRule { rule: rule.to_owned() }).unwrap();
    }
    let expected = [("dev=wire1,metered", None), ("src=10.0.1.0/24,max-bytes=5000", Some(0))];
    assert_eq!(rules(&mut ask), expected.map(|(rule, used)| (rule.to_owned(), used)));
    assert!(mistake(&mut ask, &Request::AddRule { rule: "dev=wire1".to_owned() }).contains("says nothing"));
    ask.request(&Request::RemoveRule { rule: Some(0) }).unwrap();
    assert_eq!(rules(&mut ask).len(), 1);
    assert_eq!(refusal(&mut ask, &Request::RemoveRule { rule: Some(1) }), "there is no rule 1");
    ask.request(&Request::RemoveRule { rule: None }).unwrap();
    assert!(rules(&mut ask).is_empty());
    ask.request(&Request::SetNode { node: Some(1) }).unwrap();
    assert_eq!(ask.request(&Request::Policy).unwrap(), Reply::Policy { rules: Vec::new(), node: Some(1) });

    assert_eq!(ask.request(&Request::Strategy).unwrap(), Reply::Strategy("endpoints".to_owned()));
    let choose = |name: &str| Request::SetStrategy { strategy: name.to_owned(), connection: None };
    ask.request(&choose("ndiffports:3")).unwrap();
    assert_eq!(ask.request(&Request::Strategy).unwrap(), Reply::Strategy("ndiffports:3".to_owned()));
    assert!(mistake(&mut ask, &choose("mesh")).contains("'mesh'"));
    assert_eq!(ask.request(&Request::Blackholes).unwrap(), Reply::Blackholes(Vec::new()));
    ask.request(&Request::ForgetBlackholes).unwrap();
}

#[cfg(feature = "devices")]
#[test]
fn paths_are_added_while_the_process_runs() {
    let [_server, client] = hosts();
    let path = socket("attach");
    let _control = ControlServer::start(&client, &path).unwrap();
    let mut ask = ControlClient::connect(&path).unwrap();
    let wire = path.with_extension("wire");
    let spec = |addr: &str| format!("unix:{0},{addr},peer={0}.peer,subflow,ndiffports=3", wire.display());
    let add = |interface: String| Request::AddInterface { interface };
    assert!(refusal(&mut ask, &add(spec("10.0.1.2/24"))).contains("addresses that no other interface has"));
    assert!(mistake(&mut ask, &add("unix:fd=0,10.0.9.1/24".to_owned())).contains("descriptor"));
    assert!(mistake(&mut ask, &add("tap:x".to_owned())).contains("has no address"));
    assert!(mistake(&mut ask, &add(format!("{},fullmesh,signal", spec("10.0.9.1/24")))).contains("'fullmesh'"));
    let short = mistake(&mut ask, &add(format!("{},mtu=99", spec("10.0.9.1/24"))));
    assert_eq!(short, "interface.mtu is 99, but must be 576 to 65535");
    let Reply::Links(before) = ask.request(&Request::Links).unwrap() else { panic!() };
    assert_eq!(before.len(), 2, "a mistake opens nothing");
    ask.request(&add(spec("10.0.9.1/24"))).unwrap();
    let Reply::Links(links) = ask.request(&Request::Links).unwrap() else { panic!() };
    assert_eq!((links.len(), links[2].addrs.as_slice(), links[2].up), (3, &["10.0.9.1/24".to_owned()][..], true));
    let Reply::Endpoints(endpoints) = ask.request(&Request::Endpoints).unwrap() else { panic!() };
    let made: Vec<_> =
        endpoints.iter().map(|known| (known.addr.to_string(), known.subflow, known.ndiffports)).collect();
    assert_eq!(made, [("10.0.9.1".to_owned(), true, 3)]);
    std::fs::remove_file(&wire).unwrap_or_default();
}

#[test]
fn nonsense_is_answered_and_does_no_harm() {
    let [runtime, _other] = hosts();
    let path = socket("nonsense");
    let _control = ControlServer::start(&runtime, &path).unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"{\"request\":\"everything\"}\n[]\n").unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for _ in 0..2 {
        assert!(lines.next().unwrap().unwrap().contains("is not understood"));
    }
    drop((stream, lines));
    assert_eq!(ControlClient::connect(&path).unwrap().request(&Request::Endpoints).unwrap(), Reply::Endpoints(vec![]));
}

#[test]
fn a_socket_in_use_is_left_alone_and_a_dead_one_is_replaced() {
    let [runtime, _other] = hosts();
    let path = socket("stale");
    let control = ControlServer::start(&runtime, &path).unwrap();
    assert_eq!(ControlServer::start(&runtime, &path).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(control);
    // A process that was killed leaves the file and no listener.
    drop(UnixListener::bind(&path).unwrap());
    let control = ControlServer::start(&runtime, &path).unwrap();
    assert!(ControlClient::connect(control.path()).is_ok());
    drop(runtime);
    assert!(ControlClient::connect(&path).unwrap().request(&Request::Connections).is_err());
}

#[test]
fn whoever_finds_the_socket_is_answered() {
    let [runtime, _other] = hosts();
    for round in 0..200 {
        let path = socket(&format!("found-{round}"));
        let found = path.clone();
        let visitor = std::thread::spawn(move || {
            // Without a pause: it has to come as early as it can.
            loop {
                match UnixStream::connect(&found) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    other => break other.map(|_| std::fs::metadata(&found).unwrap().permissions().mode() & 0o777),
                }
            }
        });
        let control = ControlServer::start(&runtime, &path).unwrap();
        assert_eq!(visitor.join().unwrap().unwrap(), 0o600, "round {round}");
        drop(control);
        assert!(!path.exists());
    }
}
