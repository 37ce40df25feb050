//! The arguments of the commands that call a function, or check a call.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args as ClapArgs;
use nebula_runtime::id::{FunctionRef, IdError};

use super::remote::Remote;
use super::settings::{ConfigArgs, LimitArgs};
use crate::http_parts::HttpParts;

/// The default number of fresh instances for each way of compiling.
const VERIFY_RUNS: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// A deployed function or pipeline (`name`, `name@v3`, `name@sha256:…`)
    pub(crate) function: FunctionRef,
    /// The input: inline, `@file`, or `-` for stdin; by default what is piped in. Several are the
    /// values of the parameters, each as JSON or else as text
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// The input's media type; by default that of the file's extension or the function's type
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Invoke {
    /// A deployed function (`name`, `name@v3`, `name@sha256:…`), or a component file (with a `/` or
    /// `.wasm`)
    pub(crate) function: Target,
    /// The input: inline, `@file`, or `-` for stdin; by default what is piped in. Several are the
    /// values of the parameters, each as JSON or else as text
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// The input's media type; by default that of the file's extension or the function's type
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    /// Write the answer's receipt to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    /// Let the server keep the input, so that the receipt alone is enough for a replay
    #[arg(long, requires = "receipt")]
    pub(crate) keep_input: bool,
    #[command(flatten)]
    pub(crate) http: HttpParts,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) invoke: Invoke,
    /// Fresh instances to call for each way of compiling
    #[arg(long, default_value_t = VERIFY_RUNS)]
    pub(crate) runs: NonZeroU32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Replay {
    /// The receipt: a file, `-` for stdin, or the receipt itself
    pub(crate) receipt: String,
    /// The component, if the server doesn't have it
    #[arg(long, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The input, if the server hasn't kept it: inline, `@file`, or `-` for stdin
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) input: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyReceipt {
    /// The receipt: a file, `-` for stdin, or the receipt itself
    pub(crate) receipt: String,
    /// The Ed25519 public key of the expected signer, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Check that this is the input: inline, `@file`, or `-` for stdin
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) input: Option<String>,
    /// Check that this is the output: inline, `@file`, or `-` for stdin
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) output: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The target of `invoke`, `inspect` and `verify`.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Deployed(FunctionRef),
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployed(reference) => reference.fmt(formatter),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

/// Files have a slash or end in `.wasm`; function names have neither.
impl FromStr for Target {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_file = text.contains('/') && !text.contains('@') || text.ends_with(".wasm");
        if is_file { Ok(Self::File(PathBuf::from(text))) } else { text.parse().map(Self::Deployed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_files_or_functions() {
        for file in ["a.wasm", "./a", "dir/a.wasm", "/a"] {
            assert!(matches!(file.parse(), Ok(Target::File(_))), "{file}");
        }
        for function in ["a", "a@v3", "a-b"] {
            assert!(matches!(function.parse(), Ok(Target::Deployed(_))), "{function}");
        }
        assert!("No Name".parse::<Target>().is_err());
    }
}
