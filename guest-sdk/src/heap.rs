//! A heap whose first megabyte is there from the start.
//!
//! Growing a memory is the most costly thing a guest can ask of the host: two changes of page
//! protection a call, one to grow and one to undo it, each of which interrupts every other core that
//! serves. So allocations come from a static arena first. It is zeroes, so it adds nothing to the
//! component; pages of it that a call doesn't touch cost nothing; and what is freed is used again.
//! Only what doesn't fit goes to the system's allocator, which grows the memory.
#![expect(unsafe_code, reason = "an allocator is unsafe by its trait; each block says why it holds")]

use std::alloc::{GlobalAlloc, Layout, System};

use talc::wasm::{WasmArenaTalc, new_wasm_arena_allocator};

/// The arena's size, bytes.
const ARENA_BYTES: usize = 1024 * 1024;

static mut ARENA: [u8; ARENA_BYTES] = [0; ARENA_BYTES];

#[global_allocator]
static HEAP: Heap = Heap {
    // SAFETY: nothing else names `ARENA`'s content: from here on it is the allocator's.
    arena: unsafe { new_wasm_arena_allocator(&raw mut ARENA) },
};

struct Heap {
    arena: WasmArenaTalc,
}

impl Heap {
    /// Whether `pointer` was given out by the arena.
    fn owns(&self, pointer: *mut u8) -> bool {
        let start = (&raw mut ARENA).addr();
        (start..start + ARENA_BYTES).contains(&pointer.addr())
    }
}

// SAFETY: every block comes from exactly one of two allocators that keep the trait's promises, and its
// address tells which: the arena's are in `ARENA`, the system's never are.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        let pointer = unsafe { self.arena.alloc(layout) };
        if !pointer.is_null() {
            return pointer;
        }
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if self.owns(pointer) {
            // SAFETY: the arena gave it out, with this layout.
            unsafe { self.arena.dealloc(pointer, layout) }
        } else {
            // SAFETY: the system gave it out, with this layout.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !self.owns(pointer) {
            // SAFETY: the system gave it out, with this layout.
            return unsafe { System.realloc(pointer, layout, new_size) };
        }
        // SAFETY: the arena gave it out, with this layout.
        let moved = unsafe { self.arena.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            return moved;
        }
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment, fits; when the arena
        // has no room the old block is untouched, so it is copied and then freed.
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
