//! Fan-out: the pipeline's thread works through many parts, and idle cores help.
//!
//! ```text
//! parts: [done, done, running (this thread), running (a helper), waiting, …]
//!                                             next ---------------^
//! ```
//!
//! If the calls take long, the last parts are offered to other hosts, too: what a host computes,
//! this one finds in the shared store of results.
//!
//! A helper takes a slot on the compute lane like a call, but only a slot that no call waits for.
//! It leaves when a call waits. So a pipeline uses every idle core, within its function's share.
//!
//! Invariants:
//! * Parts start in order. After a failure no later part starts, and running later parts are
//!   cancelled, because they no longer matter. Earlier parts go on, as one of them may be the first
//!   that fails.
//! * The pipeline's thread waits only for helpers that already run.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nebula_engine::thread_time;
use nebula_pipeline::Value;

use super::evaluation::{End, Evaluation};
use super::run::{Calls, Purpose, Scope};
use crate::error::CallError;

/// Time for which one thread works alone: parts done by then need no help.
const ALONE: Duration = Duration::from_micros(100);

/// Interval at which it looks for helpers after that.
const LOOK: Duration = Duration::from_millis(1);

/// Most parts of one fan-out that are offered to other hosts.
const OFFERED_MAX: usize = 64;

struct FanOut {
    evaluation: Arc<Evaluation>,
    parts: Vec<Part>,
    next: AtomicUsize,
    /// Index of the first part that has failed so far.
    failed_at: Arc<AtomicUsize>,
    scope: Scope,
    /// Calls left when the fan-out started.
    calls_left: u64,
    /// Calls made by all parts so far.
    calls: AtomicU64,
    /// Memory of the values gathered so far, bytes.
    gathered: AtomicU64,
    helpers: Mutex<Helpers>,
    one_left: Condvar,
}

struct Part {
    node: usize,
    state: Mutex<State>,
}

enum State {
    Waits(Value),
    Runs,
    /// The outcome, and the number of calls that the part made.
    Done(Result<Value, End>, u64),
}

#[derive(Default)]
struct Helpers {
    /// Helpers that were started and haven't left.
    asked: usize,
    running: usize,
    /// No part is left to help with.
    closed: bool,
}

impl Evaluation {
    /// Evaluates each node with its value and returns the values in order.
    pub(super) fn fan_out(
        self: &Arc<Self>,
        work: impl Iterator<Item = (usize, Value)>,
        scope: &Scope,
    ) -> Result<Vec<Value>, End> {
        let part = |(node, value)| Part { node, state: Mutex::new(State::Waits(value)) };
        let parts: Vec<_> = work.map(part).collect();
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        self.check_room_for(parts.len())?;
        let fan_out = Arc::new(FanOut {
            evaluation: Arc::clone(self),
            parts,
            next: AtomicUsize::new(0),
            failed_at: Arc::new(AtomicUsize::new(usize::MAX)),
            scope: scope.clone(),
            calls_left: scope.calls.left(),
            calls: AtomicU64::new(0),
            gathered: AtomicU64::new(0),
            helpers: Mutex::default(),
            one_left: Condvar::new(),
        });
        fan_out.lead();
        fan_out.gather()
    }
}

