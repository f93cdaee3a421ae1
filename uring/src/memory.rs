//! Memory of fixed size, of which buffers are cut.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buffers begin at multiples of this many bytes, which is enough for direct I/O everywhere.
pub const ALIGNMENT: usize = 4096;

/// Pages that share a word of the map.
const WORD: usize = 64;

/// Memory of fixed size, of which buffers are cut, and to which they return when they are dropped, on any thread.
#[derive(Debug)]
pub struct Memory {
    area: Arc<Area>,
    /// The page behind the last buffer: the search for the next one begins there.
    next: usize,
}

/// The memory, and which of its pages are in use.
struct Area {
    base: NonNull<u8>,
    pages: usize,
    /// A bit for each page, set while a buffer has it. Only [`Memory`] sets them, of which there is one; buffers clear them.
    used: Box<[AtomicU64]>,
}

// SAFETY: the bytes are reached through buffers only, each of which has its pages to itself; the rest is atomic or never changes.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

/// A part of a [`Memory`], for whoever has it alone.
pub struct Buffer {
    area: Arc<Area>,
    first: usize,
    len: usize,
}

impl Memory {
    /// Memory of at least `bytes`, all zeroes.
    pub fn new(bytes: usize) -> Self {
        let pages = bytes.max(1).div_ceil(ALIGNMENT).next_multiple_of(WORD);
        let layout = layout(pages);
        // SAFETY: the layout's size is not zero: there is a page at least.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        let used = (0..pages / WORD).map(|_| AtomicU64::new(0)).collect();
        Self { area: Arc::new(Area { base, pages, used }), next: 0 }
    }

    /// Bytes that there are, in use or not.
    pub fn size(&self) -> usize {
        self.area.pages * ALIGNMENT
    }

    /// Bytes that no buffer has.
    pub fn available(&self) -> usize {
        let used: u32 = self.area.used.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum();
        self.size() - used as usize * ALIGNMENT
    }

    /// A buffer of `len` bytes, whatever they are. None if there is no room for it now, or never, as it is longer than the [`size`](Self::size).
    pub fn allocate(&mut self, len: usize) -> Option<Buffer> {
        let pages = len.div_ceil(ALIGNMENT).max(1);
        let first = self.find(self.next, self.area.pages, pages).or_else(|| {
            // Pages that lie around the place where the search began.
            let end = (self.next + pages - 1).min(self.area.pages);
            self.find(0, end, pages)
        })?;
        self.area.mark(first, pages, |word, bits| word.fetch_or(bits, Ordering::Relaxed));
        self.next = first + pages;
        Some(Buffer { area: Arc::clone(&self.area), first, len })
    }

    /// The first place from `at` to `end` where this many pages are free.
    fn find(&self, mut at: usize, end: usize, pages: usize) -> Option<usize> {
        let mut first = at;
        while at < end {
            // What comes after the last page of the word counts as in use here: the next word says what it is.
            let (offset, left) = (at % WORD, WORD - at % WORD);
            // Whoever had the page has let go of it before this sees its bit clear.
            let word = self.area.used[at / WORD].load(Ordering::Acquire) >> offset;
            let free = (word.trailing_zeros() as usize).min(left);
            at += free;
            if at.min(end) - first >= pages {
                return Some(first);
            }
            if free < left {
                at += ((word >> free).trailing_ones() as usize).min(left - free);
                first = at;
            }
        }
        None
    }

    /// Where it begins, for the kernel.
    pub(crate) fn base(&self) -> *mut u8 {
        self.area.base.as_ptr()
    }

    /// Whether the buffer is of this memory.
    pub(crate) fn has(&self, buffer: &Buffer) -> bool {
        Arc::ptr_eq(&self.area, &buffer.area)
    }
}

