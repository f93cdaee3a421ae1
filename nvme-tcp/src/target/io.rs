//! I/O commands: checked against their namespace when they come, made into operations once their data is there.

use std::sync::{Arc, Weak};

use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::association::Association;
use super::backend::{Extent, Operation, StoreId};
use super::fence::Fence;
use super::queue::SlotId;
use super::reservations::{Access, HostId};
use super::subsystem::{Attached, View};
use crate::command::{
    AcquireAction, AcquireKeys, AnaState, BlockRange, CopyRange, DatasetRange, Fuse, IoCommand, RegisterKeys, Sqe,
    StatusCode,
};
use crate::pdu::Payload;

/// Blocks that Compare and Write takes: ACWU.
pub(super) const MAX_FUSED_BLOCKS: u32 = 256;
/// Ranges per Copy: MSRC.
pub(super) const MAX_COPY_RANGES: u16 = 128;
/// Namespace of commands that are for all of them.
const ALL_NAMESPACES: u32 = 0xffff_ffff;

/// An I/O queue that is connected.
#[derive(Debug)]
pub(super) struct IoQueue {
    pub(super) association: Arc<Association>,
    pub(super) id: u16,
    port: u16,
    max_transfer: u32,
    /// The subsystem, as it was when this last looked.
    view: Arc<View>,
    namespaces: Vec<Reachable>,
    pub(super) fused: FirstHalf,
    /// Each Preempt and Abort that waits, and what for.
    pub(super) awaited: Vec<(SlotId, Weak<Fence>)>,
    /// When it was connected: see [`Association::epoch`].
    epoch: u32,
}

/// Whether the next command has to be the second half of a fused operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FirstHalf {
    /// No.
    #[default]
    None,
    /// Yes; the first is in this slot.
    Here(SlotId),
    /// Yes, but the first has failed.
    Failed,
}

/// What a command about reservations has come to.
pub(super) enum Reserved {
    /// It is complete.
    Done,
    /// It is complete, with this data.
    Report(Vec<u8>),
    /// These hosts have lost their registration, and nothing of them may go on.
    ShutOut(Vec<HostId>),
}

/// A namespace as this connection reaches it.
#[derive(Debug)]
struct Reachable {
    nsid: u32,
    attached: Arc<Attached>,
    /// Why not.
    barrier: Option<StatusCode>,
    /// What reservations let the host do, and when that was asked: see [`Reservations::epoch`](super::reservations::Reservations::epoch).
    access: Access,
    epoch: u64,
}

/// A command that was found to be possible.
#[derive(Clone, Copy, Debug)]
pub(super) struct IoWork {
    store: StoreId,
    /// Blocks of the namespace.
    blocks: u64,
    shift: u8,
    pub(super) command: IoCommand,
    pub(super) fuse: Fuse,
    nsid: u32,
    /// Bytes of data that the host gives, or gets.
    pub(super) transfer: u32,
    /// Bytes that Copy may copy.
    max_copy: u32,
}

impl IoQueue {
    pub(super) fn new(association: Arc<Association>, id: u16, port: u16, max_transfer: u32, view: Arc<View>) -> Self {
        let epoch = association.epoch();
        let namespaces = Reachable::all(&view, port);
        let (fused, awaited) = (FirstHalf::None, Vec::new());
        Self { association, id, port, max_transfer, view, namespaces, fused, awaited, epoch }
    }

    /// Whether the controller is still the one that it was connected to.
    pub(super) fn is_current(&self) -> bool {
        !self.association.has_ended() && self.association.epoch() == self.epoch
    }

    /// Looks at the subsystem again. Most of what has connections look is not about that.
    pub(super) fn refresh(&mut self, view: Arc<View>) {
        if !Arc::ptr_eq(&view, &self.view) {
            self.namespaces = Reachable::all(&view, self.port);
            self.view = view;
        }
    }

