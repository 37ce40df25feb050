//! The data plane: calls.
//!
//! ```text
//! POST | QUERY  /f/{name}[@version]    a body
//! GET | HEAD    /f/{name}[@version]    query parameters
//! any method    /f/{name}[@version]/…  for functions of the http form
//! GET | HEAD    /healthz /readyz
//! ```
//!
//! This module routes a request to its function, reads its input and runs the call. `payload` reads
//! bodies, `answer` makes the response, `compression` compresses it, `status` maps errors, and
//! `fast_path` answers repeated requests before they arrive here.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use nebula_runtime::id::FunctionRef;
use nebula_runtime::{
    Answer, AnsweredCall, CallOutcome, Form, Function, IssuedReceipt, Prefer, ReceiptSubject,
    RepeatableAnswer, Request as Call, RoutedFunction, SegmentRoute, Shard,
};

use crate::accept::prefer;
use crate::answer::{self, CallFacts, ResponseContext};
use crate::bodies::BodyMemory;
use crate::body::{self, PresentHeaders};
use crate::compression::Compression;
use crate::etag;
use crate::fast_path::{Exchange, RequestInFlight};
use crate::form;
use crate::input;
use crate::payload;
use crate::preference::{self, PREFER, ReceiptPreference};
use crate::problem::{Problem, Reply};
use crate::status;

/// Headers that wasi:http hides from guests, because they belong to the connection (RFC 9110
/// §7.6.1). A call doesn't depend on them.
const HIDDEN_HEADERS: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// A reply with the cached result that it was made from.
struct ReplyWithResult {
    reply: Reply,
    /// `None` if the same request can't get this result again.
    result: Option<RepeatableAnswer>,
}

/// The head of a call's request, checked.
struct CallHead<'a> {
    parts: &'a Parts,
    present: PresentHeaders,
    /// The path below the function's name: empty, or with a slash at its beginning.
    subpath: &'a str,
    compression: Compression,
}

/// A copy of a call, kept until its receipt is issued.
struct ReceiptOrder {
    preference: ReceiptPreference,
    call: Call,
    prefer: Prefer,
}

impl From<Reply> for ReplyWithResult {
    fn from(reply: Reply) -> Self {
        Self { reply, result: None }
    }
}

/// Answers one request.
pub(crate) async fn serve(
    shard: Shard,
    bodies: BodyMemory,
    compression: Compression,
    request: Request<Incoming>,
    in_flight: RequestInFlight,
) -> Result<Reply, Infallible> {
    let head = request.method() == Method::HEAD;
    let (parts, mut body) = request.into_parts();
    let ReplyWithResult { mut reply, result } =
        match route(&shard, &bodies, compression, &parts, &mut body).await {
            Ok(outcome) => outcome,
            Err(problem) => problem.into_reply().into(),
        };
    body::discard(&parts.headers, &mut body).await;
    if head {
        // hyper omits the body. Send the length that it would have, if there is a body here: a
        // guest that sees HEAD may omit it itself, and a 304 has no body for `GET` either.
        let length = http_body::Body::size_hint(reply.body()).exact().filter(|length| *length > 0);
        if let Some(length) = length {
            reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        *reply.body_mut() = Full::default();
    }
    // Last, because hyper gets the reply without another poll.
    let is_parsed = body.is_end_stream();
    in_flight.end(Exchange { request_headers: &parts.headers, is_parsed, reply: &reply, result });
    Ok(reply)
}

/// Finds the function of a request and calls it, or answers a health check.
///
/// # Errors
/// The problem to answer with, if the request is malformed or names no deployed function.
async fn route(
    shard: &Shard,
    bodies: &BodyMemory,
    compression: Compression,
    parts: &Parts,
    body: &mut Incoming,
) -> Result<ReplyWithResult, Problem> {
    let present = body::check(parts)?;
    let path = parts.uri.path();
    if path == "/healthz" || path == "/readyz" {
        return match parts.method {
            Method::GET | Method::HEAD => Ok(Response::new(Full::new(Bytes::from_static(b"ok\n"))).into()),
            _ => Err(status::method_not_allowed("GET, HEAD")),
        };
    }
    let Some(rest) = path.strip_prefix("/f/") else { return Err(status::no_such_path(path)) };
    let (reference, subpath) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let target = match shard.cached_route(reference) {
        Some(route) => route,
        None => Box::pin(resolve(shard, reference)).await?,
    };
    let head = CallHead { parts, present, subpath, compression };
    let outcome = call(shard, bodies, &target, &head, body).await;
    // From here on, every answer names its function.
    outcome.or_else(|problem| {
        let mut reply = problem.into_reply();
        answer::insert_identity(reply.headers_mut(), &target.function);
        Ok(reply.into())
    })
}

/// Resolves a percent-encoded path segment to its function, and caches the route.
///
/// # Errors
/// The problem to answer with.
async fn resolve(shard: &Shard, segment: &str) -> Result<SegmentRoute, Problem> {
    let reference: FunctionRef = percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| status::bad_request("bad-name", "the function's name is not UTF-8"))?
        .parse()
        .map_err(|error: nebula_runtime::id::IdError| status::bad_request("bad-name", error.to_string()))?;
    let function = shard.find(&reference).await.map_err(|error| status::resolve(&error))?;
    shard.cache_route(segment, &reference, &function);
    Ok(SegmentRoute { function, selector: reference.selector })
}