impl Area {
    /// Changes the bits of some pages.
    fn mark(&self, first: usize, pages: usize, change: impl Fn(&AtomicU64, u64) -> u64) {
        let (mut at, end) = (first, first + pages);
        while at < end {
            let (offset, count) = (at % WORD, (end - at).min(WORD - at % WORD));
            change(&self.used[at / WORD], (u64::MAX >> (WORD - count)) << offset);
            at += count;
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and all buffers are gone: each of them has a share of this.
        unsafe { dealloc(self.base.as_ptr(), layout(self.pages)) };
    }
}

fn layout(pages: usize) -> Layout {
    match Layout::from_size_align(pages * ALIGNMENT, ALIGNMENT) {
        Ok(layout) => layout,
        Err(error) => panic!("no address space has room for {pages} pages: {error}"),
    }
}

impl Buffer {
    /// Where byte `offset` is, for the kernel.
    pub(crate) fn address(&mut self, offset: usize) -> *mut u8 {
        self[offset..].as_mut_ptr()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the pages lie within the area, which lives as long as this has a share of it; they were initialized when it was made; and no other
        // buffer has them, since their bits are set until this is dropped.
        unsafe { std::slice::from_raw_parts(self.area.base.as_ptr().add(self.first * ALIGNMENT), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and this is the only way to the bytes now.
        unsafe { std::slice::from_raw_parts_mut(self.area.base.as_ptr().add(self.first * ALIGNMENT), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let pages = self.len.div_ceil(ALIGNMENT).max(1);
        // What was done to the bytes comes before whatever the next owner does.
        self.area.mark(self.first, pages, |word, bits| word.fetch_and(!bits, Ordering::Release));
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Area").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("first", &self.first).field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: usize = 128;

    #[test]
    fn all_of_it_can_be_used_and_returns() {
        let mut memory = Memory::new(PAGES * ALIGNMENT);
        assert_eq!(memory.size(), PAGES * ALIGNMENT);
        for len in [1, ALIGNMENT, 3 * ALIGNMENT - 1, 64 * ALIGNMENT, 65 * ALIGNMENT, 128 * ALIGNMENT] {
            let each = len.div_ceil(ALIGNMENT);
            for _ in 0..3 {
                let buffers: Vec<_> = std::iter::from_fn(|| memory.allocate(len)).collect();
                assert!(buffers.len() >= (PAGES / each).saturating_sub(1).max(1), "{len}: {}", buffers.len());
                assert_eq!(memory.available(), (PAGES - buffers.len() * each) * ALIGNMENT);
            }
            assert_eq!(memory.available(), memory.size());
        }
        assert!(memory.allocate(PAGES * ALIGNMENT + 1).is_none());
    }

    #[test]
    fn no_byte_has_two_owners() {
        let mut memory = Memory::new(PAGES * ALIGNMENT);
        let mut owned: Vec<(Buffer, u8)> = Vec::new();
        let mut random: u64 = 1;
        let mut refused = 0;
        for round in 0..20_000_u32 {
            // Numerical Recipes' generator: any will do.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let choice = (random >> 33) as usize;
            if choice % 5 < 3 {
                match memory.allocate(1 + choice / 5 % (12 * ALIGNMENT)) {
                    Some(mut buffer) => {
                        assert_eq!(buffer.as_ptr().addr() % ALIGNMENT, 0);
                        buffer.fill(round as u8);
                        owned.push((buffer, round as u8));
                    }
                    None => refused += 1,
                }
            } else if !owned.is_empty() {
                let (buffer, byte) = owned.swap_remove(choice / 5 % owned.len());
                assert!(buffer.iter().all(|one| *one == byte), "in round {round}");
            }
        }
        assert!(refused > 100, "it was full {refused} times");
        drop(owned);
        assert_eq!(memory.available(), memory.size());
    }

    #[test]
    fn buffers_outlive_the_memory_and_the_thread() {
        let mut memory = Memory::new(1);
        let mut buffer = memory.allocate(10).unwrap();
        drop(memory);
        let buffer = std::thread::spawn(move || {
            buffer.copy_from_slice(b"0123456789");
            buffer
        });
        assert_eq!(&buffer.join().unwrap()[..], b"0123456789");
    }
}
