//! The access log: a line for each request.
//!
//! ```text
//! 127.0.0.1 - - [31/Jan/2026:12:00:00 +0000] "POST /f/add HTTP/1.1" 200 1 "-" "curl/8.5" took_us=310
//!   in=14 plane=data function=add@v1 source=ran queue_us=2 start_us=40 run_us=9 request_id=…
//! ```
//!
//! (One line.) It begins as the Combined Log Format does. Fields after it are `name=value`, and those
//! that a request doesn't have are absent. JSON has the names of OpenTelemetry where they exist.
//!
//! Invariants:
//! * Of the request's headers only `User-Agent`, `Referer` and the ids are written, and of the
//!   answer's none: neither tokens nor cookies.
//! * What a client has chosen is escaped.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use http::{HeaderValue, StatusCode, Version};
use nebula_http::{
    ObservedAnswer, ObservedCall, ObservedFunction, ObservedPhases, ObservedRequest, ObservedSource,
    Observer, Plane,
};
use serde::Serialize;

use super::line::{escape_json, push_escaped, push_quoted};
use super::line_queue::LineQueue;

/// The target of the lines in JSON.
const ACCESS: &str = "nebula::access";

/// The format of a line.
#[derive(Clone, Copy, Debug)]
pub(super) enum LineFormat {
    Text,
    Json,
}

/// Writes the access log.
pub(super) struct AccessLogger {
    format: LineFormat,
    /// The share of the requests that succeed.
    share: f64,
    queue: LineQueue,
}

impl AccessLogger {
    pub(super) fn new(format: LineFormat, share: f64, queue: LineQueue) -> Self {
        Self { format, share, queue }
    }
}

impl Observer for AccessLogger {
    fn wants(&self, _: Plane, status: Option<StatusCode>) -> bool {
        let failed = status.is_none_or(|status| status.is_client_error() || status.is_server_error());
        failed || self.share >= 1.0 || random() < self.share
    }

    fn observe(&self, call: &ObservedCall) {
        let now = jiff::Timestamp::now();
        self.queue.push(match self.format {
            LineFormat::Text => text(call, now),
            LineFormat::Json => json(call, now),
        });
    }
}

/// Returns a random number from 0 to 1.
fn random() -> f64 {
    thread_local! {
        static NUMBERS: RefCell<fastrand::Rng> =
            RefCell::new(fastrand::Rng::with_seed(RandomState::new().hash_one(())));
    }
    NUMBERS.with_borrow_mut(fastrand::Rng::f64)
}

/// Returns the line of a request in the Combined Log Format, with more fields after it.
fn text(call: &ObservedCall, now: jiff::Timestamp) -> String {
    let ObservedCall { plane, peer, request, took, answer } = call;
    let ObservedRequest { method, target, version, bytes, user_agent, referer, trace_id } = request;
    let answer = answer.as_ref();
    let mut line = peer.ip().to_string();
    line.push_str(" - ");
    push_escaped(&mut line, answer.and_then(|answer| answer.token.as_deref()).unwrap_or("-").as_bytes());
    line.push_str(&now.strftime(" [%d/%b/%Y:%H:%M:%S +0000] \"").to_string());
    push_escaped(&mut line, method.as_str().as_bytes());
    line.push(' ');
    push_escaped(&mut line, target.as_ref().map_or("-", |target| target.as_str()).as_bytes());
    line.push_str(&format!(" HTTP/{}\"", number_of(*version)));
    line.push_str(&answer.map_or_else(|| " -".to_owned(), |answer| format!(" {}", answer.status.as_u16())));
    let sent = answer.and_then(|answer| answer.bytes);
    line.push_str(&sent.map_or_else(|| " -".to_owned(), |bytes| format!(" {bytes}")));
    for header in [referer, user_agent] {
        line.push(' ');
        push_quoted(&mut line, header.as_ref().map_or(&b"-"[..], HeaderValue::as_bytes));
    }
    line.push_str(&format!(" took_us={}", took_us(*took)));
    if let Some(bytes) = bytes {
        line.push_str(&format!(" in={bytes}"));
    }
    line.push_str(&format!(" plane={}", name_of(*plane)));
    if let Some(answer) = answer {
        push_answer(&mut line, answer);
    }
    if let Some(trace_id) = answer.and_then(|answer| answer.trace_id).or(*trace_id) {
        line.push_str(&format!(" trace_id={trace_id}"));
    }
    line
}

fn push_answer(line: &mut String, answer: &ObservedAnswer) {
    // The fields before these are in the Combined Log Format.
    let ObservedAnswer {
        status: _,
        bytes: _,
        token: _,
        trace_id: _,
        request_id,
        function,
        source,
        phases,
        problem,
    } = answer;
    if let Some(ObservedFunction { name, version }) = function {
        line.push_str(&format!(" function={name}@{version}"));
    }
    if let Some(source) = source {
        line.push_str(&format!(" source={}", name_of_source(*source)));
    }
    if let Some(ObservedPhases { queue_us, start_us, run_us }) = phases {
        line.push_str(&format!(" queue_us={queue_us} start_us={start_us} run_us={run_us}"));
    }
    if let Some(problem) = problem {
        line.push_str(&format!(" error={}", problem.kind));
    }
    if let Some(id) = request_id {
        line.push_str(" request_id=");
        push_escaped(line, id.as_bytes());
    }
}

