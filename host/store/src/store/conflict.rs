//! Repetition of a change that conflicts with others.

use std::time::Duration;

use super::error::{StoreError, StoreErrorKind};

/// The attempts to append a change at the log's end, while others append too.
const ATTEMPTS_MAX: u32 = 5;

/// The shortest wait after a conflict.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// The longest wait after a conflict. It is random, so that writers that conflicted don't meet
/// again.
const BACKOFF_MAX: Duration = Duration::from_millis(5);

/// An error that may mean that other changes came first.
pub trait MayConflict {
    /// Returns whether other changes came first, so that reading the names again may help.
    fn is_conflict(&self) -> bool;
}

impl MayConflict for StoreError {
    fn is_conflict(&self) -> bool {
        self.kind() == StoreErrorKind::Conflict
    }
}

/// Calls `attempt`, which reads names and changes them, until it doesn't conflict: five times at
/// most. Waits for some milliseconds in between.
///
/// # Errors
/// The error of the last attempt.
pub fn retry_conflicts<T, E: MayConflict>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for _ in 1..ATTEMPTS_MAX {
        match attempt() {
            Err(error) if error.is_conflict() => std::thread::sleep(backoff()),
            outcome => return outcome,
        }
    }
    attempt()
}

fn backoff() -> Duration {
    // Without random bytes it is the longest wait.
    let share = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    BACKOFF_MIN + (BACKOFF_MAX - BACKOFF_MIN).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{AppendError, Sequence};

    fn conflict() -> StoreError {
        AppendError::Conflict { last: Sequence::START }.into()
    }

    #[test]
    fn conflicts_are_retried_a_few_times() {
        let mut attempts = 0;
        let outcome = retry_conflicts(|| {
            attempts += 1;
            if attempts < ATTEMPTS_MAX { Err(conflict()) } else { Ok(()) }
        });
        assert!(outcome.is_ok() && attempts == ATTEMPTS_MAX);
        let mut attempts = 0;
        let outcome: Result<(), _> = retry_conflicts(|| {
            attempts += 1;
            Err(conflict())
        });
        assert!(outcome.unwrap_err().is_conflict() && attempts == ATTEMPTS_MAX);
    }

    #[test]
    fn backoff_stays_within_its_bounds() {
        assert!((0..100).all(|_| (BACKOFF_MIN..=BACKOFF_MAX).contains(&backoff())));
    }

    #[test]
    fn other_errors_are_not_retried() {
        let mut attempts = 0;
        let outcome: Result<(), StoreError> = retry_conflicts(|| {
            attempts += 1;
            Err(AppendError::DeadlineExceeded.into())
        });
        assert!(outcome.is_err() && attempts == 1);
    }
}
