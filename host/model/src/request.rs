//! The request of a call, before its input is decoded.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::form::Form;

/// The request of a call, before its input is decoded.
#[derive(Clone, Debug)]
pub enum Request {
    /// A body. Without a media type it has the default type of the function's form.
    Payload {
        /// The `Content-Type`, with its parameters.
        media_type: Option<String>,
        /// The body.
        body: Bytes,
    },
    /// Decoded query parameters or pairs of a form, as names and values.
    Query(Vec<(String, String)>),
    /// The whole request, for a function of the http form. Its path is the part below the
    /// function's name.
    Http(Arc<http::Request<Bytes>>),
}

/// The encoding that the caller prefers for a typed answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// The encoding of the input: raw for raw, JSON for JSON.
    #[default]
    AsSent,
    /// Always JSON.
    Json,
    /// Raw if the type is `string` or `list<u8>`, else JSON.
    Raw,
}

impl Request {
    /// Returns the request without references to larger buffers. A short body may be a part of one
    /// and is copied; a long one has its own, and copying it would block the serving thread.
    pub fn compact(&self) -> Self {
        let own = |body: &Bytes| match body.len() {
            ..=COPIED_BYTES_MAX => Bytes::copy_from_slice(body),
            _ => body.clone(),
        };
        match self {
            Self::Payload { media_type, body } => {
                Self::Payload { media_type: media_type.clone(), body: own(body) }
            }
            Self::Query(pairs) => Self::Query(pairs.clone()),
            Self::Http(request) => {
                let (parts, body) = request.as_ref().clone().into_parts();
                Self::Http(Arc::new(http::Request::from_parts(parts, own(&body))))
            }
        }
    }

    /// Returns the length of the body, or of all names and values, bytes.
    pub fn input_bytes(&self) -> usize {
        match self {
            Self::Payload { body, .. } => body.len(),
            Self::Query(pairs) => pairs.iter().map(|(name, value)| name.len() + value.len()).sum(),
            Self::Http(request) => request.body().len(),
        }
    }

    /// Returns whether a serving thread may decode the request, and hash it if its result is to be
    /// `cached`. Otherwise the compute lane does.
    pub fn is_light(&self, form: Form, cached: bool) -> bool {
        let is_hashed_soon = |body: &Bytes| !cached || body.len() <= HASHED_LIGHT_BYTES_MAX;
        match self {
            Self::Payload { media_type, body } => {
                let is_decoded_soon = body.len() <= JSON_LIGHT_BYTES_MAX
                    || form != Form::Typed
                    || !may_be_json(media_type.as_deref());
                is_decoded_soon && is_hashed_soon(body)
            }
            // A query string is short, but a form may be as long as any body.
            Self::Query(_) => self.input_bytes() <= JSON_LIGHT_BYTES_MAX,
            Self::Http(request) => is_hashed_soon(request.body()),
        }
    }
}

/// The longest body that [`Request::compact`] copies, bytes.
const COPIED_BYTES_MAX: usize = 64 * 1024;

/// The longest JSON document that is decoded on a serving thread, bytes: about a millisecond. Other
/// bodies are only copied.
const JSON_LIGHT_BYTES_MAX: usize = 64 * 1024;

/// The longest body that is hashed on a serving thread, bytes: about a tenth of a millisecond.
pub const HASHED_LIGHT_BYTES_MAX: usize = 512 * 1024;

/// Returns whether a typed function may read a body of this media type as JSON.
fn may_be_json(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|media_type| {
        let media_type = media_type.to_ascii_lowercase();
        media_type.contains("json") || media_type.contains("urlencoded")
    })
}
