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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::Remembered;
use crate::error::CallError;
use crate::key::Key;

/// Independently locked parts.
const SHARDS: usize = 16;

/// What came of a flight, for everybody.
#[derive(Clone, Debug)]
pub(crate) enum Landed {
    Answer(Arc<Remembered>),
    /// It would fail for everybody.
    Failed(Arc<CallError>),
}

/// One execution that others may wait for.
#[derive(Default)]
pub(crate) struct Flight {
    landed: OnceLock<Landed>,
    /// It has landed, or its leader has gone.
    over: Notify,
    is_over: std::sync::atomic::AtomicBool,
    /// Who wants its answer, the leader's own caller among them.
    interested: AtomicUsize,
    /// Nobody does any more.
    deserted: Notify,
}

/// Everything under way, by key.
#[derive(Default)]
pub(crate) struct Flights([Mutex<HashMap<Key, Arc<Flight>>>; SHARDS]);

/// What joining comes to.
pub(crate) enum Joined {
    /// Nobody was at it: run it.
    Lead(Lead),
    /// Somebody is.
    Waits(Interest),
}

/// The right and the duty to run a call. Dropping it ends the flight.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
}

/// Somebody wants a flight's answer, for as long as this is there.
pub(crate) struct Interest(Arc<Flight>);

impl Flights {
    fn lock(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        let [number, ..] = key.spread();
        self.0[number as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the call of this key that is under way, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: Key) -> Joined {
        match self.lock(&key).entry(key) {
            Entry::Occupied(entry) => Joined::Waits(Interest::new(entry.get())),
            Entry::Vacant(entry) => {
                let flight = Arc::<Flight>::default();
                entry.insert(Arc::clone(&flight));
                Joined::Lead(Lead { flights: Arc::clone(self), key, flight })
            }
        }
    }
}

impl Lead {
    /// Everybody who waits has their answer.
    pub(crate) fn land(self, landed: Landed) {
        // There is one leader, and this consumes it.
        let _ = self.flight.landed.set(landed);
    }

    /// The leader's own caller wants the answer too.
    pub(crate) fn interest(&self) -> Interest {
        Interest::new(&self.flight)
    }

    /// Completes when nobody wants the answer any more. Somebody has to have wanted it.
    pub(crate) async fn deserted(&self) {
        loop {
            let deserted = self.flight.deserted.notified();
            if self.flight.interested.load(Ordering::Acquire) == 0 {
                return;
            }
            deserted.await;
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // From here on whoever asks begins anew, or finds what was remembered.
        self.flights.lock(&self.key).remove(&self.key);
        self.flight.is_over.store(true, Ordering::Release);
        self.flight.over.notify_waiters();
    }
}

impl Interest {
    fn new(flight: &Arc<Flight>) -> Self {
        flight.interested.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(flight))
    }

    /// What came of it; `None` if nothing did that is anybody else's too.
    pub(crate) async fn landed(&self) -> Option<Landed> {
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

impl Drop for Interest {
    fn drop(&mut self) {
        if self.0.interested.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Kept for a leader that isn't waiting yet.
            self.0.deserted.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Flat, Form, Input};
    use crate::id::Digest;
    use crate::key::FunctionKey;
    use crate::limits::Limits;
    use crate::remember::Remember;

    fn key() -> Key {
        let function = FunctionKey::new(
            &Digest::of(b"component"),
            Form::Typed,
            &Limits::default(),
            &Remember::default(),
        );
        function.of(&Input::Flat(Flat::Bytes, bytes::Bytes::new()), true)
    }

    fn lead(flights: &Arc<Flights>) -> Lead {
        match flights.join(key()) {
            Joined::Lead(lead) => lead,
            Joined::Waits(_) => panic!("somebody leads already"),
        }
    }

    fn wait(flights: &Arc<Flights>) -> Interest {
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
        lead.land(Landed::Failed(Arc::new(CallError::NoSlot)));
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
