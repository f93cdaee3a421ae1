//! Whether a file can be read and written past the page cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};
use uring::{ALIGNMENT, Memory};

/// How a file is read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caching {
    /// With `O_DIRECT`, past the page cache.
    Direct,
    /// Through the page cache, for this reason.
    Buffered(String),
}

/// Opens a file with `O_DIRECT`, if that can be done in units of `block_size` bytes; otherwise the error is the reason why not.
pub(super) fn open(options: &OpenOptions, path: &Path, block_size: u32, size: u64) -> Result<File, String> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    let file = options
        .clone()
        .custom_flags(flags)
        .open(path)
        .map_err(|error| format!("the file system takes no O_DIRECT: {error}"))?;
    let told = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
        .ok()
        .filter(|told| told.stx_mask & StatxFlags::DIOALIGN.bits() != 0);
    match told {
        Some(told) => judge(told.stx_dio_mem_align, told.stx_dio_offset_align, block_size)?,
        None => try_out(&file, block_size, size)
            .map_err(|error| format!("O_DIRECT does not work in blocks of {block_size} bytes: {error}"))?,
    }
    Ok(file)
}

/// Judges what the file system says, in bytes; zeroes if it cannot at all.
fn judge(memory: u32, offset: u32, block_size: u32) -> Result<(), String> {
    if offset == 0 || memory == 0 {
        return Err("the file system has no O_DIRECT for it".to_owned());
    }
    if !block_size.is_multiple_of(offset) {
        return Err(format!("O_DIRECT wants multiples of {offset} bytes, and blocks have {block_size}"));
    }
    if !ALIGNMENT.is_multiple_of(memory as usize) {
        return Err(format!("O_DIRECT wants memory at multiples of {memory} bytes"));
    }
    Ok(())
}

/// Reads the second block, if there is one: kernels before 6.1, and some file systems, do not tell what is possible.
fn try_out(file: &File, block_size: u32, size: u64) -> io::Result<()> {
    let block = u64::from(block_size);
    let len = block_size as usize;
    let Some(mut buffer) = Memory::new(len).allocate(len) else { return Err(io::ErrorKind::OutOfMemory.into()) };
    file.read_at(&mut buffer, if size >= 2 * block { block } else { 0 }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_file_systems_say_is_judged() {
        assert_eq!(judge(512, 512, 512), Ok(()));
        assert_eq!(judge(4, 512, 4096), Ok(()));
        assert_eq!(judge(512, 4096, 512).unwrap_err(), "O_DIRECT wants multiples of 4096 bytes, and blocks have 512");
        assert_eq!(judge(0, 0, 4096).unwrap_err(), "the file system has no O_DIRECT for it");
        assert!(judge(65_536, 512, 4096).is_err());
    }
}
