//! `wasi:http` for functions of the http form: one buffered request in, one bounded response out.
//!
//! The guest writes its response body into a short channel. The host drains the channel into
//! [`ResponseSink`] whenever the guest waits for room, and once more after it returns. A body over
//! the function's output limit ends the call. The guest's own requests are always denied with the
//! same error.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use nebula_model::trailers;
use tokio::task::unconstrained;
use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// The name in `wasmtime-wasi-http`; older 0.2 versions resolve to it.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Maximum number of body bytes that a guest passes in one write. A guest may have as many bodies
/// as handles, read or unread: all together stay below a function's default memory.
pub(super) const CHUNK_BYTES_MAX: usize = 32 * 1024;

pub(super) type Outcome = Result<http::Response<HyperOutgoingBody>, ErrorCode>;
type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The response of the guest as far as it has arrived.
pub struct ResponseSink {
    bytes_max: u64,
    /// The request was `HEAD`: the guest may announce a body that it omits.
    is_head: bool,
    /// Set by the guest through its response-outparam.
    arrived: Arc<Mutex<Option<Outcome>>>,
    state: State,
}

enum State {
    Awaited,
    Streaming {
        parts: Box<http::response::Parts>,
        body: HyperOutgoingBody,
        taken: BytesMut,
        trailers: HeaderMap,
    },
    Complete(Box<http::Response<Bytes>>),
    Failed(String),
    /// `finish` has returned the whole response.
    Taken,
}

/// The response body passed the function's output limit.
#[derive(Debug, thiserror::Error)]
#[error("the response body is over the limit of {bytes_max} bytes")]
pub(crate) struct ResponseTooLarge {
    pub bytes_max: u64,
}

impl ResponseSink {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, is_head: false, arrived: Arc::default(), state: State::Awaited }
    }

    /// Records the method of the request.
    pub(super) fn set_method(&mut self, method: &http::Method) {
        self.is_head = method == http::Method::HEAD;
    }

    /// Returns whether a response with this status has no body, whatever its `Content-Length` says
    /// (RFC 9110 §8.6).
    pub(super) fn omits_body(&self, status: StatusCode) -> bool {
        self.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Returns the function to call with the response that the guest sets.
    pub(super) fn receiver(&self) -> impl FnOnce(Outcome) + Send + 'static {
        let arrived = Arc::clone(&self.arrived);
        move |outcome| *arrived.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome)
    }

    /// Reads the guest's output so far. Returns false if there was no progress.
    ///
    /// # Errors
    /// [`ResponseTooLarge`].
    pub(super) fn drain(&mut self) -> Result<bool> {
        let mut progress = false;
        loop {
            match &mut self.state {
                State::Awaited => {
                    let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner).take();
                    self.state = match arrived {
                        None => return Ok(progress),
                        Some(Ok(response)) => {
                            let (parts, body) = response.into_parts();
                            let (taken, trailers) = (BytesMut::new(), HeaderMap::new());
                            State::Streaming { parts: Box::new(parts), body, taken, trailers }
                        }
                        Some(Err(code)) => State::Failed(format!("it answered with the error {code:?}")),
                    };
                    progress = true;
                }
                State::Streaming { parts, body, taken, trailers } => {
                    match poll_frame(body) {
                        Poll::Pending => return Ok(progress),
                        Poll::Ready(Some(Ok(frame))) => {
                            let data = match frame.into_trailers() {
                                Ok(fields) => {
                                    trailers.extend(fields);
                                    continue;
                                }
                                Err(frame) => frame.into_data(),
                            };
                            if let Ok(data) = data {
                                if (taken.len() + data.len()) as u64 > self.bytes_max {
                                    return Err(ResponseTooLarge { bytes_max: self.bytes_max }.into());
                                }
                                taken.extend_from_slice(&data);
                            }
                        }
                        Poll::Ready(Some(Err(error))) => {
                            self.state = State::Failed(format!("its response body broke off: {error}"));
                        }
                        Poll::Ready(None) => {
                            let mut response = http::Response::new(std::mem::take(taken).freeze());
                            *response.status_mut() = parts.status;
                            *response.headers_mut() = std::mem::take(&mut parts.headers);
                            trailers::attach(response.extensions_mut(), std::mem::take(trailers));
                            self.state = State::Complete(Box::new(response));
                        }
                    }
                    progress = true;
                }
                State::Complete(_) | State::Failed(_) | State::Taken => return Ok(progress),
            }
        }
    }

    /// Returns the response after the guest has returned, or the reason why there isn't one.
    ///
    /// # Errors
    /// Outer: [`ResponseTooLarge`]. Inner: a message that describes the unfinished response.
    pub fn finish(&mut self) -> Result<Result<http::Response<Bytes>, String>> {
        self.drain()?;
        Ok(match std::mem::replace(&mut self.state, State::Taken) {
            State::Complete(response) => Ok(*response),
            State::Failed(why) => Err(why),
            State::Awaited | State::Taken => Err("it returned without setting a response".to_owned()),
            State::Streaming { .. } => Err("it returned without finishing its response body".to_owned()),
        })
    }
}

fn poll_frame(
    body: &mut HyperOutgoingBody,
) -> Poll<Option<Result<http_body::Frame<Bytes>, <HyperOutgoingBody as Body>::Error>>> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
    std::pin::pin!(unconstrained(next)).poll(&mut Context::from_waker(Waker::noop()))
}

/// Shadows `wasi:http/outgoing-handler`: denies every request before it spawns a task.
pub(super) fn deny_outgoing<T: 'static>(linker: &mut Linker<T>) -> Result<()> {
    type Denied = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;
    linker.instance(OUTGOING_HANDLER)?.func_wrap(
        "handle",
        |_, _: (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>)| -> Result<(Denied,)> {
            Ok((Err(ErrorCode::HttpRequestDenied),))
        },
    )
}

/// Refuses to send. Unreachable while [`deny_outgoing`] shadows the handler.
pub(super) struct DenyOutgoing;

impl WasiHttpHooks for DenyOutgoing {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sending: Sending,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sending), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }

    /// A body holds at most two chunks: one in the channel, one in transit.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }
}
