//! What the hosts have sent, for tests of what is on the wire.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use mptcp_core::Key;
use mptcp_core::wire::{self, Dss, DssMapping, MpCapable, MptcpOption, ResetReason, WireSeq};
use tcp_adapter::conformance::packet::{Packet, RST};

use super::world::World;

/// A segment as its sender gave it to the link, before any middlebox and whether it arrived or not.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) link: usize,
    pub(crate) host: usize,
    pub(crate) packet: Packet,
}

impl Sent {
    pub(crate) fn options(&self) -> Vec<MptcpOption> {
        wire::options(&self.packet.options).map(|option| option.expect("a stack sends well-formed options")).collect()
    }

    pub(crate) fn dss(&self) -> Option<Dss> {
        self.options().into_iter().find_map(|option| match option {
            MptcpOption::Dss(dss) => Some(dss),
            _ => None,
        })
    }

    pub(crate) fn mapping(&self) -> Option<DssMapping> {
        self.dss()?.mapping
    }

    pub(crate) fn data_ack(&self) -> Option<u64> {
        match self.dss()?.data_ack? {
            WireSeq::Long(seq) => Some(seq),
            WireSeq::Short(_) => panic!("a stack sends whole numbers"),
        }
    }

    pub(crate) fn capable(&self) -> Option<MpCapable> {
        self.options().into_iter().find_map(|option| match option {
            MptcpOption::Capable(capable) => Some(capable),
            _ => None,
        })
    }

    /// The reason that a reset gives.
    pub(crate) fn reset_reason(&self) -> Option<ResetReason> {
        self.options().into_iter().find_map(|option| match option {
            MptcpOption::Tcprst(reset) if self.packet.has(RST) => Some(reset.reason),
            _ => None,
        })
    }
}

/// The whole data sequence number of a mapping.
pub(crate) fn dsn(mapping: &DssMapping) -> u64 {
    match mapping.dsn {
        WireSeq::Long(seq) => seq,
        WireSeq::Short(_) => panic!("a stack sends whole numbers"),
    }
}

/// Every segment sent since the log was begun.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    sent: Rc<RefCell<Vec<Sent>>>,
}

impl Log {
    /// Begins to watch all links, in front of their middleboxes.
    pub(crate) fn watch(world: &mut World) -> Self {
        let log = Self::default();
        for (link, middlebox) in world.middleboxes.iter_mut().enumerate() {
            let mut behind = middlebox.take();
            let log = log.clone();
            *middlebox = Some(Box::new(move |host, frame| {
                if let Some(packet) = Packet::parse(&frame) {
                    log.sent.borrow_mut().push(Sent { link, host, packet });
                }
                match &mut behind {
                    Some(behind) => behind(host, frame),
                    None => vec![frame],
                }
            }));
        }
        log
    }

    pub(crate) fn all(&self) -> Ref<'_, Vec<Sent>> {
        self.sent.borrow()
    }

    pub(crate) fn clear(&self) {
        self.sent.borrow_mut().clear();
    }

    /// What a host has sent.
    pub(crate) fn of(&self, host: usize) -> Vec<Sent> {
        self.all().iter().filter(|sent| sent.host == host).cloned().collect()
    }

    /// What a host has sent over a link.
    pub(crate) fn on(&self, link: usize, host: usize) -> Vec<Sent> {
        self.all().iter().filter(|sent| (sent.link, sent.host) == (link, host)).cloned().collect()
    }

    /// The resets that a host has sent over a link, with the reasons that they give.
    pub(crate) fn resets(&self, link: usize, host: usize) -> Vec<Option<ResetReason>> {
        self.on(link, host).iter().filter(|sent| sent.packet.has(RST)).map(Sent::reset_reason).collect()
    }

    /// The keys of both hosts, as the client has told them.
    pub(crate) fn keys(&self) -> [Key; 2] {
        let keys = self.of(0).iter().find_map(|sent| match sent.capable()? {
            MpCapable::Ack { sender_key, receiver_key, .. } | MpCapable::AckData { sender_key, receiver_key, .. } => {
                Some([sender_key, receiver_key])
            }
            MpCapable::Syn { .. } | MpCapable::SynAck { .. } => None,
        });
        keys.expect("a handshake was watched")
    }
}
