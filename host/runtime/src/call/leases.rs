//! The end of leases. A lease ends when its result is stored, so that the hosts that wait for it find
//! the result.
//!
//! Invariant: one thread at a time flushes results for leases, and ends all leases that waited when
//! it began.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::peers::LeaseGuard;
use crate::runtime::Runtime;

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
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime {
    /// Ends a lease when the results kept so far are stored, or when that takes too long.
    pub(crate) fn release_when_stored(&self, lease: LeaseGuard) {
        if !lease.is_shared() {
            return;
        }
        let is_flushing = {
            let mut state = self.ending_leases().lock();
            state.guards.push(lease);
            std::mem::replace(&mut state.is_flushing, true)
        };
        if !is_flushing {
            let runtime = self.clone();
            tokio::task::spawn_blocking(move || runtime.flush_leases());
        }
    }

    fn flush_leases(&self) {
        loop {
            let guards = {
                let mut state = self.ending_leases().lock();
                state.is_flushing = !state.guards.is_empty();
                std::mem::take(&mut state.guards)
            };
            if guards.is_empty() {
                return;
            }
            self.flush_for_peers();
            drop(guards);
        }
    }
}
