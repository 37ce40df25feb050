//! The answer of a function, as bytes.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;

use crate::id::Digest;
use crate::trailers;

/// The answer of a function.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The function returned a value.
    Value(Content),
    /// The function returned an error of its own type, or refused the input.
    Error(Content),
    /// The response of a function of the http form.
    Http(Box<http::Response<Bytes>>),
}

/// Bytes with their media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// A media type (RFC 9110). A guest may have returned any text: see
    /// [`told_media_type`](Self::told_media_type).
    pub media_type: Cow<'static, str>,
    /// The bytes.
    pub body: Bytes,
}

/// The longest media type that is sent to callers, bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

impl Content {
    /// Returns the media type to send: `application/octet-stream` if the guest's is too long or not
    /// valid in a header.
    pub fn told_media_type(&self) -> &str {
        let is_valid = self.media_type.len() <= MEDIA_TYPE_BYTES_MAX
            && http::HeaderValue::from_str(&self.media_type).is_ok();
        if is_valid { &self.media_type } else { "application/octet-stream" }
    }

    /// Returns a JSON document as content.
    pub fn json(body: Vec<u8>) -> Self {
        Self { media_type: Cow::Borrowed("application/json"), body: body.into() }
    }
}

impl Answer {
    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Value(content) | Self::Error(content) => &content.body,
            Self::Http(response) => response.body(),
        }
    }

    /// Returns whether a caller sees no difference.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(own), Self::Value(other)) | (Self::Error(own), Self::Error(other)) => own == other,
            (Self::Http(own), Self::Http(other)) => {
                own.status() == other.status()
                    && own.headers() == other.headers()
                    && own.body() == other.body()
                    && trailers::of(own.extensions()) == trailers::of(other.extensions())
            }
            (Self::Value(_) | Self::Error(_) | Self::Http(_), _) => false,
        }
    }

    /// Returns a line for people, with the digest of the content.
    pub fn summary(&self) -> String {
        let body = Digest::of(self.body());
        match self {
            Self::Value(content) => format!("{} {body}", content.told_media_type()),
            Self::Error(content) => format!("its own error, {} {body}", content.told_media_type()),
            Self::Http(response) => {
                let of = |fields: &HeaderMap| Digest::of(format!("{fields:?}").as_bytes());
                let headers = of(response.headers());
                let summary = format!("{} with headers {headers} and body {body}", response.status());
                match trailers::of(response.extensions()) {
                    Some(fields) => format!("{summary} and trailers {}", of(fields)),
                    None => summary,
                }
            }
        }
    }

    /// Copies the answer into buffers of its own, so that it keeps no larger buffer alive.
    pub fn compact(&self) -> Self {
        let content = |content: &Content| Content {
            media_type: content.media_type.clone(),
            body: Bytes::copy_from_slice(&content.body),
        };
        match self {
            Self::Value(value) => Self::Value(content(value)),
            Self::Error(error) => Self::Error(content(error)),
            Self::Http(response) => {
                let (parts, body) = response.as_ref().clone().into_parts();
                Self::Http(Box::new(http::Response::from_parts(parts, Bytes::copy_from_slice(&body))))
            }
        }
    }

    /// Estimates the memory of the answer, bytes.
    pub fn bytes(&self) -> usize {
        let head = match self {
            Self::Value(content) | Self::Error(content) => content.media_type.len(),
            Self::Http(response) => {
                let trailers = trailers::of(response.extensions()).into_iter().flatten();
                let fields = response.headers().iter().chain(trailers);
                fields.map(|(name, value)| name.as_str().len() + value.len() + 64).sum()
            }
        };
        head + self.body().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_that_a_header_cannot_hold_become_octet_stream() {
        let told = |media_type: String| {
            Content { media_type: media_type.into(), body: Bytes::new() }.told_media_type().to_owned()
        };
        let long = format!("text/{}", "x".repeat(MEDIA_TYPE_BYTES_MAX - 5));
        assert_eq!(told(long.clone()), long);
        for wrong in [format!("{long}x"), "text/plain\r\nx-evil: 1".to_owned()] {
            assert_eq!(told(wrong), "application/octet-stream");
        }
    }
}
