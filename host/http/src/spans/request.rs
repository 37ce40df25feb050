//! The span of a request.
//!
//! If the client disconnects before the answer, the span is dropped with the request and records that.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt;
use nebula_runtime::{TraceId, VersionRecord};
use nebula_telemetry::trace::{AttributeValue, Parent, Scope, Span, SpanKind, SpanStart, Tracer};
use serde_json::Value;

use super::call::TracedCall;
use super::trace_state;
use crate::answer::NEBULA_FUNCTION;
use crate::problem::{PROBLEM_JSON, Reply, kind_of};
use crate::request_id::X_REQUEST_ID;
use crate::trace_context;

/// The value of `error.type` if the client disconnected.
const DISCONNECTED: &str = "client-disconnected";

/// A request that is traced and has no answer yet.
pub(crate) struct RequestSpan {
    tracer: Tracer,
    /// The method in the span's name.
    method: &'static str,
    /// `None` once it is recorded.
    span: Option<Span>,
}

/// The head of a request.
pub(crate) struct RequestFacts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
}

/// The route of an operation of the control plane, in the extensions of its answer.
#[derive(Clone, Copy)]
pub(crate) struct OperationRoute(pub(crate) &'static str);

/// The name of an answer's problem, in the extensions of the answers of the control plane.
#[derive(Clone)]
pub(crate) struct ProblemKind(pub(crate) String);

impl<'a> RequestFacts<'a> {
    fn of(parts: &'a Parts) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version: *version, headers }
    }
}

impl RequestSpan {
    /// Begins the span of a request to the data plane, if it is sampled. Health checks aren't traced.
    pub(crate) fn begin_call(tracer: &Tracer, parts: &Parts) -> Option<Box<Self>> {
        if matches!(parts.uri.path(), "/healthz" | "/readyz") {
            return None;
        }
        let start = tracer.begin(trace_context::of(&parts.headers))?;
        Some(Box::new(Self::new(tracer, start, &RequestFacts::of(parts))))
    }

    /// Begins the span of a request to the control plane, if it is sampled. Requests that only read
    /// aren't traced: most come from programs that watch the host.
    pub(crate) fn begin_operation(tracer: &Tracer, parts: &Parts) -> Option<Box<Self>> {
        if parts.method.is_safe() {
            return None;
        }
        let start = tracer.begin(trace_context::of(&parts.headers))?;
        Some(Box::new(Self::new(tracer, start, &RequestFacts::of(parts))))
    }

    /// Creates the span of a request that has begun.
    pub(crate) fn new(tracer: &Tracer, start: SpanStart, facts: &RequestFacts<'_>) -> Self {
        let RequestFacts { method, uri, version, headers } = facts;
        let known = known_method(method);
        let name = if known == OTHER_METHOD { "HTTP" } else { known };
        let mut span = start.end(SpanKind::Server, name.into());
        // Without a context, the state belongs to no trace (W3C Trace Context §3.3).
        if let Parent::Remote(_) = start.parent {
            span.trace_state = trace_state::of(headers).map(Arc::from);
        }
        span.add("http.request.method", known);
        if known == OTHER_METHOD {
            span.add("http.request.method_original", AttributeValue::text(method.as_str()));
        }
        span.add("url.path", AttributeValue::text(uri.path()));
        span.add("url.scheme", "http");
        span.add("network.protocol.version", if *version == Version::HTTP_2 { "2" } else { "1.1" });
        if let Some(agent) = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()) {
            span.add("user_agent.original", AttributeValue::text(agent));
        }
        Self { tracer: tracer.clone(), method: name, span: Some(span) }
    }

    /// Returns the trace.
    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        self.span.as_ref().map(|span| span.trace_id)
    }

    /// Returns the scope in which the request is served: work in it can record spans below this one.
    pub(crate) fn scope(&self) -> Option<Scope> {
        let span = self.span.as_ref()?;
        let Span { trace_id, id, parent, kind, began, ended, .. } = *span;
        let (trace_state, name) = (span.trace_state.clone(), span.name.clone());
        // Spans below it repeat no attributes.
        let (attributes, failure) = (Vec::new(), None);
        let parent =
            Span { trace_id, id, parent, trace_state, kind, name, began, ended, attributes, failure };
        Some(Scope::new(self.tracer.clone(), parent))
    }

    /// Ends the span of a request to the data plane.
    pub(crate) fn end_call(mut self, reply: &Reply, call: Option<Box<TracedCall>>) {
        let Some(mut span) = self.take() else { return };
        if let Some(FunctionIdentity { name, version }) = FunctionIdentity::of(reply.headers()) {
            self.name_function(&mut span, name);
            add_function(&mut span, name, version);
        }
        add_invocation(&mut span, reply.headers());
        fail(&mut span, reply.status(), problem_kind(reply).as_deref());
        self.record(span, reply.status(), call.as_deref());
    }

    /// Ends the span of a request that got a cached response.
    pub(crate) fn end_hit(mut self, status: StatusCode, function: &VersionRecord, request_id: &str) {
        let Some(mut span) = self.take() else { return };
        self.name_function(&mut span, function.name.as_str());
        add_function(&mut span, function.name.as_str(), &function.version.to_string());
        span.add("faas.invocation_id", AttributeValue::text(request_id));
        span.add("nebula.cache", "hit");
        fail(&mut span, status, None);
        self.tracer.record(vec![span]);
    }

    /// Ends the span of a request to the control plane. If it made a call, the span describes that, too.
    pub(crate) fn end_operation<B>(mut self, response: &Response<B>) {
        let Some(mut span) = self.take() else { return };
        let extensions = response.extensions();
        if let Some(OperationRoute(route)) = extensions.get() {
            span.name = format!("{} {route}", self.method).into();
            span.add("http.route", *route);
        }
        if let Some(FunctionIdentity { name, version }) = FunctionIdentity::of(response.headers()) {
            add_function(&mut span, name, version);
            add_invocation(&mut span, response.headers());
        }
        let kind = extensions.get().map(|ProblemKind(kind)| kind.as_str());
        fail(&mut span, response.status(), kind);
        self.record(span, response.status(), extensions.get().map(|call: &Arc<TracedCall>| &**call));
    }

    /// Records the span, with what is known about its call.
    fn record(&self, mut span: Span, status: StatusCode, call: Option<&TracedCall>) {
        let mut children = Vec::new();
        if let Some(call) = call {
            call.describe(&mut span);
            children = call.children(&span, status.is_server_error());
        }
        children.insert(0, span);
        self.tracer.record(children);
    }

    /// Names the span after its function.
    fn name_function(&self, span: &mut Span, name: &str) {
        let is_by_name = span.attributes.iter().any(|attribute| {
            matches!((&attribute.key, &attribute.value), (&"url.path", AttributeValue::Text(path)) if path.starts_with("/f/"))
        });
        if is_by_name {
            let route = format!("/f/{name}");
            span.name = format!("{} {route}", self.method).into();
            span.add("http.route", AttributeValue::text(&route));
        } else {
            span.name = format!("{} {name}", self.method).into();
        }
    }

    /// Takes the span to finish it. It ends now.
    fn take(&mut self) -> Option<Span> {
        let mut span = self.span.take()?;
        span.ended = SystemTime::now().max(span.began);
        Some(span)
    }
}

