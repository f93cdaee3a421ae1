//! The commands of a queue that are outstanding, and the data that comes for them.

use std::collections::VecDeque;

use super::backend::StoreId;
use super::io::IoWork;
use crate::command::{AdminCommand, FabricsCommand, Fuse, Sqe, Status, StatusCode};
use crate::pdu::{H2cData, Payload, PduType, R2t, Violation};

/// R2Ts that may be outstanding for a command, whatever the host can have.
const MAX_R2TS: u32 = 8;
/// Entries of the longest queue that can be. With [`MAX_R2TS`] for each there are fewer transfers than tags.
pub(super) const MAX_ENTRIES: u32 = 4096;
/// Lists of pieces that are kept for the next commands.
const MAX_SPARE: usize = 64;

/// Index of a [`Slot`].
pub(super) type SlotId = u32;

/// The outstanding commands of a connection. A command has a slot from its arrival until its completion is handed to the transport, so a host that
/// takes no completions cannot have more than a queue full of them kept for it.
#[derive(Debug)]
pub(super) struct Queue {
    entries: u32,
    /// SQ head, if the host wants flow control.
    head: Option<u16>,
    slots: Vec<Slot>,
    free: Vec<SlotId>,
    /// Commands that stores work on; a fused operation is one.
    operations: usize,
    cids: CidSet,
    transfers: Vec<Transfer>,
    idle: Vec<u16>,
    spare: Vec<Payload>,
    /// Bytes of the commands that were asked for data, of which there may be so many.
    asked: u64,
    max_asked: u64,
    /// Commands that were not asked yet since there are so many.
    unasked: VecDeque<SlotId>,
    /// Bytes that the commands return which were begun, of which there may be so many.
    returned: u64,
    max_returned: u64,
    /// Commands that were not begun yet since there are so many.
    held: VecDeque<SlotId>,
}

/// A command.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) sqe: Sqe,
    pub(super) work: Work,
    pub(super) stage: Stage,
    /// The other half of a fused operation.
    pub(super) partner: Option<SlotId>,
    pub(super) inbound: Inbound,
    /// Bytes that it returns, if it was begun.
    outbound: u32,
    /// Data of the command, or for the host.
    pub(super) data: Payload,
    /// Bytes of `data` that were sent.
    pub(super) sent: u32,
    pub(super) status: Status,
    pub(super) result: u64,
}

/// What a command is for, as far as that could be seen when it came.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Io(IoWork),
    Admin(AdminCommand),
    Fabrics(FabricsCommand),
    /// It fails, once its data is out of the way.
    Fail(StatusCode),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No command.
    Free,
    /// Its data is coming.
    Receiving,
    /// It waits for the other half of a fused operation, is an Asynchronous Event Request, an Abort that has no verdict, or a Preempt and Abort that waits
    /// for what stores have begun for the hosts that it has shut out, of which its own may be one.
    Waiting,
    /// It is an operation that is to be handed to a store, or is to be begun once what others return has left.
    Queued,
    /// A store works on it.
    Executing,
    /// It is done; data or a completion is to be sent.
    Responding,
}

/// How much of a command's data has come.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    pub(super) length: u32,
    received: u32,
    /// Bytes that R2Ts asked for.
    requested: u32,
    /// R2Ts that are outstanding.
    outstanding: u32,
    /// Some data digest was wrong.
    pub(super) damaged: bool,
    /// What R2Ts have brought, by offset. They may be answered in any order.
    parts: Vec<(u32, Payload)>,
}

/// An R2T; its tag is its index.
#[derive(Debug)]
struct Transfer {
    slot: Option<SlotId>,
    begin: u32,
    /// Where the next data belongs.
    at: u32,
    end: u32,
    data: Payload,
}

impl Queue {
    /// A queue of so many entries, whose commands are asked for `max_asked` bytes at a time and return `max_returned`.
    pub(super) fn new(entries: u32, flow_control: bool, max_asked: u64, max_returned: u64) -> Self {
        Self {
            entries,
            head: flow_control.then_some(0),
            slots: Vec::new(),
            free: Vec::new(),
            operations: 0,
            cids: CidSet::default(),
            transfers: Vec::new(),
            idle: Vec::new(),
            spare: Vec::new(),
            asked: 0,
            max_asked,
            unasked: VecDeque::new(),
            returned: 0,
            max_returned,
            held: VecDeque::new(),
        }
    }

    /// Makes it the queue that Connect is for, of which Connect is the first command.
    pub(super) fn resize(&mut self, entries: u32, flow_control: bool) {
        self.entries = entries;
        self.head = flow_control.then_some(1);
    }

