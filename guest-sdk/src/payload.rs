//! What raw functions take and answer.

use std::fmt;

/// Bytes, and what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// An RFC 9110 media type, such as `image/png`. In a request it is the caller's `Content-Type`, or
    /// `application/octet-stream` if there was none; in an answer it becomes the `Content-Type`.
    pub media_type: String,
    /// The content, whole.
    pub body: Vec<u8>,
}

impl Payload {
    /// A payload of any media type.
    pub fn new(media_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { media_type: media_type.into(), body: body.into() }
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain; charset=utf-8", text.into())
    }

    /// HTML.
    pub fn html(html: impl Into<String>) -> Self {
        Self::new("text/html; charset=utf-8", html.into())
    }

    /// A JSON document.
    pub fn json(json: impl Into<String>) -> Self {
        Self::new("application/json", json.into())
    }

    /// The media type without its parameters, in lowercase: `text/csv` of `Text/CSV; header=present`.
    pub fn essence(&self) -> String {
        self.media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The content as text.
    ///
    /// # Errors
    /// [`Error::BadInput`] where it isn't UTF-8.
    pub fn as_text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body)
            .map_err(|error| Error::bad_input(format!("the body is not UTF-8: {error}")))
    }
}

/// Why a raw function has no answer, and whose fault that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The input isn't one that this function accepts: the caller should change it (HTTP 422).
    BadInput(String),
    /// The input was fine and the function failed on it: its author should look (HTTP 502).
    Failed(String),
}

impl Error {
    /// The input isn't one that this function accepts.
    pub fn bad_input(reason: impl fmt::Display) -> Self {
        Self::BadInput(reason.to_string())
    }

    /// The input was fine and the function failed on it.
    pub fn failed(reason: impl fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::BadInput(reason) | Self::Failed(reason)) = self;
        formatter.write_str(reason)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_essence_is_the_bare_media_type() {
        assert_eq!(Payload::new("Text/CSV; header=present", "").essence(), "text/csv");
        assert_eq!(Payload::default().essence(), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_bad_input() {
        assert!(matches!(Payload::new("text/plain", [0xff]).as_text(), Err(Error::BadInput(_))));
        assert_eq!(Payload::text("é").as_text(), Ok("é"));
    }
}
