//! Tries to leave a mark for the next call: in statics, on the heap, in memory that it grows, on
//! the stack.
//!
//! It answers how often the mark of the previous call occurs in its whole memory, and then how
//! often its own does.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            /// Takes the mark of the previous call with all bits inverted, so that the input itself
            /// doesn't contain it; the mark to leave; and how often to write it in each place.
            export handle: func(inverted-previous: u64, mark: u64, words: u32) -> tuple<u32, u32>;
        }
    "
});

use std::arch::wasm32;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lies in the image of the component's memory, whose pages are copied on the first write.
static IN_THE_IMAGE: [AtomicU64; 1024] = [const { AtomicU64::new(7) }; 1024];

/// Lies beyond the image, in zeroed memory.
static ZEROED: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];

const PAGE_BYTES: usize = 65_536;

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(inverted_previous: u64, mark: u64, words: u32) -> (u32, u32) {
        let previous = occurrences(inverted_previous);
        for cell in IN_THE_IMAGE.iter().chain(&ZEROED).take(words as usize) {
            cell.store(mark, Ordering::Relaxed);
        }
        // A memory doesn't shrink: these vectors grow it for the rest of the call.
        for _ in 0..4 {
            let heap = vec![mark; words as usize];
            std::mem::forget(black_box(heap));
        }
        mark_stack(mark, 8);
        (previous, occurrences(!mark))
    }
}

/// Counts the aligned words of the whole memory that equal a mark, given with all bits inverted.
#[inline(never)]
fn occurrences(inverted: u64) -> u32 {
    let words = wasm32::memory_size(0) * PAGE_BYTES / size_of::<u64>();
    (1..words).map(word).filter(|word| word ^ inverted == u64::MAX).count() as u32
}

/// Reads a word of memory, whatever the memory is used for.
fn word(index: usize) -> u64 {
    // SAFETY: the address is aligned and within this instance's memory, whose size bounds `index`
    // in `occurrences`. A volatile read makes no assumption about the content.
    unsafe { std::ptr::with_exposed_provenance::<u64>(index * size_of::<u64>()).read_volatile() }
}

#[inline(never)]
fn mark_stack(mark: u64, depth: u32) {
    let frame = black_box([mark; 256]);
    if depth > 0 {
        mark_stack(frame[0], depth - 1);
    }
    black_box(&frame);
}
