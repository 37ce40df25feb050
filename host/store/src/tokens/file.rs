//! The format of the file with the named tokens.
//!
//! ```text
//! nebula tokens 1
//! sha256:<digest of all that follows>
//! [{"name": …, "scope": …, "digest": …, "created_at_unix_s": …}, …]    the records, as JSON
//! ```
//!
//! The digest finds damage: without it a changed digit could let a token live longer. It doesn't
//! protect from a user who may write to the data directory, and so controls the host anyway.

use std::collections::HashSet;
use std::io;

use nebula_model::id::Digest;
use nebula_model::token::{TokenName, TokenRecord};

/// The first line of files with tokens, up to the number of the format.
const HEADING: &str = "nebula tokens ";

/// The number of this format.
const FORMAT: &str = "1";

/// The longest format in a message, characters.
const FOUND_CHARS_MAX: usize = 20;

/// Why a content isn't a file with tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamagedTokens {
    /// Another release has written it.
    #[error("it has the format `{HEADING}{found}`, and this release reads `{HEADING}{FORMAT}`")]
    OtherFormat {
        /// The number of its format.
        found: String,
    },
    /// It has no heading, or is cut off in it.
    #[error("it is damaged: it doesn't begin with `{HEADING}{FORMAT}` and a digest")]
    Heading,
    /// It was changed or cut off after it was written.
    #[error("it is damaged: its digest isn't the one in its second line")]
    Digest,
    /// Its digest is right, and this release can't have written it.
    #[error("it is damaged: {0}")]
    Content(String),
}

/// Returns the content of the file with these tokens.
pub(super) fn print(records: &[&TokenRecord]) -> io::Result<Vec<u8>> {
    let mut body = serde_json::to_vec_pretty(records)?;
    body.push(b'\n');
    let mut content = format!("{HEADING}{FORMAT}\n{}\n", Digest::of(&body)).into_bytes();
    content.append(&mut body);
    Ok(content)
}

/// Returns the tokens in the content of a file.
pub(super) fn parse(content: &[u8]) -> Result<Vec<TokenRecord>, DamagedTokens> {
    let (heading, rest) = line(content).ok_or(DamagedTokens::Heading)?;
    let format = heading.strip_prefix(HEADING).ok_or(DamagedTokens::Heading)?;
    if format != FORMAT {
        let found = format.chars().take(FOUND_CHARS_MAX).collect();
        return Err(DamagedTokens::OtherFormat { found });
    }
    let (digest, body) = line(rest).ok_or(DamagedTokens::Heading)?;
    if digest != Digest::of(body).to_string() {
        return Err(DamagedTokens::Digest);
    }
    let records: Vec<TokenRecord> =
        serde_json::from_slice(body).map_err(|error| DamagedTokens::Content(error.to_string()))?;
    let names: HashSet<&TokenName> = records.iter().map(|record| &record.name).collect();
    if names.len() != records.len() {
        return Err(DamagedTokens::Content("two tokens have one name".to_owned()));
    }
    Ok(records)
}

/// Splits off the first line, if it ends and is text.
fn line(content: &[u8]) -> Option<(&str, &[u8])> {
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = content.split_at_checked(end)?;
    Some((std::str::from_utf8(line).ok()?, rest.get(1..)?))
}
