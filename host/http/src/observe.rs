//! Observers of requests. Each receives requests with their answers: `nebula up` prints them, and the
//! access log is written from them.
//!
//! ```text
//! serve -> observed -> data | control    (requests that hyper parses)
//! fast_path -> observed_hit              (requests with a cached response)
//!      both -> ConnectionObserver -> Observer
//! ```
//!
//! The facts about an answer are read from its headers, so that calls carry nothing for observers.
//! A server without an observer runs none of this code. Requests that hyper refuses by itself aren't
//! observed: they have no method and no target.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use nebula_runtime::TraceId;
use serde_json::Value;

use crate::answer::{CACHE_STATUS, NEBULA_FUNCTION, SERVER_TIMING};
use crate::problem::PROBLEM_JSON;
use crate::request_id::X_REQUEST_ID;
use crate::trace_context::{self, SampledTrace};
use crate::trailers::SentBody;

/// Receives requests with their answers, on the thread that serves them. It must not wait.
pub trait Observer: Send + Sync {
    /// Returns whether to pass on a request with this status, or one whose client left before the
    /// answer. Asked before anything is copied.
    fn wants(&self, plane: Plane, status: Option<StatusCode>) -> bool;

    /// Receives a request that it wants.
    fn observe(&self, call: &ObservedCall);
}

/// One of the two planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Calls.
    Data,
    /// Deploys, and requests that show or change functions.
    Control,
}

/// A request that is over.
#[derive(Clone, Debug)]
pub struct ObservedCall {
    /// The plane that got it.
    pub plane: Plane,
    /// The client's address, or that of the last proxy.
    pub peer: SocketAddr,
    /// The request.
    pub request: ObservedRequest,
    /// The time from the request's head to the complete answer.
    pub took: Duration,
    /// The answer; `None` if the client left before it.
    pub answer: Option<ObservedAnswer>,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct ObservedRequest {
    /// The method.
    pub method: Method,
    /// The path, and the query if there is one.
    pub target: Option<PathAndQuery>,
    /// The version of HTTP.
    pub version: Version,
    /// The length of the body, bytes; `None` if the request doesn't tell.
    pub bytes: Option<u64>,
    /// The `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// The `Referer`.
    pub referer: Option<HeaderValue>,
    /// The trace that the client named.
    pub trace_id: Option<TraceId>,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct ObservedAnswer {
    /// The status.
    pub status: StatusCode,
    /// The length of the body, bytes; `None` if it isn't known yet.
    pub bytes: Option<u64>,
    /// The id of the request.
    pub request_id: Option<HeaderValue>,
    /// The trace, if the request is traced.
    pub trace_id: Option<TraceId>,
    /// The function that was called, or would have been.
    pub function: Option<ObservedFunction>,
    /// The source of the answer; `None` if nothing was looked up or run.
    pub source: Option<ObservedSource>,
    /// The time of each phase, if the function ran.
    pub phases: Option<ObservedPhases>,
    /// The name of the token that the control plane accepted.
    pub token: Option<String>,
    /// The reason of a problem document, and the stack if the function trapped.
    pub problem: Option<ObservedProblem>,
}

/// A version of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedFunction {
    /// The function's name.
    pub name: String,
    /// The version: `v3`.
    pub version: String,
}

/// The source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedSource {
    /// The function ran.
    Ran,
    /// The answer was cached.
    Hit,
    /// The function ran for an identical call that was in flight.
    Collapsed,
}

/// The phases of a call, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedPhases {
    /// Waiting for a slot.
    pub queue_us: u64,
    /// Loading the code and creating the instance.
    pub start_us: u64,
    /// Running.
    pub run_us: u64,
}

/// The part of a problem document that explains it.
#[derive(Clone, Debug)]
pub struct ObservedProblem {
    /// The name for programs.
    pub kind: String,
    /// The sentence for people.
    pub detail: String,
    /// The guest's stack, innermost frame first.
    pub backtrace: Vec<String>,
}

/// The name of the token that the control plane accepted, in the extensions of its answer.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedToken(pub(crate) String);

/// The observers of a plane. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PlaneObservers {
    plane: Plane,
    observers: Arc<[Arc<dyn Observer>]>,
}

/// The observers of one connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ConnectionObserver {
    observers: PlaneObservers,
    peer: SocketAddr,
}

