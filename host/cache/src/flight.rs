//! Flights: identical calls wait for one execution.
//!
//! ```text
//! join --> Lead (the first caller, which runs the call) --- land --> all callers' answer
//!      \-> Waiter (each further caller) -------------------/   \--> dropped: each caller retries
//! ```
//!
//! Invariants:
//! * A key has one leader at a time.
//! * If a leader goes away, for any reason, the waiting callers notice.
//! * A caller that disconnects doesn't cancel the others; the last one to leave cancels the
//!   execution.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::key::Key;
use crate::result::CachedResult;

/// Number of independently locked parts.
const SHARDS: usize = 16;

/// The outcome of a flight, shared by all its callers.
#[derive(Debug)]
pub enum FlightOutcome<E> {
    /// The execution returned an answer.
    Answer(Arc<CachedResult<E>>),
    /// The execution failed in a way that applies to every caller.
    Failed(Arc<E>),
}

impl<E> Clone for FlightOutcome<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Answer(cached) => Self::Answer(Arc::clone(cached)),
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
        }
    }
}

/// One execution that several callers may wait for.
struct Flight<E> {
    outcome: OnceLock<FlightOutcome<E>>,
    /// Notified when the flight has landed or its leader has gone.
    over: Notify,
    is_over: AtomicBool,
    /// Callers that wait for the outcome, including the leader's own.
    waiters: AtomicUsize,
    /// Notified when the last of them leaves.
    deserted: Notify,
}

impl<E> Flight<E> {
    fn new() -> Self {
        Self {
            outcome: OnceLock::new(),
            over: Notify::new(),
            is_over: AtomicBool::new(false),
            waiters: AtomicUsize::new(0),
            deserted: Notify::new(),
        }
    }
}

/// All calls in flight, by key.
pub struct Flights<E>([Mutex<HashMap<Key, Arc<Flight<E>>>>; SHARDS]);

impl<E> Default for Flights<E> {
    fn default() -> Self {
        Self(Default::default())
    }
}

/// The role of a caller that joins.
pub enum FlightRole<E> {
    /// No flight was under way: the caller runs the call.
    Lead(Lead<E>),
    /// A flight is under way: the caller waits for it.
    Wait(Waiter<E>),
}

/// The right and the duty to run a call. Dropping it ends the flight.
pub struct Lead<E> {
    flights: Arc<Flights<E>>,
    key: Key,
    flight: Arc<Flight<E>>,
}

/// A caller that waits for a flight's outcome, until dropped.
pub struct Waiter<E>(Arc<Flight<E>>);

impl<E> Flights<E> {
    fn lock(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Arc<Flight<E>>>> {
        let [number, ..] = key.spread();
        self.0[number as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight of this key, or starts one.
    pub fn join(self: &Arc<Self>, key: Key) -> FlightRole<E> {
        match self.lock(&key).entry(key) {
            Entry::Occupied(entry) => FlightRole::Wait(Waiter::new(entry.get())),
            Entry::Vacant(entry) => {
                let flight = Arc::new(Flight::new());
                entry.insert(Arc::clone(&flight));
                FlightRole::Lead(Lead { flights: Arc::clone(self), key, flight })
            }
        }
    }
}

impl<E> Lead<E> {
    /// Delivers the outcome to all waiting callers.
    pub fn land(self, outcome: FlightOutcome<E>) {
        // There is one leader, and this consumes it.
        let _ = self.flight.outcome.set(outcome);
    }

    /// Registers the leader's own caller as one that waits.
    pub fn waiter(&self) -> Waiter<E> {
        Waiter::new(&self.flight)
    }

    /// Completes when the last waiting caller has left. At least one must have registered
    /// before.
    pub async fn deserted(&self) {
        loop {
            let deserted = self.flight.deserted.notified();
            if self.flight.waiters.load(Ordering::Acquire) == 0 {
                return;
            }
            deserted.await;
        }
    }
}

impl<E> Drop for Lead<E> {
    fn drop(&mut self) {
        // From here on new callers start a flight or find the cached result.
        self.flights.lock(&self.key).remove(&self.key);
        self.flight.is_over.store(true, Ordering::Release);
        self.flight.over.notify_waiters();
    }
}

impl<E> Waiter<E> {
    fn new(flight: &Arc<Flight<E>>) -> Self {
        flight.waiters.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(flight))
    }

    /// Waits for the outcome. Returns `None` if the flight ended without an outcome to share.
    pub async fn outcome(&self) -> Option<FlightOutcome<E>> {
        loop {
            // Register before checking, so that no notification is lost in between.
            let over = self.0.over.notified();
            if self.0.is_over.load(Ordering::Acquire) {
                return self.0.outcome.get().cloned();
            }
            over.await;
        }
    }
}

impl<E> Drop for Waiter<E> {
    fn drop(&mut self) {
        if self.0.waiters.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The permit is stored for a leader that isn't waiting yet.
            self.0.deserted.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use nebula_codec::{Flat, Input};
    use nebula_model::caching::Caching;
    use nebula_model::configuration::Configuration;
    use nebula_model::form::Form;
    use nebula_model::id::Digest;
    use nebula_model::limits::Limits;

    use super::*;
    use crate::key::FunctionKey;
    use crate::testing::Failed;

    fn key() -> Key {
        let function = FunctionKey::new(
            &Digest::of(b"component"),
            Form::Typed,
            &Limits::default(),
            &Caching::default(),
            &Configuration::default(),
        );
        function.of(&Input::Flat(Flat::Bytes, bytes::Bytes::new()), true)
    }

    fn lead(flights: &Arc<Flights<Failed>>) -> Lead<Failed> {
        match flights.join(key()) {
            FlightRole::Lead(lead) => lead,
            FlightRole::Wait(_) => panic!("another caller leads already"),
        }
    }

    fn wait(flights: &Arc<Flights<Failed>>) -> Waiter<Failed> {
        match flights.join(key()) {
            FlightRole::Wait(waiter) => waiter,
            FlightRole::Lead(_) => panic!("no caller leads"),
        }
    }

    #[tokio::test]
    async fn callers_during_a_flight_get_its_outcome() {
        let flights = Arc::default();
        let (lead, early) = (lead(&flights), wait(&flights));
        let waiting = tokio::spawn(async move { early.outcome().await });
        tokio::task::yield_now().await;
        let late = wait(&flights);
        lead.land(FlightOutcome::Failed(Arc::new(Failed)));
        assert!(matches!(waiting.await.unwrap(), Some(FlightOutcome::Failed(_))));
        assert!(matches!(late.outcome().await, Some(FlightOutcome::Failed(_))));
        // The flight is over, so the next caller leads.
        drop(super::tests::lead(&flights));
    }

    #[tokio::test]
    async fn waiting_callers_notice_a_leader_that_goes_away() {
        let flights = Arc::default();
        let (lead, waiting) = (lead(&flights), wait(&flights));
        let waiting = tokio::spawn(async move { waiting.outcome().await.is_none() });
        tokio::task::yield_now().await;
        drop(lead);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn flight_is_cancelled_when_the_last_caller_leaves() {
        let flights = Arc::default();
        let lead = lead(&flights);
        let (own, other) = (lead.waiter(), wait(&flights));
        let soon = std::time::Duration::from_millis(20);
        drop(own);
        assert!(tokio::time::timeout(soon, lead.deserted()).await.is_err());
        drop(other);
        lead.deserted().await;
    }
}