    /// A slot for a command that has come, and whether another command with its identifier is outstanding.
    pub(super) fn take(&mut self, sqe: Sqe, work: Work) -> Result<(SlotId, bool), Violation> {
        if self.slots.len() - self.free.len() >= self.entries as usize {
            return Err(Violation::QueueOverrun { entries: self.entries });
        }
        if let Some(head) = &mut self.head {
            *head = ((u32::from(*head) + 1) % self.entries) as u16;
        }
        let duplicate = !self.cids.insert(sqe.cid.get());
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::free());
            self.slots.len() as SlotId - 1
        });
        let spare = self.spare.pop().unwrap_or_default();
        let slot = &mut self.slots[id as usize];
        (slot.sqe, slot.work, slot.stage, slot.data) = (sqe, work, Stage::Receiving, spare);
        Ok((id, duplicate))
    }

    pub(super) fn slot(&mut self, id: SlotId) -> &mut Slot {
        &mut self.slots[id as usize]
    }

    /// A store begins with a command, and with the other half if it is the first one of a fused operation.
    pub(super) fn begin_operation(&mut self, id: SlotId) {
        self.operations += 1;
        let slot = &mut self.slots[id as usize];
        slot.stage = Stage::Executing;
        if let Some(second) = slot.partner {
            self.slots[second as usize].stage = Stage::Executing;
        }
    }

    /// A store has done what was begun with this command. Returns the command, if it is one that a store worked on.
    pub(super) fn end_operation(&mut self, id: SlotId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id as usize).filter(|slot| slot.is_operation())?;
        slot.stage = Stage::Responding;
        self.operations -= 1;
        Some(slot)
    }

    /// The commands of which this holds.
    pub(super) fn find_all(&self, is_it: impl Fn(SlotId, &Slot) -> bool) -> Vec<SlotId> {
        (0..).zip(&self.slots).filter(|(id, slot)| is_it(*id, slot)).map(|(id, _)| id).collect()
    }

    /// Whether stores work on any of the commands.
    pub(super) fn has_operations(&self) -> bool {
        debug_assert_eq!(self.operations, self.slots.iter().filter(|slot| slot.is_operation()).count());
        self.operations > 0
    }

    /// The command is complete, and everything of it was sent.
    pub(super) fn release(&mut self, id: SlotId) {
        let slot = &mut self.slots[id as usize];
        let cid = slot.sqe.cid.get();
        if slot.inbound.requested > 0 {
            self.asked -= u64::from(slot.inbound.length);
        }
        self.returned -= u64::from(std::mem::take(&mut slot.outbound));
        slot.stage = Stage::Free;
        (slot.partner, slot.sent, slot.result, slot.status) = (None, 0, 0, Status::SUCCESS);
        let data = std::mem::take(&mut slot.data);
        let mut parts = std::mem::take(&mut slot.inbound.parts);
        parts.clear();
        slot.inbound = Inbound { parts, ..Inbound::default() };
        self.recycle(data);
        self.free.push(id);
        // With two commands of one identifier the other one keeps it for now, which does no harm: the host is told.
        self.cids.remove(cid);
    }

    /// Nothing is received, begun or sent any more. What stores work on they have already.
    pub(super) fn drop_data(&mut self) {
        (self.transfers, self.idle, self.spare, self.unasked) = Default::default();
        for slot in &mut self.slots {
            (slot.data, slot.inbound) = Default::default();
        }
    }

    /// Keeps the memory of a list for the next command.
    pub(super) fn recycle(&mut self, mut data: Payload) {
        if data.has_memory() && self.spare.len() < MAX_SPARE {
            data.clear();
            self.spare.push(data);
        }
    }

    /// An empty list.
    pub(super) fn spare(&mut self) -> Payload {
        self.spare.pop().unwrap_or_default()
    }

    /// Where the host's queue was emptied up to; 0 without flow control, when it has no meaning.
    pub(super) fn head(&self) -> u16 {
        self.head.unwrap_or(0)
    }

    pub(super) fn has_flow_control(&self) -> bool {
        self.head.is_some()
    }

    /// The command with this identifier, if it is one that [has not begun](Slot::is_unbegun) and may be aborted: an authentication goes its way.
    pub(super) fn find_unbegun(&self, cid: u16) -> Option<SlotId> {
        let is_it =
            |slot: &Slot| slot.is_unbegun() && slot.sqe.cid.get() == cid && !matches!(slot.work, Work::Fabrics(_));
        self.slots.iter().position(is_it).map(|index| index as SlotId)
    }

    /// Commands that are outstanding.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A piece of data in the command's capsule.
    pub(super) fn push_in_capsule(&mut self, id: SlotId, piece: bytes::Bytes) {
        self.slots[id as usize].data.push(piece);
    }

    /// Whether a command may be asked for its data, all of it. If not, it will be among those that [`next_unasked`](Self::next_unasked) returns.
    pub(super) fn may_ask(&mut self, id: SlotId) -> bool {
        let length = u64::from(self.slots[id as usize].inbound.length);
        let may = self.unasked.is_empty() && self.has_room_for(length);
        match may {
            true => self.asked += length,
            false => self.unasked.push_back(id),
        }
        may
    }

    /// A command that had to wait and may be asked for its data now.
    pub(super) fn next_unasked(&mut self) -> Option<SlotId> {
        let id = *self.unasked.front()?;
        let length = u64::from(self.slots[id as usize].inbound.length);
        if !self.has_room_for(length) {
            return None;
        }
        self.asked += length;
        self.unasked.pop_front()
    }

    /// Has a command not be asked for its data, if it is one that waits for that; whether it was.
    pub(super) fn withdraw(&mut self, id: SlotId) -> bool {
        let place = self.unasked.iter().position(|waiting| *waiting == id);
        place.and_then(|place| self.unasked.remove(place)).is_some()
    }

    /// Has a command that was asked for its data not be asked for the rest: it has come when that is here which is on its way.
    pub(super) fn stop_asking(&mut self, id: SlotId) {
        let inbound = &mut self.slots[id as usize].inbound;
        self.asked -= u64::from(inbound.length - inbound.requested);
        inbound.length = inbound.requested;
    }

    fn has_room_for(&self, length: u64) -> bool {
        self.asked == 0 || self.asked + length <= self.max_asked
    }

    /// Whether a command may be begun, as for what it returns. If not, it will be among those that [`next_held`](Self::next_held) returns. One that
    /// returns nothing waits for none that does.
    pub(super) fn may_begin(&mut self, id: SlotId) -> bool {
        let length = self.slots[id as usize].returns();
        let may = length == 0 || (self.held.is_empty() && self.may_return(length));
        if may {
            self.count_returned(id, length);
        } else {
            self.slots[id as usize].stage = Stage::Queued;
            self.held.push_back(id);
        }
        may
    }

    /// A command that had to wait and may be begun now.
    pub(super) fn next_held(&mut self) -> Option<SlotId> {
        let id = *self.held.front()?;
        let length = self.slots[id as usize].returns();
        if !self.may_return(length) {
            return None;
        }
        self.count_returned(id, length);
        self.held.pop_front()
    }

    /// Has none of the commands begin that wait for others, if they are such.
    pub(super) fn drop_held(&mut self, is_such: impl Fn(SlotId, &Slot) -> bool) {
        let slots = &self.slots;
        self.held.retain(|id| !is_such(*id, &slots[*id as usize]));
    }

    fn may_return(&self, length: u32) -> bool {
        self.returned == 0 || self.returned + u64::from(length) <= self.max_returned
    }

    fn count_returned(&mut self, id: SlotId, length: u32) {
        self.returned += u64::from(length);
        self.slots[id as usize].outbound = length;
    }

    /// The next R2T for a command, as long as the host can have more and there is more to ask for.
    pub(super) fn next_r2t(&mut self, id: SlotId, max_outstanding: u32, max_length: u32) -> Option<R2t> {
        let slot = &mut self.slots[id as usize];
        let inbound = &mut slot.inbound;
        if inbound.outstanding >= max_outstanding.min(MAX_R2TS) || inbound.requested == inbound.length {
            return None;
        }
        let offset = inbound.requested;
        let length = max_length.min(inbound.length - offset);
        inbound.requested += length;
        inbound.outstanding += 1;
        let transfer = Transfer {
            slot: Some(id),
            begin: offset,
            at: offset,
            end: offset + length,
            data: self.spare.pop().unwrap_or_default(),
        };
        let ttag = match self.idle.pop() {
            Some(ttag) => {
                self.transfers[usize::from(ttag)] = transfer;
                ttag
            }
            None => {
                self.transfers.push(transfer);
                (self.transfers.len() - 1) as u16
            }
        };
        Some(R2t { cccid: slot.sqe.cid.get(), ttag, offset, length })
    }

    /// Checks a header of data that R2Ts asked for.
    pub(super) fn check_data(&self, header: &H2cData) -> Result<(), Violation> {
        let H2cData { cccid, ttag, offset, length, last } = *header;
        let pdu = PduType::H2cData;
        let transfer = self.transfers.get(usize::from(ttag)).ok_or(Violation::UnknownTransferTag(ttag))?;
        let slot = transfer.slot.ok_or(Violation::IdleTransferTag(ttag))?;
        if self.slots[slot as usize].sqe.cid.get() != cccid {
            return Err(Violation::CommandMismatch { ttag, cccid });
        }
        if offset != transfer.at {
            return Err(Violation::DataOrder { pdu, offset, expected: transfer.at });
        }
        if length > transfer.end - offset {
            return Err(Violation::DataRange { pdu, offset, length, limit: transfer.end });
        }
        if last != (offset + length == transfer.end) {
            return Err(Violation::LastFlag { pdu, offset, length });
        }
        Ok(())
    }

    /// A piece of data that an R2T asked for.
    pub(super) fn push_transferred(&mut self, ttag: u16, piece: bytes::Bytes) {
        let transfer = &mut self.transfers[usize::from(ttag)];
        transfer.at += piece.len() as u32;
        transfer.data.push(piece);
    }

    /// The data of a PDU has come. Returns the command, if the R2T is served.
    pub(super) fn end_transferred(&mut self, ttag: u16, intact: bool) -> Option<SlotId> {
        let transfer = &mut self.transfers[usize::from(ttag)];
        let id = transfer.slot?;
        let inbound = &mut self.slots[id as usize].inbound;
        inbound.damaged |= !intact;
        if transfer.at < transfer.end {
            return None;
        }
        inbound.outstanding -= 1;
        inbound.received += transfer.end - transfer.begin;
        inbound.parts.push((transfer.begin, std::mem::take(&mut transfer.data)));
        transfer.slot = None;
        self.idle.push(ttag);
        Some(id)
    }

    /// Puts the data together once all R2Ts are served.
    pub(super) fn is_complete(&mut self, id: SlotId) -> bool {
        let slot = &mut self.slots[id as usize];
        if slot.inbound.received < slot.inbound.length {
            return false;
        }
        let mut parts = std::mem::take(&mut slot.inbound.parts);
        parts.sort_unstable_by_key(|(offset, _)| *offset);
        for (index, (_, mut part)) in parts.drain(..).enumerate() {
            let slot = &mut self.slots[id as usize];
            if index == 0 {
                std::mem::swap(&mut slot.data, &mut part);
            } else {
                part.as_bytes().iter().for_each(|piece| slot.data.push(piece.clone()));
            }
            self.recycle(part);
        }
        self.slots[id as usize].inbound.parts = parts;
        true
    }
}

