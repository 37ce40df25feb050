//! The sessions of the console: signed-in browsers.
//!
//! ```text
//! a token, or the code of a link --(sign in)--> an id, in a cookie --(each request)--> the token
//! ```
//!
//! A session holds the digest of its token's secret, and `access` looks the token up with each
//! request. So a session ends when its token is revoked or expires, and permits what the token does.
//!
//! Invariants:
//! * An id is 256 random bits, and only its SHA-256 is kept, in memory.
//! * A session ends after [`IDLE_S_MAX`] without a request. Nothing runs for that: it is looked at
//!   when a request has the id, or when there are too many.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nebula_runtime::id::Digest;

/// The longest time without a request, seconds.
pub(super) const IDLE_S_MAX: u64 = 12 * 60 * 60;

/// The most sessions of a token. One more ends the one that was idle for longest, so that the holder of
/// one token doesn't sign others out.
const SESSIONS_OF_TOKEN_MAX: usize = 32;

/// The most sessions of a server. One more ends the one that was idle for longest.
const SESSIONS_MAX: usize = 1024;

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Digest, Session>>);

struct Session {
    /// The digest of the token's secret.
    token: Digest,
    last_request_unix_s: u64,
}

impl Session {
    fn is_over(&self, now_unix_s: u64) -> bool {
        now_unix_s.saturating_sub(self.last_request_unix_s) > IDLE_S_MAX
    }
}

impl Sessions {
    /// Begins a session for the token whose secret has this digest, and returns its id.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(super) fn begin(&self, token: Digest, now_unix_s: u64) -> io::Result<String> {
        let mut id = [0; 32];
        getrandom::fill(&mut id)?;
        let id = hex::encode(id);
        let mut sessions = self.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| !session.is_over(now_unix_s));
        }
        if sessions.values().filter(|session| session.token == token).count() >= SESSIONS_OF_TOKEN_MAX {
            end_idlest(&mut sessions, |session| session.token == token);
        }
        if sessions.len() >= SESSIONS_MAX {
            end_idlest(&mut sessions, |_| true);
        }
        let session = Session { token, last_request_unix_s: now_unix_s };
        sessions.insert(Digest::of(id.as_bytes()), session);
        Ok(id)
    }

    /// Returns the token of a session that isn't over, and records the request.
    pub(super) fn token_of(&self, id: &str, now_unix_s: u64) -> Option<Digest> {
        let id = Digest::of(id.as_bytes());
        let mut sessions = self.lock();
        let session = sessions.get_mut(&id)?;
        if session.is_over(now_unix_s) {
            sessions.remove(&id);
            return None;
        }
        session.last_request_unix_s = now_unix_s;
        Some(session.token)
    }

    /// Ends a session, and returns whether there was one.
    pub(super) fn end(&self, id: &str) -> bool {
        self.lock().remove(&Digest::of(id.as_bytes())).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the session that was idle for longest among those that `is_one` chooses.
fn end_idlest(sessions: &mut HashMap<Digest, Session>, is_one: impl Fn(&Session) -> bool) {
    let chosen = sessions.iter().filter(|(_, session)| is_one(session));
    let idlest = chosen.min_by_key(|(_, session)| session.last_request_unix_s).map(|(id, _)| *id);
    if let Some(idlest) = idlest {
        sessions.remove(&idlest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn a_session_lasts_while_requests_come() {
        let sessions = Sessions::default();
        let (one, other) =
            (sessions.begin(token("a"), 100).unwrap(), sessions.begin(token("b"), 100).unwrap());
        assert!(one.len() == 64 && one != other, "{one} {other}");
        assert!(!sessions.lock().contains_key(&Digest::of(b"")) && sessions.token_of("", 100).is_none());
        for request in 1..5 {
            assert_eq!(sessions.token_of(&one, 100 + request * IDLE_S_MAX), Some(token("a")));
        }
        // The other one had no request in this time.
        assert_eq!(sessions.token_of(&other, 101 + IDLE_S_MAX), None);
        assert!(sessions.end(&one) && !sessions.end(&one) && !sessions.end(&other));
        assert_eq!(sessions.token_of(&one, 100 + 4 * IDLE_S_MAX), None);
    }

    #[test]
    fn the_session_that_is_idle_for_longest_makes_room() {
        let sessions = Sessions::default();
        // Each token has as many as it may have.
        let token_of = |n: u64| token(&(n / SESSIONS_OF_TOKEN_MAX as u64).to_string());
        let ids: Vec<_> = (0..SESSIONS_MAX as u64).map(|n| sessions.begin(token_of(n), n).unwrap()).collect();
        assert!(sessions.token_of(&ids[0], 5000).is_some());
        let more = sessions.begin(token("a"), 5000).unwrap();
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
        assert!(sessions.token_of(&ids[1], 5000).is_none());
        for kept in [&ids[0], &ids[2], &more] {
            assert!(sessions.token_of(kept, 5000).is_some());
        }
        // One more of a token ends one of that token.
        sessions.begin(token_of(100), 5000).unwrap();
        assert!(sessions.token_of(&ids[96], 5000).is_none() && sessions.token_of(&ids[2], 5000).is_some());
        // Sessions that are over go first, and all at once.
        sessions.begin(token("a"), 5001 + IDLE_S_MAX).unwrap();
        assert_eq!(sessions.lock().len(), 1);
    }
}
