//! The response to a call: its headers, and the guest's headers within bounds.
//!
//! Typed and raw functions return a value or an error, functions of the http form a whole response.
//! To both this module adds the function's identity, caching headers, timings and the receipt.
//! `compression` compresses the content last, so hashes and receipts are those of the content itself.
//! `problem` makes the responses of errors, which get some of these headers here.
//!
//! Invariants:
//! * The headers that a guest sets are bounded here, as its body is by its output limit.
//! * hyper accepts every header that a guest has set, and none affects more than the guest's own
//!   answer.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use nebula_model::cost::CallCost;
use nebula_model::trailers;
use nebula_runtime::id::Selector;
use nebula_runtime::{
    Because, CacheDirectives, CallError, Content, Failure, Form, Function, IssuedReceipt, Source, StepTrace,
};

use crate::accept_encoding;
use crate::body::PresentHeaders;
use crate::cache_control;
use crate::coding::Coding;
use crate::compression::{self, Compression, Encodable, Encoding};
use crate::etag::EntityTag;
use crate::preference::{self, PREFERENCE_APPLIED, ReceiptPreference};
use crate::problem::Problem;
use crate::status;
use crate::trailers::allowed;

pub(crate) const NEBULA_FUNCTION: HeaderName = HeaderName::from_static("nebula-function");
const NEBULA_FAILED_STEP: HeaderName = HeaderName::from_static("nebula-failed-step");
const NEBULA_RECEIPT: HeaderName = HeaderName::from_static("nebula-receipt");
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The longest headers of a guest's response, bytes as HTTP/1.1 writes them. Longer ones fail the
/// call with 502, `output-too-large`.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// The usual number of headers. Reserving their memory at once avoids growing the map.
const HEADERS_USUAL: usize = 12;

/// The timings of a hit. A lookup isn't measured, because reading the clock would take about as
/// long.
const NO_TIME: HeaderValue = HeaderValue::from_static("queue;dur=0.000, start;dur=0.000, run;dur=0.000");

/// The most steps of a pipeline in `Server-Timing`, which bounds the header's length.
const STEPS_TIMED_MAX: usize = 64;

/// The usual length of a `Server-Timing`, bytes.
const TIMING_BYTES: usize = 64;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The request headers that affect the answer of a typed or raw function.
const VARIES: HeaderValue = HeaderValue::from_static("accept, accept-encoding, prefer");
/// The same, if the server doesn't compress.
const VARIES_UNCOMPRESSED: HeaderValue = HeaderValue::from_static("accept, prefer");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("public, no-cache");

/// The `Cache-Status` of most hits.
const HIT: HeaderValue = HeaderValue::from_static("nebula; hit");
/// The `Age` of a result that was computed within the last second.
const NEW: HeaderValue = HeaderValue::from_static("0");

/// Headers that belong to the connection. A function can't set them (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The parts of a request that affect the form of its response.
pub(crate) struct ResponseContext {
    pub(crate) method: Method,
    pub(crate) selector: Selector,
    pub(crate) directives: CacheDirectives,
    pub(crate) receipt: Option<ReceiptPreference>,
    /// All lines of `If-Match`.
    if_match: Vec<HeaderValue>,
    /// All lines of `If-None-Match`.
    if_none_match: Vec<HeaderValue>,
    compression: Compression,
    /// The content coding that the client prefers.
    coding: Option<Coding>,
}

/// The facts about a call that its response reports.
pub(crate) struct CallFacts<'a> {
    pub(crate) function: &'a Function,
    pub(crate) cost: &'a CallCost,
    pub(crate) source: Source,
    /// The BLAKE3 hash of the body, if it was computed already.
    pub(crate) content_hash: Option<[u8; 32]>,
    /// The receipt, if the request asked for one.
    pub(crate) receipt: Option<IssuedReceipt>,
    /// The steps, if a pipeline ran.
    pub(crate) trace: Option<Arc<[StepTrace]>>,
}

