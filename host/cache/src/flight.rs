//! Calls under way, so that those who ask the same wait for one execution.
//!
//! ```text
//! join --> Lead (the first: it runs the call) ----- land --> everybody's answer
//!      \-> Flight (whoever comes meanwhile) --------/   \--> dropped without: each tries again
//! ```
//!
//! Invariants:
//! * A key has one leader at a time.
//! * A leader that goes away, however it does, is noticed by those who wait.
//! * Whoever leaves takes nobody else along: a flight is given up when nobody is left who wants its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::Remembered;
use crate::key::Key;

/// Independently locked parts.
const SHARDS: usize = 16;

/// What came of a flight, for everybody.
#[derive(Debug)]
pub enum Landed<E> {
    /// The execution returned an answer.
    Answer(Arc<Remembered<E>>),
    /// It would fail for everybody.
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

/// One execution that others may wait for.
struct Flight<E> {
    landed: OnceLock<Landed<E>>,
    /// It has landed, or its leader has gone.
    over: Notify,
    is_over: AtomicBool,
    /// Who wants its answer, the leader's own caller among them.
    interested: AtomicUsize,
    /// Nobody does any more.
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

/// Everything under way, by key.
pub struct Flights<E>([Mutex<HashMap<Key, Arc<Flight<E>>>>; SHARDS]);

impl<E> Default for Flights<E> {
    fn default() -> Self {
        Self(Default::default())
    }
}

/// What joining comes to.
pub enum Joined<E> {
    /// Nobody was at it: run it.
    Lead(Lead<E>),
    /// Somebody is.
    Waits(Interest<E>),
}

/// The right and the duty to run a call. Dropping it ends the flight.
pub struct Lead<E> {
    flights: Arc<Flights<E>>,
    key: Key,
    flight: Arc<Flight<E>>,
}

/// Somebody wants a flight's answer, for as long as this is there.
pub struct Interest<E>(Arc<Flight<E>>);

impl<E> Flights<E> {
    fn lock(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Arc<Flight<E>>>> {
        let [number, ..] = key.spread();
        self.0[number as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the call of this key that is under way, or begins one.
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
    /// Everybody who waits has their answer.
    pub fn land(self, landed: Landed<E>) {
        // There is one leader, and this consumes it.
        let _ = self.flight.landed.set(landed);
    }

    /// The leader's own caller wants the answer too.
    pub fn interest(&self) -> Interest<E> {
        Interest::new(&self.flight)
    }

    /// Completes when nobody wants the answer any more. Somebody has to have wanted it.
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
        // From here on whoever asks begins anew, or finds what was remembered.
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

    /// What came of it; `None` if nothing did that is anybody else's too.
    pub async fn landed(&self) -> Option<Landed<E>> {
        loop {
            // Registered before it is looked at: nothing is missed in between.
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
            // Kept for a leader that isn't waiting yet.
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
    async fn who_comes_meanwhile_gets_the_same() {
        let flights = Arc::default();
        let (lead, early) = (lead(&flights), wait(&flights));
        let waiting = tokio::spawn(async move { early.landed().await });
        tokio::task::yield_now().await;
        let late = wait(&flights);
        lead.land(Landed::Failed(Arc::new(Failed)));
        assert!(matches!(waiting.await.unwrap(), Some(Landed::Failed(_))));
        assert!(matches!(late.landed().await, Some(Landed::Failed(_))));
        // It is over: the next begins anew.
        drop(super::tests::lead(&flights));
    }

    #[tokio::test]
    async fn a_leader_that_goes_away_is_noticed() {
        let flights = Arc::default();
        let (lead, waiting) = (lead(&flights), wait(&flights));
        let waiting = tokio::spawn(async move { waiting.landed().await.is_none() });
        tokio::task::yield_now().await;
        drop(lead);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_flight_is_given_up_when_nobody_wants_it() {
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
