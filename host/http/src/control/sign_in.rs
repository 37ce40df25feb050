//! Signing in to the console: the code of a link that works once, and the bound on failures.
//!
//! Invariants:
//! * A code is 128 random bits, works once, and only its SHA-256 is kept, in memory.
//! * Once [`FAILURES_MAX`] sign-ins have failed within [`WINDOW_S`], every further one is refused
//!   without a look at its secret, until that time is over. So no client can try out many secrets,
//!   also if an operator has chosen a short one.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nebula_runtime::id::Digest;
use subtle::ConstantTimeEq;

/// The time for which the code of a link works, seconds.
pub(super) const CODE_S_MAX: u64 = 10 * 60;

/// The failures in each [`WINDOW_S`].
const FAILURES_MAX: u32 = 20;

/// The time over which failures are counted, seconds.
const WINDOW_S: u64 = 60;

/// The code of the last link.
#[derive(Default)]
pub(super) struct LinkCode(Mutex<Option<UnusedCode>>);

struct UnusedCode {
    digest: Digest,
    made_at_unix_s: u64,
}

impl LinkCode {
    /// Makes a code. The one before stops working.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(super) fn renew(&self, now_unix_s: u64) -> io::Result<String> {
        let mut code = [0; 16];
        getrandom::fill(&mut code)?;
        let code = hex::encode(code);
        *self.lock() = Some(UnusedCode { digest: Digest::of(code.as_bytes()), made_at_unix_s: now_unix_s });
        Ok(code)
    }

    /// Returns whether `code` works, which ends it.
    pub(super) fn redeem(&self, code: &str, now_unix_s: u64) -> bool {
        let digest = Digest::of(code.as_bytes());
        let is_it = |unused: &mut UnusedCode| unused.digest.bytes().ct_eq(digest.bytes()).into();
        let redeemed = self.lock().take_if(is_it);
        redeemed.is_some_and(|code| now_unix_s.saturating_sub(code.made_at_unix_s) <= CODE_S_MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Option<UnusedCode>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sign-ins that failed lately.
#[derive(Default)]
pub(super) struct FailedSignIns(Mutex<Window>);

#[derive(Default)]
struct Window {
    began_unix_s: u64,
    failures: u32,
}

impl FailedSignIns {
    /// Checks that another sign-in may be tried.
    ///
    /// # Errors
    /// The time after which it may, seconds.
    pub(super) fn check(&self, now_unix_s: u64) -> Result<(), u64> {
        let window = self.window(now_unix_s);
        if window.failures < FAILURES_MAX {
            return Ok(());
        }
        Err((window.began_unix_s + WINDOW_S).saturating_sub(now_unix_s).max(1))
    }

    /// Counts a failure.
    pub(super) fn count(&self, now_unix_s: u64) {
        self.window(now_unix_s).failures += 1;
    }

    fn window(&self, now_unix_s: u64) -> MutexGuard<'_, Window> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins a new window, too.
        if now_unix_s.wrapping_sub(window.began_unix_s) >= WINDOW_S {
            *window = Window { began_unix_s: now_unix_s, failures: 0 };
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_for_some_minutes() {
        let codes = LinkCode::default();
        assert!(!codes.redeem("", 0));
        let code = codes.renew(100).unwrap();
        assert_eq!(code.len(), 32);
        assert!(!codes.redeem(&code[1..], 100) && !codes.redeem(&code.to_uppercase(), 100));
        assert!(codes.redeem(&code, 100 + CODE_S_MAX));
        assert!(!codes.redeem(&code, 100));
        let late = codes.renew(100).unwrap();
        assert!(!codes.redeem(&late, 101 + CODE_S_MAX));
        let (before, last) = (codes.renew(100).unwrap(), codes.renew(100).unwrap());
        assert!(!codes.redeem(&before, 100) && codes.redeem(&last, 100));
    }

    #[test]
    fn failures_are_bounded_in_each_window() {
        let failed = FailedSignIns::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(failed.check(1000), Ok(()));
            failed.count(1000);
        }
        assert_eq!(failed.check(1000), Err(WINDOW_S));
        assert_eq!(failed.check(1000 + WINDOW_S - 1), Err(1));
        assert_eq!(failed.check(1000 + WINDOW_S), Ok(()));
        failed.count(1000 + WINDOW_S);
        // The clock is set back.
        assert_eq!(failed.check(5), Ok(()));
    }
}
