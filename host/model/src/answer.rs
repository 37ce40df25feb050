//! What a function answered, as bytes.

use std::borrow::Cow;

use bytes::Bytes;

use crate::id::Digest;

/// What a function answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It returned a value.
    Value(Content),
    /// It returned its own typed error, or refused the input.
    Error(Content),
    /// It is of the http form, and responded.
    Http(Box<http::Response<Bytes>>),
}

/// Bytes, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// An RFC 9110 media type.
    pub media_type: Cow<'static, str>,
    /// The bytes.
    pub body: Bytes,
}

/// The longest media type that is told, bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

impl Content {
    /// The media type as it is told: a guest's may be any text, and what is too long for a header or can't stand in
    /// one is bytes.
    pub fn told_media_type(&self) -> &str {
        let is_told = self.media_type.len() <= MEDIA_TYPE_BYTES_MAX
            && http::HeaderValue::from_str(&self.media_type).is_ok();
        if is_told { &self.media_type } else { "application/octet-stream" }
    }

    /// Returns a JSON document as content.
    pub fn json(body: Vec<u8>) -> Self {
        Self { media_type: Cow::Borrowed("application/json"), body: body.into() }
    }
}

impl Answer {
    /// Its content, without what says what that is.
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Value(content) | Self::Error(content) => &content.body,
            Self::Http(response) => response.body(),
        }
    }

    /// Whether nobody could tell them apart.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(own), Self::Value(other)) | (Self::Error(own), Self::Error(other)) => own == other,
            (Self::Http(own), Self::Http(other)) => {
                own.status() == other.status()
                    && own.headers() == other.headers()
                    && own.body() == other.body()
            }
            (Self::Value(_) | Self::Error(_) | Self::Http(_), _) => false,
        }
    }

    /// What it is, for people: of its content the digest.
    pub fn summary(&self) -> String {
        let body = Digest::of(self.body());
        match self {
            Self::Value(content) => format!("{} {body}", content.told_media_type()),
            Self::Error(content) => format!("its own error, {} {body}", content.told_media_type()),
            Self::Http(response) => {
                let headers = Digest::of(format!("{:?}", response.headers()).as_bytes());
                format!("{} with headers {headers} and body {body}", response.status())
            }
        }
    }

    /// The same in buffers of its own, which aren't a part of larger ones.
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

    /// About how many bytes it takes to keep.
    pub fn bytes(&self) -> usize {
        let head = match self {
            Self::Value(content) | Self::Error(content) => content.media_type.len(),
            Self::Http(response) => {
                response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum()
            }
        };
        head + self.body().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_bounded() {
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
