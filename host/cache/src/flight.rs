//! Flights: identical calls wait for one execution.
//!
//! ```text
//! join --> Lead (the first caller, which runs the call) --- land --> all callers' answer
//!      \-> Interest (each further caller) -----------------/   \--> dropped: each caller retries
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

use super::Remembered;
use crate::key::Key;

/// Number of independently locked parts.
const SHARDS: usize = 16;

/// The outcome of a flight, shared by all its callers.
#[derive(Debug)]
pub enum Landed<E> {
    /// The execution returned an answer.
    Answer(Arc<Remembered<E>>),
    /// The execution failed in a way that applies to every caller.
    Failed(Arc<E>),
}

impl<E> Clone for Landed<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Answer(remembered) => Self::Answer(Arc::clone(remembered)),
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
        }
    }
}

/// One execution that several callers may wait for.
struct Flight<E> {
    landed: OnceLock<Landed<E>>,
    /// Notified when the flight has landed or its leader has gone.
    over: Notify,
    is_over: AtomicBool,
    /// Callers that want the answer, including the leader's own.
    interested: AtomicUsize,
    /// Notified when the last interested caller leaves.
    deserted: Notify,
}

impl<E> Flight<E> {
    fn new() -> Self {
        Self {
            landed: OnceLock::new(),
            over: Notify::new(),
            is_over: AtomicBool::new(false),
            interested: AtomicUsize::new(0),
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
pub enum Joined<E> {
    /// No flight was under way: the caller runs the call.
    Lead(Lead<E>),
    /// A flight is under way: the caller waits for it.
    Waits(Interest<E>),
}

/// The right and the duty to run a call. Dropping it ends the flight.
pub struct Lead<E> {
    flights: Arc<Flights<E>>,
    key: Key,
    flight: Arc<Flight<E>>,
}

/// A caller's interest in a flight's answer, until dropped.
pub struct Interest<E>(Arc<Flight<E>>);

impl<E> Flights<E> {
    fn lock(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Arc<Flight<E>>>> {
        let [number, ..] = key.spread();
        self.0[number as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight of this key, or starts one.
    pub fn join(self: &Arc<Self>, key: Key) -> Joined<E> {
        match self.lock(&key).entry(key) {
            Entry::Occupied(entry) => Joined::Waits(Interest::new(entry.get())),
            Entry::Vacant(entry) => {
                let flight = Arc::new(Flight::new());
                entry.insert(Arc::clone(&flight));
                Joined::Lead(Lead { flights: Arc::clone(self), key, flight })
            }
        }
    }
}

impl<E> Lead<E> {
    /// Delivers the outcome to all waiting callers.
    pub fn land(self, landed: Landed<E>) {
        // There is one leader, and this consumes it.
        let _ = self.flight.landed.set(landed);
    }

    /// Registers the interest of the leader's own caller.
    pub fn interest(&self) -> Interest<E> {
        Interest::new(&self.flight)
    }

    /// Completes when the last interested caller has left. At least one must have registered
    /// before.
    pub async fn deserted(&self) {
        loop {
            let deserted = self.flight.deserted.notified();
            if self.flight.interested.load(Ordering::Acquire) == 0 {
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

impl<E> Interest<E> {
    fn new(flight: &Arc<Flight<E>>) -> Self {
        flight.interested.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(flight))
    }

    /// Waits for the outcome. Returns `None` if the flight ended without an outcome to share.
    pub async fn landed(&self) -> Option<Landed<E>> {
        loop {
            // Register before checking, so that no notification is lost in between.
            let over = self.0.over.notified();
            if self.0.is_over.load(Ordering::Acquire) {
                return self.0.landed.get().cloned();
            }
            over.await;
        }
    }
}

impl<E> Drop for Interest<E> {
    fn drop(&mut self) {
        if self.0.interested.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The permit is stored for a leader that isn't waiting yet.
            self.0.deserted.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use nebula_codec::{Flat, Input};
    use nebula_model::form::Form;
    use nebula_model::id::Digest;
    use nebula_model::limits::Limits;
    use nebula_model::remember::Remember;

    use super::*;
    use crate::key::FunctionKey;
    use crate::tests::Failed;

    fn key() -> Key {
        let function = FunctionKey::new(
            &Digest::of(b"component"),
            Form::Typed,
            &Limits::default(),
            &Remember::default(),
        );
        function.of(&Input::Flat(Flat::Bytes, bytes::Bytes::new()), true)
    }

    fn lead(flights: &Arc<Flights<Failed>>) -> Lead<Failed> {
        match flights.join(key()) {
            Joined::Lead(lead) => lead,
            Joined::Waits(_) => panic!("somebody leads already"),
        }
    }

    fn wait(flights: &Arc<Flights<Failed>>) -> Interest<Failed> {
        match flights.join(key()) {
            Joined::Waits(interest) => interest,
            Joined::Lead(_) => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn callers_during_a_flight_get_its_outcome() {
        let flights = Arc::default();
        let (lead, early) = (lead(&flights), wait(&flights));
        let waiting = tokio::spawn(async move { early.landed().await });
        tokio::task::yield_now().await;
        let late = wait(&flights);
        lead.land(Landed::Failed(Arc::new(Failed)));
        assert!(matches!(waiting.await.unwrap(), Some(Landed::Failed(_))));
        assert!(matches!(late.landed().await, Some(Landed::Failed(_))));
        // The flight is over, so the next caller leads.
        drop(super::tests::lead(&flights));
    }

    #[tokio::test]
    async fn waiting_callers_notice_a_leader_that_goes_away() {
        let flights = Arc::default();
        let (lead, waiting) = (lead(&flights), wait(&flights));
        let waiting = tokio::spawn(async move { waiting.landed().await.is_none() });
        tokio::task::yield_now().await;
        drop(lead);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn flight_is_cancelled_when_the_last_caller_leaves() {
        let flights = Arc::default();
        let lead = lead(&flights);
        let (own, other) = (lead.interest(), wait(&flights));
        let soon = std::time::Duration::from_millis(20);
        drop(own);
        assert!(tokio::time::timeout(soon, lead.deserted()).await.is_err());
        drop(other);
        lead.deserted().await;
    }
}