impl ResponseContext {
    /// Reads the context from the head of a request. `selector` is that of its function's name.
    pub(crate) fn of(
        parts: &Parts,
        present: PresentHeaders,
        selector: Selector,
        compression: Compression,
    ) -> Self {
        let headers = &parts.headers;
        let mut context = Self {
            method: parts.method.clone(),
            selector,
            directives: CacheDirectives::default(),
            receipt: None,
            if_match: Vec::new(),
            if_none_match: Vec::new(),
            compression,
            coding: None,
        };
        if present.accept_encoding && compression == Compression::On {
            context.coding = accept_encoding::preferred(headers);
        }
        if present.cache_control {
            context.directives = cache_control::directives(headers);
        }
        if present.prefer {
            context.receipt = preference::receipt(headers);
        }
        if present.conditions {
            let lines = |name| headers.get_all(name).iter().cloned().collect();
            context.if_match = lines(header::IF_MATCH);
            context.if_none_match = lines(header::IF_NONE_MATCH);
        }
        context
    }

    fn is_safe(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "QUERY")
    }

    /// Returns whether the client wants other content than that which `etag` names. A pure function
    /// changes nothing, so only the content that a safe method would get is compared (RFC 9110
    /// §13.1.1).
    fn client_wants_another(&self, etag: &EntityTag) -> bool {
        self.is_safe()
            && !self.if_match.is_empty()
            && !self.if_match.iter().any(|line| etag.is_strongly_named_in(line))
    }

    /// Returns whether the client already has the content that `etag` names.
    fn client_has(&self, etag: &EntityTag) -> bool {
        self.is_safe() && self.if_none_match.iter().any(|line| etag.is_named_in(line))
    }

    /// Returns the tag of the content in the coding in which the client has it.
    fn tag_of_client(&self, etag: EntityTag) -> EntityTag {
        if self.compression == Compression::Off || self.if_none_match.is_empty() {
            return etag;
        }
        let names = |tag: &EntityTag| self.if_none_match.iter().any(|line| tag.is_named_in(line));
        let coded = Coding::ALL.into_iter().map(|coding| etag.in_coding(coding)).find(names);
        coded.filter(|_| !names(&etag)).unwrap_or(etag)
    }
}

/// Makes the response for a value or for the function's own error.
///
/// # Errors
/// The problem to answer with instead.
pub(crate) fn content(
    context: &ResponseContext,
    facts: &CallFacts<'_>,
    status: StatusCode,
    content: Content,
) -> Result<Encodable, Problem> {
    // Static media types need no copy, and the most common ones no validation.
    let media_type = match &content.media_type {
        Cow::Borrowed("application/json") => JSON,
        Cow::Borrowed("application/octet-stream") => OCTETS,
        Cow::Borrowed(text) => HeaderValue::from_static(text),
        Cow::Owned(_) => HeaderValue::from_str(content.told_media_type()).unwrap_or(OCTETS),
    };
    let mut response = Response::new(content.body);
    *response.status_mut() = status;
    response.headers_mut().reserve(HEADERS_USUAL);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    let varies = match context.compression {
        Compression::On => VARIES,
        Compression::Off => VARIES_UNCOMPRESSED,
    };
    response.headers_mut().insert(header::VARY, varies);
    finish(context, facts, response)
}

/// Makes the response from that of a function of the http form.
///
/// # Errors
/// The problem to answer with instead.
pub(crate) fn response(
    context: &ResponseContext,
    facts: &CallFacts<'_>,
    response: Response<Bytes>,
) -> Result<Encodable, Problem> {
    finish(context, facts, sendable(response, &context.method)?)
}

