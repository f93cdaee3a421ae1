use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use tcp_adapter::Frame;
use tcp_adapter::device::{Device, OpenError, Tap};

use crate::common::neighbour::{echo_answer, echo_request, expect_oversized_drop, resolve, wait};
use crate::common::netns::NetNs;

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

fn open_up(netns: &NetNs) -> Tap {
    let tap = netns.enter(|| Tap::open("tap0")).unwrap();
    netns.ip("addr add 10.77.0.1/24 dev tap0");
    netns.ip("link set tap0 up");
    tap
}

#[test]
fn the_kernel_answers_arp_and_ping() {
    let netns = NetNs::new("tap");
    let mut tap = open_up(&netns);
    assert_eq!((tap.name(), tap.capabilities().mtu), ("tap0", 1500));

    let mac = resolve(&mut tap, OURS, KERNEL);
    let data: Vec<u8> = (0..1400).map(|n| n as u8).collect();
    let mut queue = VecDeque::from([echo_request(mac, OURS, KERNEL, &data)]);
    assert_eq!(tap.transmit(&mut queue).unwrap(), 1);
    let answer = wait(&mut tap, Duration::from_secs(5), |frame| echo_answer(frame).map(<[u8]>::to_vec));
    assert_eq!(answer, Some(data));

    let stats = tap.stats();
    assert!(stats.tx_frames >= 2 && stats.rx_frames >= 2, "{stats:?}");
    assert_eq!((stats.tx_dropped, stats.rx_dropped), (0, 0));
}

#[test]
fn the_interface_may_go_down_and_come_back() {
    let netns = NetNs::new("tap");
    let mut tap = open_up(&netns);
    let mac = resolve(&mut tap, OURS, KERNEL);

    netns.ip("link set tap0 down");
    let ping = || echo_request(mac, OURS, KERNEL, b"ping");
    let mut queue = VecDeque::from([ping(), ping()]);
    assert_eq!(tap.transmit(&mut queue).unwrap(), 0);
    assert!(queue.is_empty());
    assert_eq!(tap.stats().tx_dropped, 2);
    tap.receive(64, &mut Vec::new()).unwrap();

    netns.ip("link set tap0 up");
    resolve(&mut tap, OURS, KERNEL);
}

#[test]
fn frames_of_impossible_length_are_counted() {
    let netns = NetNs::new("tap");
    let mut tap = open_up(&netns);
    let mut queue = [13, 1519, 5000].map(|len| Frame::from(&vec![0xff; len][..])).into();
    assert_eq!(tap.transmit(&mut queue).unwrap(), 0);
    assert_eq!(tap.stats().tx_dropped, 3);
    resolve(&mut tap, OURS, KERNEL);

    expect_oversized_drop(&netns, &mut tap, "tap0", KERNEL);
}

#[test]
fn opening_tells_why_not() {
    let netns = NetNs::new("tap");
    let tap = netns.enter(|| Tap::open("tap0")).unwrap();
    let open = |name: &'static str| netns.enter(move || Tap::open(name).map(drop)).unwrap_err();
    assert!(matches!(open("tap0"), OpenError::Busy(name) if name == "tap0"));
    assert!(matches!(open("lo"), OpenError::NotTap(name) if name == "lo"));
    assert!(matches!(open("a-name-that-is-too-long"), OpenError::InvalidName(_)));
    drop(tap);

    netns.ip("tuntap add dev tap0 mode tap");
    netns.ip("link set tap0 mtu 9000");
    let tap = netns.enter(|| Tap::open("tap0")).unwrap();
    assert_eq!(tap.capabilities().mtu, 9000);
}

#[test]
fn a_deleted_interface_is_an_error() {
    let netns = NetNs::new("tap");
    let mut tap = open_up(&netns);
    netns.ip("link del tap0");
    assert!(tap.receive(64, &mut Vec::new()).is_err());
    assert!(tap.transmit(&mut VecDeque::from([Frame::from(&[0; 60][..])])).is_err());
}