    /// Checks a command; `length` is that of its SGL.
    pub(super) fn plan(&self, sqe: &Sqe, length: u32) -> Result<IoWork, StatusCode> {
        let command = IoCommand::parse(sqe)?;
        let fuse = sqe.fuse().ok_or(StatusCode::InvalidField)?;
        let nsid = sqe.nsid.get();
        if nsid == ALL_NAMESPACES {
            return Err(StatusCode::InvalidNamespace);
        }
        let reachable = &self.namespaces[self.index_of(nsid)?];
        if let Some(barrier) = reachable.barrier {
            return Err(barrier);
        }
        let attached = &*reachable.attached;
        let (shift, blocks) = (attached.shift, attached.blocks);
        if attached.namespace.read_only && changes_data(&command) {
            return Err(StatusCode::NamespaceWriteProtected);
        }
        if let Some(range) = range_of(&command)
            && !range.is_within(blocks)
        {
            return Err(StatusCode::LbaOutOfRange);
        }
        let transfer = transfer_length(&command, shift)?;
        if transfer > u64::from(self.max_transfer) {
            return Err(StatusCode::InvalidField);
        }
        let transfer = transfer as u32;
        let fits = match command {
            IoCommand::Write { .. } | IoCommand::Compare { .. } => length == transfer,
            // Hosts may give more room than there is data, and Linux sends 256 ranges whatever their number.
            _ => length >= transfer,
        };
        // Without data, whatever the descriptor says is not looked at.
        if transfer > 0 && !fits {
            return Err(StatusCode::InvalidDataSglLength);
        }
        match (fuse, &command) {
            (Fuse::Normal, _) => {}
            (Fuse::First, IoCommand::Compare { range }) | (Fuse::Second, IoCommand::Write { range, .. }) => {
                if range.count > MAX_FUSED_BLOCKS {
                    return Err(StatusCode::AtomicWriteUnitExceeded);
                }
            }
            _ => return Err(StatusCode::InvalidField),
        }
        let (store, max_copy) = (attached.store, self.max_transfer);
        Ok(IoWork { store, blocks, shift, command, fuse, nsid, transfer, max_copy })
    }
}

impl IoQueue {
    /// Whether reservations let the host have this done now. They may have changed since the command came.
    pub(super) fn check_reservations(&mut self, work: &IoWork) -> Result<(), StatusCode> {
        let index = self.index_of(work.nsid)?;
        let reachable = &mut self.namespaces[index];
        let epoch = reachable.attached.reservations.epoch();
        if epoch != reachable.epoch {
            reachable.access = reachable.attached.reservations.access(&self.association.host_id);
            reachable.epoch = epoch;
        }
        let allowed = match work.command {
            IoCommand::Read { .. } | IoCommand::Compare { .. } | IoCommand::Verify { .. } => reachable.access.read,
            IoCommand::Copy { .. } => reachable.access == Access::FULL,
            IoCommand::Write { .. }
            | IoCommand::WriteZeroes { .. }
            | IoCommand::DatasetManagement { .. }
            | IoCommand::WriteUncorrectable { .. }
            | IoCommand::Flush => reachable.access.write,
            IoCommand::ReservationRegister { .. }
            | IoCommand::ReservationAcquire { .. }
            | IoCommand::ReservationRelease { .. }
            | IoCommand::ReservationReport { .. } => true,
        };
        if allowed { Ok(()) } else { Err(StatusCode::ReservationConflict) }
    }

    /// Executes a command that is about reservations.
    pub(super) fn reserve(&self, work: &IoWork, data: &Payload) -> Result<Reserved, StatusCode> {
        let reservations = &self.namespaces[self.index_of(work.nsid)?].attached.reservations;
        let Association { host_id, controller, .. } = *self.association;
        let data = data.to_contiguous();
        match work.command {
            IoCommand::ReservationRegister { persist: Some(true), .. } => return Err(StatusCode::InvalidField),
            IoCommand::ReservationRegister { action, ignore_key, .. } => {
                reservations.register(host_id, controller, action, ignore_key, &keys(&data)?)?;
            }
            IoCommand::ReservationAcquire { action, ignore_key: false, kind: Some(kind) } => {
                let shut_out = reservations.acquire(host_id, action, kind, &keys(&data)?)?;
                if action == AcquireAction::PreemptAndAbort {
                    return Ok(Reserved::ShutOut(shut_out));
                }
            }
            IoCommand::ReservationRelease { action, ignore_key: false, kind } => {
                reservations.release(host_id, action, kind, keys::<U64>(&data)?.get())?;
            }
            IoCommand::ReservationReport { extended: false, .. } => return Err(StatusCode::HostIdInconsistent),
            IoCommand::ReservationReport { .. } => {
                let mut report = reservations.report();
                report.resize(work.transfer as usize, 0);
                return Ok(Reserved::Report(report));
            }
            _ => return Err(StatusCode::InvalidField),
        }
        Ok(Reserved::Done)
    }

    /// Whether a command is a Preempt and Abort that waits: it has done already what it is to do.
    pub(super) fn awaits_fence(&self, id: SlotId) -> bool {
        self.awaited.iter().any(|(awaiting, _)| *awaiting == id)
    }

