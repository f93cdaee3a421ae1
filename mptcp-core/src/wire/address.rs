//! ADD_ADDR and REMOVE_ADDR (RFC 8684 section 3.4, Figures 12 and 13).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::OptionView;
use super::emit::Writer;
use super::room::{self, Family};

/// Identifies an address of one host within a connection; the first subflow's has 0 (section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddrId(pub u8);

/// ADD_ADDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddAddr {
    /// Identifies the address from now on.
    pub addr_id: AddrId,
    /// The address.
    pub addr: IpAddr,
    /// The port; `None` means that of the subflow on which the option came.
    pub port: Option<u16>,
    /// What the option is for.
    pub kind: AddAddrKind,
}

/// What an ADD_ADDR is for: the `E` flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddAddrKind {
    /// The sender can be reached there.
    Announce {
        /// Rightmost 64 bits of the sender's HMAC, see [`add_addr_hmac`](crate::add_addr_hmac).
        hmac: [u8; 8],
    },
    /// The sender has received the announcement.
    Echo,
}

impl AddAddr {
    pub(super) fn read(view: OptionView<'_>) -> Self {
        let [id] = view.field(3);
        let (family, port) = view.add_addr_form();
        let addr = match family {
            Family::V4 => Ipv4Addr::from(view.field::<4>(4)).into(),
            Family::V6 => Ipv6Addr::from(view.field::<16>(4)).into(),
        };
        let after = 4 + family as usize;
        let hmac = if port { after + 2 } else { after };
        Self {
            addr_id: AddrId(id),
            addr,
            port: port.then(|| u16::from_be_bytes(view.field(after))),
            kind: if view.lowest_flag() { AddAddrKind::Echo } else { AddAddrKind::Announce { hmac: view.field(hmac) } },
        }
    }

    pub(super) fn len(&self) -> usize {
        let family = if self.addr.is_ipv4() { Family::V4 } else { Family::V6 };
        room::add_addr_len(family, self.port.is_some(), self.kind == AddAddrKind::Echo)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(&[self.addr_id.0]);
        match self.addr {
            IpAddr::V4(addr) => writer.put(&addr.octets()),
            IpAddr::V6(addr) => writer.put(&addr.octets()),
        }
        if let Some(port) = self.port {
            writer.put(&port.to_be_bytes());
        }
        if let AddAddrKind::Announce { hmac } = &self.kind {
            writer.put(hmac);
        }
    }
}

/// REMOVE_ADDR: from 1 to [`room::MAX_REMOVED`] address ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RemoveAddr {
    /// Zero past `count`, so that equal lists are equal values.
    ids: [AddrId; room::MAX_REMOVED],
    count: u8,
}

impl RemoveAddr {
    /// Lists these ids; `None` if there are none, or too many for one option.
    pub fn new(ids: &[AddrId]) -> Option<Self> {
        let mut list = [AddrId(0); room::MAX_REMOVED];
        list.get_mut(..ids.len())?.copy_from_slice(ids);
        let count = u8::try_from(ids.len()).ok().filter(|&count| count > 0)?;
        Some(Self { ids: list, count })
    }

    /// The ids, at least one, in the order of the option.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AddrId> + '_ {
        self.listed().iter().copied()
    }

    pub(super) fn read(view: OptionView<'_>) -> Self {
        let listed = &view.bytes()[room::remove_addr_len(0)..];
        let mut list = Self { ids: [AddrId(0); room::MAX_REMOVED], count: 0 };
        for (id, &octet) in list.ids.iter_mut().zip(listed) {
            *id = AddrId(octet);
            list.count += 1;
        }
        list
    }

    pub(super) fn len(&self) -> usize {
        room::remove_addr_len(usize::from(self.count))
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        for id in self.iter() {
            writer.put(&[id.0]);
        }
    }

    fn listed(&self) -> &[AddrId] {
        &self.ids[..usize::from(self.count)]
    }
}

impl fmt::Debug for RemoveAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoveAddr").field(&self.listed()).finish()
    }
}