/// A line in JSON.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    target: &'static str,
    #[serde(rename = "nebula.plane")]
    plane: &'static str,
    #[serde(rename = "client.address")]
    client_address: String,
    #[serde(rename = "client.port")]
    client_port: u16,
    #[serde(rename = "http.request.method")]
    method: &'a str,
    #[serde(rename = "url.path", skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(rename = "url.query", skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(rename = "network.protocol.name")]
    protocol: &'static str,
    #[serde(rename = "network.protocol.version")]
    version: &'static str,
    /// Absent if the client left before the answer.
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(rename = "http.request.body.size", skip_serializing_if = "Option::is_none")]
    request_bytes: Option<u64>,
    #[serde(rename = "http.response.body.size", skip_serializing_if = "Option::is_none")]
    response_bytes: Option<u64>,
    duration_us: u64,
    #[serde(rename = "faas.name", skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(rename = "faas.version", skip_serializing_if = "Option::is_none")]
    function_version: Option<&'a str>,
    #[serde(rename = "nebula.source", skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(rename = "nebula.queue_us", skip_serializing_if = "Option::is_none")]
    queue_us: Option<u64>,
    #[serde(rename = "nebula.start_us", skip_serializing_if = "Option::is_none")]
    start_us: Option<u64>,
    #[serde(rename = "nebula.run_us", skip_serializing_if = "Option::is_none")]
    run_us: Option<u64>,
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(rename = "nebula.token", skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(rename = "user_agent.original", skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(rename = "http.request.header.referer", skip_serializing_if = "Option::is_none")]
    referer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

/// Returns the line of a request in JSON.
fn json(call: &ObservedCall, now: jiff::Timestamp) -> String {
    let ObservedCall { plane, peer, request, took, answer } = call;
    let ObservedRequest { method, target, version, bytes, user_agent, referer, trace_id } = request;
    let answer = answer.as_ref();
    let function = answer.and_then(|answer| answer.function.as_ref());
    let phases = answer.and_then(|answer| answer.phases);
    let text = |header: &HeaderValue| String::from_utf8_lossy(header.as_bytes()).into_owned();
    let error = answer.and_then(|answer| answer.problem.as_ref());
    let line = Line {
        timestamp: format!("{now:.6}"),
        target: ACCESS,
        plane: name_of(*plane),
        client_address: peer.ip().to_string(),
        client_port: peer.port(),
        method: method.as_str(),
        path: target.as_ref().map(|target| target.path()),
        query: target.as_ref().and_then(|target| target.query()),
        protocol: "http",
        version: number_of(*version),
        status: answer.map(|answer| answer.status.as_u16()),
        request_bytes: *bytes,
        response_bytes: answer.and_then(|answer| answer.bytes),
        duration_us: took_us(*took),
        function: function.map(|function| function.name.as_str()),
        function_version: function.map(|function| function.version.as_str()),
        source: answer.and_then(|answer| answer.source).map(name_of_source),
        queue_us: phases.map(|phases| phases.queue_us),
        start_us: phases.map(|phases| phases.start_us),
        run_us: phases.map(|phases| phases.run_us),
        error: error.map(|problem| problem.kind.as_str()),
        token: answer.and_then(|answer| answer.token.as_deref()),
        user_agent: user_agent.as_ref().map(text),
        referer: referer.as_ref().map(text),
        request_id: answer.and_then(|answer| answer.request_id.as_ref()).map(text),
        trace_id: answer.and_then(|answer| answer.trace_id).or(*trace_id).map(|id| id.to_string()),
    };
    // Texts and numbers: there is nothing to refuse.
    escape_json(&serde_json::to_string(&line).unwrap_or_default())
}

fn took_us(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn name_of(plane: Plane) -> &'static str {
    match plane {
        Plane::Data => "data",
        Plane::Control => "control",
    }
}

fn name_of_source(source: ObservedSource) -> &'static str {
    match source {
        ObservedSource::Ran => "ran",
        ObservedSource::Hit => "hit",
        ObservedSource::Collapsed => "merged",
    }
}

