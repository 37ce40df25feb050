//! The tokens that the control plane accepts, and what each permits.
//!
//! The built-in token is that of the file `token` in the data directory. It has the scope `admin`,
//! and is listed under a name that no other token can have. The others are named: requests create
//! and revoke them. A browser has a session in place of a token: `sign_in` and `sessions` are used here
//! alone.
//!
//! Invariants:
//! * A token is compared by the SHA-256 of its secret and in constant time.
//! * A request is admitted without reading a file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use nebula_runtime::id::Digest;
use nebula_runtime::now_unix_us;
use nebula_runtime::token::{TokenName, TokenRecord, TokenScope};
use nebula_runtime::tokens::{
    InsertTokenError, LastUse, NamedToken, NamedTokens, OpenTokensError, RemoveTokenError,
};
use subtle::ConstantTimeEq;

use super::sessions::Sessions;
use super::sign_in::{CODE_S_MAX, LinkCode};
use super::token::{Token, TokenError};

/// The name under which the built-in token is listed.
pub(super) const BUILT_IN: &str = "token-file";

/// The longest life of a token that expires, seconds: a hundred years.
pub(super) const EXPIRES_IN_S_MAX: u64 = 100 * 366 * 24 * 60 * 60;

/// The tokens that the control plane accepts.
#[derive(Clone)]
pub struct Access(Arc<Tokens>);

struct Tokens {
    built_in: BuiltInToken,
    named: NamedTokens,
    sessions: Sessions,
    link_code: LinkCode,
}

/// The token of the file in the data directory.
pub(super) struct BuiltInToken {
    digest: Digest,
    pub(super) last_use: LastUse,
}

/// The tokens of a data directory can't be read or made.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The built-in token can't be read or made.
    #[error(transparent)]
    BuiltIn(#[from] TokenError),
    /// The named tokens can't be read.
    #[error(transparent)]
    Named(#[from] OpenTokensError),
}

/// The token that a request has, or its session, which is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The token's name.
    pub(super) name: String,
    pub(super) scope: TokenScope,
    /// The time at which the token expires, seconds since the Unix epoch.
    pub(super) expires_at_unix_s: Option<u64>,
}

/// Why a request has no valid token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoHolder {
    /// It has no bearer token.
    Missing,
    /// Its token is unknown: it never existed or was revoked.
    Unknown,
    /// Its token has expired.
    Expired {
        /// The token's name.
        name: TokenName,
        /// The time at which it expired, seconds since the Unix epoch.
        at_unix_s: u64,
    },
    /// Its session is over.
    SessionOver,
}

/// A session that has begun. It implements no `Debug`, so that nothing prints the id.
pub(super) struct NewSession {
    pub(super) holder: Holder,
    pub(super) id: String,
}

/// Why a browser isn't signed in.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignInError {
    /// The token isn't valid.
    #[error("the token isn't valid")]
    Token(NoHolder),
    /// The code isn't that of a link that works.
    #[error(
        "this link works once, within {} minutes: sign in with the token in the file `token` of the server's data \
         directory, or restart `nebula up` for another link", CODE_S_MAX / 60
    )]
    Link,
    /// The system gives no random bytes.
    #[error("no random bytes for a session")]
    Random(#[source] io::Error),
}

/// A token that was created. The secret is nowhere else.
pub(super) struct NewToken {
    pub(super) record: TokenRecord,
    pub(super) secret: Token,
}

/// Why a token can't be created.
#[derive(Debug, thiserror::Error)]
pub(super) enum CreateTokenError {
    /// The name is that of the built-in token.
    #[error("`{BUILT_IN}` is the name of the token in the server's data directory")]
    Reserved,
    /// The life is empty or too long.
    #[error("a token expires after 1 to {EXPIRES_IN_S_MAX} seconds, or never")]
    Expiry,
    /// The system gives no random bytes.
    #[error("no random bytes for a secret")]
    Random(#[source] io::Error),
    /// It can't be added.
    #[error(transparent)]
    Insert(#[from] InsertTokenError),
}

/// Why a token can't be revoked.
#[derive(Debug, thiserror::Error)]
pub(super) enum RevokeTokenError {
    /// It is the built-in token.
    #[error(
        "`{BUILT_IN}` is the token in the server's data directory: to replace it, delete the file `token` there and \
         restart the server"
    )]
    BuiltIn,
    /// It can't be removed.
    #[error(transparent)]
    Remove(#[from] RemoveTokenError),
}

impl Access {
    /// Reads the tokens of a data directory, which this process has open. Makes the built-in one if
    /// there is none.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn open(data_dir: &Path) -> Result<Self, AccessError> {
        let built_in = Token::read_or_make(data_dir)?;
        let built_in = BuiltInToken { digest: built_in.digest(), last_use: LastUse::default() };
        Ok(Self(Arc::new(Tokens {
            built_in,
            named: NamedTokens::open(data_dir)?,
            sessions: Sessions::default(),
            link_code: LinkCode::default(),
        })))
    }

