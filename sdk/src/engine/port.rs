//! The interfaces of an engine, and the devices that move their frames.

use std::collections::VecDeque;
use std::io;

use tcp_adapter::device::{Capture, Device, DeviceStats};
use tcp_adapter::native::Coalescer;
use tcp_adapter::{Frame, InterfaceId, Offload, TcpStack};

use super::{Engine, unix_time};
use crate::follow::Follower;
use crate::interface::Opened;
use crate::readiness::Readiness;
use crate::{InterfaceSpec, StartError};

/// An interface.
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) follower: Follower,
    pub(super) device: Box<dyn Device>,
    /// Joins received segments, for a stack that takes super-segments.
    pub(super) coalescer: Option<Coalescer>,
    /// Frames that the device has had no room for yet.
    pub(super) outgoing: VecDeque<Frame>,
    /// The device's last words. It is left alone since.
    pub(super) failed: Option<io::Error>,
    pub(super) overflowed: u64,
}

/// Frames that wait for a device at most. More would only arrive too late to be of use.
const MAX_OUTGOING: usize = 4096;

impl Engine {
    /// Opens one more interface. Connections look for new paths over it.
    ///
    /// # Errors
    /// A wrong setting, or a device that cannot be opened.
    pub fn add_interface(&mut self, spec: InterfaceSpec) -> Result<InterfaceId, StartError> {
        let key = format!("interfaces[{}]", self.ports.len());
        spec.validate(&key)?;
        let taken = spec.addrs.iter().find(|own| self.own_addrs().any(|addr| addr == own.addr));
        if let Some(own) = taken {
            return Err(StartError::invalid(format!("{key}.addrs"), own.addr, "addresses that no other interface has"));
        }
        let interface = self.open_interface(spec, &key)?;
        self.watch_network();
        self.follow_all(self.now());
        Ok(interface)
    }

    pub(super) fn open_interface(&mut self, spec: InterfaceSpec, key: &str) -> Result<InterfaceId, StartError> {
        let may_leave = spec.device.is_tap();
        let Opened { device, name, kernel_name, config, endpoints, addresses } = spec.open(key)?;
        let device = self.captured(device, &name);
        match device.readiness() {
            Some(fd) => self.readiness.watch(fd)?,
            None => self.poll_interval = Some(self.poll_interval_unwatched),
        }
        let capabilities = device.capabilities();
        let interface = self.stack.add_interface(config);
        self.stack.set_offload(
            interface,
            Offload { checksum: capabilities.checksum_offload, segmentation: capabilities.segmentation_offload },
        );
        if let Some(name) = &kernel_name {
            self.stack.set_interface_node(interface, numa_node(name));
        }
        let follower = Follower::new(kernel_name, may_leave, addresses);
        let coalescer = self.stack.tcp().capabilities().segmentation_offload.then(Coalescer::new);
        self.ports.push(Port {
            name,
            follower,
            device,
            coalescer,
            outgoing: VecDeque::new(),
            failed: None,
            overflowed: 0,
        });
        for endpoint in endpoints {
            self.stack.add_endpoint(endpoint)?;
        }
        Ok(interface)
    }

    fn captured(&self, device: Box<dyn Device>, name: &str) -> Box<dyn Device> {
        match &self.capture {
            Some(file) => Box::new(Capture::new(device, file, name, Box::new(unix_time))),
            None => device,
        }
    }

    /// Opens the device of an interface that works no longer anew: the kernel has made it again.
    pub(crate) fn reopen(&mut self, interface: InterfaceId) {
        let port = &self.ports[interface.0];
        let Some(name) = port.follower.name.clone().filter(|_| port.failed.is_some()) else { return };
        let device = match crate::interface::reopen(&name, port.device.capabilities()) {
            Ok(device) => self.captured(device, &name),
            Err(error) => return tracing::debug!(interface = name, %error, "the interface cannot be opened again"),
        };
        if let Some(fd) = device.readiness()
            && let Err(error) = self.readiness.watch(fd)
        {
            return tracing::warn!(interface = name, %error, "the interface cannot be watched");
        }
        let port = &mut self.ports[interface.0];
        (port.device, port.failed) = (device, None);
    }

    /// The interface of this name.
    pub fn interface_by_name(&self, name: &str) -> Option<InterfaceId> {
        self.ports.iter().position(|port| port.name == name).map(InterfaceId)
    }

    /// Name of an interface, and what its device has counted.
    pub fn interface(&self, InterfaceId(index): InterfaceId) -> Option<(&str, DeviceStats)> {
        let port = self.ports.get(index)?;
        let mut stats = port.device.stats();
        stats.tx_dropped += port.overflowed;
        Some((&port.name, stats))
    }

    /// Frames that wait for a device with room for them. A process that leaves before they are sent lets its peers wait
    /// for an answer that was on its way.
    pub fn unsent_frames(&self) -> usize {
        self.ports.iter().map(|port| port.outgoing.len()).sum()
    }

    /// Why an interface works no longer; `None` as long as it does.
    pub fn interface_error(&self, InterfaceId(index): InterfaceId) -> Option<&io::Error> {
        self.ports.get(index)?.failed.as_ref()
    }
}

impl Port {
    pub(crate) fn works(&self) -> bool {
        self.failed.is_none()
    }

    pub(super) fn queue(&mut self, frame: Frame) {
        if self.failed.is_some() || self.outgoing.len() >= MAX_OUTGOING {
            self.overflowed += 1;
        } else {
            self.outgoing.push_back(frame);
        }
    }

    pub(super) fn flush(&mut self, readiness: &Readiness) -> usize {
        if self.outgoing.is_empty() || self.failed.is_some() {
            return 0;
        }
        match self.device.transmit(&mut self.outgoing) {
            Ok(count) => count,
            Err(error) => {
                self.fail(error, readiness);
                0
            }
        }
    }

    /// Bytes that wait for the device.
    pub(super) fn backlog(&self) -> u64 {
        self.outgoing.iter().map(|frame| frame.len() as u64).sum()
    }

    /// The device is gone: the path is silent from now on, which the stack copes with as with any dead path.
    pub(super) fn fail(&mut self, error: io::Error, readiness: &Readiness) {
        tracing::warn!(interface = self.name, %error, "the interface works no longer");
        if let Some(fd) = self.device.readiness() {
            readiness.forget(fd);
        }
        self.outgoing.clear();
        self.failed = Some(error);
    }
}

/// The NUMA node that the device of one of the kernel's interfaces is attached to, if there is more than one.
fn numa_node(name: &str) -> Option<u32> {
    // -1 where it does not matter.
    std::fs::read_to_string(format!("/sys/class/net/{name}/device/numa_node")).ok()?.trim().parse().ok()
}
