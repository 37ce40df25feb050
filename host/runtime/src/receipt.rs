//! What made an answer: enough to make it again, and to say who vouches for it.
//!
//! ```text
//! call, answer --> Receipt (what is said) --> token (`token`: how it travels, and who signed it)
//! Receipt, component, input --> the call again --> the same output, or a defect
//! ```
//!
//! Contents are named by SHA-256, as components are: `sha256sum` checks them. A receipt holds digests alone, of an
//! input and an output that may be private; what of the input has to be kept to run the call again is its *document*:
//!
//! | the call came as | document |
//! |---|---|
//! | a body | the body |
//! | a query | its pairs, decoded, as a JSON array of arrays |
//! | a request to a function of the http form | the request as the function sees it, `message/http` (RFC 9112 §2.1) |
//!
//! Invariants:
//! * A receipt is of an answer: a value, the function's own error, or its response. A call that failed has none.
//! * What was remembered has the receipt that running it gives, but for the time and the engine.

mod document;
mod token;

use std::time::{SystemTime, UNIX_EPOCH};

use nebula_cache::SEMANTICS;
use nebula_model::answer::{Answer, Content, MEDIA_TYPE_BYTES_MAX};
use nebula_model::form::Form;
use nebula_model::id::Digest;
use nebula_model::limits::{LimitOverrides, Limits};
use nebula_model::request::{Prefer, Request};
use serde::{Deserialize, Serialize};

pub use self::document::{DocumentError, document};
pub use self::token::{KeyError, Signed, Signer, TokenError, Verifier};
use crate::call::function::Function;

/// Of receipts, as they are written here.
const FORMAT: u32 = 1;

/// What made an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// 1.
    pub format: u32,
    /// The function's name and version when it was called: `name@v3`.
    pub function: String,
    /// The component that ran.
    pub component: Digest,
    /// What kind of function it is.
    pub form: Form,
    /// What it was called with.
    pub input: InputReceipt,
    /// How a `string` or `list<u8>` was to be answered.
    pub prefer: Prefer,
    /// The limits that show in results.
    pub limits: LimitsReceipt,
    /// Goes up with every change of what a guest can see of its host.
    pub semantics: u32,
    /// What computed the answer: product tokens (RFC 9110 §10.1.5).
    pub engine: String,
    /// The answer.
    pub output: OutputReceipt,
    /// When this was written.
    pub issued_at_unix_s: u64,
}

/// What a function was called with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReceipt {
    /// How it came.
    pub kind: InputKind,
    /// A body's `Content-Type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Of its document.
    pub digest: Digest,
    /// Of its document.
    pub bytes: u64,
    /// Whether the host keeps its document for a while.
    pub kept: bool,
}

/// How an input came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// A body.
    Payload,
    /// A query.
    Query,
    /// A whole request.
    Http,
}

/// The limits that show in results, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsReceipt {
    /// Linear memory.
    pub memory_bytes_max: u64,
    /// The input.
    pub input_bytes_max: u64,
    /// The output.
    pub output_bytes_max: u64,
}

/// What a function answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum OutputReceipt {
    /// A value.
    Value(ContentReceipt),
    /// Its own error.
    Error(ContentReceipt),
    /// A response, of a function of the http form.
    Response {
        /// Its status.
        status: u16,
        /// Of its header lines, `name: value` and CRLF each, as the function gave them.
        headers: Digest,
        /// Of its body.
        digest: Digest,
        /// Of its body.
        bytes: u64,
    },
}

/// Bytes, and what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentReceipt {
    /// Its media type.
    pub media_type: String,
    /// Of the content.
    pub digest: Digest,
    /// Of the content.
    pub bytes: u64,
}

impl Receipt {
    /// Of an answer of `function`, which `engine` has computed. `document` is the request's. None where the input's media type
    /// is so long that no header could hold the receipt.
    ///
    /// Hashes the input and the output.
    pub(crate) fn new(
        function: &Function,
        (request, document): (&Request, &[u8]),
        prefer: Prefer,
        (answer, engine): (&Answer, &str),
    ) -> Option<Self> {
        let (kind, media_type) = match request {
            Request::Payload { media_type, .. } => (InputKind::Payload, media_type.clone()),
            Request::Query(_) => (InputKind::Query, None),
            Request::Http(_) => (InputKind::Http, None),
        };
        if media_type.as_ref().is_some_and(|text| text.len() > MEDIA_TYPE_BYTES_MAX) {
            return None;
        }
        Some(Self {
            format: FORMAT,
            function: format!("{}@{}", function.record.name, function.record.version),
            component: function.record.digest,
            form: function.record.description.form,
            input: InputReceipt {
                kind,
                media_type,
                digest: Digest::of(document),
                bytes: document.len() as u64,
                kept: false,
            },
            prefer,
            limits: LimitsReceipt::new(function.limits()),
            semantics: SEMANTICS,
            engine: engine.to_owned(),
            output: OutputReceipt::of(answer),
            issued_at_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        })
    }

    /// The call that it is of, for the document that it names.
    ///
    /// # Errors
    /// [`DocumentError`]: also when it is another document.
    pub fn request(&self, document: &[u8]) -> Result<Request, DocumentError> {
        let InputReceipt { kind, media_type, digest, .. } = &self.input;
        let found = Digest::of(document);
        if found != *digest {
            return Err(DocumentError::Another { expected: *digest, found });
        }
        document::request(*kind, media_type.clone(), document)
    }

    /// What a function of its own needs, to be run again as it was then.
    pub fn limits(&self) -> LimitOverrides {
        let LimitsReceipt { memory_bytes_max, input_bytes_max, output_bytes_max } = self.limits;
        LimitOverrides {
            memory_bytes_max: Some(memory_bytes_max),
            input_bytes_max: Some(input_bytes_max),
            output_bytes_max: Some(output_bytes_max),
            // Not in the receipt, as they don't show in an answer: the host's own hold.
            deadline_ms: None,
            log_bytes_max: None,
        }
    }

    /// Whether guests see the same of this host as of the one that computed the answer.
    pub fn is_of_these_semantics(&self) -> bool {
        self.semantics == SEMANTICS
    }
}

impl LimitsReceipt {
    fn new(limits: &Limits) -> Self {
        // Every field, so that a new one doesn't compile until it is decided whether it shows in answers.
        let Limits {
            memory_bytes_max,
            input_bytes_max,
            output_bytes_max,
            // Receipts are of answers, and a call that passed its deadline has none.
            deadline_ms: _,
            // The log is no part of an answer; the traps that show it have no receipt.
            log_bytes_max: _,
        } = *limits;
        Self { memory_bytes_max, input_bytes_max, output_bytes_max }
    }
}

impl OutputReceipt {
    /// Of an answer. Hashes it.
    pub fn of(answer: &Answer) -> Self {
        let content = |content: &Content| ContentReceipt {
            media_type: content.told_media_type().to_owned(),
            digest: Digest::of(&content.body),
            bytes: content.body.len() as u64,
        };
        match answer {
            Answer::Value(value) => Self::Value(content(value)),
            Answer::Error(error) => Self::Error(content(error)),
            Answer::Http(response) => Self::Response {
                status: response.status().as_u16(),
                headers: Digest::of(&document::header_lines(response.headers())),
                digest: Digest::of(response.body()),
                bytes: response.body().len() as u64,
            },
        }
    }

    /// Of the content: what `sha256sum` says of it.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Value(content) | Self::Error(content) => &content.digest,
            Self::Response { digest, .. } => digest,
        }
    }
}
