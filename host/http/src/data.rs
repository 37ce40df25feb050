//! The data plane: calls.
//!
//! ```text
//! POST | QUERY  /f/{name}[@version]    a body
//! GET | HEAD    /f/{name}[@version]    query parameters
//! any method    /f/{name}[@version]/…  for functions of the http form
//! any of these  a path that a function's deploy names as its route
//! GET | HEAD    /healthz /readyz
//! GET | HEAD    /openapi.json
//! ```
//!
//! This module routes a request to its function, reads its input and runs the call. `payload` reads
//! bodies, `answer` makes the response, `compression` compresses it, `status` maps errors, and
//! `fast_path` answers repeated requests before they arrive here. `relay` brings calls from the control
//! plane.

pub(crate) mod relay;

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use nebula_model::trailers;
use nebula_runtime::id::FunctionRef;
use nebula_runtime::{
    Answer, AnsweredCall, CallIds, CallOutcome, Cors, Form, Function, IssuedReceipt, PathRoute, Prefer,
    ReceiptSubject, RepeatableAnswer, Request as Call, RoutedFunction, SegmentRoute, Shard, TraceId, host_of,
};
use nebula_telemetry::trace::Tracer;

use crate::accept::prefer;
use crate::answer::{self, CallFacts, ResponseContext};
use crate::bodies::BodyMemory;
use crate::body::{self, PresentHeaders};
use crate::compressed_contents::CompressedContents;
use crate::compression::{Compression, EncodedReply};
use crate::cors;
use crate::fast_path::{Exchange, RequestInFlight};
use crate::form;
use crate::guest_request::{visible_headers, visible_trailers};
use crate::input;
use crate::openapi::CallsDocument;
use crate::payload::{self, PlainBody};
use crate::preference::ReceiptPreference;
use crate::problem::{Problem, Reply};
use crate::readiness::Readiness;
use crate::request_id::{self, X_REQUEST_ID};
use crate::spans::{RequestSpan, TracedCall};
use crate::status;
use crate::trace_context::{self, SampledTrace};
use crate::trailers::{self as answer_trailers, SentBody, TrailedBody};

/// A reply with the cached result that it was made from.
struct ReplyWithResult {
    reply: Reply,
    /// `None` if the same request can't get this result again.
    result: Option<RepeatableAnswer>,
    /// The call, if the request is traced and made one.
    call: Option<Box<TracedCall>>,
}

/// The head of a call's request, checked.
struct CallHead<'a> {
    parts: &'a Parts,
    present: PresentHeaders,
    /// The path below the function's name or route: empty, or with a slash at its beginning.
    subpath: &'a str,
    compression: Compression,
    request_id: &'a HeaderValue,
    /// The trace, if the request is traced.
    sampled: Option<TraceId>,
}

/// The function of a request.
struct RequestTarget<'a> {
    route: SegmentRoute,
    subpath: &'a str,
}

/// A call whose input has been read.
struct CallToRun<'a> {
    call: Call,
    prefer: Prefer,
    ids: CallIds<'a>,
    is_traced: bool,
}

/// A copy of a call, kept until its receipt is issued.
struct ReceiptOrder {
    preference: ReceiptPreference,
    call: Call,
    prefer: Prefer,
}

impl From<Reply> for ReplyWithResult {
    fn from(reply: Reply) -> Self {
        Self { reply, result: None, call: None }
    }
}

/// The state of one serving thread, which all its requests share.
pub(crate) struct DataPlane {
    pub(crate) shard: Shard,
    pub(crate) bodies: BodyMemory,
    pub(crate) readiness: Readiness,
    /// The policy for functions without one of their own.
    pub(crate) cors: Option<Cors>,
    pub(crate) compression: Compression,
    /// The compressed contents to send again.
    pub(crate) contents: CompressedContents,
    /// The document of all functions; `None` if it isn't served.
    pub(crate) document: Option<CallsDocument>,
    /// `None` if requests aren't traced.
    pub(crate) tracer: Option<Tracer>,
}

impl DataPlane {
    /// Serves with the defaults, for tests.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn new(shard: Shard, bodies: BodyMemory) -> Self {
        Self {
            contents: CompressedContents::new(shard.clone()),
            shard,
            bodies,
            readiness: Readiness::default(),
            cors: None,
            compression: Compression::On,
            document: None,
            tracer: None,
        }
    }
}

