//! An observer of the data plane. It receives each request with its answer.
//!
//! `nebula up` prints calls with it. A server without an observer runs none of this code.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::answer::CACHE_STATUS;
use crate::problem::PROBLEM_JSON;
use crate::trailers::SentBody;

/// Called after each request, on the thread that serves it. It must not wait.
pub type Observer = Arc<dyn Fn(&ObservedCall) + Send + Sync>;

/// A request to the data plane that has its answer.
#[derive(Clone, Debug)]
pub struct ObservedCall {
    /// The method.
    pub method: Method,
    /// The path, and the query if there is one.
    pub target: String,
    /// The status of the answer.
    pub status: StatusCode,
    /// The time from the request's head to the complete answer.
    pub took: Duration,
    /// The source of the answer; `None` if nothing was looked up or run.
    pub source: Option<ObservedSource>,
    /// The reason of a problem document, and the stack if the function trapped.
    pub problem: Option<ObservedProblem>,
}

/// The source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedSource {
    /// The function ran, or refused the input.
    Ran,
    /// The answer was cached.
    Hit,
    /// The function ran for an identical call that was in flight.
    Collapsed,
}

/// The part of a problem document that explains it.
#[derive(Clone, Debug)]
pub struct ObservedProblem {
    /// The sentence for people.
    pub detail: String,
    /// The guest's stack, innermost frame first.
    pub backtrace: Vec<String>,
}

impl ObservedSource {
    /// Reads the source from the answer's `Cache-Status`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parameters = headers.get(CACHE_STATUS)?.to_str().ok()?.split("; ").skip(1);
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

impl ObservedProblem {
    /// Reads the problem document of an answer, if it is one.
    async fn of(reply: &Response<SentBody>) -> Option<Self> {
        if *reply.headers().get(header::CONTENT_TYPE)? != PROBLEM_JSON {
            return None;
        }
        let Ok(body) = reply.body().content().clone().collect().await;
        let problem: Value = serde_json::from_slice(&body.to_bytes()).ok()?;
        let frames = problem["backtrace"].as_array().into_iter().flatten();
        let backtrace = frames.filter_map(|frame| frame.as_str().map(str::to_owned)).collect();
        Some(Self { detail: problem["detail"].as_str()?.to_owned(), backtrace })
    }
}

/// Answers a request with `serve`, then tells the observer.
pub(crate) async fn observed<B, F>(
    observer: Observer,
    request: Request<B>,
    serve: impl FnOnce(Request<B>) -> F,
) -> Result<Response<SentBody>, Infallible>
where
    F: Future<Output = Result<Response<SentBody>, Infallible>>,
{
    let started = Instant::now();
    let method = request.method().clone();
    let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let reply = serve(request).await?;
    observer(&ObservedCall {
        method,
        target,
        status: reply.status(),
        took: started.elapsed(),
        source: ObservedSource::of(reply.headers()),
        problem: ObservedProblem::of(&reply).await,
    });
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use nebula_runtime::{Because, Source};

    use super::*;
    use crate::answer::cache_status;

    /// Every value of `Cache-Status` that an answer can have is read as its source.
    #[test]
    fn the_source_is_read_from_the_cache_status() {
        let read = |value: HeaderValue| ObservedSource::of(&HeaderMap::from_iter([(CACHE_STATUS, value)]));
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
}