    /// Returns a code that signs one browser in with the built-in token, within ten minutes. The one
    /// before stops working.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn sign_in_code(&self) -> io::Result<String> {
        self.0.link_code.renew(now_unix_s())
    }

    /// Returns the holder of the token in an `Authorization` header, and records the use.
    pub(super) fn holder(&self, authorization: Option<&str>, now_unix_s: u64) -> Result<Holder, NoHolder> {
        let token = authorization.and_then(Token::of_authorization).ok_or(NoHolder::Missing)?;
        self.holder_of(&token.digest(), now_unix_s)
    }

    /// Returns the holder of the token with this digest, and records the use.
    fn holder_of(&self, digest: &Digest, now_unix_s: u64) -> Result<Holder, NoHolder> {
        let Tokens { built_in, named, .. } = &*self.0;
        let named = named.find(digest);
        if built_in.digest.bytes().ct_eq(digest.bytes()).into() {
            built_in.last_use.record(now_unix_s);
            let name = BUILT_IN.to_owned();
            return Ok(Holder { name, scope: TokenScope::Admin, expires_at_unix_s: None });
        }
        let token = named.ok_or(NoHolder::Unknown)?;
        let TokenRecord { name, scope, expires_at_unix_s, .. } = &token.record;
        match *expires_at_unix_s {
            Some(at_unix_s) if token.record.is_expired(now_unix_s) => {
                Err(NoHolder::Expired { name: name.clone(), at_unix_s })
            }
            _ => {
                token.last_use().record(now_unix_s);
                let (name, expires_at_unix_s) = (name.to_string(), *expires_at_unix_s);
                Ok(Holder { name, scope: *scope, expires_at_unix_s })
            }
        }
    }

    /// Returns the holder of the first session with one of these ids, and records the use.
    pub(super) fn holder_of_session<'a>(
        &self,
        mut ids: impl Iterator<Item = &'a str>,
        now_unix_s: u64,
    ) -> Result<Holder, NoHolder> {
        let holder = ids.find_map(|id| {
            let token = self.0.sessions.token_of(id, now_unix_s)?;
            let holder = self.holder_of(&token, now_unix_s);
            if holder.is_err() {
                self.0.sessions.end(id);
            }
            holder.ok()
        });
        holder.ok_or(NoHolder::SessionOver)
    }

    /// Begins a session for a token.
    pub(super) fn sign_in(&self, secret: &str, now_unix_s: u64) -> Result<NewSession, SignInError> {
        let token = Token::parse(secret).ok_or(SignInError::Token(NoHolder::Unknown))?;
        self.begin_session(token.digest(), now_unix_s)
    }

    /// Begins a session for the built-in token, with the code of a link.
    pub(super) fn sign_in_by_link(&self, code: &str, now_unix_s: u64) -> Result<NewSession, SignInError> {
        if !self.0.link_code.redeem(code, now_unix_s) {
            return Err(SignInError::Link);
        }
        self.begin_session(self.0.built_in.digest, now_unix_s)
    }

    /// Begins a session for the token whose secret has this digest, if it is valid.
    fn begin_session(&self, token: Digest, now_unix_s: u64) -> Result<NewSession, SignInError> {
        let holder = self.holder_of(&token, now_unix_s).map_err(SignInError::Token)?;
        let id = self.0.sessions.begin(token, now_unix_s).map_err(SignInError::Random)?;
        Ok(NewSession { holder, id })
    }

    /// Ends the sessions with these ids, and returns whether there was one.
    pub(super) fn sign_out(&self, ids: &[String]) -> bool {
        ids.iter().filter(|id| self.0.sessions.end(id)).count() > 0
    }

    /// Returns the built-in token.
    pub(super) fn built_in(&self) -> &BuiltInToken {
        &self.0.built_in
    }

    /// Returns the named tokens, oldest first.
    pub(super) fn named(&self) -> Arc<Vec<Arc<NamedToken>>> {
        self.0.named.list()
    }

    /// Creates a token. Waits for the disk.
    pub(super) fn create(
        &self,
        name: TokenName,
        scope: TokenScope,
        expires_in_s: Option<u64>,
        now_unix_s: u64,
    ) -> Result<NewToken, CreateTokenError> {
        if name.as_str() == BUILT_IN {
            return Err(CreateTokenError::Reserved);
        }
        if expires_in_s.is_some_and(|expires_in_s| !(1..=EXPIRES_IN_S_MAX).contains(&expires_in_s)) {
            return Err(CreateTokenError::Expiry);
        }
        let secret = Token::random().map_err(CreateTokenError::Random)?;
        let record = TokenRecord {
            name,
            scope,
            digest: secret.digest(),
            created_at_unix_s: now_unix_s,
            expires_at_unix_s: expires_in_s.map(|expires_in_s| now_unix_s.saturating_add(expires_in_s)),
        };
        self.0.named.insert(record.clone())?;
        Ok(NewToken { record, secret })
    }

    /// Revokes a token. Waits for the disk.
    pub(super) fn revoke(&self, name: &TokenName) -> Result<(), RevokeTokenError> {
        if name.as_str() == BUILT_IN {
            return Err(RevokeTokenError::BuiltIn);
        }
        Ok(self.0.named.remove(name)?)
    }
}

