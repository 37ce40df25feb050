//! Errors of the caller's input.

/// Reasons why a document isn't an input of a function.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The document isn't JSON.
    #[error("invalid JSON at line {line}, column {column}: {message}")]
    Syntax {
        /// The parser's message.
        message: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The document is missing, and the function takes one.
    #[error("the body is empty: expected JSON of `{expected}`")]
    Empty {
        /// The WIT type of the document, or the beginning of a long one.
        expected: String,
    },
    /// The document is JSON of another type.
    #[error("expected `{expected}`{}, found {found}{}", place(at), appended(hint.as_deref()))]
    Mismatch {
        /// JSON pointer (RFC 6901) to the first value that doesn't fit; empty for the whole
        /// document.
        at: String,
        /// The WIT type at that place, or the beginning of a long one.
        expected: String,
        /// A description of the value found there.
        found: String,
        /// A hint on what to send instead, if the mistake is a usual one.
        hint: Option<String>,
    },
    /// The values need more memory than a document of this length may use.
    #[error("the input needs more than {bytes_max} bytes of memory: the limit was reached{}", place(at))]
    TooLarge {
        /// JSON pointer to the first value beyond the limit.
        at: String,
        /// The limit for a document of this length, bytes of host memory.
        bytes_max: usize,
    },
    /// A raw body for a `string` isn't UTF-8.
    #[error("the body is not UTF-8: invalid at byte {valid_up_to}")]
    NotUtf8 {
        /// The number of valid bytes before the first invalid one.
        valid_up_to: usize,
    },
}

/// The place of a value within a message: nothing for the whole document.
fn place(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!(" at `{at}`") }
}

fn appended(hint: Option<&str>) -> String {
    hint.map(|hint| format!(": {hint}")).unwrap_or_default()
}