    /// Counts a command that a store has executed.
    pub(super) fn note_executed(&self, work: &IoWork) {
        let bytes = range_of(&work.command).map_or(0, |range| work.extent(range).length);
        self.view.usage.note(self.id, &work.command, bytes);
    }

    fn index_of(&self, nsid: u32) -> Result<usize, StatusCode> {
        let index = self.namespaces.binary_search_by_key(&nsid, |reachable| reachable.nsid);
        index.map_err(|_| StatusCode::InvalidNamespace)
    }
}

impl Reachable {
    /// The namespaces of a subsystem, as connections at this port reach them.
    fn all(view: &View, port: u16) -> Vec<Self> {
        let reach = |(nsid, attached): (&u32, &Arc<Attached>)| Self {
            nsid: *nsid,
            attached: Arc::clone(attached),
            barrier: match view.ana_state(port, attached.namespace.group) {
                AnaState::Optimized | AnaState::NonOptimized => None,
                AnaState::Inaccessible => Some(StatusCode::AnaInaccessible),
                AnaState::PersistentLoss => Some(StatusCode::AnaPersistentLoss),
                AnaState::Change => Some(StatusCode::AnaTransition),
            },
            access: Access::FULL,
            epoch: 0,
        };
        view.namespaces.iter().map(reach).collect()
    }
}

/// The keys that came as data.
fn keys<T: FromBytes>(data: &[u8]) -> Result<T, StatusCode> {
    T::read_from_prefix(data).map(|(keys, _)| keys).map_err(|_| StatusCode::InvalidDataSglLength)
}

impl IoWork {
    /// Whether it is about reservations, for which no store is needed.
    pub(super) fn is_about_reservations(&self) -> bool {
        matches!(
            self.command,
            IoCommand::ReservationRegister { .. }
                | IoCommand::ReservationAcquire { .. }
                | IoCommand::ReservationRelease { .. }
                | IoCommand::ReservationReport { .. }
        )
    }

    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    /// Bytes of data that the host gets.
    pub(super) fn returns(&self) -> u32 {
        match self.command {
            IoCommand::Read { .. } | IoCommand::ReservationReport { .. } => self.transfer,
            _ => 0,
        }
    }

    /// Whether `second` goes with this first half of a fused operation.
    pub(super) fn goes_with(&self, second: &Self) -> bool {
        second.fuse == Fuse::Second && self.nsid == second.nsid && range_of(&self.command) == range_of(&second.command)
    }

    /// The operation that does it. None if there is nothing to do.
    pub(super) fn operation(&self, data: Payload) -> Result<Option<Operation>, StatusCode> {
        let extent = |range: BlockRange| self.extent(range);
        Ok(Some(match self.command {
            IoCommand::Flush => Operation::Flush,
            IoCommand::Read { range, .. } => Operation::Read { extent: extent(range), into: data },
            IoCommand::Write { range, force_unit_access } => {
                Operation::Write { offset: extent(range).offset, data, force_unit_access }
            }
            IoCommand::Compare { range } => Operation::Compare { offset: extent(range).offset, data },
            IoCommand::WriteZeroes { range, force_unit_access, deallocate } => {
                Operation::WriteZeroes { extent: extent(range), deallocate, force_unit_access }
            }
            IoCommand::Verify { range } => Operation::Verify { extent: extent(range) },
            IoCommand::DatasetManagement { deallocate, .. } => {
                let extents = self.ranges(&data, |range: &DatasetRange| range.blocks())?;
                if !deallocate || extents.is_empty() {
                    return Ok(None);
                }
                Operation::Deallocate { extents }
            }
            IoCommand::Copy { destination, force_unit_access, .. } => {
                let sources = self.ranges(&data, |range: &CopyRange| range.blocks())?;
                let length: u64 = sources.iter().map(|source| source.length).sum();
                // A store may have to keep all of it in memory.
                if length > u64::from(self.max_copy) {
                    return Err(StatusCode::InvalidField);
                }
                let count = (length >> self.shift) as u32;
                let range = BlockRange { start: destination, count };
                if !range.is_within(self.blocks) {
                    return Err(StatusCode::LbaOutOfRange);
                }
                Operation::Copy { sources, destination: extent(range).offset, force_unit_access }
            }
            IoCommand::WriteUncorrectable { .. }
            | IoCommand::ReservationRegister { .. }
            | IoCommand::ReservationAcquire { .. }
            | IoCommand::ReservationRelease { .. }
            | IoCommand::ReservationReport { .. } => return Err(StatusCode::InvalidOpcode),
        }))
    }

