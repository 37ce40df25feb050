//! Tokens of the control plane.

use std::fmt;

use nebula_runtime::token::{TokenName, TokenScope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::{TokenNameSchema, TokenScopeSchema};

/// Every token, the built-in one first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<TokenInfo>,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenInfo {
    /// The token's name.
    #[schema(value_type = TokenNameSchema)]
    pub name: String,
    /// The permission that it gives. `invoke` includes `read`, and `admin` includes both.
    #[schema(value_type = TokenScopeSchema)]
    pub scope: TokenScope,
    /// Set for the token of the file `token` in the data directory, which can't be revoked here.
    pub built_in: bool,
    /// Set if it is refused because it has expired.
    pub expired: bool,
    /// The time of its creation, seconds since the Unix epoch; absent for the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at_unix_s: Option<u64>,
    /// The time at which it expires, seconds since the Unix epoch; absent if it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_unix_s: Option<u64>,
    /// The time of its last use since the server has started, seconds since the Unix epoch; absent
    /// if it wasn't used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_unix_s: Option<u64>,
}

/// A token to create.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The token's name, which no other token has.
    #[schema(value_type = TokenNameSchema)]
    pub name: TokenName,
    /// The permission that it gives. `invoke` includes `read`, and `admin` includes both.
    #[schema(value_type = TokenScopeSchema)]
    pub scope: TokenScope,
    /// The time after which it expires, seconds; if absent, it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub expires_in_s: Option<u64>,
}

/// A token that was created, with its secret, which no later answer has.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token's name.
    #[schema(value_type = TokenNameSchema)]
    pub name: TokenName,
    /// The permission that it gives.
    #[schema(value_type = TokenScopeSchema)]
    pub scope: TokenScope,
    /// The secret to send as `Authorization: Bearer …`.
    pub secret: String,
    /// The time of its creation, seconds since the Unix epoch.
    pub created_at_unix_s: u64,
    /// The time at which it expires, seconds since the Unix epoch; absent if it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_unix_s: Option<u64>,
}

/// Without the secret.
impl fmt::Debug for CreatedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, scope, secret: _, created_at_unix_s: _, expires_at_unix_s: _ } = self;
        formatter
            .debug_struct("CreatedToken")
            .field("name", name)
            .field("scope", scope)
            .finish_non_exhaustive()
    }
}
