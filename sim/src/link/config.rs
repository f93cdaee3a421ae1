//! Everything that one direction of a link can be told.

use super::LinkError;
use super::burst::LossUnit;
use super::chance::Chance;
use super::delay::DelayModel;
use super::loss::LossModel;
use super::queue::QueueConfig;
use super::rate::RateModel;
use super::serializer::Framing;

/// Smallest MTU of IPv4 (RFC 791 section 3.2).
const MIN_MTU: usize = 68;

/// One direction of a link. The default has no rate, no delay and no impairments.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PipeConfig {
    /// How queue, rate and delay are put together.
    pub composition: Composition,
    /// How fast packets are sent; without a rate they take no time, and the queue stays empty.
    pub rate: Option<RateModel>,
    /// What the link adds to each packet when it is sent.
    pub framing: Framing,
    /// How long packets travel.
    pub delay: DelayModel,
    /// Which packets are lost. They are lost before they reach the queue, as in netem, so they take none of the rate.
    pub loss: Vec<LossModel>,
    /// What is lost as a whole.
    pub loss_unit: LossUnit,
    /// Marks packets of ECN-capable transports that `loss` would take, instead of losing them.
    pub loss_ecn: bool,
    /// Which packets arrive twice. As in netem, the copy goes first, and is subject to all else on its own.
    pub duplicate: Chance,
    /// In which packets a bit is flipped, anywhere behind the Ethernet header; the checksums stay as they were. A
    /// super-segment or a frame whose checksum is yet to be made is dropped instead, since a checksum that is made
    /// later would hide the damage.
    pub corrupt: Chance,
    /// Which packets overtake those that travel.
    pub reorder: Reorder,
    /// Longest IP packet in bytes; longer ones are dropped.
    pub mtu: Option<usize>,
    /// Where packets wait for the transmitter.
    pub queue: QueueConfig,
}

/// How queue, rate and delay are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Composition {
    /// Packets wait in the queue, are sent one after the other, and then travel. So the queue holds only what waits.
    #[default]
    Wire,
    /// netem's single stage: when a packet is offered, it is decided when it leaves: at the later of now plus delay and
    /// the time of the packet before, plus its transmission time. All packets that have not left count for the
    /// limit, those that merely travel too. The queue must be a drop-tail queue.
    Netem,
}

/// netem's `reorder P [CORR] [gap N]`: packets that overtake the others by not travelling at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// How often it happens to a packet that may.
    pub chance: Chance,
    /// Every packet may if 1; otherwise so many less one are always delayed before one may.
    pub gap: u32,
}

impl Default for Reorder {
    fn default() -> Self {
        Self { chance: Chance::default(), gap: 1 }
    }
}

impl PipeConfig {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), LinkError> {
        self.framing.validate()?;
        self.delay.validate()?;
        self.loss_unit.validate()?;
        self.queue.validate()?;
        if self.reorder.gap == 0 {
            return Err(LinkError::ReorderGap);
        }
        if let Some(mtu) = self.mtu.filter(|mtu| *mtu < MIN_MTU) {
            return Err(LinkError::Mtu(mtu));
        }
        if self.composition == Composition::Netem && !matches!(self.queue, QueueConfig::DropTail(_)) {
            return Err(LinkError::NetemQueue);
        }
        Ok(())
    }

    /// The configuration after a change; [`Change::Down`] and the like leave it alone.
    pub(super) fn changed(&self, change: &Change) -> Self {
        let mut new = self.clone();
        match change.clone() {
            Change::Up | Change::Down | Change::Blackhole => {}
            Change::Rate(rate) => new.rate = rate,
            Change::Framing(framing) => new.framing = framing,
            Change::Delay(delay) => new.delay = delay,
            Change::Loss(loss) => new.loss = loss,
            Change::LossUnit(unit) => new.loss_unit = unit,
            Change::LossEcn(ecn) => new.loss_ecn = ecn,
            Change::Duplicate(chance) => new.duplicate = chance,
            Change::Corrupt(chance) => new.corrupt = chance,
            Change::Reorder(reorder) => new.reorder = reorder,
            Change::Mtu(mtu) => new.mtu = mtu,
            Change::Queue(queue) => new.queue = queue,
        }
        new
    }
}

/// Whether a link forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LinkState {
    /// It does.
    #[default]
    Up,
    /// The cable is cut: nothing passes, and the host can know it.
    Down,
    /// It takes packets and forwards none, and nobody is told.
    Blackhole,
}

/// Something that happens to a link at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It forwards again, empty if it was down.
    Up,
    /// It goes down: what waits and what travels is lost, and so is all that is offered.
    Down,
    /// From now on what is offered is lost; what waits and travels still arrives.
    Blackhole,
    /// Another rate; steps and traces count from now. What is being sent goes on at the new rate.
    Rate(Option<RateModel>),
    /// Another framing of packets that are yet to be sent.
    Framing(Framing),
    /// Another delay for packets that have not begun to travel; traces count from now.
    Delay(DelayModel),
    /// Other losses, whose models begin anew.
    Loss(Vec<LossModel>),
    /// Another unit of loss.
    LossUnit(LossUnit),
    /// Whether marks replace losses.
    LossEcn(bool),
    /// Another chance of duplication.
    Duplicate(Chance),
    /// Another chance of damage.
    Corrupt(Chance),
    /// Other reordering.
    Reorder(Reorder),
    /// Another MTU for packets that are yet to be offered.
    Mtu(Option<usize>),
    /// Another queue. What waits moves to it, and is dropped if it does not fit.
    Queue(QueueConfig),
}