/// Reads the input of a call and runs it.
///
/// # Errors
/// The problem to answer with, if the call didn't start.
async fn call(
    shard: &Shard,
    bodies: &BodyMemory,
    SegmentRoute { function, selector }: &SegmentRoute,
    head: &CallHead<'_>,
    body: &mut Incoming,
) -> Result<ReplyWithResult, Problem> {
    let CallHead { parts, present, subpath, compression } = head;
    let form = function.record.description.form;
    if form != Form::Http {
        if !subpath.is_empty() {
            return Err(status::no_such_path(parts.uri.path()));
        }
        if parts.method == Method::OPTIONS {
            return Ok(options(function).into());
        }
    }
    // Keep the memory reserved until the call ends: the call holds the body.
    let _reserved_for_input;
    let _reserved = bodies.reserve(body, function.limits().input_bytes_max).await?;
    let request = match form {
        Form::Http => {
            let body = body::read(body, function.limits().input_bytes_max).await?;
            Call::Http(Arc::new(guest_request(head, body)))
        }
        Form::Typed | Form::Raw => match parts.method.as_str() {
            "POST" | "QUERY" => {
                let body = body::read(body, function.limits().input_bytes_max).await?;
                match payload::ordinary(&parts.headers, *present, body) {
                    Ok(call) => call,
                    Err(body) => {
                        // Boxed, because most bodies don't need it.
                        let read = Box::pin(payload::read(shard, bodies, function, parts, body)).await?;
                        _reserved_for_input = read.reserved;
                        read.call
                    }
                }
            }
            "GET" | "HEAD" if form == Form::Typed => {
                // The length of the target bounds its pairs.
                let pairs = form::pairs(parts.uri.query().unwrap_or("").as_bytes(), usize::MAX);
                let bad = |error| status::bad_request("bad-query", format!("the query string is {error}"));
                Call::Query(pairs.map_err(bad)?)
            }
            _ => return Err(status::method_not_allowed(input::methods(form))),
        },
    };
    let context = ResponseContext::of(parts, *present, *selector, *compression);
    let accept = if present.accept { accept(&parts.headers) } else { None };
    Ok(run(shard, function, &context, request, prefer(accept.as_deref())).await)
}

/// Returns the `Accept` header, with several lines joined to one list (RFC 9110 §5.3).
fn accept(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let first = lines.next()?;
    Some(lines.fold(Cow::Borrowed(first), |list, line| Cow::Owned(format!("{list}, {line}"))))
}

