//! The idle time of a shard: it resets the last slot and prepares instances before the thread
//! sleeps, and drops more and more while no call comes.
//!
//! Invariant: an idle shard has no timer once everything has been dropped.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use nebula_engine::Allowance;
use nebula_model::record::VersionRecord;

use super::{Inner, RoutedFunction, Shard, State};

/// Most prepared instances of one function.
const READY_PER_FUNCTION_MAX: usize = 1;

/// Longest time to prepare an instance, so that the next request isn't delayed for longer.
const PREPARE_MAX: Duration = Duration::from_micros(200);

/// Prepared instances of a function are dropped after this long without a call of it.
const REST: Duration = Duration::from_secs(2);

/// Everything is dropped after this much longer without any call.
const DROP_ALL_AFTER: Duration = Duration::from_secs(20);

impl Shard {
    /// Resets the slot used last, and prepares an instance for each function called since. Call it
    /// before the thread sleeps, when the answers are on the wire.
    ///
    /// A busy shard prepares nothing: an instance used as soon as it is created is still in the
    /// cache, one that waited while a request was received isn't. (Echo over 32 connections: 13 us
    /// of processor time a request with this rule, 15 us without.)
    pub fn tidy(&self) {
        let (spent, touched, is_busy) = {
            let mut state = self.lock();
            (state.spent.take(), std::mem::take(&mut state.touched), state.is_busy)
        };
        drop(spent);
        for routed in touched {
            if is_busy {
                routed.lock().touched = false;
            } else {
                self.make_ready(&routed);
            }
        }
    }

    fn make_ready(&self, routed: &RoutedFunction) {
        // One slot belongs to the running call and is reset before the next call begins.
        let is_full = self.lock().ready + 1 >= self.0.runtime.executor().instances_max();
        let mut own = routed.lock();
        own.touched = false;
        if is_full
            || own.ready.len() >= READY_PER_FUNCTION_MAX
            || own.slow_to_start
            || own.retired
            || routed.history().is_long()
        {
            return;
        }
        // Unloaded since, or dropped for lack of calls: the next call loads it again.
        let Some(loaded) = own.loaded.upgrade() else { return };
        let begun = Instant::now();
        let ticking = loaded.begin();
        let allowance = Allowance::fast(begun + PREPARE_MAX);
        let VersionRecord { digest, config, .. } = &routed.record;
        let prepared = loaded.prepare(&ticking, digest.bytes(), routed.limits(), config, allowance);
        own.slow_to_start = begun.elapsed() > PREPARE_MAX;
        match prepared {
            Ok(ready) => {
                own.ready.push(ready);
                // The locks are never both taken in the other order.
                drop(own);
                self.lock().ready += 1;
            }
            // The call itself reports the error.
            Err(_) => own.slow_to_start = true,
        }
    }

    /// Starts the task that waits for calls to stop, unless it runs.
    pub(super) fn watch_for_rest(&self, state: &mut State) {
        if !std::mem::replace(&mut state.resting, true) {
            self.0.runtime.executor().wake();
            tokio::spawn(rest(Arc::downgrade(&self.0)));
        }
    }
}

/// Waits until no call has come for a while, then drops more and more of the shard's state.
async fn rest(shard: Weak<Inner>) {
    let mut seen = None;
    loop {
        tokio::time::sleep(REST).await;
        let Some(inner) = shard.upgrade() else { return };
        let calls = {
            let mut state = inner.lock();
            // Calls of other functions don't keep a function's prepared instances.
            state.drop_uncalled();
            state.calls
        };
        if let Some(unused) = inner.runtime.executor().take_unused() {
            // Unmapping many components would hold up calls.
            tokio::task::spawn_blocking(move || drop(unused));
        }
        drop(inner);
        if seen.replace(calls) != Some(calls) {
            continue;
        }
        tokio::time::sleep(DROP_ALL_AFTER).await;
        let Some(inner) = shard.upgrade() else { return };
        let mut state = inner.lock();
        if state.calls == calls {
            inner.drop_routes(&mut state);
            state.resting = false;
            drop(state);
            inner.pool.clear();
            if let Some(Some(pool)) = inner.fused_pool.get() {
                pool.clear();
            }
            // The last shard to rest drops what all shards share.
            if inner.runtime.executor().rest() {
                inner.runtime.drop_unused();
            }
            return;
        }
    }
}

impl State {
    /// Drops the prepared instances of functions that weren't called since the last time.
    fn drop_uncalled(&mut self) {
        self.spent = None;
        if self.ready == 0 && !self.some_staged {
            return;
        }
        self.some_staged = false;
        for routed in self.routes.values() {
            let mut own = routed.lock();
            if std::mem::take(&mut own.called) {
                self.some_staged |= own.staged.is_some();
            } else {
                self.ready -= std::mem::take(&mut own.ready).len();
                own.staged = None;
            }
        }
    }

    pub(super) fn drop_ready(&mut self) {
        self.spent = None;
        for routed in self.routes.values() {
            self.ready -= std::mem::take(&mut routed.lock().ready).len();
        }
    }
}
