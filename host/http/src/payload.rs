//! The body of a call to a typed or raw function, from the bytes that arrive to the request that the
//! runtime decodes: content codings, charsets and the forms of browsers.
//!
//! ```text
//! body -> decode (content codings) -> raw: the body, or the file of a multipart form
//!                                  \-> typed: pairs (a form) | text in UTF-8 | JSON
//! ```
//!
//! Invariants:
//! * The input is within the function's limit, and no step before holds more than a few times that.
//! * A body that takes long to read, for its length or for the length that it decodes to, is read
//!   beside the compute lane, when [`bodies`](crate::bodies) has room for the result.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use nebula_runtime::{
    DecodeError as InputError, Description, NotRun, Request as Call, RoutedFunction, Shard,
};
use tokio::sync::OwnedSemaphorePermit;

use crate::bodies::{self, BodyMemory, SMALL_BYTES_MAX};
use crate::body::{self, PresentHeaders};
use crate::coding::{self, Coding, DecodeError};
use crate::form::{self, PAIRS_MAX};
use crate::input::{self, FORM, Intake, MULTIPART};
use crate::media_type::{MediaType, UnknownCharset, decode_text};
use crate::multipart::{self, PART_MEDIA_TYPE, Part};
use crate::problem::Problem;
use crate::status;

/// A call, and the memory that is reserved for its input.
pub(crate) struct ReadCall {
    pub(crate) call: Call,
    pub(crate) reserved: Option<OwnedSemaphorePermit>,
}

/// A body that has arrived.
#[derive(Clone)]
struct Payload {
    media_type: Option<String>,
    /// In the order in which they were applied.
    codings: Vec<Coding>,
    body: Bytes,
}

/// Why a payload isn't read.
enum Unread {
    /// The input is longer than the bound.
    TooLong,
    Refused(Problem),
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// The head of a body that the runtime can decode as it is, like most. [`read`] reads all others.
#[derive(Clone, Copy)]
pub(crate) struct PlainBody<'a> {
    media_type: Option<&'a str>,
}

impl<'a> PlainBody<'a> {
    /// Returns `None` if the body with these headers has to be read first.
    pub(crate) fn of(
        headers: &'a HeaderMap,
        present: PresentHeaders,
        description: &Description,
    ) -> Option<Self> {
        if present.content_encoding {
            return None;
        }
        let media_type = match body::text(headers, header::CONTENT_TYPE) {
            None => None,
            Some(json_or_bytes @ ("application/json" | "application/octet-stream")) => Some(json_or_bytes),
            Some(text @ ("text/plain" | "text/plain;charset=UTF-8")) => labelled(text, description),
            Some(other) => {
                let media_type = MediaType(other);
                let is_plain = media_type.is_json() && media_type.other_encoding() == Ok(None);
                is_plain.then_some(Some(other))?
            }
        };
        Some(Self { media_type })
    }

    /// Returns the call with this body.
    pub(crate) fn into_call(self, body: Bytes) -> Call {
        Call::Payload { media_type: self.media_type.map(str::to_owned), body }
    }
}

/// Returns the label that text in UTF-8 keeps. `fetch` gives every string the label `text/plain` by
/// default, so JSON with it is read like an unlabelled body.
fn labelled<T>(text_plain: T, description: &Description) -> Option<T> {
    (input::intake(description) != Intake::Values).then_some(text_plain)
}

