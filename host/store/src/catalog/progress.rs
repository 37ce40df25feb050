//! The position that a catalog's view has reached, for threads that wait for the next one; and the
//! turn to write, for which a thread waits until a deadline.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Sequence;

/// The last record that the view includes. It only grows.
#[derive(Debug, Default)]
pub(super) struct Progress {
    applied: Mutex<Sequence>,
    advanced: Condvar,
}

impl Progress {
    pub(super) fn new(applied: Sequence) -> Self {
        Self { applied: Mutex::new(applied), advanced: Condvar::new() }
    }

    pub(super) fn applied(&self) -> Sequence {
        *lock(&self.applied)
    }

    pub(super) fn advance(&self, to: Sequence) {
        let mut applied = lock(&self.applied);
        if *applied < to {
            *applied = to;
            self.advanced.notify_all();
        }
    }

    /// Waits until the view is past `from`; false if it isn't at the deadline.
    pub(super) fn wait_past(&self, from: Sequence, deadline: Instant) -> bool {
        let applied = lock(&self.applied);
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.advanced.wait_timeout_while(applied, left, |applied| *applied <= from);
        *waited.unwrap_or_else(PoisonError::into_inner).0 > from
    }
}

/// The turn to write, which one thread has at a time.
#[derive(Debug, Default)]
pub(super) struct WriteTurn {
    is_taken: Mutex<bool>,
    returned: Condvar,
}

/// The turn of a thread. Dropping it ends the turn.
pub(super) struct Turn<'a>(&'a WriteTurn);

impl WriteTurn {
    /// Waits for the turn; `None` at the deadline.
    pub(super) fn take(&self, deadline: Instant) -> Option<Turn<'_>> {
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let waited = self.returned.wait_timeout_while(lock(&self.is_taken), left, |taken| *taken);
        let (mut is_taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *is_taken = true;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.is_taken) = false;
        self.0.returned.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
