//! A heap whose first megabyte lies in the initial memory.
//!
//! Growing a memory is the most expensive request of a guest to the host: it changes page
//! protection twice per call, once to grow and once to undo it, and each change interrupts every
//! other serving core. So allocations come from a static arena first. The arena is zeroed, so it
//! adds nothing to the component; pages that a call doesn't touch cost nothing; freed blocks are
//! reused. Allocations that don't fit go to the system's allocator, which grows the memory.
#![expect(unsafe_code, reason = "the trait of allocators is unsafe; each block states its invariant")]

use std::alloc::{GlobalAlloc, Layout, System};

use talc::wasm::{WasmArenaTalc, new_wasm_arena_allocator};

/// The size of the arena.
const ARENA_BYTES: usize = 1024 * 1024;

static mut ARENA: [u8; ARENA_BYTES] = [0; ARENA_BYTES];

#[global_allocator]
static HEAP: Heap = Heap {
    // SAFETY: only the allocator accesses the content of `ARENA`.
    arena: unsafe { new_wasm_arena_allocator(&raw mut ARENA) },
};

struct Heap {
    arena: WasmArenaTalc,
}

impl Heap {
    /// Returns whether the arena allocated `pointer`.
    fn owns(&self, pointer: *mut u8) -> bool {
        let start = (&raw mut ARENA).addr();
        (start..start + ARENA_BYTES).contains(&pointer.addr())
    }
}

// SAFETY: every block belongs to one of two allocators that uphold the trait's contract. Its
// address says which one: only the arena's blocks lie in `ARENA`.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc`.
        let pointer = unsafe { self.arena.alloc(layout) };
        if !pointer.is_null() {
            return pointer;
        }
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if self.owns(pointer) {
            // SAFETY: the arena allocated the block with this layout.
            unsafe { self.arena.dealloc(pointer, layout) }
        } else {
            // SAFETY: the system allocated the block with this layout.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !self.owns(pointer) {
            // SAFETY: the system allocated the block with this layout.
            return unsafe { System.realloc(pointer, layout, new_size) };
        }
        // SAFETY: the arena allocated the block with this layout.
        let moved = unsafe { self.arena.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            return moved;
        }
        // SAFETY: the caller guarantees that `new_size`, rounded up to the alignment, is a valid
        // size. A full arena leaves the old block unchanged, so it can be copied and then freed.
        unsafe {
            let layout_new = Layout::from_size_align_unchecked(new_size, layout.align());
            let moved = System.alloc(layout_new);
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(pointer, moved, layout.size().min(new_size));
                self.arena.dealloc(pointer, layout);
            }
            moved
        }
    }
}