    /// Both halves of Compare and Write, whose second this is, as one operation.
    pub(super) fn fused_operation(&self, expected: Payload, data: Payload) -> Result<Operation, StatusCode> {
        let IoCommand::Write { range, force_unit_access } = self.command else {
            return Err(StatusCode::InvalidField);
        };
        Ok(Operation::CompareAndWrite { offset: self.extent(range).offset, expected, data, force_unit_access })
    }

    fn extent(&self, range: BlockRange) -> Extent {
        Extent { offset: range.start << self.shift, length: u64::from(range.count) << self.shift }
    }

    /// The ranges that came as data, without those that are empty.
    fn ranges<T: FromBytes>(
        &self,
        data: &Payload,
        blocks: impl Fn(&T) -> BlockRange,
    ) -> Result<Vec<Extent>, StatusCode> {
        let bytes = data.to_contiguous();
        let bytes = bytes.get(..self.transfer as usize).ok_or(StatusCode::InvalidDataSglLength)?;
        let ranges = bytes.chunks_exact(size_of::<T>()).filter_map(|chunk| T::read_from_bytes(chunk).ok());
        let ranges: Vec<_> = ranges.map(|range| blocks(&range)).collect();
        if ranges.iter().any(|range| !range.is_within(self.blocks)) {
            return Err(StatusCode::LbaOutOfRange);
        }
        Ok(ranges.into_iter().filter(|range| range.count > 0).map(|range| self.extent(range)).collect())
    }
}

/// The first of the blocks that a command is for; 0 if it is for none, or cannot be read.
pub(super) fn first_block(sqe: &Sqe) -> u64 {
    IoCommand::parse(sqe).ok().and_then(|command| range_of(&command)).map_or(0, |range| range.start)
}

fn range_of(command: &IoCommand) -> Option<BlockRange> {
    match command {
        IoCommand::Read { range, .. }
        | IoCommand::Write { range, .. }
        | IoCommand::Compare { range }
        | IoCommand::WriteZeroes { range, .. }
        | IoCommand::Verify { range } => Some(*range),
        _ => None,
    }
}

fn changes_data(command: &IoCommand) -> bool {
    matches!(
        command,
        IoCommand::Write { .. }
            | IoCommand::WriteZeroes { .. }
            | IoCommand::DatasetManagement { .. }
            | IoCommand::Copy { .. }
    )
}

/// Bytes of data that a command transfers.
fn transfer_length(command: &IoCommand, shift: u8) -> Result<u64, StatusCode> {
    Ok(match command {
        IoCommand::Read { range, .. } | IoCommand::Write { range, .. } | IoCommand::Compare { range } => {
            u64::from(range.count) << shift
        }
        IoCommand::DatasetManagement { ranges, .. } => u64::from(*ranges) * size_of::<DatasetRange>() as u64,
        IoCommand::Copy { format, .. } if *format != 0 => return Err(StatusCode::InvalidField),
        IoCommand::Copy { ranges, .. } if *ranges > MAX_COPY_RANGES => return Err(StatusCode::InvalidField),
        IoCommand::Copy { ranges, .. } => u64::from(*ranges) * size_of::<CopyRange>() as u64,
        IoCommand::Flush | IoCommand::WriteZeroes { .. } | IoCommand::Verify { .. } => 0,
        IoCommand::ReservationRegister { .. } => size_of::<RegisterKeys>() as u64,
        IoCommand::ReservationAcquire { .. } => size_of::<AcquireKeys>() as u64,
        IoCommand::ReservationRelease { .. } => size_of::<U64>() as u64,
        IoCommand::ReservationReport { length, .. } => *length,
        IoCommand::WriteUncorrectable { .. } => return Err(StatusCode::InvalidOpcode),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{nqn, target};
    use super::*;

    #[test]
    fn what_has_not_changed_is_not_built_again() {
        let target = target();
        let view = || target.view(&nqn("disk")).unwrap().1;
        let association = Association::new(1, nqn("disk"), nqn("host"), [1; 16], 1);
        let mut queue = IoQueue::new(Arc::new(association), 1, 1, 4096, view());
        // What is built anew has not asked yet what reservations let the host do.
        queue.namespaces[0].epoch = 7;
        target.announce();
        queue.refresh(view());
        assert_eq!((queue.namespaces[0].epoch, queue.namespaces[0].barrier), (7, None));
        target.set_ana_state(&nqn("disk"), 1, 1, AnaState::Inaccessible).unwrap();
        queue.refresh(view());
        assert_eq!(queue.namespaces[0].barrier, Some(StatusCode::AnaInaccessible));
    }
}
