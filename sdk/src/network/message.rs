//! The messages of rtnetlink that tell of links and addresses (rtnetlink(7), RFC 3549).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tcp_adapter::{IpCidr, MacAddr};

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
pub(super) const GROUPS: u32 = 0x1 | 0x10 | 0x100;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

/// NLM_F_REQUEST and NLM_F_DUMP.
const DUMP: u16 = 0x1 | 0x300;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

const IFF_UP: u32 = 0x1;
/// The carrier is there.
const IFF_RUNNING: u32 = 0x40;

/// IFA_F_DADFAILED and IFA_F_TENTATIVE (RFC 4862 section 5.4).
const NOT_USABLE: u32 = 0x08 | 0x40;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Bytes of the header of a message, of `ifinfomsg` and of `ifaddrmsg`.
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Link,
    Address,
}

/// A message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Change(Change),
    /// The answer is complete.
    Done,
    /// The request has failed.
    Error(i32),
}

/// What is so now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Link { index: u32, name: String, up: bool, mac: Option<MacAddr> },
    LinkGone { index: u32 },
    Address { index: u32, addr: IpCidr, usable: bool },
}

/// The request for everything of a kind.
pub(super) fn request(kind: Kind) -> Vec<u8> {
    let (number, body) = match kind {
        Kind::Link => (RTM_GETLINK, IFINFOMSG),
        Kind::Address => (RTM_GETADDR, IFADDRMSG),
    };
    let len = HEADER + body;
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&u32::try_from(len).unwrap_or(0).to_ne_bytes());
    bytes[4..6].copy_from_slice(&number.to_ne_bytes());
    bytes[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    bytes
}

