//! The memory allocator of the programs: mimalloc.
//!
//! The crate `mimalloc` passes every alignment to mimalloc's aligned functions. For most sizes over a
//! kilobyte these allocate more than was asked for and align within that, which takes about 80
//! instructions more. mimalloc's ordinary functions align like `malloc` anyway, which is enough for
//! nearly everything.

#![expect(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_free, mi_malloc, mi_realloc, mi_zalloc};
use mimalloc::MiMalloc;

/// The alignment of every block that is at least as long: that of C's `max_align_t`.
const ALIGNMENT: usize = 16;

/// The allocator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

/// Returns whether mimalloc's ordinary functions align a block like this.
fn is_ordinary(layout: Layout) -> bool {
    layout.align() <= ALIGNMENT && layout.align() <= layout.size()
}

// SAFETY: all blocks are mimalloc's, whose functions accept each other's blocks. They are aligned as
// asked for: an ordinary function aligns a block of `size` bytes to the largest power of two that is at
// most `size` and `ALIGNMENT`, and `MiMalloc` aligns to anything else. No function unwinds.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_ordinary(layout) {
            // SAFETY: the function has no preconditions.
            unsafe { mi_malloc(layout.size()) }.cast()
        } else {
            // SAFETY: the caller's promise.
            unsafe { MiMalloc.alloc(layout) }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_ordinary(layout) {
            // SAFETY: the function has no preconditions.
            unsafe { mi_zalloc(layout.size()) }.cast()
        } else {
            // SAFETY: the caller's promise.
            unsafe { MiMalloc.alloc_zeroed(layout) }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller's promise: the block is this allocator's, so it is mimalloc's.
        unsafe { mi_free(block.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let is_ordinary_after = layout.align() <= size;
        if is_ordinary(layout) && is_ordinary_after {
            // SAFETY: the caller's promise: the block is this allocator's, so it is mimalloc's.
            unsafe { mi_realloc(block.cast(), size) }.cast()
        } else {
            // SAFETY: the caller's promise.
            unsafe { MiMalloc.realloc(block, layout, size) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every block is aligned as asked for, zeroed if asked for, and keeps its content when it grows.
    #[test]
    fn blocks_are_aligned_and_keep_their_content() {
        let sizes = (1..=300).chain([1000, 1025, 1100, 4096, 5000, 70_000, 3 << 20]);
        for size in sizes {
            for align in [1, 2, 4, 8, 16, 32, 64, 128, 4096] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // Several at once, so that blocks lie at different places of a page.
                let blocks: Vec<_> = (0..4)
                    .map(|_| {
                        // SAFETY: the size isn't zero, each block is freed once with its own layout, and
                        // only its own bytes are read and written.
                        unsafe {
                            let block = Allocator.alloc_zeroed(layout);
                            assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                            let content = std::slice::from_raw_parts_mut(block, size);
                            assert!(content.iter().all(|byte| *byte == 0), "{layout:?}");
                            content.fill(7);
                            block
                        }
                    })
                    .collect();
                for block in blocks {
                    // SAFETY: as above.
                    unsafe {
                        let longer = Allocator.realloc(block, layout, 2 * size + 1);
                        assert!(!longer.is_null() && longer.addr().is_multiple_of(align), "{layout:?}");
                        let content = std::slice::from_raw_parts(longer, size);
                        assert!(content.iter().all(|byte| *byte == 7), "{layout:?}");
                        let layout = Layout::from_size_align(2 * size + 1, align).unwrap();
                        let shorter = Allocator.realloc(longer, layout, 1);
                        assert!(!shorter.is_null() && shorter.addr().is_multiple_of(align), "{layout:?}");
                        assert_eq!(*shorter, 7);
                        let layout = Layout::from_size_align(1, align).unwrap();
                        Allocator.dealloc(shorter, layout);
                        let plain = Allocator.alloc(layout);
                        assert!(!plain.is_null() && plain.addr().is_multiple_of(align), "{layout:?}");
                        Allocator.dealloc(plain, layout);
                    }
                }
            }
        }
    }
}
