//! A call as it comes in.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::form::Form;

/// A call as it comes in.
#[derive(Clone, Debug)]
pub enum Request {
    /// A body. Without a media type it is taken for what the function's form reads by default.
    Payload {
        /// The `Content-Type`, with its parameters.
        media_type: Option<String>,
        /// The content.
        body: Bytes,
    },
    /// Query parameters, decoded.
    Query(Vec<(String, String)>),
    /// For a function of the http form: the whole request, its path below the function's name.
    Http(Arc<http::Request<Bytes>>),
}

/// How the caller would have a typed answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// As the input came: raw for raw, JSON for JSON.
    #[default]
    AsSent,
    /// JSON.
    Json,
    /// Raw where the type is `string` or `list<u8>`, else JSON.
    Raw,
}

impl Request {
    /// The same, holding no more memory than it takes: a short body may be a part of a larger buffer, a long one is one by
    /// itself, and copying it would hold up the thread that serves.
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

    /// Whether decoding it, and hashing it where that is to be `remembered`, takes no time to speak of. What
    /// doesn't is decoded where long calls run.
    pub fn is_light(&self, form: Form, remembered: bool) -> bool {
        let is_soon_hashed = |body: &Bytes| !remembered || body.len() <= HASHED_LIGHT_BYTES_MAX;
        match self {
            Self::Payload { media_type, body } => {
                let is_soon_decoded = body.len() <= JSON_LIGHT_BYTES_MAX
                    || form != Form::Typed
                    || !may_be_json(media_type.as_deref());
                is_soon_decoded && is_soon_hashed(body)
            }
            Self::Query(_) => true,
            Self::Http(request) => is_soon_hashed(request.body()),
        }
    }
}

/// The longest body that is copied so that it holds no more memory than it takes, bytes.
const COPIED_BYTES_MAX: usize = 64 * 1024;

/// The longest JSON document that is decoded on a serving thread, bytes: it takes about a millisecond.
/// Other bodies are only copied.
const JSON_LIGHT_BYTES_MAX: usize = 64 * 1024;

/// The longest body that is hashed on a serving thread, bytes: it takes a tenth of a millisecond.
pub const HASHED_LIGHT_BYTES_MAX: usize = 512 * 1024;

/// Whether a typed function takes a body of this media type for JSON, or may.
fn may_be_json(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|media_type| {
        let media_type = media_type.to_ascii_lowercase();
        media_type.contains("json") || media_type.contains("urlencoded")
    })
}
