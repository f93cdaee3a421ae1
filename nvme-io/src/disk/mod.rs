//! Namespaces as disks for tasks: commands are futures, for any executor.
//!
//! * [`HostDriver`]: has the [`Host`](crate::Host), on one thread.
//! * [`Disk`]: what tasks have, on any thread.
//! * [`IoFuture`]: a command.

mod commands;
mod driver;
mod error;
mod future;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use nvme_tcp::command::{BlockRange, DatasetRange, IoCommand};
use nvme_tcp::host::{Data, Namespace, Refusal, Request};
use nvme_tcp::pdu::Payload;
use zerocopy::IntoBytes;

use commands::Commands;
pub use driver::HostDriver;
pub use error::DiskError;
pub use future::IoFuture;

/// A namespace for tasks. Clones are the same disk.
///
/// Each call makes a command, which begins when its future is first polled; see [`IoFuture`], also for futures that are dropped. Commands that are
/// under way at a time are executed in any order: await what has to come first. Blocks are counted from 0.
///
/// ```
/// use nvme_io::{Disk, DiskError};
///
/// async fn copy(disk: &Disk, from: u64, to: u64, blocks: u32) -> Result<(), DiskError> {
///     let data = disk.read(from, blocks).await?;
///     disk.write(to, data).await?;
///     disk.flush().await?;
///     Ok(())
/// }
/// ```
///
/// No executor is needed that knows of I/O: the [`HostDriver`] wakes the tasks.
#[derive(Clone, Debug)]
pub struct Disk {
    commands: Arc<Commands>,
    namespace: Arc<Namespace>,
    max_blocks: u32,
}

impl Disk {
    /// The namespace, as it was when the disk was made. Its block size does not change.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Blocks that [`read`](Self::read), [`write`](Self::write) and [`compare`](Self::compare) can have, 1 to 65536, with the controllers that were
    /// there when the disk was made (MDTS). What is longer is sent nevertheless; as a rule it is answered with
    /// [`InvalidField`](nvme_tcp::command::StatusCode::InvalidField).
    pub fn max_blocks(&self) -> u32 {
        self.max_blocks
    }

    /// Reads blocks.
    pub fn read(&self, lba: u64, blocks: u32) -> IoFuture {
        self.read_into(lba, blocks, Payload::new())
    }

    /// Reads blocks into a list whose memory is used again. It will hold slices of what was received.
    pub fn read_into(&self, lba: u64, blocks: u32, into: Payload) -> IoFuture {
        self.begin(range(lba, blocks).and_then(|range| {
            let length = blocks.checked_mul(self.namespace.block_size);
            let length = length.ok_or(DiskError::Refused(Refusal::TooLong))?;
            Ok((IoCommand::Read { range, force_unit_access: false }, Data::Receive { length, into }))
        }))
    }

    /// Writes whole blocks. They are durable after a [`flush`](Self::flush).
    pub fn write(&self, lba: u64, data: impl Into<Payload>) -> IoFuture {
        let data = data.into();
        let range = self.range_of(lba, &data);
        self.begin(range.map(|range| (IoCommand::Write { range, force_unit_access: false }, Data::Send(data))))
    }

    /// Compares whole blocks with data: [`CompareFailure`](nvme_tcp::command::StatusCode::CompareFailure) if there is a difference. Once it has left, it
    /// ends with its connection, as [`DiskError::Lost`].
    pub fn compare(&self, lba: u64, data: impl Into<Payload>) -> IoFuture {
        let data = data.into();
        let range = self.range_of(lba, &data);
        self.begin(range.map(|range| (IoCommand::Compare { range }, Data::Send(data))))
    }

    /// Has blocks read as zeroes, without deallocating them.
    pub fn write_zeroes(&self, lba: u64, blocks: u32) -> IoFuture {
        self.begin(
            range(lba, blocks).map(|range| {
                (IoCommand::WriteZeroes { range, force_unit_access: false, deallocate: false }, Data::None)
            }),
        )
    }

    /// Says that blocks, any number of them, are no longer in use: Dataset Management that deallocates them. What they read as then is up to the
    /// controller.
    pub fn discard(&self, lba: u64, blocks: u32) -> IoFuture {
        let range = DatasetRange::new(BlockRange { start: lba, count: blocks });
        let data = Data::Send(Bytes::copy_from_slice(range.as_bytes()).into());
        self.execute(IoCommand::DatasetManagement { ranges: 1, deallocate: true }, data)
    }

    /// Makes everything durable whose write has ended before, on whatever queue.
    pub fn flush(&self) -> IoFuture {
        self.execute(IoCommand::Flush, Data::None)
    }

    /// Any other command, such as a Write with FUA, as it is: whether it makes sense, and its data belongs to it, is found by the controller.
    pub fn execute(&self, command: IoCommand, data: Data) -> IoFuture {
        self.begin(Ok((command, data)))
    }

    fn begin(&self, command: Result<(IoCommand, Data), DiskError>) -> IoFuture {
        let request =
            command.map(|(command, data)| Request { sqe: command.to_sqe(self.namespace.nsid), data, token: () });
        IoFuture::new(Arc::clone(&self.commands), request)
    }

    fn range_of(&self, lba: u64, data: &Payload) -> Result<BlockRange, DiskError> {
        let block_size = self.namespace.block_size as usize;
        if !data.len().is_multiple_of(block_size) {
            return Err(DiskError::Length);
        }
        range(lba, u32::try_from(data.len() / block_size).unwrap_or(u32::MAX))
    }
}

fn range(start: u64, count: u32) -> Result<BlockRange, DiskError> {
    if (1..=BlockRange::MOST).contains(&count) { Ok(BlockRange { start, count }) } else { Err(DiskError::Length) }
}