/// Runs a call and makes its response, with a receipt if the request asks for one.
async fn run(
    shard: &Shard,
    function: &Arc<RoutedFunction>,
    context: &ResponseContext,
    call: Call,
    prefer: Prefer,
) -> ReplyWithResult {
    // Boxed, because few requests ask for a receipt, and the others don't move its memory around.
    let order =
        context.receipt.map(|preference| Box::new(ReceiptOrder { preference, call: call.clone(), prefer }));
    let AnsweredCall { outcome, repeatable } = shard.answer(function, call, prefer, context.directives).await;
    // A receipt has the time of its creation, so the same response can't be sent again.
    let result = repeatable.filter(|_| order.is_none());
    let receipt = match order {
        Some(order) => Box::pin(issue_receipt(shard, function, *order, &outcome)).await,
        None => None,
    };
    let facts = CallFacts {
        function,
        cost: &outcome.cost,
        source: outcome.source,
        content_hash: outcome.content_hash,
        receipt,
        trace: outcome.trace,
    };
    let answered = match outcome.result {
        Ok(Answer::Value(content)) => Ok(answer::content(context, &facts, StatusCode::OK, content)),
        Ok(Answer::Error(content)) => {
            Ok(answer::content(context, &facts, StatusCode::UNPROCESSABLE_ENTITY, content))
        }
        Ok(Answer::Http(response)) => answer::response(context, &facts, *response),
        Err(error) => Err(status::call(&error)),
    };
    let reply = match answered {
        Ok(encodable) => encodable.encode(shard).await,
        Err(problem) => {
            let mut reply = problem.into_reply();
            answer::insert_provenance(reply.headers_mut(), &facts);
            reply
        }
    };
    ReplyWithResult { reply, result }
}

/// Issues the receipt of a call; `None` if the call returned an error or no receipt can be made.
async fn issue_receipt(
    shard: &Shard,
    function: &Arc<RoutedFunction>,
    ReceiptOrder { preference, call, prefer }: ReceiptOrder,
    outcome: &CallOutcome,
) -> Option<IssuedReceipt> {
    let (answer, engine) = (outcome.result.as_ref().ok()?.clone(), outcome.engine.clone());
    let subject = ReceiptSubject { request: call, prefer, answer, engine };
    shard.receipt(function, subject, preference.with_input).await
}

/// Answers `OPTIONS` for a typed or raw function: its methods and media types.
fn options(function: &Function) -> Reply {
    let description = &function.record.description;
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(input::methods(description.form)));
    if let Ok(accepted) = HeaderValue::try_from(input::media_types(description).join(", ")) {
        headers.insert("accept-query", accepted);
    }
    answer::insert_identity(headers, function);
    reply
}

/// Returns the request as a function of the http form sees it. Its path begins below the function's
/// name.
fn guest_request(CallHead { parts, subpath, compression, .. }: &CallHead<'_>, body: Bytes) -> Request<Bytes> {
    let path = if subpath.is_empty() { "/" } else { subpath };
    let path_and_query = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    // Parsing succeeds: the text is part of a valid URI and begins with a slash.
    *request.uri_mut() = Uri::try_from(path_and_query).unwrap_or_default();
    let authority =
        parts.uri.authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
    *request.headers_mut() = visible_headers(&parts.headers, *compression);
    // HTTP/2 has the authority in the URI. The guest always finds it in a header.
    if let Some(authority) = authority {
        request.headers_mut().entry(header::HOST).or_insert(authority);
    }
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    request
}

/// Returns the headers that a guest sees, in their order. Removing entries from the map would
/// reorder others, and so make it a different call.
fn visible_headers(headers: &HeaderMap, compression: Compression) -> HeaderMap {
    let mut visible = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if HIDDEN_HEADERS.contains(&name.as_str()) {
            continue;
        }
        let value = match *name {
            ref name if name == PREFER => preference::without_receipt(value),
            // The host chooses the coding, and the call is the same in each.
            header::ACCEPT_ENCODING if compression == Compression::On => None,
            header::IF_NONE_MATCH | header::IF_MATCH if compression == Compression::On => {
                Some(etag::without_codings(value).into_owned())
            }
            _ => Some(value.clone()),
        };
        if let Some(value) = value {
            visible.append(name, value);
        }
    }
    visible
}