/// The messages in what was received. Those of other kinds, and what is cut off, are left out.
pub(super) fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let (Some(len), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let Some(body) = bytes.get(HEADER..len) else { break };
        found.extend(message(kind, body));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn message(kind: u16, body: &[u8]) -> Option<Message> {
    match kind {
        NLMSG_DONE => Some(Message::Done),
        NLMSG_ERROR => Some(Message::Error(u32_at(body, 0)?.cast_signed().wrapping_neg())),
        RTM_NEWLINK | RTM_DELLINK => link(kind == RTM_NEWLINK, body).map(Message::Change),
        RTM_NEWADDR | RTM_DELADDR => address(kind == RTM_NEWADDR, body).map(Message::Change),
        _ => None,
    }
}

fn link(there: bool, body: &[u8]) -> Option<Change> {
    // Bridges tell of their ports in messages of the same kind (AF_BRIDGE).
    if *body.first()? != 0 {
        return None;
    }
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    if !there {
        return Some(Change::LinkGone { index });
    }
    let attribute = |wanted| Some(attributes(body.get(IFINFOMSG..)?).find(|(kind, _)| *kind == wanted)?.1);
    let mac = attribute(IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok()).map(MacAddr);
    let name = attribute(IFLA_IFNAME)?.split(|byte| *byte == 0).next().unwrap_or_default();
    let up = flags & IFF_UP != 0 && flags & IFF_RUNNING != 0;
    Some(Change::Link { index, name: String::from_utf8_lossy(name).into_owned(), up, mac })
}

fn address(there: bool, body: &[u8]) -> Option<Change> {
    let [family, prefix, short_flags, ..] = *body else { return None };
    let index = u32_at(body, 4)?;
    let (mut own, mut flags) = (None, u32::from(short_flags));
    for (kind, value) in attributes(body.get(IFADDRMSG..)?) {
        match kind {
            // At the ends of a line to one peer, IFA_ADDRESS is the peer's.
            IFA_LOCAL => own = ip(family, value),
            IFA_ADDRESS if own.is_none() => own = ip(family, value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    let addr = own?;
    let of_one_link = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    let usable = there && flags & NOT_USABLE == 0 && !of_one_link;
    let longest = if addr.is_ipv4() { 32 } else { 128 };
    (prefix <= longest).then_some(Change::Address { index, addr: IpCidr { addr, prefix }, usable })
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(value).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        AF_INET6 => <[u8; 16]>::try_from(value).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// The attributes of a message: kind and value of each.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        // The highest bits say how the value is built, which is known.
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn packed(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    fn link_body(family: u8, flags: u32, name: &str) -> Vec<u8> {
        let mut body = vec![family, 0, 1, 0];
        body.extend(7_u32.to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        body.extend([0; 4]);
        body.extend(attribute(13, &[6]));
        body.extend(attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 7]));
        body.extend(attribute(IFLA_IFNAME, format!("{name}\0").as_bytes()));
        body
    }

    fn address_body(family: u8, prefix: u8, flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, prefix, flags, 0];
        body.extend(7_u32.to_ne_bytes());
        for (kind, value) in attributes {
            body.extend(attribute(*kind, value));
        }
        body
    }

    fn address_change(text: &str, usable: bool) -> Message {
        Message::Change(Change::Address { index: 7, addr: text.parse().unwrap(), usable })
    }

    #[test]
    fn links_and_addresses_are_read() {
        let all = [
            packed(RTM_NEWLINK, &link_body(0, 0x1043, "eth7")),
            packed(RTM_NEWLINK, &link_body(0, 0x1003, "eth7")),
            packed(RTM_NEWLINK, &link_body(7, 0x1003, "port")),
            packed(RTM_DELLINK, &link_body(0, 0, "eth7")),
            packed(RTM_NEWADDR, &address_body(2, 24, 0, &[(IFA_ADDRESS, &[10, 0, 0, 9]), (IFA_LOCAL, &[10, 0, 0, 1])])),
            packed(RTM_NEWADDR, &address_body(2, 24, 0, &[(IFA_LOCAL, &[10, 0, 0, 1]), (IFA_ADDRESS, &[10, 0, 0, 9])])),
            packed(RTM_DELADDR, &address_body(2, 24, 0, &[(IFA_LOCAL, &[10, 0, 0, 1])])),
            packed(NLMSG_DONE, &[0; 4]),
            packed(NLMSG_ERROR, &(-1_i32).to_ne_bytes()),
        ];
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 7]));
        let link = |up| Message::Change(Change::Link { index: 7, name: "eth7".to_owned(), up, mac });
        let expected = [
            link(true),
            link(false),
            Message::Change(Change::LinkGone { index: 7 }),
            address_change("10.0.0.1/24", true),
            address_change("10.0.0.1/24", true),
            address_change("10.0.0.1/24", false),
            Message::Done,
            Message::Error(1),
        ];
        assert_eq!(messages(&all.concat()), expected);
    }

    #[test]
    fn addresses_that_may_be_somebody_elses_are_not_usable() {
        let octets = "fd00::1".parse::<Ipv6Addr>().unwrap().octets();
        let local = "fe80::1".parse::<Ipv6Addr>().unwrap().octets();
        let one = |flags, attributes: &[(u16, &[u8])]| {
            messages(&packed(RTM_NEWADDR, &address_body(10, 64, flags, attributes)))
        };
        assert_eq!(one(0, &[(IFA_ADDRESS, &octets)]), [address_change("fd00::1/64", true)]);
        assert_eq!(one(0x40, &[(IFA_ADDRESS, &octets)]), [address_change("fd00::1/64", false)]);
        let long = 0x8_u32.to_ne_bytes();
        assert_eq!(one(0, &[(IFA_ADDRESS, &octets), (IFA_FLAGS, &long)]), [address_change("fd00::1/64", false)]);
        assert_eq!(one(0, &[(IFA_ADDRESS, &local)]), [address_change("fe80::1/64", false)]);
    }

    #[test]
    fn what_is_cut_off_or_wrong_is_left_out() {
        let whole = [
            packed(RTM_NEWADDR, &address_body(2, 24, 0, &[(IFA_LOCAL, &[10, 0, 0, 1])])),
            packed(RTM_NEWLINK, &link_body(0, 0x1043, "eth7")),
        ]
        .concat();
        for len in 0..whole.len() {
            assert!(messages(&whole[..len]).len() < 2);
        }
        let wrong = [(2, 33, &[10, 0, 0, 1][..]), (2, 24, &[10, 0, 0]), (99, 24, &[10, 0, 0, 1]), (10, 24, &[1; 4])];
        for (family, prefix, value) in wrong {
            assert!(messages(&packed(RTM_NEWADDR, &address_body(family, prefix, 0, &[(IFA_LOCAL, value)]))).is_empty());
        }
        assert!(messages(&[0; 64]).is_empty());
        assert_eq!(request(Kind::Link).len(), 32);
        assert_eq!(request(Kind::Address).len(), 24);
    }
}
