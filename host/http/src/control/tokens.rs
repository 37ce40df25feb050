//! Tokens: list, create, revoke.

use std::convert::Infallible;

use axum::extract::State;
use http::StatusCode;
use nebula_runtime::token::{TokenRecord, TokenScope};
use nebula_runtime::tokens::{InsertTokenError, RemoveTokenError, WriteTokensError};

use super::access::{self, Access, BUILT_IN, CreateTokenError, NewToken, RevokeTokenError};
use super::describe::ListedProblem;
use super::endpoints;
use super::events;
use super::path::TokenPath;
use super::payload::JsonBody;
use super::refusal::{AsProblem, Refusal, STORAGE_FULL};
use super::reply::{Created, Json, NoContent};
use super::routes::Routes;
use super::state::{BlockingAccess, ControlState};
use crate::problem::Problem;
use crate::status;
use crate::wire::{CreatedToken, TokenInfo, TokenList, TokenRequest};

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new()
        .add(&endpoints::LIST_TOKENS, list)
        .add(&endpoints::CREATE_TOKEN, create)
        .add(&endpoints::REVOKE_TOKEN, revoke)
}

type Tokens = State<BlockingAccess>;

async fn list(State(access): Tokens) -> Result<Json<TokenList>, Refusal<Infallible>> {
    access.run(|access| Ok(Json::new(&described(access, access::now_unix_s())))).await
}

async fn create(
    State(access): Tokens,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<Created<CreatedToken>, Refusal<CreateTokenError>> {
    let TokenRequest { name, scope, expires_in_s } = request;
    let create = access.run(move |access| {
        let NewToken { record, secret } = access.create(name, scope, expires_in_s, access::now_unix_s())?;
        events::token_created(&record);
        Ok(Created(Json::new(&CreatedToken {
            name: record.name,
            scope: record.scope,
            secret: secret.secret().to_owned(),
            created_at_unix_s: record.created_at_unix_s,
            expires_at_unix_s: record.expires_at_unix_s,
        })))
    });
    create.await
}

async fn revoke(
    State(access): Tokens,
    TokenPath(name): TokenPath,
) -> Result<NoContent, Refusal<RevokeTokenError>> {
    let revoke = access.run(move |access| {
        access.revoke(&name)?;
        events::token_revoked(name.as_str());
        Ok(NoContent)
    });
    revoke.await
}

/// Returns all tokens as they are at this time.
fn described(access: &Access, now_unix_s: u64) -> TokenList {
    let built_in = TokenInfo {
        name: BUILT_IN.to_owned(),
        scope: TokenScope::Admin,
        built_in: true,
        expired: false,
        created_at_unix_s: None,
        expires_at_unix_s: None,
        last_used_at_unix_s: access.built_in().last_use.unix_s(),
    };
    let named = access.named();
    let named = named.iter().map(|token| {
        let TokenRecord { name, scope, digest: _, created_at_unix_s, expires_at_unix_s } = &token.record;
        TokenInfo {
            name: name.to_string(),
            scope: *scope,
            built_in: false,
            expired: token.record.is_expired(now_unix_s),
            created_at_unix_s: Some(*created_at_unix_s),
            expires_at_unix_s: *expires_at_unix_s,
            last_used_at_unix_s: token.last_use().unix_s(),
        }
    });
    TokenList { tokens: std::iter::once(built_in).chain(named).collect() }
}

impl AsProblem for CreateTokenError {
    const PROBLEMS: &'static [ListedProblem] = &[
        ListedProblem::new(409, "a token has the name already, or the server has as many as it may have"),
        STORAGE_FULL,
    ];

    fn problem(&self) -> Problem {
        let conflict = |kind| Problem::new(StatusCode::CONFLICT, kind, self.to_string());
        match self {
            Self::Reserved | Self::Insert(InsertTokenError::Exists { .. }) => conflict("token-exists"),
            Self::Insert(InsertTokenError::TooMany) => conflict("too-many-tokens"),
            Self::Expiry => status::bad_request("bad-expiry", self.to_string()),
            Self::Random(_) => status::internal(self),
            Self::Insert(InsertTokenError::Write(error)) => not_written(error),
        }
    }
}

impl AsProblem for RevokeTokenError {
    const PROBLEMS: &'static [ListedProblem] = &[
        ListedProblem::new(404, "there is no such token"),
        ListedProblem::new(409, "it is the token of the data directory"),
        STORAGE_FULL,
    ];

    fn problem(&self) -> Problem {
        match self {
            Self::BuiltIn => Problem::new(StatusCode::CONFLICT, "built-in-token", self.to_string()),
            Self::Remove(RemoveTokenError::Unknown { .. }) => {
                Problem::new(StatusCode::NOT_FOUND, "unknown-token", self.to_string())
            }
            Self::Remove(RemoveTokenError::Write(error)) => not_written(error),
        }
    }
}

fn not_written(error: &WriteTokensError) -> Problem {
    match error {
        WriteTokensError::OutOfSpace { .. } => status::storage_full(error),
        WriteTokensError::Failed { .. } => status::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full disk is no defect: the same request succeeds once there is room.
    #[test]
    fn a_full_disk_is_507() {
        let full = || WriteTokensError::OutOfSpace {
            path: "named-tokens".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        let create = CreateTokenError::Insert(full().into()).problem();
        let revoke = RevokeTokenError::Remove(full().into()).problem();
        for problem in [create, revoke] {
            assert_eq!(problem.into_reply().status(), StatusCode::INSUFFICIENT_STORAGE);
        }
    }
}
