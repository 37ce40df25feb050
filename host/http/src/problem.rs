//! Errors as `application/problem+json` (RFC 9457). `status` decides which error is which problem.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value};

use crate::etag::EntityTag;

/// The media type of problem documents.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The beginning of the type of every problem.
const TYPE_PREFIX: &str = "urn:nebula:problem:";

/// A response with its whole body.
pub(crate) type Reply = Response<Full<Bytes>>;

/// A problem document with its status, which is always that of an error, and extra headers.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    members: Map<String, Value>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Problem {
    /// Creates a problem. `kind` is a stable name for programs, `detail` a sentence for people.
    pub(crate) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        let mut members = Map::new();
        members.insert("type".to_owned(), format!("{TYPE_PREFIX}{kind}").into());
        members.insert("title".to_owned(), status.canonical_reason().unwrap_or("Error").into());
        members.insert("status".to_owned(), status.as_u16().into());
        members.insert("detail".to_owned(), detail.into().into());
        Self { status, members, headers: Vec::new() }
    }

    /// Returns the status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns its stable name for programs.
    pub(crate) fn kind(&self) -> &str {
        self.members.get("type").and_then(Value::as_str).map_or("", kind_of)
    }

    /// Returns the sentence for people.
    pub(crate) fn detail(&self) -> &str {
        self.members.get("detail").and_then(Value::as_str).unwrap_or("")
    }

    /// Adds an extension member.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Converts the problem to a response, which no cache may store.
    pub(crate) fn into_reply(self) -> Reply {
        let body = Value::Object(self.members).to_string();
        let etag = EntityTag::of(body.as_bytes());
        let mut reply = Response::new(Full::new(body.into()));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::ETAG, etag.into());
        headers.extend(self.headers);
        reply
    }
}

/// Returns the stable name of a problem without the prefix of its type.
pub(crate) fn kind_of(problem_type: &str) -> &str {
    problem_type.strip_prefix(TYPE_PREFIX).unwrap_or(problem_type)
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        problem.into_reply()
    }
}
