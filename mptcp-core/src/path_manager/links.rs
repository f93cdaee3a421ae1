//! The interfaces, and whether their links work.

use std::net::IpAddr;

use tcp_adapter::{InterfaceConfig, InterfaceId};

/// An interface as the path manager sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Addresses and routes.
    pub config: InterfaceConfig,
    /// Its link works, for all that is known: nobody has said otherwise.
    pub up: bool,
    /// The NUMA node that its device is attached to, if somebody has said so.
    pub node: Option<u32>,
}

/// The interfaces of a stack, by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    list: Vec<Link>,
}

impl Links {
    /// Takes the interfaces as they are now; what is known of their links stays.
    pub(crate) fn refresh(&mut self, configs: &[InterfaceConfig]) {
        for (index, config) in configs.iter().enumerate() {
            match self.list.get_mut(index) {
                Some(link) => link.config = config.clone(),
                None => self.list.push(Link { config: config.clone(), up: true, node: None }),
            }
        }
    }

    pub(crate) fn as_slice(&self) -> &[Link] {
        &self.list
    }

    pub(crate) fn get(&self, interface: InterfaceId) -> Option<&Link> {
        self.list.get(interface.0)
    }

    pub(crate) fn get_mut(&mut self, interface: InterfaceId) -> Option<&mut Link> {
        self.list.get_mut(interface.0)
    }

    /// Whether some interface has an address, whether its link works or not.
    pub(crate) fn has(&self, addr: IpAddr) -> bool {
        self.list.iter().any(|link| link.has(addr))
    }

    /// The interface by which a subflow from `local` reaches `remote` now: the first one that can, or `bound` if it can.
    pub(crate) fn carrier(&self, local: IpAddr, remote: IpAddr, bound: Option<InterfaceId>) -> Option<InterfaceId> {
        let mut working =
            self.list.iter().enumerate().filter(|(_, link)| link.up && link.config.reaches(local, remote));
        let found = working.find(|(index, _)| bound.is_none_or(|bound| bound.0 == *index));
        found.map(|(index, _)| InterfaceId(index))
    }
}

impl Link {
    /// Whether the interface has this address.
    pub fn has(&self, addr: IpAddr) -> bool {
        self.config.addrs.iter().any(|own| own.addr == addr)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::interfaces;
    use super::*;

    #[test]
    fn only_links_that_work_carry_anything() {
        let mut configs = interfaces(2);
        configs[1].addrs.push("10.0.1.2/32".parse().unwrap());
        let mut links = Links::default();
        links.refresh(&configs);
        let [first, second, remote]: [IpAddr; 3] = ["10.0.1.2", "10.0.2.2", "192.0.2.1"].map(|a| a.parse().unwrap());
        let carrier = |links: &Links, local, bound: Option<usize>| {
            links.carrier(local, remote, bound.map(InterfaceId)).map(|interface| interface.0)
        };
        assert_eq!(carrier(&links, first, None), Some(0));
        assert_eq!(carrier(&links, first, Some(1)), Some(1));
        assert_eq!(carrier(&links, second, Some(0)), None);
        links.get_mut(InterfaceId(0)).unwrap().up = false;
        assert_eq!((carrier(&links, first, None), carrier(&links, first, Some(0))), (Some(1), None));
        links.get_mut(InterfaceId(1)).unwrap().up = false;
        links.refresh(&configs);
        assert!(links.has(second) && carrier(&links, second, None).is_none());
    }
}
