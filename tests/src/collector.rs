//! An OpenTelemetry collector: the gRPC service of `opentelemetry-proto`, and its messages over HTTP, on
//! one port.
//!
//! `retry_info` is the time that a busy collector asks for over gRPC.

mod retry_info;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tower_service::Service;

use crate::{coding, eventually};

/// A collector. Dropping it ends it.
pub struct Collector {
    address: SocketAddr,
    state: Arc<State>,
    _executor: tokio::runtime::Runtime,
}

#[derive(Default)]
struct State {
    spans: Mutex<Vec<ReceivedSpan>>,
    /// The headers of each request.
    requests: Mutex<Vec<HeaderMap>>,
    /// The answers to the next requests. Then all spans are taken.
    replies: Mutex<VecDeque<CollectorReply>>,
    /// The connections that are open.
    connections: AtomicUsize,
}

/// The answer to one request.
#[derive(Clone, Copy, Debug)]
pub enum CollectorReply {
    /// 503, or UNAVAILABLE.
    Unavailable,
    /// 429, or RESOURCE_EXHAUSTED.
    Busy {
        /// The time after which the collector wants the spans again, seconds. gRPC can't express
        /// more than `i64::MAX`.
        retry_after_s: Option<u64>,
    },
    /// 400, or INVALID_ARGUMENT.
    Refused,
    /// The spans are taken, except for one.
    RejectsOne,
    /// No answer ever comes.
    Hangs,
}

/// A span that the collector has got.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    /// The span as it was sent.
    pub span: Span,
    /// The attributes of the process.
    pub resource: Vec<KeyValue>,
}

impl Collector {
    /// Starts a collector on a free port.
    pub fn start() -> Self {
        let executor = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("an executor");
        let listener = executor.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        executor.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let service = service_fn(|request| answer(Arc::clone(&state), request));
                    // A server that is killed breaks off.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    state.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state, _executor: executor }
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its URL for all signals.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next requests like this.
    pub fn reply(&self, replies: &[CollectorReply]) {
        self.state.replies.lock().unwrap().extend(replies);
    }

    /// Returns the headers of the requests so far.
    pub fn requests(&self) -> Vec<HeaderMap> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Returns the spans so far.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.state.spans.lock().unwrap().clone()
    }

    /// Waits until there are `count` spans that `choose` accepts, and returns all of these.
    #[track_caller]
    pub fn wait_for(&self, count: usize, choose: impl Fn(&ReceivedSpan) -> bool) -> Vec<ReceivedSpan> {
        eventually("the collector has the spans", || {
            let chosen: Vec<_> = self.spans().into_iter().filter(&choose).collect();
            (chosen.len() >= count).then_some(chosen)
        })
    }

    /// Waits for the span of the request with this id.
    #[track_caller]
    pub fn request(&self, id: &str) -> ReceivedSpan {
        self.wait_for(1, |span| span.text("faas.invocation_id").as_deref() == Some(id)).remove(0)
    }

    /// Returns the spans below `parent`, in the order of their start.
    pub fn children(&self, parent: &ReceivedSpan) -> Vec<ReceivedSpan> {
        let mut children = self.spans();
        children.retain(|child| child.span.parent_span_id == parent.span.span_id);
        children.sort_by_key(|child| child.span.start_time_unix_nano);
        children
    }
}

impl ReceivedSpan {
    /// Returns an attribute as text.
    pub fn text(&self, key: &str) -> Option<String> {
        text(&self.span.attributes, key)
    }

    /// Returns an attribute of the process as text.
    pub fn resource(&self, key: &str) -> Option<String> {
        text(&self.resource, key)
    }

    /// Returns the message of its status, if that is an error.
    pub fn error(&self) -> Option<&str> {
        self.span.status.as_ref().filter(|status| status.code == 2).map(|status| status.message.as_str())
    }

