//! Signing in to the console by a link: its code, which works once.
//!
//! Invariant: a code is 128 random bits, works once, and only its SHA-256 is kept, in memory.
//!
//! Sign-ins that fail aren't bounded: secrets are too long to try out, and a bound would let anybody
//! who reaches the control plane keep its operators out.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nebula_runtime::id::Digest;
use subtle::ConstantTimeEq;

/// The time for which the code of a link works, seconds.
pub(super) const CODE_S_MAX: u64 = 10 * 60;

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
}