fn number_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use nebula_http::ObservedProblem;
    use proptest::prelude::*;

    use super::*;

    fn now() -> jiff::Timestamp {
        "2026-01-31T12:00:00.123456Z".parse().unwrap()
    }

    fn request() -> ObservedRequest {
        ObservedRequest {
            method: Method::POST,
            target: Some("/f/add?a=1".parse().unwrap()),
            version: Version::HTTP_11,
            bytes: Some(14),
            user_agent: Some(HeaderValue::from_static("curl/8.5")),
            referer: None,
            trace_id: nebula_runtime::TraceContext::parse(
                b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .map(|trace| trace.trace_id),
        }
    }

    fn answered() -> ObservedAnswer {
        ObservedAnswer {
            status: StatusCode::OK,
            bytes: Some(1),
            request_id: Some(HeaderValue::from_static("id")),
            trace_id: None,
            function: Some(ObservedFunction { name: "add".to_owned(), version: "v1".to_owned() }),
            source: Some(ObservedSource::Ran),
            phases: Some(ObservedPhases { queue_us: 2, start_us: 40, run_us: 9 }),
            token: None,
            problem: None,
        }
    }

    fn call(request: ObservedRequest, answer: Option<ObservedAnswer>) -> ObservedCall {
        let peer = "192.0.2.1:5000".parse().unwrap();
        ObservedCall { plane: Plane::Data, peer, request, took: Duration::from_micros(310), answer }
    }

    #[test]
    fn a_line_of_text_begins_in_the_combined_log_format() {
        let line = text(&call(request(), Some(answered())), now());
        assert_eq!(
            line,
            "192.0.2.1 - - [31/Jan/2026:12:00:00 +0000] \"POST /f/add?a=1 HTTP/1.1\" 200 1 \"-\" \"curl/8.5\" \
             took_us=310 in=14 plane=data function=add@v1 source=ran queue_us=2 start_us=40 run_us=9 request_id=id \
             trace_id=0af7651916cd43dd8448eb211c80319c"
        );
        let left = text(&call(ObservedRequest { trace_id: None, bytes: None, ..request() }, None), now());
        assert!(left.ends_with("HTTP/1.1\" - - \"-\" \"curl/8.5\" took_us=310 plane=data"), "{left}");
    }

    #[test]
    fn a_line_of_json_has_the_names_of_opentelemetry() {
        let problem = ObservedProblem {
            kind: "urn:nebula:problem:trapped".to_owned(),
            detail: String::new(),
            backtrace: Vec::new(),
        };
        let failed = ObservedAnswer { status: StatusCode::BAD_GATEWAY, problem: Some(problem), ..answered() };
        let line: serde_json::Value =
            serde_json::from_str(&json(&call(request(), Some(failed)), now())).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2026-01-31T12:00:00.123456Z",
            "target": "nebula::access",
            "nebula.plane": "data",
            "client.address": "192.0.2.1",
            "client.port": 5000,
            "http.request.method": "POST",
            "url.path": "/f/add",
            "url.query": "a=1",
            "network.protocol.name": "http",
            "network.protocol.version": "1.1",
            "http.response.status_code": 502,
            "http.request.body.size": 14,
            "http.response.body.size": 1,
            "duration_us": 310,
            "faas.name": "add",
            "faas.version": "v1",
            "nebula.source": "ran",
            "nebula.queue_us": 2,
            "nebula.start_us": 40,
            "nebula.run_us": 9,
            "error.type": "urn:nebula:problem:trapped",
            "user_agent.original": "curl/8.5",
            "request_id": "id",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        });
        assert_eq!(line, expected);
    }

    proptest! {
        /// Whatever a client sends, its line is one, is visible, and keeps its fields apart.
        #[test]
        fn clients_cannot_forge_lines(agent in proptest::collection::vec(any::<u8>(), 0..40), id in "[!-~]{1,20}") {
            let user_agent = HeaderValue::from_bytes(&agent).ok();
            let request_id = HeaderValue::from_str(&id).ok();
            let call = call(ObservedRequest { user_agent, ..request() }, Some(ObservedAnswer { request_id, ..answered() }));
            let line = text(&call, now());
            prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", line);
            // The request, the referer and the user agent.
            prop_assert_eq!(line.matches('"').count(), 6, "{}", line);
            let line = json(&call, now());
            prop_assert!(!line.contains(char::is_control), "{}", line);
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&parsed["request_id"], &serde_json::Value::from(id));
        }
    }

    #[test]
    fn failures_are_logged_whatever_the_share() {
        let (queue, _guard) = LineQueue::start("test", std::io::sink(), |_| String::new()).unwrap();
        let wanted = |share, status: Option<u16>| {
            let logger = AccessLogger::new(LineFormat::Text, share, queue.clone());
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            (0..10_000).filter(|_| logger.wants(Plane::Data, status)).count()
        };
        for failed in [None, Some(400), Some(404), Some(429), Some(500), Some(504)] {
            assert_eq!(wanted(0.0, failed), 10_000, "{failed:?}");
        }
        for succeeded in [200, 204, 304] {
            assert_eq!(wanted(0.0, Some(succeeded)), 0);
            assert_eq!(wanted(1.0, Some(succeeded)), 10_000);
            // Within ten standard deviations.
            assert!((700..1300).contains(&wanted(0.1, Some(succeeded))));
        }
    }
}