impl Part {
    fn take(&self, next: State) -> State {
        std::mem::replace(&mut *self.lock(), next)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FanOut {
    /// Works through the parts, with helpers, until all are done.
    fn lead(self: &Arc<Self>) {
        let run = &self.evaluation.run;
        let helpers_max =
            run.runtime.executor().cores().saturating_sub(1).min(self.parts.len().saturating_sub(1));
        let is_long = self.evaluation.staged.steps.iter().any(|stage| stage.function.history().is_long());
        let mut look_at = Instant::now() + if is_long { Duration::ZERO } else { ALONE };
        let may_ask = matches!(run.purpose, Purpose::Answer);
        if may_ask && is_long {
            self.ask_for_help(helpers_max);
            self.offer_to_peers(helpers_max + 1);
        }
        while self.do_next() {
            if may_ask && Instant::now() >= look_at {
                self.ask_for_help(helpers_max);
                look_at = Instant::now() + LOOK;
            }
        }
        let mut helpers = self.lock();
        helpers.closed = true;
        while helpers.running > 0 {
            helpers = self.one_left.wait(helpers).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs the next part. Returns whether there may be further ones that matter.
    fn do_next(&self) -> bool {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(part) = self.parts.get(index) else { return false };
        // Parts start in order: if the earlier ones have spent the budget, one of them is the last
        // that counts.
        let is_spent = self.calls.load(Ordering::Relaxed) > self.calls_left
            || self.gathered.load(Ordering::Relaxed) > self.bytes_max();
        if self.failed_at.load(Ordering::Acquire) < index || is_spent {
            return false;
        }
        let State::Waits(value) = part.take(State::Runs) else { return true };
        let calls = Arc::new(Calls::up_to(self.calls_left));
        let cancel = self.scope.cancel.part(index, &self.failed_at);
        let scope = Scope { cancel, calls: Arc::clone(&calls), until: self.scope.until };
        let outcome =
            self.evaluation.check(&scope).and_then(|()| self.evaluation.eval(part.node, value, &scope));
        if let Ok(value) = &outcome {
            self.gathered.fetch_add(value.bytes(), Ordering::Relaxed);
        }
        let failed = outcome.is_err();
        self.calls.fetch_add(calls.spent(), Ordering::Relaxed);
        part.take(State::Done(outcome, calls.spent()));
        if failed {
            self.failed_at.fetch_min(index, Ordering::AcqRel);
        }
        true
    }

    fn bytes_max(&self) -> u64 {
        self.evaluation.function.limits().memory_bytes_max
    }

    /// Returns the values in order, or the first failure. The parts' spending is added up in order,
    /// too: parts that don't matter aren't counted.
    fn gather(&self) -> Result<Vec<Value>, End> {
        let mut values = Vec::with_capacity(self.parts.len());
        let (calls, max, mut gathered) = (&self.scope.calls, self.bytes_max(), 0_u64);
        let too_large = || End::Own(CallError::PipelineLimit { limit: "memory", max });
        for part in &self.parts {
            match part.take(State::Runs) {
                State::Done(outcome, spent) => {
                    if !calls.spend(spent) {
                        return Err(self.evaluation.too_many_calls());
                    }
                    let value = outcome?;
                    gathered = gathered.saturating_add(value.bytes());
                    if gathered > max {
                        return Err(too_large());
                    }
                    values.push(value);
                }
                // Not started, because earlier parts have spent the budget: all calls, or else all
                // memory.
                State::Waits(_) if self.calls.load(Ordering::Relaxed) > self.calls_left => {
                    return Err(self.evaluation.too_many_calls());
                }
                State::Waits(_) => return Err(too_large()),
                State::Runs => {
                    let lost = "a thread that helped has ended".to_owned();
                    return Err(End::Own(CallError::Internal(lost)));
                }
            }
        }
        Ok(values)
    }

    /// Starts helpers on idle cores, at most `helpers_max`.
    fn ask_for_help(self: &Arc<Self>, helpers_max: usize) {
        let run = &self.evaluation.run;
        loop {
            let left = self.parts.len().saturating_sub(self.next.load(Ordering::Relaxed));
            let mut helpers = self.lock();
            if left == 0 || helpers.asked >= helpers_max {
                return;
            }
            let Some(slot) = run.runtime.executor().lane().idle_slot(run.function.share()) else { return };
            helpers.asked += 1;
            drop(helpers);
            let fan_out = Arc::clone(self);
            run.runtime.executor().lane().spawn(move || {
                let _slot = slot;
                fan_out.help();
            });
        }
    }

    /// Offers the last parts to idle hosts. This host works from the front, and keeps at least
    /// `kept` parts for its own threads.
    fn offer_to_peers(&self, kept: usize) {
        let evaluation = &self.evaluation;
        let peers = evaluation.run.runtime.peers();
        if !evaluation.run.may_offer || !peers.has_peers() {
            return;
        }
        let parts = self.parts.iter().skip(kept).rev().take(OFFERED_MAX);
        let calls: Vec<_> = parts
            .filter_map(|part| match &*part.lock() {
                State::Waits(value) => evaluation.first_call(part.node, value),
                State::Runs | State::Done(..) => None,
            })
            .collect();
        peers.offer(calls);
    }

    fn help(&self) {
        let _helper = match Helper::begin(self) {
            Some(helper) => helper,
            None => return,
        };
        let (run, before) = (&self.evaluation.run, thread_time());
        while self.do_next() && !run.runtime.executor().lane().is_waited_for() {}
        let spent = thread_time().saturating_sub(before);
        run.helped_ns.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Helpers> {
        self.helpers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A helper thread, until dropped: also when it panics.
struct Helper<'a>(&'a FanOut);

impl<'a> Helper<'a> {
    fn begin(fan_out: &'a FanOut) -> Option<Self> {
        let mut helpers = fan_out.lock();
        if helpers.closed {
            return None;
        }
        helpers.running += 1;
        drop(helpers);
        Some(Self(fan_out))
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        let mut helpers = self.0.lock();
        helpers.running -= 1;
        helpers.asked -= 1;
        drop(helpers);
        self.0.one_left.notify_all();
    }
}