/// Answers one request.
pub(crate) async fn serve(
    plane: Arc<DataPlane>,
    request: Request<Incoming>,
    in_flight: RequestInFlight,
) -> Result<Response<SentBody>, Infallible> {
    let head = request.method() == Method::HEAD;
    let (parts, mut body) = request.into_parts();
    let span = plane.tracer.as_ref().and_then(|tracer| RequestSpan::begin_call(tracer, &parts));
    let sampled = span.as_ref().and_then(|span| span.trace_id());
    let checked = body::check(&parts);
    let has_id = checked.as_ref().map_or(true, |present| present.request_id);
    let request_id = if has_id { request_id::of(&parts.headers) } else { request_id::new_value() };
    let routed = match checked {
        Ok(present) => match span.as_ref().and_then(|span| span.scope()) {
            // Boxed by the scope, so that a request that isn't traced moves nothing for it.
            Some(scope) => {
                scope.follow(route(&plane, &parts, present, &request_id, sampled, &mut body)).await
            }
            None => route(&plane, &parts, present, &request_id, sampled, &mut body).await,
        },
        Err(problem) => Err(problem),
    };
    let ReplyWithResult { mut reply, result, call } = match routed {
        Ok(outcome) => outcome,
        Err(problem) => refuse(plane.cors.as_ref(), &parts, problem).into(),
    };
    let is_parsed = body::discard(&parts.headers, body).await;
    if head && !reply.headers().contains_key(header::CONTENT_LENGTH) {
        // hyper omits the body. Send the length that it would have, if there is a body here: a
        // guest that sees HEAD may omit it itself, and a 304 has no body for `GET` either.
        let length = http_body::Body::size_hint(reply.body()).exact().filter(|length| *length > 0);
        if let Some(length) = length {
            reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    let trailers = answer_trailers::announce(&mut reply, &parts.headers, head);
    // The last header: `fast_path` relies on it.
    reply.headers_mut().insert(X_REQUEST_ID, request_id);
    if let Some(span) = span {
        if let Some(trace_id) = sampled {
            reply.extensions_mut().insert(SampledTrace(trace_id));
        }
        span.end_call(&reply, call);
    }
    if head {
        *reply.body_mut() = Full::default();
    }
    // Last, because hyper gets the reply without another poll.
    // It doesn't follow the chunks of an answer with trailers.
    let is_parsed = is_parsed && trailers.is_none();
    in_flight.end(Exchange { request_headers: &parts.headers, is_parsed, reply: &reply, result });
    Ok(answer_trailers::send(reply, trailers))
}

/// Finds the function of a request and calls it, or answers a health check.
///
/// # Errors
/// The problem to answer with, if the request is malformed or names no deployed function.
async fn route(
    plane: &DataPlane,
    parts: &Parts,
    present: PresentHeaders,
    request_id: &HeaderValue,
    sampled: Option<TraceId>,
    body: &mut Incoming,
) -> Result<ReplyWithResult, Problem> {
    let DataPlane { shard, readiness, cors, compression, document, .. } = plane;
    let path = parts.uri.path();
    if path == "/healthz" || path == "/readyz" {
        return match parts.method {
            Method::GET | Method::HEAD if path == "/readyz" && readiness.is_stopping() => {
                Err(status::stopping())
            }
            Method::GET | Method::HEAD => Ok(Response::new(Full::new(Bytes::from_static(b"ok\n"))).into()),
            _ => Err(status::method_not_allowed("GET, HEAD")),
        };
    }
    let RequestTarget { route: target, subpath } = match path.strip_prefix("/f/") {
        Some(rest) => {
            let (reference, subpath) = match rest.find('/') {
                Some(slash) => rest.split_at(slash),
                None => (rest, ""),
            };
            let route = match shard.cached_route(reference) {
                Some(route) => route,
                None => Box::pin(resolve(shard, reference)).await?,
            };
            RequestTarget { route, subpath }
        }
        None => {
            if let Some(document) = document.as_ref().filter(|_| path == CallsDocument::PATH) {
                let mut reply = Box::pin(document.answer(parts)).await?;
                if let Some(cors) = cors {
                    cors::add_headers(cors, parts.headers.get(header::ORIGIN), reply.headers_mut());
                }
                return Ok(reply.into());
            }
            Box::pin(resolve_path(shard, parts)).await?
        }
    };
    let head = CallHead { parts, present, subpath, compression: *compression, request_id, sampled };
    let cors = target.function.record.cors.as_ref().or(cors.as_ref());
    let outcome = match cors.zip(cors::preflight_method(parts)) {
        Some((cors, requested)) => {
            let methods = cors::methods(target.function.record.description.form, requested);
            let mut reply = cors::preflight(cors, parts, methods);
            answer::insert_identity(reply.headers_mut(), &target.function);
            Ok(reply.into())
        }
        None => call(plane, &target, &head, body).await,
    };
    let mut answered = answer_of(outcome, &target.function);
    if let Some(cors) = cors {
        cors::add_headers(cors, parts.headers.get(header::ORIGIN), answered.reply.headers_mut());
    }
    Ok(answered)
}

/// Returns the answer to a request that has reached its function, which every such answer names.
fn answer_of(outcome: Result<ReplyWithResult, Problem>, function: &Function) -> ReplyWithResult {
    outcome.unwrap_or_else(|problem| {
        let mut reply = problem.into_reply();
        answer::insert_identity(reply.headers_mut(), function);
        reply.into()
    })
}

/// Answers a request that reaches no function. A preflight is answered all the same, so that the
/// page may read the answer to the request itself.
fn refuse(cors: Option<&Cors>, parts: &Parts, problem: Problem) -> Reply {
    let Some(cors) = cors else { return problem.into_reply() };
    let mut reply = match cors::preflight_method(parts) {
        Some(requested) => cors::preflight(cors, parts, requested.clone()),
        None => problem.into_reply(),
    };
    cors::add_headers(cors, parts.headers.get(header::ORIGIN), reply.headers_mut());
    reply
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

/// Resolves the path of a request by the functions' routes.
///
/// # Errors
/// The problem to answer with.
async fn resolve_path<'a>(shard: &Shard, parts: &'a Parts) -> Result<RequestTarget<'a>, Problem> {
    let path = parts.uri.path();
    // An authority in the target takes precedence (RFC 9112 §3.2.2).
    let authority = match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let host = authority.and_then(host_of);
    match shard.find_by_path(host.as_deref(), path).await.map_err(|error| status::resolve(&error))? {
        Some(PathRoute { route, subpath_at }) => Ok(RequestTarget { route, subpath: &path[subpath_at..] }),
        None => Err(status::no_such_path(path)),
    }
}

/// Reads the input of a call and runs it.
///
/// # Errors
/// The problem to answer with, if the call didn't start.
async fn call<B>(
    plane: &DataPlane,
    SegmentRoute { function, selector }: &SegmentRoute,
    head: &CallHead<'_>,
    body: &mut B,
) -> Result<ReplyWithResult, Problem>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    let DataPlane { shard, bodies, .. } = plane;
    let CallHead { parts, present, subpath, compression, request_id, sampled } = head;
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
    let plain = || PlainBody::of(&parts.headers, *present, &function.record.description);
    let plain = if form == Form::Http { None } else { plain() };
    let is_decoded = form != Form::Http && plain.is_none();
    let _reserved_for_input;
    let mut reserved = bodies.reserve(body, function.limits().input_bytes_max, is_decoded).await?;
    let request = match form {
        Form::Http => {
            let mut body = TrailedBody::new(body);
            let content = body::read(&mut body, function.limits().input_bytes_max).await?;
            let mut request = guest_request(head, content);
            trailers::attach(request.extensions_mut(), visible_trailers(body.into_trailers()));
            Call::Http(Arc::new(request))
        }
        Form::Typed | Form::Raw => match parts.method.as_str() {
            "POST" | "QUERY" => {
                let body = body::read(body, function.limits().input_bytes_max).await?;
                match plain {
                    Some(plain) => plain.into_call(body),
                    None => {
                        // Boxed, because most bodies don't need it.
                        let read = payload::read(shard, bodies, function, parts, body, reserved.take());
                        let read = Box::pin(read).await?;
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
    let named = if present.traceparent { trace_context::of(&parts.headers) } else { None };
    let trace_id = sampled.or(named.map(|trace| trace.trace_id));
    let ids = CallIds { request_id: request_id.to_str().ok(), trace_id };
    let call =
        CallToRun { call: request, prefer: prefer(accept.as_deref()), ids, is_traced: sampled.is_some() };
    Ok(run(plane, function, &context, call).await)
}

/// Returns the `Accept` header, with several lines joined to one list (RFC 9110 §5.3).
fn accept(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let first = lines.next()?;
    Some(lines.fold(Cow::Borrowed(first), |list, line| Cow::Owned(format!("{list}, {line}"))))
}

/// Runs a call and makes its response, with a receipt if the request asks for one.
async fn run(
    DataPlane { shard, contents, .. }: &DataPlane,
    function: &Arc<RoutedFunction>,
    context: &ResponseContext,
    CallToRun { call, prefer, ids, is_traced }: CallToRun<'_>,
) -> ReplyWithResult {
    // Boxed, because few requests ask for a receipt, and the others don't move its memory around.
    let order =
        context.receipt.map(|preference| Box::new(ReceiptOrder { preference, call: call.clone(), prefer }));
    let answered = shard.answer(function, call, prefer, context.directives, ids).await;
    let AnsweredCall { outcome, repeatable } = answered;
    let traced = is_traced.then(|| Box::new(TracedCall::of(&outcome)));
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
        Ok(Answer::Value(content)) => answer::content(context, &facts, StatusCode::OK, content),
        Ok(Answer::Error(content)) => {
            answer::content(context, &facts, StatusCode::UNPROCESSABLE_ENTITY, content)
        }
        Ok(Answer::Http(response)) => answer::response(context, &facts, *response),
        Err(error) => Err(status::call(&error)),
    };
    match answered {
        Ok(encodable) => {
            let EncodedReply { reply, is_makeshift } = encodable.encode(shard, contents).await;
            ReplyWithResult { reply, result: result.filter(|_| !is_makeshift), call: traced }
        }
        Err(problem) => {
            let mut reply = problem.into_reply();
            answer::insert_provenance(reply.headers_mut(), &facts);
            ReplyWithResult { reply, result, call: traced }
        }
    }
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
/// name or route.
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
    // HTTP/2 and an absolute target have the authority in the URI, which takes precedence (RFC 9112
    // §3.2.2). The guest always finds it in a header.
    if let Some(authority) = authority {
        request.headers_mut().insert(header::HOST, authority);
    }
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    request
}
