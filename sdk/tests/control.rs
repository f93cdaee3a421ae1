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

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 20, "waited in vain until {what}");
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
    };
    let Reply::EndpointAdded(id) = ask.request(&add(true)).unwrap() else { panic!() };
    assert!(refusal(&mut ask, &add(true)).contains("exists already"));
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
    assert!(refusal(&mut ask, &schedule("fast")).contains("there is no scheduler 'fast': choose round-robin, "));

    let Reply::Counters(counters) = ask.request(&Request::Counters).unwrap() else { panic!() };
    assert_eq!(counters["MPTcpExtMPCapableSYNTX"], 1);
    drop(control);
    assert!(!path.exists());
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
