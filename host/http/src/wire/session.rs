//! Sessions of the console.

use nebula_runtime::token::TokenScope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::{TokenNameSchema, TokenScopeSchema};

/// The secret to sign in with. It implements no `Debug`, so that nothing prints it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SignInRequest {
    /// A token, as `Authorization` has it after `Bearer`.
    Token(String),
    /// The code of a sign-in link, which works once.
    Code(String),
}

/// The token that a request has, or that its session began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionInfo {
    /// The token's name.
    #[schema(value_type = TokenNameSchema)]
    pub name: String,
    /// The permission that it gives. `invoke` includes `read`, and `admin` includes both.
    #[schema(value_type = TokenScopeSchema)]
    pub scope: TokenScope,
    /// The time at which the token expires, and the session with it, seconds since the Unix epoch;
    /// absent if it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_unix_s: Option<u64>,
}
