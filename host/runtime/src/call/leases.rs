//! The end of leases. A lease ends when its result is stored, so that the hosts that wait for it find
//! the result.
//!
//! Invariant: one thread at a time flushes results for leases, and ends all leases that waited when
//! it began.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::peers::LeaseGuard;

/// The leases whose results are being stored.
#[derive(Default)]
pub(crate) struct EndingLeases(Mutex<State>);

#[derive(Default)]
struct State {
    guards: Vec<LeaseGuard>,
    /// A thread flushes results, and looks for guards after that.
    is_flushing: bool,
}

impl EndingLeases {
    /// Adds a lease. Returns whether the caller has to start a thread that [ends](Self::end_all) it.
    pub(crate) fn add(&self, lease: LeaseGuard) -> bool {
        let mut state = self.lock();
        state.guards.push(lease);
        !std::mem::replace(&mut state.is_flushing, true)
    }

    /// Ends all leases, after a call of `flush` that stores the results kept before.
    pub(crate) fn end_all(&self, flush: impl Fn()) {
        loop {
            let guards = {
                let mut state = self.lock();
                state.is_flushing = !state.guards.is_empty();
                std::mem::take(&mut state.guards)
            };
            if guards.is_empty() {
                return;
            }
            flush();
            drop(guards);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
