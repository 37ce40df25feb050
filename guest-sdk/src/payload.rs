//! The input, output and errors of raw functions.

use std::fmt;

/// Bytes with a media type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// A media type (RFC 9110), such as `image/png`. In a request it is the caller's
    /// `Content-Type`, or `application/octet-stream` by default; in an answer it becomes the
    /// `Content-Type`.
    pub media_type: String,
    /// The whole content.
    pub body: Vec<u8>,
}

impl Payload {
    /// Creates a payload of any media type.
    pub fn new(media_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { media_type: media_type.into(), body: body.into() }
    }

    /// Creates a payload of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain; charset=utf-8", text.into())
    }

    /// Creates a payload of HTML.
    pub fn html(html: impl Into<String>) -> Self {
        Self::new("text/html; charset=utf-8", html.into())
    }

    /// Creates a payload of JSON.
    pub fn json(json: impl Into<String>) -> Self {
        Self::new("application/json", json.into())
    }

    /// Returns the media type in lowercase and without parameters: `text/csv` for `Text/CSV;
    /// header=present`.
    pub fn essence(&self) -> String {
        self.media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Returns the content as text.
    ///
    /// # Errors
    /// Returns [`Error::BadInput`] if the content isn't UTF-8.
    pub fn as_text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body)
            .map_err(|error| Error::bad_input(format!("the body is not UTF-8: {error}")))
    }
}

/// The reason why a raw function returns no payload. The variant says whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The function doesn't accept the input: the caller should change it (HTTP 422).
    BadInput(String),
    /// The function failed on a valid input: its author should look into it (HTTP 502).
    Failed(String),
}

impl Error {
    /// Creates an error for an input that the function doesn't accept.
    pub fn bad_input(reason: impl fmt::Display) -> Self {
        Self::BadInput(reason.to_string())
    }

    /// Creates an error for a function that failed on a valid input.
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

/// The signature of a raw function. The macro has the same message for types that it recognises.
#[diagnostic::on_unimplemented(
    message = "a raw function must be `fn handle(request: Payload) -> Result<Payload, Error>` with the types of \
               `nebula_sdk`",
    label = "write the types of `nebula_sdk`"
)]
pub trait RawSignature {
    /// Calls the function.
    ///
    /// # Errors
    /// Those of the function.
    fn call(self, request: Payload) -> Result<Payload, Error>;
}

impl RawSignature for fn(Payload) -> Result<Payload, Error> {
    fn call(self, request: Payload) -> Result<Payload, Error> {
        self(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_essence_has_no_parameters() {
        assert_eq!(Payload::new("Text/CSV; header=present", "").essence(), "text/csv");
        assert_eq!(Payload::default().essence(), "");
    }

    #[test]
    fn invalid_utf8_is_bad_input() {
        assert!(matches!(Payload::new("text/plain", [0xff]).as_text(), Err(Error::BadInput(_))));
        assert_eq!(Payload::text("é").as_text(), Ok("é"));
    }
}