/// Returns a guest's response without the headers that it may not set.
///
/// # Errors
/// The problem to answer with, if the status is informational or the headers are too long.
fn sendable(mut response: Response<Bytes>, method: &Method) -> Result<Response<Bytes>, Problem> {
    let status = response.status();
    if let Some(fields) = trailers::detach(response.extensions_mut()) {
        trailers::attach(response.extensions_mut(), allowed(fields));
    }
    // An informational response precedes the answer, or ends HTTP on the connection. Only hyper may
    // send one.
    if status.is_informational() {
        let reason = format!("it answered with the interim status {}", status.as_u16());
        let failure = Failure { reason, backtrace: Vec::new(), log_tail: String::new() };
        return Err(status::call(&CallError::InvalidAnswer(Box::new(failure))));
    }
    let has_no_body = response.body().is_empty();
    let headers = response.headers_mut();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    // The server knows the length, except for that of a body that a guest omitted for `HEAD`.
    let length = headers.remove(header::CONTENT_LENGTH);
    let is_omitted = method == Method::HEAD && has_no_body && !is_bodiless(status);
    let is_length = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_digit);
    if let Some(length) = length.filter(|value| is_omitted && is_length(value)) {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    // A guest's clock stands still. The server adds the time of the answer.
    headers.remove(header::DATE);
    // Only the host issues receipts and reports that it did.
    headers.remove(NEBULA_RECEIPT);
    let applied = headers.get_all(PREFERENCE_APPLIED).iter();
    let applied: Vec<_> = applied.filter_map(preference::without_receipt).collect();
    headers.remove(PREFERENCE_APPLIED);
    for line in applied {
        headers.append(PREFERENCE_APPLIED, line);
    }
    let fields = response.headers().iter();
    let fields = fields.chain(trailers::of(response.extensions()).into_iter().flatten());
    let bytes: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > HEADER_BYTES_MAX {
        let detail = format!("the headers of the function's response are over {HEADER_BYTES_MAX} bytes");
        let problem = Problem::new(StatusCode::BAD_GATEWAY, "output-too-large", detail);
        return Err(problem.with("bytes_max", HEADER_BYTES_MAX));
    }
    if is_bodiless(status) {
        *response.body_mut() = Bytes::new();
    }
    Ok(response)
}

/// Returns whether a response with this status has no content (RFC 9110 §15).
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Adds provenance, receipt, caching headers, the content coding and the entity tag. Turns the
/// response into a 304 if the client has the content.
///
/// # Errors
/// The problem to answer with instead, if the content isn't the one that `If-Match` names.
fn finish(
    context: &ResponseContext,
    facts: &CallFacts<'_>,
    response: Response<Bytes>,
) -> Result<Encodable, Problem> {
    let (mut parts, body) = response.into_parts();
    // A function of the http form sees every request header, and sets any header of the answer.
    // Others set none, so there is nothing to look up.
    let sees_request = facts.function.record.description.form == Form::Http;
    let set = |headers: &HeaderMap, name| sees_request.then(|| headers.get(name).cloned()).flatten();
    // The length of a body that a guest has omitted for `HEAD`.
    let omitted = set(&parts.headers, header::CONTENT_LENGTH);
    let omitted = omitted.and_then(|length| length.to_str().ok()?.parse().ok());
    let compresses = context.compression == Compression::On;
    let is_compressible = compresses && compression::is_worth_it(&parts, omitted.unwrap_or(body.len()));
    let headers = &mut parts.headers;
    insert_provenance(headers, facts);
    if let Some(issued) = &facts.receipt {
        insert_receipt(headers, issued);
    }
    // Such a function lists the headers that affect its answer in its own `Vary`. Without that,
    // caches have to revalidate.
    let lacks_vary = sees_request && !headers.contains_key(header::VARY);
    if sees_request {
        // A 304 updates the headers of the content that a cache has, which may be compressible.
        let is_negotiated = is_compressible || (compresses && parts.status == StatusCode::NOT_MODIFIED);
        let varies = if is_negotiated { "accept-encoding, prefer" } else { "prefer" };
        headers.append(header::VARY, HeaderValue::from_static(varies));
    }
    let policy = match context.selector {
        // The next answer of a distrusted function may differ.
        _ if facts.function.is_distrusted() => NO_STORE,
        // A digest names a component. A later version may have it with another configuration.
        Selector::Digest(_) if !lacks_vary && facts.function.record.config.is_empty() => IMMUTABLE,
        Selector::Digest(_) | Selector::Current | Selector::Version(_) => REVALIDATE,
    };
    if set(headers, header::CACHE_CONTROL).is_some() && !facts.function.is_distrusted() {
        // The lifetime in the function's own header starts now, because a cached result is as good
        // as a new one.
        headers.remove(header::AGE);
    } else {
        headers.insert(header::CACHE_CONTROL, policy);
    }
    // Keep a valid tag of the function. It may identify the content better than a hash of its
    // bytes.
    let own = set(headers, header::ETAG).and_then(|tag| EntityTag::parse(&tag));
    // A guest that sees HEAD may have omitted the body. Then the hash isn't that of GET's content.
    let omits_body = sees_request && context.method == Method::HEAD && body.is_empty();
    let hash = || {
        // A body that was removed has no tag: `content_hash` is that of the removed body.
        (!is_bodiless(parts.status) && !omits_body).then(|| match &facts.content_hash {
            Some(hash) => EntityTag::of_hash(hash),
            None => EntityTag::of(&body),
        })
    };
    let coding = context.coding.filter(|_| is_compressible);
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        headers.remove(header::CONTENT_LENGTH);
    }
    // An omitted body isn't encoded.
    let encoded = coding.filter(|_| !body.is_empty());
    let encoding = |plain_etag| {
        let cached_hash = match facts.source {
            Source::Cached { .. } => facts.content_hash,
            Source::Ran { .. } | Source::Collapsed => None,
        };
        encoded.map(|coding| Encoding { coding, plain_etag, cached_hash })
    };
    let Some(etag) = own.or_else(hash) else {
        headers.remove(header::ETAG);
        return Ok(Encodable { response: Response::from_parts(parts, body), encoding: encoding(None) });
    };
    let encoding = encoding(coding.map(|_| etag.clone()));
    let etag = match coding {
        Some(coding) => etag.in_coding(coding),
        // The function compared the tag without the coding in which the client has the content.
        None if parts.status == StatusCode::NOT_MODIFIED => context.tag_of_client(etag),
        None => etag,
    };
    if parts.status == StatusCode::OK && context.client_wants_another(&etag) {
        let problem = status::precondition_failed("the content isn't the one that `If-Match` names");
        return Err(problem.with("etag", etag.to_string()));
    }
    let not_modified = parts.status == StatusCode::OK && context.client_has(&etag);
    headers.insert(header::ETAG, etag.into());
    if not_modified {
        parts.status = StatusCode::NOT_MODIFIED;
        // These describe content, and a 304 has none (RFC 9110 §15.4.5).
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
            headers.remove(name);
        }
        return Ok(Encodable { response: Response::from_parts(parts, Bytes::new()), encoding: None });
    }
    Ok(Encodable { response: Response::from_parts(parts, body), encoding })
}