    /// Returns the id of its trace, in hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hexadecimal(&self.span.trace_id)
    }

    /// Returns the id of its parent, in hexadecimal digits. Empty if it has none.
    pub fn parent_id(&self) -> String {
        hexadecimal(&self.span.parent_span_id)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let mut found = attributes.iter().filter(|attribute| attribute.key == key);
    let value = found.next()?.value.as_ref()?.value.as_ref()?;
    assert!(found.next().is_none(), "`{key}` is there twice");
    if let Value::StringValue(text) = value {
        return Some(text.clone());
    }
    if let Value::BoolValue(flag) = value {
        return Some(flag.to_string());
    }
    let Value::IntValue(number) = value else { panic!("`{key}` is {value:?}") };
    Some(number.to_string())
}

impl State {
    fn next_reply(&self) -> Option<CollectorReply> {
        self.replies.lock().unwrap().pop_front()
    }

    /// Takes the spans of a request.
    fn take(&self, request: ExportTraceServiceRequest) {
        let mut spans = self.spans.lock().unwrap();
        for of_process in request.resource_spans {
            let resource = of_process.resource.map(|resource| resource.attributes).unwrap_or_default();
            for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                spans.push(ReceivedSpan { span, resource: resource.clone() });
            }
        }
    }
}

fn accepted(rejected: i64) -> ExportTraceServiceResponse {
    let error_message = "one of them is odd".to_owned();
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message };
    ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) }
}

/// The gRPC service.
struct Grpc(Arc<State>);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let reply = self.0.next_reply();
        match reply {
            Some(CollectorReply::Unavailable) => return Err(tonic::Status::unavailable("it restarts")),
            Some(CollectorReply::Busy { retry_after_s }) => return Err(retry_info::busy(retry_after_s)),
            Some(CollectorReply::Refused) => return Err(tonic::Status::invalid_argument("it is picky")),
            Some(CollectorReply::Hangs) => std::future::pending().await,
            Some(CollectorReply::RejectsOne) | None => {}
        }
        self.0.take(request.into_inner());
        Ok(tonic::Response::new(accepted(reply.map_or(0, |_| 1))))
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    state.requests.lock().unwrap().push(request.headers().clone());
    if request.headers()[header::CONTENT_TYPE] == "application/grpc" {
        return TraceServiceServer::new(Grpc(state)).call(decompressed(request).await).await;
    }
    Ok(answer_http(&state, request).await.map(|body| tonic::body::Body::new(Full::new(body))))
}

/// Decompresses the message of a gRPC request: tonic would bring a second implementation of gzip.
async fn decompressed(request: Request<Incoming>) -> Request<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    let mut body = body.collect().await.expect("a body").to_bytes();
    if parts.headers.remove("grpc-encoding").is_some_and(|coding| coding == "gzip") {
        let (prefix, coded) = body.split_at(5);
        assert_eq!(prefix[0], 1, "the message is compressed");
        let message = coding::decode("gzip", coded);
        let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
        body = [&[0][..], &length, &message].concat().into();
    }
    Request::from_parts(parts, Full::new(body))
}

async fn answer_http(state: &State, request: Request<Incoming>) -> Response<Bytes> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
    assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-protobuf");
    let is_gzip = request.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let body = if is_gzip { coding::decode("gzip", &body).into() } else { body };
    let refusal = |status| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        response
    };
    let reply = state.next_reply();
    match reply {
        Some(CollectorReply::Unavailable) => return refusal(StatusCode::SERVICE_UNAVAILABLE),
        Some(CollectorReply::Busy { retry_after_s }) => {
            let mut response = refusal(StatusCode::TOO_MANY_REQUESTS);
            let after = retry_after_s.map(|seconds| (header::RETRY_AFTER, seconds.into()));
            response.headers_mut().extend(after);
            return response;
        }
        Some(CollectorReply::Refused) => return refusal(StatusCode::BAD_REQUEST),
        Some(CollectorReply::Hangs) => std::future::pending().await,
        Some(CollectorReply::RejectsOne) | None => {}
    }
    state.take(ExportTraceServiceRequest::decode(body).expect("the message of OTLP"));
    Response::new(accepted(reply.map_or(0, |_| 1)).encode_to_vec().into())
}
