//! The arguments of `nebula token`.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use nebula_runtime::token::{TokenName, TokenScope};

use super::remote::Remote;
use crate::moment::Lifetime;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token, and print its secret, which isn't shown again
    Create(CreateToken),
    /// List the tokens, without their secrets
    List(Remote),
    /// Revoke a token: the server refuses it from then on
    Revoke(RevokeToken),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CreateToken {
    /// The token's name, which no other token of the server has
    pub(crate) name: TokenName,
    /// The permission that it gives
    #[arg(long, value_enum)]
    pub(crate) scope: ScopeArgument,
    /// The time after which it expires (`12h`, `30d`, `2w`); by default it doesn't
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Lifetime>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RevokeToken {
    /// The token's name
    pub(crate) name: TokenName,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// A scope on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ScopeArgument {
    /// See functions, components, logs and statistics
    Read,
    /// Like `read`, and make calls through the control plane
    Invoke,
    /// Everything: deploy, remove, manage tokens
    Admin,
}

impl From<ScopeArgument> for TokenScope {
    fn from(scope: ScopeArgument) -> Self {
        match scope {
            ScopeArgument::Read => Self::Read,
            ScopeArgument::Invoke => Self::Invoke,
            ScopeArgument::Admin => Self::Admin,
        }
    }
}