/// Adds the function's identity, the timings, the cache status and the failed step. Errors get
/// these headers too.
pub(crate) fn insert_provenance(headers: &mut HeaderMap, facts: &CallFacts<'_>) {
    insert_identity(headers, facts.function);
    let timing = match facts.source {
        Source::Cached { .. } => Ok(NO_TIME),
        Source::Ran { .. } | Source::Collapsed => {
            let mut timing = timing(facts.cost);
            for step in facts.trace.iter().flat_map(|trace| trace.iter()).take(STEPS_TIMED_MAX) {
                timing.push_str(&step_timing(step));
            }
            HeaderValue::try_from(timing)
        }
    };
    if let Ok(timing) = timing {
        headers.insert(SERVER_TIMING, timing);
    }
    if let Source::Cached { age_s, .. } = facts.source {
        headers.insert(header::AGE, age(age_s));
    }
    headers.insert(CACHE_STATUS, cache_status(facts.source));
    let failed =
        facts.trace.iter().flat_map(|trace| trace.iter()).find_map(|step| Some((step, step.failed?)));
    if let Some((step, input)) = failed
        && let Ok(step) = HeaderValue::try_from(format!("{}; input=\"{input}\"", step.step))
    {
        headers.insert(NEBULA_FAILED_STEP, step);
    }
}

/// Returns the part of a `Server-Timing` for a pipeline step: its time, and how many of its calls
/// were hits.
fn step_timing(step: &StepTrace) -> String {
    let StepTrace { step, calls, hits, took_us, .. } = step;
    let outcome = match (*calls, *hits) {
        (0, _) => "not called".to_owned(),
        (1, 1) => "hit".to_owned(),
        (1, _) => "miss".to_owned(),
        (calls, hits) => format!("{hits} of {calls} hit"),
    };
    let (ms, us) = (took_us / 1000, took_us % 1000);
    format!(", {step};dur={ms}.{us:03};desc=\"{outcome}\"")
}

/// Adds the receipt, and `Preference-Applied` with the preference that was followed.
fn insert_receipt(headers: &mut HeaderMap, issued: &IssuedReceipt) {
    if let Ok(token) = HeaderValue::try_from(issued.token.as_str()) {
        headers.insert(NEBULA_RECEIPT, token);
    }
    let applied = if issued.input_kept { "receipt=with-input" } else { "receipt" };
    // The function may have applied another preference.
    headers.append(PREFERENCE_APPLIED, HeaderValue::from_static(applied));
}