/// Reads any body. `reserved` is the memory for it and for its input, unless it is small.
///
/// # Errors
/// The problem to answer with.
pub(crate) async fn read(
    shard: &Shard,
    bodies: &BodyMemory,
    function: &Arc<RoutedFunction>,
    parts: &Parts,
    body: Bytes,
    reserved: Option<OwnedSemaphorePermit>,
) -> Result<ReadCall, Problem> {
    let codings = coding::of_body(&parts.headers).map_err(|list| status::unsupported_coding(&list))?;
    let media_type = body::text(&parts.headers, header::CONTENT_TYPE).map(str::to_owned);
    let payload = Payload { media_type, codings, body };
    let description = &function.record.description;
    let bytes_max = function.limits().input_bytes_max;
    if payload.is_soon_read(description) {
        let bound = if payload.codings.is_empty() { bytes_max } else { bytes_max.min(SMALL_BYTES_MAX) };
        match payload.clone().into_call(description, bound) {
            Ok(call) => return Ok(ReadCall { call, reserved }),
            Err(Unread::Refused(problem)) => return Err(problem),
            Err(Unread::TooLong) if bound == bytes_max => return Err(status::too_large(bytes_max)),
            // The body is longer than it looks. Read it again, elsewhere.
            Err(Unread::TooLong) => {}
        }
    }
    // A body that was reserved for has room for its input too.
    let mut reserved = match reserved {
        Some(reserved) => reserved,
        None => bodies.reserve_bytes(bytes_max).await?,
    };
    let function = Arc::clone(function);
    let patience = function.limits().deadline();
    let work = move || payload.into_call(&function.record.description, bytes_max);
    let read = shard.run_aside(patience, work).await;
    match read {
        Ok(Ok(call)) => {
            bodies::shrink(&mut reserved, call.input_bytes() as u64);
            Ok(ReadCall { call, reserved: Some(reserved) })
        }
        Ok(Err(Unread::TooLong)) => Err(status::too_large(bytes_max)),
        Ok(Err(Unread::Refused(problem))) => Err(problem),
        Err(NotRun::Overloaded) => Err(status::bodies_wait()),
        Err(NotRun::Failed) => Err(status::internal(&std::io::Error::other("reading the body failed"))),
    }
}

impl Payload {
    fn content_type(&self) -> Option<MediaType<'_>> {
        self.media_type.as_deref().map(MediaType)
    }

    /// Returns whether a serving thread may read the payload: it is short, or passed on as it is.
    fn is_soon_read(&self, description: &Description) -> bool {
        if self.body.len() as u64 <= SMALL_BYTES_MAX {
            return true;
        }
        let is_passed_on = self.content_type().is_none_or(|media_type| {
            let is_form = media_type.is(MULTIPART)
                || (media_type.is(FORM) && form::is_form(input::intake(description), &self.body));
            !is_form && matches!(media_type.other_encoding(), Ok(None) | Err(_))
        });
        self.codings.is_empty() && is_passed_on
    }

    /// Reads the payload. `bytes_max` bounds the input.
    fn into_call(mut self, description: &Description, bytes_max: u64) -> Result<Call, Unread> {
        self.decode(bytes_max)?;
        let intake = input::intake(description);
        match self.content_type() {
            Some(media_type) if media_type.is(MULTIPART) => {
                self.into_call_of_multipart(description, intake, bytes_max)
            }
            Some(media_type) if media_type.is(FORM) && form::is_form(intake, &self.body) => {
                Ok(Call::Query(form::pairs(&self.body, PAIRS_MAX).map_err(bad_form)?))
            }
            _ if intake == Intake::Payload => Ok(self.unchanged()),
            _ => {
                self.decode_charset(description, intake, bytes_max)?;
                if self.content_type().is_some_and(|own| own.is("text/plain")) {
                    self.media_type = self.media_type.and_then(|text| labelled(text, description));
                }
                Ok(self.unchanged())
            }
        }
    }

    fn unchanged(self) -> Call {
        Call::Payload { media_type: self.media_type, body: self.body }
    }

    /// Removes the content codings, the last one first.
    fn decode(&mut self, bytes_max: u64) -> Result<(), Unread> {
        // Some clients name a coding for a body that they don't have.
        let codings = if self.body.is_empty() { Vec::new() } else { std::mem::take(&mut self.codings) };
        for coding in codings.into_iter().rev() {
            self.body = match coding.decode(&self.body, bytes_max) {
                Ok(content) => content.into(),
                Err(DecodeError::TooLong) => return Err(Unread::TooLong),
                Err(error @ DecodeError::Malformed { .. }) => {
                    return Err(status::bad_request("broken-body", error.to_string()).into());
                }
            };
        }
        Ok(())
    }

    /// Converts text in another charset to UTF-8. Bytes that are the function's input stay as they
    /// are, also if they are text.
    fn decode_charset(
        &mut self,
        description: &Description,
        intake: Intake<'_>,
        bytes_max: u64,
    ) -> Result<(), Unread> {
        let Some(media_type) = self.content_type() else { return Ok(()) };
        let is_text = media_type.is_text() && !matches!(intake, Intake::Bytes(_));
        if !is_text && !media_type.is_json() {
            return Ok(());
        }
        let essence = media_type.essence().to_owned();
        if let Some(text) = to_utf8(media_type, &self.body, bytes_max, description)? {
            (self.media_type, self.body) = (Some(essence), text.into());
        }
        Ok(())
    }

    fn into_call_of_multipart(
        self,
        description: &Description,
        intake: Intake<'_>,
        bytes_max: u64,
    ) -> Result<Call, Unread> {
        let content_type = self.media_type.unwrap_or_default();
        let parts = multipart::parts(&content_type, self.body).map_err(bad_form)?;
        match intake {
            Intake::Payload => {
                let Part { media_type, content, .. } = only(parts, description)?;
                let media_type = media_type.unwrap_or_else(|| PART_MEDIA_TYPE.to_owned());
                Ok(Call::Payload { media_type: Some(media_type), body: content })
            }
            // The value is the file's content, whatever its type.
            Intake::Bytes(_) => {
                let Part { content, .. } = only(parts, description)?;
                Ok(Call::Payload { media_type: Some("application/octet-stream".to_owned()), body: content })
            }
            Intake::Text(_) => {
                let part = only(parts, description)?;
                let text = text_of(&part, bytes_max, description)?;
                let body = text.map_or(part.content, Bytes::from);
                Ok(Call::Payload { media_type: Some(PART_MEDIA_TYPE.to_owned()), body })
            }
            Intake::Values | Intake::Nothing => {
                let Some(parameters) = input::query_parameters(description) else {
                    let detail = "the function's input doesn't fit the fields of a form: send JSON";
                    return Err(unsupported(detail, description).into());
                };
                let is_base64 = |name: &str| {
                    parameters.iter().any(|parameter| parameter.name == name && input::is_base64(parameter))
                };
                // Text in another charset may be longer in UTF-8, and the input is all fields together.
                let mut left = bytes_max;
                let mut pair = |part: Part| {
                    left = left.checked_sub(part.name.len() as u64).ok_or(Unread::TooLong)?;
                    if is_base64(&part.name) {
                        left = left.checked_sub(part.content.len() as u64).ok_or(Unread::TooLong)?;
                        return Ok((part.name, STANDARD.encode(&part.content)));
                    }
                    let value = match text_of(&part, left, description)? {
                        Some(text) => text,
                        None => String::from_utf8(part.content.into()).map_err(|error| {
                            status::bad_input(&InputError::NotUtf8 {
                                valid_up_to: error.utf8_error().valid_up_to(),
                            })
                        })?,
                    };
                    left = left.checked_sub(value.len() as u64).ok_or(Unread::TooLong)?;
                    Ok::<_, Unread>((part.name, value))
                };
                Ok(Call::Query(parts.into_iter().map(&mut pair).collect::<Result<_, _>>()?))
            }
        }
    }
}