impl PlaneObservers {
    /// Returns the observers of a plane, or `None` if there are none.
    pub(crate) fn of(plane: Plane, observers: &Arc<[Arc<dyn Observer>]>) -> Option<Self> {
        (!observers.is_empty()).then(|| Self { plane, observers: Arc::clone(observers) })
    }

    /// Returns the observers of a client's connection.
    pub(crate) fn of_connection(&self, peer: SocketAddr) -> ConnectionObserver {
        // An IPv4 client of a socket for both families.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        ConnectionObserver { observers: self.clone(), peer }
    }
}

impl ConnectionObserver {
    /// Tells the observers of a request, if one of them wants it.
    pub(crate) fn tell(
        &self,
        request: impl FnOnce() -> Option<ObservedRequest>,
        took: Duration,
        status: Option<StatusCode>,
        answer: impl FnOnce() -> Option<ObservedAnswer>,
    ) {
        let PlaneObservers { plane, observers } = &self.observers;
        let wanting: Vec<_> = observers.iter().filter(|observer| observer.wants(*plane, status)).collect();
        if wanting.is_empty() {
            return;
        }
        let Some(request) = request() else { return };
        let call = ObservedCall { plane: *plane, peer: self.peer, request, took, answer: answer() };
        for observer in wanting {
            observer.observe(&call);
        }
    }
}

impl ObservedRequest {
    fn of<B: Body>(request: &Request<B>) -> Self {
        let header = |name| request.headers().get(name).cloned();
        Self {
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            version: request.version(),
            bytes: request.body().size_hint().exact(),
            user_agent: header(header::USER_AGENT),
            referer: header(header::REFERER),
            trace_id: trace_context::of(request.headers()).map(|trace| trace.trace_id),
        }
    }
}

impl ObservedAnswer {
    fn of<B: ObservedBody>(reply: &Response<B>) -> Self {
        let headers = reply.headers();
        let phases = ObservedPhases::of(headers);
        let nothing_ran = phases.is_none_or(|phases| phases.start_us == 0 && phases.run_us == 0);
        let is_refusal = nothing_ran && !reply.status().is_success();
        let source = ObservedSource::of(headers);
        let source = source.filter(|source| *source != ObservedSource::Ran || !is_refusal);
        let ran = source == Some(ObservedSource::Ran);
        Self {
            status: reply.status(),
            bytes: reply.body().bytes(),
            request_id: headers.get(X_REQUEST_ID).cloned(),
            trace_id: reply.extensions().get().map(|SampledTrace(trace_id)| *trace_id),
            function: ObservedFunction::of(headers),
            source,
            phases: phases.filter(|_| ran),
            token: reply.extensions().get().map(|AcceptedToken(name)| name.clone()),
            problem: ObservedProblem::of(reply),
        }
    }
}

impl ObservedFunction {
    /// Reads the function from the answer's `Nebula-Function`: `name@v3; digest=…`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let (name, version) = text(headers, &NEBULA_FUNCTION)?.split(';').next()?.split_once('@')?;
        Some(Self { name: name.to_owned(), version: version.to_owned() })
    }
}

impl ObservedSource {
    /// Reads the source from the answer's `Cache-Status`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parameters = text(headers, &CACHE_STATUS)?.split("; ").skip(1);
        let is = |wanted: &str| parameters.clone().any(|parameter| parameter == wanted);
        if is("hit") {
            return Some(Self::Hit);
        }
        if is("collapsed") {
            return Some(Self::Collapsed);
        }
        parameters.any(|parameter| parameter.starts_with("fwd=")).then_some(Self::Ran)
    }
}

impl ObservedPhases {
    /// Reads the phases from the answer's `Server-Timing`, which has milliseconds with three
    /// decimals.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let timing = text(headers, &SERVER_TIMING)?;
        let us = |phase: &str| -> Option<u64> {
            let metrics = timing.split(", ").filter_map(|metric| metric.split_once(";dur="));
            let (ms, us) = metrics.into_iter().find(|(name, _)| *name == phase)?.1.split_once('.')?;
            ms.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(us.parse().ok()?)
        };
        Some(Self { queue_us: us("queue")?, start_us: us("start")?, run_us: us("run")? })
    }
}