impl Drop for RequestSpan {
    /// The request was dropped before its answer: its client has left, or the server stops.
    fn drop(&mut self) {
        if let Some(mut span) = self.take() {
            span.add("error.type", DISCONNECTED);
            span.failure = Some("the request ended before its answer".into());
            self.tracer.record(vec![span]);
        }
    }
}

/// The function that an answer names.
struct FunctionIdentity<'a> {
    name: &'a str,
    version: &'a str,
}

impl<'a> FunctionIdentity<'a> {
    fn of(headers: &'a HeaderMap) -> Option<Self> {
        let identity = headers.get(NEBULA_FUNCTION)?.to_str().ok()?;
        let (name, version) = identity.split(';').next()?.split_once('@')?;
        Some(Self { name, version })
    }
}

/// Adds the facts of a call to its reply, for the request to the control plane that made it.
pub(crate) fn attach_call(reply: &mut Reply, call: Option<Box<TracedCall>>) {
    if let Some(kind) = problem_kind(reply) {
        reply.extensions_mut().insert(ProblemKind(kind));
    }
    if let Some(call) = call {
        reply.extensions_mut().insert(Arc::<TracedCall>::from(call));
    }
}

fn add_function(span: &mut Span, name: &str, version: &str) {
    span.add("faas.name", AttributeValue::text(name));
    span.add("faas.version", AttributeValue::text(version));
    span.add("faas.trigger", "http");
}

fn add_invocation(span: &mut Span, headers: &HeaderMap) {
    if let Some(id) = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()) {
        span.add("faas.invocation_id", AttributeValue::text(id));
    }
}

/// Adds the status of the answer, and its problem. Only a fault of the server or the function is an
/// error of the span, as the conventions require.
fn fail(span: &mut Span, status: StatusCode, problem: Option<&str>) {
    span.add("http.response.status_code", status.as_u16());
    if let Some(problem) = problem {
        span.add("nebula.problem", AttributeValue::text(problem));
    }
    if status.is_server_error() {
        let kind = problem.unwrap_or(status.as_str());
        span.add("error.type", AttributeValue::text(kind));
        span.failure = Some(kind.to_owned().into());
    }
}

/// Reads the name of the problem that a reply documents, if it is one.
fn problem_kind(reply: &Reply) -> Option<String> {
    if *reply.headers().get(header::CONTENT_TYPE)? != PROBLEM_JSON {
        return None;
    }
    let Ok(body) = reply.body().clone().collect().now_or_never()?;
    let problem: Value = serde_json::from_slice(&body.to_bytes()).ok()?;
    problem["type"].as_str().map(|kind| kind_of(kind).to_owned())
}

/// The value of `http.request.method` for a method without a meaning here.
const OTHER_METHOD: &str = "_OTHER";

/// Returns the method as an attribute, which has few values.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER_METHOD)
}