/// Returns the `Cache-Status` (RFC 9211).
pub(crate) fn cache_status(source: Source) -> HeaderValue {
    let fixed = match source {
        Source::Ran { because: Because::Missed, stored: true } => "nebula; fwd=miss; stored",
        Source::Ran { because: Because::Missed, stored: false } => "nebula; fwd=miss",
        Source::Ran { because: Because::Asked, stored: true } => "nebula; fwd=request; stored",
        Source::Ran { because: Because::Asked, stored: false } => "nebula; fwd=request",
        Source::Ran { because: Because::Off, .. } => "nebula; fwd=bypass",
        Source::Collapsed => "nebula; fwd=miss; collapsed",
        Source::Cached { ttl_s: None, on_disk: false, .. } => return HIT,
        Source::Cached { ttl_s: None, on_disk: true, .. } => "nebula; hit; detail=disk",
        Source::Cached { ttl_s: Some(ttl_s), on_disk, .. } => {
            let detail = if on_disk { "; detail=disk" } else { "" };
            let hit = HeaderValue::try_from(format!("nebula; hit; ttl={ttl_s}{detail}"));
            return hit.unwrap_or(HIT);
        }
    };
    HeaderValue::from_static(fixed)
}

/// Returns the `Age`, in whole seconds.
fn age(age_s: u64) -> HeaderValue {
    if age_s == 0 {
        return NEW;
    }
    HeaderValue::from_str(itoa::Buffer::new().format(age_s)).unwrap_or(NEW)
}

/// Returns the `Server-Timing` of the phases, in milliseconds with three decimals.
fn timing(cost: &CallCost) -> String {
    let mut timing = String::with_capacity(TIMING_BYTES);
    let mut digits = itoa::Buffer::new();
    for (phase, took) in [("queue", cost.queue), (", start", cost.load + cost.start), (", run", cost.run)] {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        timing.push_str(phase);
        timing.push_str(";dur=");
        timing.push_str(digits.format(us / 1000));
        timing.push('.');
        // Adding 1,000 pads to three digits. Omit the leading one.
        timing.push_str(&digits.format(1000 + us % 1000)[1..]);
    }
    timing
}

/// Adds the function's identity, whether it was called or not.
pub(crate) fn insert_identity(headers: &mut HeaderMap, function: &Function) {
    // Cloning shares the bytes.
    headers.insert(NEBULA_FUNCTION, function.identity().clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    #[test]
    fn phases_are_in_milliseconds() {
        use std::time::Duration;

        let cost = CallCost {
            queue: Duration::ZERO,
            load: Duration::from_nanos(2_000),
            start: Duration::from_nanos(10_999),
            run: Duration::from_micros(1_002_003),
            processor: None,
        };
        assert_eq!(timing(&cost), "queue;dur=0.000, start;dur=0.012, run;dur=1002.003");
    }

    #[test]
    fn guests_cannot_answer_with_interim_statuses() {
        for status in [100, 101, 103, 199] {
            let reply = sendable(answer(status, ""), &Method::GET).unwrap_err().into_reply();
            assert_eq!(reply.status(), StatusCode::BAD_GATEWAY, "{status}");
        }
        for status in [200, 599, 999] {
            assert_eq!(sendable(answer(status, "x"), &Method::GET).unwrap().body(), "x", "{status}");
        }
    }

    #[test]
    fn responses_without_content_lose_their_body() {
        for status in [204, 205, 304] {
            assert!(sendable(answer(status, "some"), &Method::GET).unwrap().body().is_empty(), "{status}");
        }
    }

    #[test]
    fn headers_are_bounded_by_their_sum() {
        let with = |bytes: usize| {
            let mut response = answer(200, "");
            for name in ["x-one", "x-two"] {
                let value = HeaderValue::try_from("x".repeat(bytes / 2 - name.len() - 4)).unwrap();
                response.headers_mut().insert(name, value);
            }
            sendable(response, &Method::GET)
        };
        assert!(with(HEADER_BYTES_MAX).is_ok());
        assert!(with(HEADER_BYTES_MAX + 2).is_err());
    }
}
