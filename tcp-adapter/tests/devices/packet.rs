use std::collections::VecDeque;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tcp_adapter::Frame;
use tcp_adapter::device::{Device, OpenError, PacketConfig, PacketDevice, Tap};

use crate::common::neighbour::{self, echo_answer, echo_request, expect_oversized_drop, resolve, wait};
use crate::common::netns::NetNs;

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// A veth pair: `ours` for the device, `theirs` with the kernel's address.
fn veth(netns: &NetNs) {
    netns.ip("link add ours type veth peer name theirs");
    netns.ip("addr add 10.77.0.1/24 dev theirs");
    netns.ip("link set ours up");
    netns.ip("link set theirs up");
}

fn open(netns: &NetNs, config: PacketConfig) -> PacketDevice {
    netns.enter(|| PacketDevice::open("ours", config)).unwrap()
}

#[test]
fn the_kernel_across_a_veth_pair_answers() {
    let netns = NetNs::new("packet");
    veth(&netns);
    let mut device = open(&netns, PacketConfig::default());
    assert_eq!((device.name(), device.capabilities().mtu), ("ours", 1500));

    let mac = resolve(&mut device, OURS, KERNEL);
    let data: Vec<u8> = (0..1400).map(|n| n as u8).collect();
    let mut queue = VecDeque::from([echo_request(mac, OURS, KERNEL, &data)]);
    assert_eq!(device.transmit(&mut queue).unwrap(), 1);
    let answer = wait(&mut device, Duration::from_secs(5), |frame| echo_answer(frame).map(<[u8]>::to_vec));
    assert_eq!(answer, Some(data));
    assert_eq!((device.stats().tx_dropped, device.stats().rx_dropped), (0, 0));
}

#[test]
fn what_this_host_sends_is_not_received() {
    let netns = NetNs::new("packet");
    veth(&netns);
    netns.ip("addr add 10.78.0.1/24 dev ours");
    let mut device = open(&netns, PacketConfig::default());
    netns.enter(|| {
        let socket = UdpSocket::bind("10.78.0.1:0").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"from the kernel", "10.78.0.255:9").unwrap();
    });
    // The answer is behind anything that was sent before the question.
    device.transmit(&mut VecDeque::from([neighbour::arp_request(OURS, KERNEL)])).unwrap();
    let mut outgoing = false;
    let answered = wait(&mut device, Duration::from_secs(5), |frame| {
        outgoing |= frame.head.ends_with(b"from the kernel");
        neighbour::arp_answer(frame, KERNEL)
    });
    assert!(answered.is_some() && !outgoing);
}

#[test]
fn promiscuous_mode_is_a_choice() {
    let netns = NetNs::new("packet");
    veth(&netns);
    let is_promiscuous = || netns.ip("-details link show ours").contains("promiscuity 1");
    let device = open(&netns, PacketConfig { promiscuous: false });
    assert!(!is_promiscuous());
    drop(device);
    let _device = open(&netns, PacketConfig::default());
    assert!(is_promiscuous());
}

#[test]
fn the_interface_may_go_down_and_come_back() {
    let netns = NetNs::new("packet");
    veth(&netns);
    let mut device = open(&netns, PacketConfig::default());
    resolve(&mut device, OURS, KERNEL);

    netns.ip("link set ours down");
    for _ in 0..3 {
        device.receive(64, &mut Vec::new()).unwrap();
    }
    let mut queue = VecDeque::from([neighbour::arp_request(OURS, KERNEL), neighbour::arp_request(OURS, KERNEL)]);
    assert_eq!(device.transmit(&mut queue).unwrap(), 0);
    assert!(queue.is_empty());
    assert_eq!(device.stats().tx_dropped, 2);

    netns.ip("link set ours up");
    resolve(&mut device, OURS, KERNEL);
}

#[test]
fn frames_of_impossible_length_are_counted() {
    let netns = NetNs::new("packet");
    veth(&netns);
    let mut device = open(&netns, PacketConfig::default());
    let mut queue = [13, 1519, 5000].map(|len| Frame::from(&vec![0xff; len][..])).into();
    assert_eq!(device.transmit(&mut queue).unwrap(), 0);
    assert_eq!(device.stats().tx_dropped, 3);
    netns.ip("link set ours mtu 4000");
    expect_oversized_drop(&netns, &mut device, "theirs", KERNEL);
}

#[test]
fn a_deleted_interface_is_an_error() {
    let netns = NetNs::new("packet");
    veth(&netns);
    let mut device = open(&netns, PacketConfig::default());
    netns.ip("link del ours");
    // An interface of the same name is another interface.
    veth(&netns);
    assert!(device.receive(64, &mut Vec::new()).is_err());
    assert!(device.transmit(&mut VecDeque::from([neighbour::arp_request(OURS, KERNEL)])).is_err());
}

#[test]
fn opening_tells_why_not() {
    let netns = NetNs::new("packet");
    netns.ip("link add ours type veth peer name theirs");
    let refused = |name: &'static str| {
        netns.enter(move || PacketDevice::open(name, PacketConfig::default()).map(drop)).unwrap_err()
    };
    assert!(matches!(refused("absent"), OpenError::NoSuchInterface(name) if name == "absent"));
    assert!(matches!(refused("ours"), OpenError::Down(name) if name == "ours"));
    assert!(matches!(refused("lo"), OpenError::NotEthernet(name) if name == "lo"));
    assert!(matches!(refused("a/b"), OpenError::InvalidName(_)));

    netns.ip("link set ours up");
    netns.enter(|| {
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
        let packet = PacketDevice::open("ours", PacketConfig::default()).unwrap_err();
        assert_eq!(packet.to_string(), "opening a packet socket needs root or CAP_NET_RAW");
        let tap = Tap::open("tap0").unwrap_err();
        assert_eq!(tap.to_string(), "opening a TAP interface needs root or CAP_NET_ADMIN");
    });
}
