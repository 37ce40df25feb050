//! Tries to leave something behind for the next call: in statics, on the heap, in memory that it has the
//! system give it, on the stack. Tells how often the mark of the call before stands in all of its memory, and
//! then its own.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            /// The mark that the call before has left, with all bits turned round so that it stands nowhere by being
            /// asked for; the one to leave; and how often in each place.
            export handle: func(turned-previous: u64, mark: u64, words: u32) -> tuple<u32, u32>;
        }
    "
});

use std::arch::wasm32;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

/// In the image of the component's memory, and so copied when it is written to.
static IN_THE_IMAGE: [AtomicU64; 1024] = [const { AtomicU64::new(7) }; 1024];

/// Beyond it.
static ZEROED: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];

const PAGE_BYTES: usize = 65_536;

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(turned_previous: u64, mark: u64, words: u32) -> (u32, u32) {
        let previous = found(turned_previous);
        for cell in IN_THE_IMAGE.iter().chain(&ZEROED).take(words as usize) {
            cell.store(mark, Ordering::Relaxed);
        }
        // What was grown isn't given back: a memory doesn't shrink.
        for _ in 0..4 {
            let heap = vec![mark; words as usize];
            std::mem::forget(black_box(heap));
        }
        on_the_stack(mark, 8);
        (previous, found(!mark))
    }
}

/// How often a mark stands in memory, at addresses that a word has. `turned` is it with all bits turned round.
#[inline(never)]
fn found(turned: u64) -> u32 {
    let words = wasm32::memory_size(0) * PAGE_BYTES / size_of::<u64>();
    (1..words).map(word).filter(|word| word ^ turned == u64::MAX).count() as u32
}

/// A word of memory, whatever it is used for.
fn word(index: usize) -> u64 {
    // SAFETY: it is within this instance's memory, which `found` has asked the size of, and aligned. A volatile read
    // assumes nothing of what stands there.
    unsafe { std::ptr::with_exposed_provenance::<u64>(index * size_of::<u64>()).read_volatile() }
}

#[inline(never)]
fn on_the_stack(mark: u64, depth: u32) {
    let frame = black_box([mark; 256]);
    if depth > 0 {
        on_the_stack(frame[0], depth - 1);
    }
    black_box(&frame);
}