/// Returns a part's text, if it isn't in UTF-8.
fn text_of(part: &Part, bytes_max: u64, description: &Description) -> Result<Option<String>, Unread> {
    match &part.media_type {
        Some(media_type) => to_utf8(MediaType(media_type), &part.content, bytes_max, description),
        None => Ok(None),
    }
}

/// Decodes text of this media type. Returns `None` if it is in UTF-8 already.
fn to_utf8(
    media_type: MediaType<'_>,
    text: &[u8],
    bytes_max: u64,
    description: &Description,
) -> Result<Option<String>, Unread> {
    let encoding = media_type.other_encoding().map_err(|UnknownCharset(charset)| {
        unsupported(&format!("the charset `{charset}` isn't known: send UTF-8"), description)
    })?;
    let Some(encoding) = encoding else { return Ok(None) };
    match decode_text(encoding, text) {
        Some(text) if text.len() as u64 <= bytes_max => Ok(Some(text)),
        Some(_) => Err(Unread::TooLong),
        None => {
            let detail = format!("the body is not valid {}", encoding.name());
            Err(status::bad_request("broken-body", detail).into())
        }
    }
}

/// Returns the only part of a form.
fn only(parts: Vec<Part>, description: &Description) -> Result<Part, Problem> {
    let count = parts.len();
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next()) {
        (Some(part), None) => Ok(part),
        _ => {
            let detail = format!("the form has {count} fields or files, and the function takes one");
            Err(unsupported(&detail, description))
        }
    }
}

fn bad_form(reason: impl std::fmt::Display) -> Problem {
    status::bad_request("bad-form", format!("the form can't be read: {reason}"))
}

fn unsupported(detail: &str, description: &Description) -> Problem {
    status::unsupported_media_type(detail, input::media_types(description))
}

#[cfg(test)]
mod tests;
