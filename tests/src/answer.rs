//! A response and the assertions on it. An assertion that fails shows the whole response.

use std::fmt;

use serde_json::Value;

/// A response whose body has been read to its end.
#[derive(Clone)]
pub struct Answer {
    /// Method and URL of the request, for messages.
    request: String,
    status: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\n-> {}", self.request, self.status)?;
        for (name, value) in &self.headers {
            writeln!(formatter, "   {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        let body = String::from_utf8_lossy(&self.body);
        writeln!(formatter, "{}", body.chars().take(4000).collect::<String>())
    }
}

impl Answer {
    pub(crate) fn new(request: String, response: http::Response<Vec<u8>>) -> Self {
        let (parts, body) = response.into_parts();
        Self { request, status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Returns the status, for tests that accept several.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Asserts the status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts the body as text.
    #[track_caller]
    pub fn says(self, body: &str) -> Self {
        assert_eq!(self.text(), body, "{self:?}");
        self
    }

    /// Asserts the body byte for byte.
    #[track_caller]
    pub fn bytes(self, body: &[u8]) -> Self {
        assert!(self.body == body, "not the {} bytes expected: {self:?}", body.len());
        self
    }

    /// Asserts the value of a header.
    #[track_caller]
    pub fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name}: {self:?}");
        self
    }

    /// Asserts that the response lacks a header.
    #[track_caller]
    pub fn lacks(self, name: &str) -> Self {
        assert_eq!(self.header(name), None, "{name}: {self:?}");
        self
    }

    /// Returns the value of a header, and fails if the header occurs more than once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().expect("a header in ASCII"));
        assert!(values.next().is_none(), "{name} occurs more than once: {self:?}");
        value
    }

    /// Returns all headers.
    pub fn headers(&self) -> &http::HeaderMap {
        &self.headers
    }

    /// Returns the body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|_| panic!("not UTF-8: {self:?}"))
    }

    /// Parses the body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON: {error}: {self:?}"))
    }

    /// Asserts a problem document (RFC 9457) of this kind whose `status` is the response's.
    #[track_caller]
    pub fn problem(self, kind: &str) -> Problem {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let members = self.json();
        let problem = Problem { answer: self, members };
        problem
            .member("type", format!("urn:nebula:problem:{kind}"))
            .member("status", problem.answer.status)
            .clone()
    }
}

/// A problem document and the assertions on it.
#[derive(Clone)]
pub struct Problem {
    answer: Answer,
    members: Value,
}

impl Problem {
    /// Asserts the value of a member.
    #[track_caller]
    pub fn member(&self, name: &str, value: impl Into<Value>) -> &Self {
        assert_eq!(self.members[name], value.into(), "{name}: {:?}", self.answer);
        self
    }

    /// Asserts the JSON pointer to the value that doesn't match the type.
    #[track_caller]
    pub fn pointer(&self, pointer: &str) -> &Self {
        self.member("pointer", pointer)
    }

    /// Asserts the WIT type that was expected there.
    #[track_caller]
    pub fn expected(&self, wit: &str) -> &Self {
        self.member("expected", wit)
    }

    /// Asserts that `detail`, the sentence for people, contains `part`.
    #[track_caller]
    pub fn detail(&self, part: &str) -> &Self {
        self.mentions("detail", part)
    }

    /// Asserts that a text member contains `part`.
    #[track_caller]
    pub fn mentions(&self, member: &str, part: &str) -> &Self {
        let text = self.members[member].as_str().unwrap_or_default();
        assert!(text.contains(part), "no `{part}` in the {member}: {:?}", self.answer);
        self
    }

    /// Asserts that a frame of the backtrace contains `function`.
    #[track_caller]
    pub fn frame(&self, function: &str) -> &Self {
        let mut frames = self.members["backtrace"].as_array().into_iter().flatten().filter_map(Value::as_str);
        assert!(frames.any(|frame| frame.contains(function)), "no frame `{function}`: {:?}", self.answer);
        self
    }

    /// Asserts the value of a header of the response.
    #[track_caller]
    pub fn has(&self, name: &str, value: &str) -> &Self {
        assert_eq!(self.answer.header(name), Some(value), "{name}: {:?}", self.answer);
        self
    }
}