/// Returns the time, seconds since the Unix epoch.
pub(super) fn now_unix_s() -> u64 {
    now_unix_us() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plane's tokens: the built-in one is `secret`.
    fn access() -> (Access, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(Token::path(directory.path()), "secret\n").unwrap();
        (Access::open(directory.path()).unwrap(), directory)
    }

    #[test]
    fn only_the_whole_built_in_token_is_an_admin() {
        let (access, _directory) = access();
        let admin = Holder { name: BUILT_IN.to_owned(), scope: TokenScope::Admin, expires_at_unix_s: None };
        assert_eq!(access.holder(Some("Bearer secret"), 5), Ok(admin));
        assert_eq!(access.built_in().last_use.unix_s(), Some(5));
        for wrong in ["Bearer secre", "Bearer Secret", "Bearer secret2"] {
            assert_eq!(access.holder(Some(wrong), 5), Err(NoHolder::Unknown), "{wrong}");
        }
        for missing in [None, Some(""), Some("Bearer "), Some("Basic secret")] {
            assert_eq!(access.holder(missing, 5), Err(NoHolder::Missing), "{missing:?}");
        }
    }

    #[test]
    fn a_named_token_has_its_scope_until_it_expires_or_is_revoked() {
        let (access, directory) = access();
        let create = |name: &str, scope, expires_in_s| {
            access.create(name.parse().unwrap(), scope, expires_in_s, 100).unwrap().secret.bearer()
        };
        let (ci, short) =
            (create("ci", TokenScope::Invoke, None), create("short", TokenScope::Read, Some(10)));
        let holder = |bearer: &str, now| access.holder(Some(bearer), now);
        let is = |name: &str, scope, expires_at_unix_s| {
            Ok(Holder { name: name.to_owned(), scope, expires_at_unix_s })
        };
        assert_eq!(holder(&ci, u64::MAX), is("ci", TokenScope::Invoke, None));
        assert_eq!(holder(&short, 109), is("short", TokenScope::Read, Some(110)));
        let expired = NoHolder::Expired { name: "short".parse().unwrap(), at_unix_s: 110 };
        assert_eq!(holder(&short, 110), Err(expired));
        // An expired use isn't a use.
        assert_eq!(access.named()[1].last_use().unix_s(), Some(109));

        access.revoke(&"ci".parse().unwrap()).unwrap();
        assert_eq!(holder(&ci, 100), Err(NoHolder::Unknown));
        // The file `token` stays the first one, and a restart keeps the others.
        let again = Access::open(directory.path()).unwrap();
        assert_eq!(again.holder(Some(&short), 100), is("short", TokenScope::Read, Some(110)));
        assert_eq!(again.holder(Some(&ci), 100), Err(NoHolder::Unknown));
        assert_eq!(again.holder(Some("Bearer secret"), 100), is(BUILT_IN, TokenScope::Admin, None));
    }

    #[test]
    fn the_name_of_the_built_in_token_is_reserved() {
        let (access, _directory) = access();
        let name: TokenName = BUILT_IN.parse().unwrap();
        let created = access.create(name.clone(), TokenScope::Read, None, 1);
        assert!(matches!(created, Err(CreateTokenError::Reserved)));
        assert!(matches!(access.revoke(&name), Err(RevokeTokenError::BuiltIn)));
        access.holder(Some("Bearer secret"), 1).unwrap();
    }

    #[test]
    fn a_token_lives_for_a_second_to_a_hundred_years() {
        let (access, _directory) = access();
        for (life, fits) in [
            (0, false),
            (1, true),
            (EXPIRES_IN_S_MAX, true),
            (EXPIRES_IN_S_MAX + 1, false),
            (u64::MAX, false),
        ] {
            let name = format!("t{life}").parse().unwrap();
            let created = access.create(name, TokenScope::Read, Some(life), 1);
            assert_eq!(created.is_ok(), fits, "{life}");
        }
    }
}