impl ObservedProblem {
    /// Reads the problem document of an answer, if it is one.
    fn of<B: ObservedBody>(reply: &Response<B>) -> Option<Self> {
        if *reply.headers().get(header::CONTENT_TYPE)? != PROBLEM_JSON {
            return None;
        }
        let problem: Value = serde_json::from_slice(&reply.body().whole()?).ok()?;
        let frames = problem["backtrace"].as_array().into_iter().flatten();
        let backtrace = frames.filter_map(|frame| frame.as_str().map(str::to_owned)).collect();
        let text = |name: &str| problem[name].as_str().map(str::to_owned);
        Some(Self { kind: text("type")?, detail: text("detail")?, backtrace })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The body of an answer, as an observer sees it.
pub(crate) trait ObservedBody {
    /// Returns the length, bytes.
    fn bytes(&self) -> Option<u64>;

    /// Returns the whole content, if it is in memory.
    fn whole(&self) -> Option<bytes::Bytes>;
}

impl ObservedBody for SentBody {
    fn bytes(&self) -> Option<u64> {
        self.content().size_hint().exact()
    }

    fn whole(&self) -> Option<bytes::Bytes> {
        let Ok(collected) = self.content().clone().collect().now_or_never()?;
        Some(collected.to_bytes())
    }
}

impl ObservedBody for axum::body::Body {
    fn bytes(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    fn whole(&self) -> Option<bytes::Bytes> {
        None
    }
}

/// A request that has no answer yet. If it is dropped, its client has left.
struct UnansweredRequest {
    observer: ConnectionObserver,
    began: Instant,
    /// `None` once it has its answer.
    request: Option<ObservedRequest>,
}

impl UnansweredRequest {
    fn answer<B: ObservedBody>(mut self, reply: &Response<B>) {
        let (request, took) = (self.request.take(), self.began.elapsed());
        self.observer.tell(|| request, took, Some(reply.status()), || Some(ObservedAnswer::of(reply)));
    }
}

impl Drop for UnansweredRequest {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.observer.tell(|| Some(request), self.began.elapsed(), None, || None);
        }
    }
}

/// Answers a request with `serve`, then tells the observers.
pub(crate) async fn observed<B, R, F>(
    observer: ConnectionObserver,
    request: Request<B>,
    serve: impl FnOnce(Request<B>) -> F,
) -> Result<Response<R>, Infallible>
where
    B: Body,
    R: ObservedBody,
    F: Future<Output = Result<Response<R>, Infallible>>,
{
    let (began, head) = (Instant::now(), Some(ObservedRequest::of(&request)));
    let unanswered = UnansweredRequest { observer, began, request: head };
    let reply = serve(request).await?;
    unanswered.answer(&reply);
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use nebula_runtime::{Because, Source};

    use super::*;
    use crate::answer::cache_status;

    fn headers(name: HeaderName, value: HeaderValue) -> HeaderMap {
        HeaderMap::from_iter([(name, value)])
    }

    /// Every value of `Cache-Status` that an answer can have is read as its source.
    #[test]
    fn the_source_is_read_from_the_cache_status() {
        let read = |value: HeaderValue| ObservedSource::of(&headers(CACHE_STATUS, value));
        for stored in [false, true] {
            for because in [Because::Off, Because::Asked, Because::Missed] {
                let ran = cache_status(Source::Ran { because, stored });
                assert_eq!(read(ran.clone()), Some(ObservedSource::Ran), "{ran:?}");
            }
        }
        for on_disk in [false, true] {
            for ttl_s in [None, Some(60)] {
                let hit = cache_status(Source::Cached { age_s: 1, ttl_s, on_disk });
                assert_eq!(read(hit.clone()), Some(ObservedSource::Hit), "{hit:?}");
            }
        }
        assert_eq!(read(cache_status(Source::Collapsed)), Some(ObservedSource::Collapsed));
        assert_eq!(ObservedSource::of(&HeaderMap::new()), None);
    }

    #[test]
    fn function_and_phases_are_read_from_their_headers() {
        let identity = HeaderValue::from_static("csv-stats@v12; digest=sha256:00");
        let function = ObservedFunction { name: "csv-stats".to_owned(), version: "v12".to_owned() };
        assert_eq!(ObservedFunction::of(&headers(NEBULA_FUNCTION, identity)), Some(function));
        let timing = "queue;dur=0.001, start;dur=12.030, run;dur=3000.999, first;dur=1.000;desc=\"hit\"";
        let phases = ObservedPhases::of(&headers(SERVER_TIMING, HeaderValue::from_static(timing)));
        let expected = ObservedPhases { queue_us: 1, start_us: 12_030, run_us: 3_000_999 };
        assert_eq!(phases, Some(expected));
        assert_eq!(ObservedPhases::of(&HeaderMap::new()), None);
    }
}
