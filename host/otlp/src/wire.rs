//! The messages of OTLP that carry spans, and spans as messages.
//!
//! The numbers are those of `opentelemetry/proto/trace/v1` and `…/collector/trace/v1`, which are
//! stable. The end-to-end tests read what is sent with the messages of `opentelemetry-proto`.

use std::time::{SystemTime, UNIX_EPOCH};

use nebula_telemetry::trace::{AttributeValue, Parent, Span, SpanKind};
use prost::{Message, Oneof};

/// The flag of a trace that is recorded.
const SAMPLED: u32 = 1;
/// The flag that tells that the next one has a meaning.
const KNOWS_IF_REMOTE: u32 = 1 << 8;
/// The flag of a span whose parent is in another process.
const IS_REMOTE: u32 = 1 << 9;

/// The code of a status that is an error.
const STATUS_ERROR: i32 = 2;

/// The limits of what a span may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanLimits {
    /// The most attributes of a span.
    pub(crate) attributes_max: usize,
    /// The longest text of an attribute, characters; `None` for any.
    pub(crate) text_chars_max: Option<usize>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    dropped_attributes_count: u32,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(int64, tag = "3")]
    Integer(i64),
}

/// The collector's answer to spans that it has taken, at least in part.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// The part of the spans that the collector refused.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

/// `google.rpc.Status`: why a collector refused spans.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl RpcStatus {
    /// Returns the time after which the collector wants the spans again, if it does.
    pub(crate) fn retry_delay(&self) -> Option<std::time::Duration> {
        let is_retry_info = |any: &&Any| any.type_url.ends_with("/google.rpc.RetryInfo");
        let info = RetryInfo::decode(&*self.details.iter().find(is_retry_info)?.value).ok()?;
        let ProtoDuration { seconds, nanos } = info.retry_delay.unwrap_or_default();
        let (seconds, nanos) = (u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
        Some(std::time::Duration::new(seconds, nanos.min(999_999_999)))
    }
}

impl Resource {
    /// Describes this process by pairs of keys and values.
    pub(crate) fn new(attributes: &[(String, String)]) -> Self {
        let attribute = |(key, value): &(String, String)| KeyValue::text(key, value.clone());
        Self { attributes: attributes.iter().map(attribute).collect() }
    }
}

impl KeyValue {
    fn new(key: &str, value: Value) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }

    fn text(key: &str, text: String) -> Self {
        Self::new(key, Value::Text(text))
    }
}

impl ExportRequest {
    /// Creates the request for the spans of a batch.
    pub(crate) fn new(resource: &Resource, spans: Vec<Span>, limits: &SpanLimits) -> Self {
        let (name, version) = ("nebula".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let spans = spans.into_iter().map(|span| WireSpan::new(span, limits)).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(InstrumentationScope { name, version }), spans }];
        Self { resource_spans: vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }] }
    }
}

impl WireSpan {
    fn new(span: Span, limits: &SpanLimits) -> Self {
        let Span { trace_id, id, parent, trace_state, kind, name, began, ended, attributes, failure } = span;
        let (parent_span_id, remote) = match parent {
            Parent::None => (Vec::new(), 0),
            Parent::Remote(id) => (id.bytes().to_vec(), IS_REMOTE),
            Parent::Local(id) => (id.bytes().to_vec(), 0),
        };
        let dropped = attributes.len().saturating_sub(limits.attributes_max);
        let kept = attributes.into_iter().take(limits.attributes_max);
        let value = |value| match value {
            AttributeValue::Text(text) => Value::Text(limits.cut(text.into_owned())),
            AttributeValue::Integer(number) => Value::Integer(number),
            AttributeValue::Flag(flag) => Value::Flag(flag),
        };
        Self {
            trace_id: trace_id.bytes().to_vec(),
            span_id: id.bytes().to_vec(),
            trace_state: trace_state.map_or_else(String::new, |state| state.to_string()),
            parent_span_id,
            name: name.into_owned(),
            kind: match kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
            },
            start_time_unix_nano: unix_nanos(began),
            end_time_unix_nano: unix_nanos(ended),
            attributes: kept.map(|kept| KeyValue::new(kept.key, value(kept.value))).collect(),
            dropped_attributes_count: u32::try_from(dropped).unwrap_or(u32::MAX),
            status: failure.map(|message| Status { message: message.into_owned(), code: STATUS_ERROR }),
            flags: SAMPLED | KNOWS_IF_REMOTE | remote,
        }
    }
}

impl SpanLimits {
    fn cut(&self, text: String) -> String {
        let end = self.text_chars_max.and_then(|max| text.char_indices().nth(max));
        match end {
            Some((end, _)) => text[..end].to_owned(),
            None => text,
        }
    }
}

fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn texts_are_cut_at_characters() {
        let cut = |max| SpanLimits { attributes_max: 1, text_chars_max: max }.cut("aäb".to_owned());
        assert_eq!([cut(None), cut(Some(3)), cut(Some(2)), cut(Some(0))], ["aäb", "aäb", "aä", ""]);
    }

    #[test]
    fn the_collectors_delay_is_read() {
        let any = |type_url: &str, retry_delay| {
            let value = RetryInfo { retry_delay }.encode_to_vec();
            Any { type_url: type_url.to_owned(), value }
        };
        let delay = |seconds, nanos| {
            let delay = Some(ProtoDuration { seconds, nanos });
            let details =
                vec![any("type/other", delay), any("type.googleapis.com/google.rpc.RetryInfo", delay)];
            RpcStatus { message: String::new(), details }.retry_delay()
        };
        assert_eq!(delay(2, 500_000_000), Some(Duration::from_millis(2500)));
        assert_eq!(delay(0, 0), Some(Duration::ZERO));
        assert_eq!(delay(i64::MAX, i32::MAX), Some(Duration::new(i64::MAX as u64, 999_999_999)));
        assert_eq!((delay(-1, 0), delay(0, -1), delay(i64::MIN, i32::MIN)), (None, None, None));
        let other = RpcStatus { message: String::new(), details: vec![any("type/other", None)] };
        assert_eq!(other.retry_delay(), None);
    }
}