impl Slot {
    /// Whether it is a command for the namespace with this store.
    pub(super) fn is_for(&self, store: StoreId) -> bool {
        matches!(&self.work, Work::Io(work) if work.store() == store)
    }

    /// Whether nothing was done about it yet, unless it is one that waits for what was done about others.
    pub(super) fn is_unbegun(&self) -> bool {
        matches!(self.stage, Stage::Receiving | Stage::Waiting | Stage::Queued)
    }

    /// Bytes of data that it returns at most.
    fn returns(&self) -> u32 {
        match &self.work {
            Work::Io(work) => work.returns(),
            Work::Admin(AdminCommand::Identify(_) | AdminCommand::GetLogPage(_) | AdminCommand::GetFeatures { .. }) => {
                self.sqe.sgl.length.get()
            }
            // A message of an authentication is short.
            Work::Admin(_) | Work::Fabrics(_) | Work::Fail(_) => 0,
        }
    }

    /// Whether a store works on it; of a fused operation, the first half has its name.
    pub(super) fn is_operation(&self) -> bool {
        self.stage == Stage::Executing && !matches!(&self.work, Work::Io(work) if work.fuse == Fuse::Second)
    }

    fn free() -> Self {
        Self {
            sqe: Sqe::new(0, 0),
            work: Work::Fail(StatusCode::InternalError),
            stage: Stage::Free,
            partner: None,
            inbound: Inbound::default(),
            outbound: 0,
            data: Payload::new(),
            sent: 0,
            status: Status::SUCCESS,
            result: 0,
        }
    }
}

/// Which command identifiers are in use. They are opaque: hosts use any 16 bits.
#[derive(Debug, Default)]
struct CidSet {
    /// A bit for each; allocated with the first command.
    bits: Vec<u64>,
}

impl CidSet {
    /// False if it was in use already.
    fn insert(&mut self, cid: u16) -> bool {
        if self.bits.is_empty() {
            self.bits.resize(65_536 / 64, 0);
        }
        let (word, bit) = (&mut self.bits[usize::from(cid) / 64], 1 << (cid % 64));
        let free = *word & bit == 0;
        *word |= bit;
        free
    }

    fn remove(&mut self, cid: u16) {
        if let Some(word) = self.bits.get_mut(usize::from(cid) / 64) {
            *word &= !(1 << (cid % 64));
        }
    }
}
