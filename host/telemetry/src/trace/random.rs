//! Random numbers for ids and for the sampling of traces. Each thread has its own generator.

use std::cell::Cell;

use fastrand::Rng;
use nebula_model::trace_context::{SpanId, TraceId};

thread_local! {
    /// The state of this thread's generator; `None` before its first number.
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Returns a random number. It takes no lock and no system call, except for the first of a thread.
pub(super) fn number() -> u64 {
    let mut generator = Rng::with_seed(STATE.get().unwrap_or_else(seed));
    let number = generator.u64(..);
    STATE.set(Some(generator.get_seed()));
    number
}

/// Returns the seed of a thread's generator.
#[cold]
fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers, all threads make the same ids, which connects traces that have nothing
    // to do with each other. No call fails for that.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Returns a new id of a trace whose second half is `low`, which decides on its sampling.
pub(super) fn trace_id(low: u64) -> TraceId {
    loop {
        // The generator has 64 bits of state, and an id is unique among those of all hosts.
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes[..8]).is_err() {
            bytes[..8].copy_from_slice(&number().to_be_bytes());
        }
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        if let Some(id) = TraceId::new(bytes) {
            return id;
        }
    }
}

/// Returns a new id of a span.
pub(super) fn span_id() -> SpanId {
    loop {
        if let Some(id) = SpanId::new(number().to_be_bytes()) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_on_all_threads() {
        let make = || (0..1000).map(|_| (span_id(), trace_id(7))).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(make)).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let spans: HashSet<_> = ids.iter().map(|(span, _)| span).collect();
        let traces: HashSet<_> = ids.iter().map(|(_, trace)| trace).collect();
        assert_eq!((spans.len(), traces.len()), (4000, 4000));
        assert!(ids.iter().all(|(_, trace)| trace.bytes()[8..] == 7_u64.to_be_bytes()));
    }
}
