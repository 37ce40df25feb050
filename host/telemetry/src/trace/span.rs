//! A span: one piece of work, and its place in a trace.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use nebula_model::trace_context::{SpanId, TraceId};

use super::random;

/// The longest text of an attribute, bytes. A longer one is cut: a path can have 64 KiB, and the
/// queue is bounded by its number of spans.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The beginning of a sampled request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanStart {
    /// The trace.
    pub trace_id: TraceId,
    /// The id of the request's span.
    pub id: SpanId,
    /// The span that it belongs to.
    pub parent: Parent,
    /// The time at which it began.
    pub began: SystemTime,
}

/// A finished span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace_id: TraceId,
    /// The id.
    pub id: SpanId,
    /// The span that it belongs to.
    pub parent: Parent,
    /// The `tracestate` of the caller.
    pub trace_state: Option<Arc<str>>,
    /// Its role between services.
    pub kind: SpanKind,
    /// The name. Spans of the same work have the same name.
    pub name: Cow<'static, str>,
    /// The time at which it began.
    pub began: SystemTime,
    /// The time at which it ended.
    pub ended: SystemTime,
    /// The attributes, each with another key.
    pub attributes: Vec<Attribute>,
    /// The reason why the work failed; `None` if it didn't.
    pub failure: Option<Cow<'static, str>>,
}

/// The parent of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// None: the span is the first of its trace.
    None,
    /// A span of another process.
    Remote(SpanId),
    /// A span of this process.
    Local(SpanId),
}

/// The role of a span between services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a request.
    Server,
    /// A part of the work of another span.
    Internal,
}

/// A fact about a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The name, from the semantic conventions where they have one.
    pub key: &'static str,
    /// The value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text of at most [`TEXT_BYTES_MAX`].
    Text(Cow<'static, str>),
    /// A number.
    Integer(i64),
    /// True or false.
    Flag(bool),
}

impl SpanStart {
    /// Returns the span of a request that has ended now, without attributes.
    pub fn end(self, kind: SpanKind, name: Cow<'static, str>) -> Span {
        let Self { trace_id, id, parent, began } = self;
        Span {
            trace_id,
            id,
            parent,
            trace_state: None,
            kind,
            name,
            began,
            // The clock may have been set back.
            ended: SystemTime::now().max(began),
            attributes: Vec::new(),
            failure: None,
        }
    }
}

impl Span {
    /// Creates a span of a part of this one's work.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, began: SystemTime, ended: SystemTime) -> Self {
        Self {
            trace_id: self.trace_id,
            id: random::span_id(),
            parent: Parent::Local(self.id),
            trace_state: self.trace_state.clone(),
            kind: SpanKind::Internal,
            name: name.into(),
            began,
            ended: ended.max(began),
            attributes: Vec::new(),
            failure: None,
        }
    }

    /// Adds an attribute.
    pub fn add(&mut self, key: &'static str, value: impl Into<AttributeValue>) {
        self.attributes.push(Attribute { key, value: value.into() });
    }
}

impl AttributeValue {
    /// Copies a text, up to its longest length.
    pub fn text(text: &str) -> Self {
        Self::Text(Cow::Owned(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()))
    }
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<bool> for AttributeValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u16> for AttributeValue {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = |text: &str| {
            let AttributeValue::Text(text) = AttributeValue::text(text) else { panic!("not a text") };
            text.into_owned()
        };
        assert_eq!(text("/f/a"), "/f/a");
        assert_eq!(text(&"x".repeat(TEXT_BYTES_MAX + 1)), "x".repeat(TEXT_BYTES_MAX));
        assert_eq!(text(&format!("x{}", "ä".repeat(TEXT_BYTES_MAX))).len(), TEXT_BYTES_MAX - 1);
    }
}
