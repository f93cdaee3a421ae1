//! A host made by hand: asks the kernel by ARP and ICMP and waits for its answers.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tcp_adapter::Frame;
use tcp_adapter::device::Device;

use super::netns::NetNs;

/// The host's MAC address.
pub(crate) const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];

const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];

/// A broadcast ARP request, padded to the 60 bytes of a frame on a wire.
pub(crate) fn arp_request(from: Ipv4Addr, asked: Ipv4Addr) -> Frame {
    let mut bytes = ethernet([0xff; 6], ARP);
    bytes.extend([0, 1, 0x08, 0, 6, 4, 0, 1]);
    bytes.extend(MAC);
    bytes.extend(from.octets());
    bytes.extend([0; 6]);
    bytes.extend(asked.octets());
    bytes.resize(60, 0);
    Frame::from(&bytes[..])
}

/// An ICMP echo request whose data is a payload slice of its own.
pub(crate) fn echo_request(to_mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr, data: &[u8]) -> Frame {
    let mut icmp = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    icmp.extend(data);
    let sum = internet_checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);

    let length = u16::try_from(20 + icmp.len()).unwrap().to_be_bytes();
    let mut ip = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, 1, 0, 0];
    ip.extend(from.octets());
    ip.extend(to.octets());
    let sum = internet_checksum(&ip);
    ip[10..12].copy_from_slice(&sum);

    let mut head = ethernet(to_mac, IPV4);
    head.extend(ip);
    head.extend(&icmp[..8]);
    let mut frame = Frame::from(&head[..]);
    frame.payload.push(Bytes::copy_from_slice(data));
    frame
}

/// The MAC address that the frame says `asked` has, if it is an ARP reply to us.
pub(crate) fn arp_answer(frame: &Frame, asked: Ipv4Addr) -> Option<[u8; 6]> {
    let bytes = &frame.head[..];
    let is_answer = bytes.len() >= 42
        && bytes[..6] == MAC
        && bytes[12..14] == ARP
        && bytes[20..22] == [0, 2]
        && bytes[28..32] == asked.octets();
    is_answer.then(|| bytes[22..28].try_into().unwrap())
}

/// The data of the frame, if it is an ICMP echo reply to us.
pub(crate) fn echo_answer(frame: &Frame) -> Option<&[u8]> {
    let bytes = &frame.head[..];
    let is_answer = bytes.len() >= 42 && bytes[..6] == MAC && bytes[12..14] == IPV4 && bytes[23] == 1 && bytes[34] == 0;
    is_answer.then(|| &bytes[42..])
}

/// Asks the kernel for the MAC address of `asked` and waits for the answer, repeating the question.
pub(crate) fn resolve(device: &mut dyn Device, from: Ipv4Addr, asked: Ipv4Addr) -> [u8; 6] {
    for _ in 0..20 {
        device.transmit(&mut VecDeque::from([arp_request(from, asked)])).unwrap();
        if let Some(mac) = wait(device, Duration::from_millis(250), |frame| arp_answer(frame, asked)) {
            return mac;
        }
    }
    panic!("the kernel does not answer ARP requests for {asked}: {:?}", device.stats());
}

/// Receives until `pick` finds what it looks for, or time is up.
pub(crate) fn wait<T>(
    device: &mut dyn Device,
    at_most: Duration,
    mut pick: impl FnMut(&Frame) -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + at_most;
    loop {
        let mut frames = Vec::new();
        device.receive(64, &mut frames).unwrap();
        if let Some(found) = frames.iter().find_map(&mut pick) {
            return Some(found);
        }
        let left = end.checked_duration_since(Instant::now())?;
        let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().min(50_000_000).into() };
        let readiness = device.readiness().unwrap();
        poll(&mut [PollFd::from_borrowed_fd(readiness, PollFlags::IN)], Some(&timeout)).unwrap();
    }
}

/// Lets the kernel, whose address is `kernel`, send a frame from `interface` that is too long for a device that was
/// opened with an MTU of 1500.
pub(crate) fn expect_oversized_drop(netns: &NetNs, device: &mut dyn Device, interface: &str, kernel: Ipv4Addr) {
    netns.ip(&format!("link set {interface} mtu 4000"));
    let before = device.stats().rx_dropped;
    netns.enter(|| {
        let socket = UdpSocket::bind((kernel, 0)).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(&[0; 3000], (Ipv4Addr::from_bits(kernel.to_bits() | 255), 9)).unwrap();
    });
    let started = Instant::now();
    while device.stats().rx_dropped == before {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", device.stats());
        wait(device, Duration::from_millis(20), |_| None::<()>);
    }
    assert_eq!(device.stats().rx_dropped, before + 1);
}

fn ethernet(to: [u8; 6], kind: [u8; 2]) -> Vec<u8> {
    [&to[..], &MAC, &kind].concat()
}

fn internet_checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
