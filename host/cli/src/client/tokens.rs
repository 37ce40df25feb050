//! Requests about tokens.

use nebula_http::endpoints;
use nebula_http::wire::{CreatedToken, TokenList, TokenRequest};
use nebula_runtime::token::TokenName;

use super::{Client, Payload, read_json};

impl Client<'_> {
    /// Returns every token, without secrets.
    pub(crate) fn tokens(&self) -> anyhow::Result<TokenList> {
        read_json(self.ask(&endpoints::LIST_TOKENS)?)
    }

    /// Creates a token and returns it with its secret.
    pub(crate) fn create_token(&self, request: &TokenRequest) -> anyhow::Result<CreatedToken> {
        let endpoint = &endpoints::CREATE_TOKEN;
        read_json(self.send(endpoint, endpoint.path, Payload::json(&serde_json::to_vec(request)?))?)
    }

    /// Revokes a token.
    pub(crate) fn revoke_token(&self, name: &TokenName) -> anyhow::Result<()> {
        self.ask_of(&endpoints::REVOKE_TOKEN, name)?;
        Ok(())
    }
}
