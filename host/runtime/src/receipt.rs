//! Receipts: a receipt identifies everything that an answer depends on, so that it can be
//! recomputed.
//!
//! ```text
//! call, answer --> Receipt (the statement) --> token (`token`: its encoding and signature)
//! Receipt, component, input --> the call again --> the same output, or a defect
//! ```
//!
//! Contents are named by SHA-256, like components: `sha256sum` checks them. A receipt holds only
//! digests, because input and output may be private. Repeating the call needs the *document* of its
//! input:
//!
//! | the call came as | document |
//! |---|---|
//! | a body | the body |
//! | a query | its pairs, decoded, as a JSON array of arrays |
//! | a request (http form) | the request as the function sees it, `message/http` (RFC 9112 §2.1); chunked if it has trailers |
//!
//! Invariants:
//! * Only answers have a receipt: a value, the function's own error, or its response. A failed call
//!   has none.
//! * A cached result has the same receipt as a fresh run, except for the time and the engine.

mod document;
mod token;

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use nebula_cache::SEMANTICS;
use nebula_model::answer::{Answer, Content, MEDIA_TYPE_BYTES_MAX};
use nebula_model::form::Form;
use nebula_model::id::Digest;
use nebula_model::limits::{LimitOverrides, Limits};
use nebula_model::request::{Prefer, Request};
use nebula_model::trailers;
use serde::{Deserialize, Serialize};

pub use self::document::{DocumentError, document};
pub use self::token::{KeyError, Signed, Signer, TokenError, Verifier};
use crate::call::function::Function;

/// The format of receipts that this release writes.
const FORMAT: u32 = 1;

/// The statement of how an answer was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The format: 1.
    pub format: u32,
    /// The function's name and version when it was called: `name@v3`.
    pub function: String,
    /// The component that ran.
    pub component: Digest,
    /// The form of the function.
    pub form: Form,
    /// The input of the call.
    pub input: InputReceipt,
    /// The requested encoding of a `string` or `list<u8>` answer.
    pub prefer: Prefer,
    /// The limits that show in results.
    pub limits: LimitsReceipt,
    /// Digest of the function's configuration, if it has one. A pipeline's component covers those of
    /// the functions that it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// Rises with every change of what a guest can observe of its host.
    pub semantics: u32,
    /// The engine that computed the answer: product tokens (RFC 9110 §10.1.5).
    pub engine: String,
    /// The answer.
    pub output: OutputReceipt,
    /// The time at which the receipt was issued.
    pub issued_at_unix_s: u64,
}

/// The input of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReceipt {
    /// The kind of request that carried it.
    pub kind: InputKind,
    /// A body's `Content-Type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Digest of its document.
    pub digest: Digest,
    /// Length of its document.
    pub bytes: u64,
    /// The host stores its document for a while.
    pub kept: bool,
}

/// The kind of request that carries an input.
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
    /// Limit of linear memory.
    pub memory_bytes_max: u64,
    /// Limit of the input.
    pub input_bytes_max: u64,
    /// Limit of the output.
    pub output_bytes_max: u64,
}

/// The answer of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum OutputReceipt {
    /// A value.
    Value(ContentReceipt),
    /// The function's own error.
    Error(ContentReceipt),
    /// A response, of a function of the http form.
    Response {
        /// The status code.
        status: u16,
        /// Digest of its header lines, `name: value` and CRLF each, as the function returned them.
        headers: Digest,
        /// Digest of its body.
        digest: Digest,
        /// Length of its body.
        bytes: u64,
        /// Digest of its trailer lines, in the form of its header lines, if it has any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trailers: Option<Digest>,
    },
}

/// Bytes and their media type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentReceipt {
    /// The media type.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Number of bytes.
    pub bytes: u64,
}

/// The call that a receipt is for.
#[derive(Debug)]
pub struct ReceiptSubject {
    /// The request.
    pub request: Request,
    /// The form of answer that it asked for.
    pub prefer: Prefer,
    /// The answer.
    pub answer: Answer,
    /// The engine that computed the answer.
    pub engine: Cow<'static, str>,
}

impl Receipt {
    /// Creates the receipt of an answer of `function`. `document` is the document of the request.
    /// `None` if the input's media type is so long that no header could hold the receipt.
    ///
    /// Hashes the input and the output.
    pub(crate) fn new(function: &Function, subject: &ReceiptSubject, document: &[u8]) -> Option<Self> {
        let ReceiptSubject { request, prefer, answer, engine } = subject;
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
            prefer: *prefer,
            limits: LimitsReceipt::new(function.limits()),
            config: function.record.config.digest(),
            semantics: SEMANTICS,
            engine: engine.as_ref().to_owned(),
            output: OutputReceipt::of(answer),
            issued_at_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        })
    }

    /// Recreates the call of this receipt from its document.
    ///
    /// # Errors
    /// [`DocumentError`], also if the digest of `document` isn't the receipt's.
    pub fn request(&self, document: &[u8]) -> Result<Request, DocumentError> {
        let InputReceipt { kind, media_type, digest, .. } = &self.input;
        let found = Digest::of(document);
        if found != *digest {
            return Err(DocumentError::Another { expected: *digest, found });
        }
        document::request(*kind, media_type.clone(), document)
    }

    /// Returns the limits that a function needs to repeat the call.
    pub fn limits(&self) -> LimitOverrides {
        let LimitsReceipt { memory_bytes_max, input_bytes_max, output_bytes_max } = self.limits;
        LimitOverrides {
            memory_bytes_max: Some(memory_bytes_max),
            input_bytes_max: Some(input_bytes_max),
            output_bytes_max: Some(output_bytes_max),
            // Not in the receipt, because they don't show in an answer: the host's own limits hold.
            deadline_ms: None,
            log_bytes_max: None,
        }
    }

    /// Returns whether guests observe the same of this host as of the one that computed the answer.
    pub fn is_of_these_semantics(&self) -> bool {
        self.semantics == SEMANTICS
    }
}

impl LimitsReceipt {
    fn new(limits: &Limits) -> Self {
        // Destructured exhaustively: a new limit fails to compile until it is decided whether it
        // shows in answers.
        let Limits {
            memory_bytes_max,
            input_bytes_max,
            output_bytes_max,
            // A call that exceeded its deadline has no answer, and so no receipt.
            deadline_ms: _,
            // The log is not part of an answer, and the traps that show it have no receipt.
            log_bytes_max: _,
        } = *limits;
        Self { memory_bytes_max, input_bytes_max, output_bytes_max }
    }
}

impl OutputReceipt {
    /// Hashes an answer.
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
                trailers: trailers::of(response.extensions())
                    .map(|fields| Digest::of(&document::header_lines(fields))),
            },
        }
    }

    /// Returns the digest of the content, as `sha256sum` prints it.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Value(content) | Self::Error(content) => &content.digest,
            Self::Response { digest, .. } => digest,
        }
    }
}
