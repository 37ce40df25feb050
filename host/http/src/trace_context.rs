//! The trace of a request: its `traceparent`, if it has exactly one and that is valid.
//!
//! The header doesn't change an answer, so it isn't part of a request's key
//! (`fast_path/request_key`).

use http::{HeaderMap, HeaderName};
use nebula_runtime::{TraceContext, TraceId};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace of a request that is traced, in the extensions of its answer.
#[derive(Clone, Copy)]
pub(crate) struct SampledTrace(pub(crate) TraceId);

/// Returns the place of a request in its trace.
pub(crate) fn of(headers: &HeaderMap) -> Option<TraceContext> {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    let first = lines.next()?;
    // Several contexts are as good as none (W3C Trace Context §3.2).
    if lines.next().is_some() {
        return None;
    }
    TraceContext::parse(first.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_single_valid_header_counts() {
        const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(TRACEPARENT, HeaderValue::from_str(line).unwrap());
            }
            super::of(&headers).map(|context| context.trace_id.to_string())
        };
        assert_eq!(of(&[VALID]).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        for ignored in [&[][..], &["00-1"], &[VALID, VALID], &[VALID, "x"]] {
            assert_eq!(of(ignored), None, "{ignored:?}");
        }
    }
}
