//! Calls through the control plane, as the console makes them: a page of this plane can't call the
//! data plane, which is another origin.
//!
//! Invariant: nothing in an answer affects this plane's origin in a browser. The content isn't run,
//! and headers by which a server changes what a browser does are removed.

use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use nebula_telemetry::trace::Scope;
use utoipa::openapi::Required;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType};

use super::describe::{BodyContent, DescribeArgument, DescribeReply, Description, ListedProblem};
use super::endpoints;
use super::path::ReferencePath;
use super::refusal::{AsProblem, Refusal};
use super::routes::Routes;
use super::state::ControlState;
use crate::data::relay::{CallByName, CallRelay};
use crate::problem::Problem;
use crate::request_id;

/// Headers of a function's answer that would change what a browser does with this plane's origin: its
/// cookies, its stored data, where the next request goes, whether it asks for a password. So would all
/// that begin with [`ACCESS_CONTROL`].
const OF_ORIGIN: [HeaderName; 13] = [
    header::SET_COOKIE,
    header::LOCATION,
    header::REFRESH,
    header::WWW_AUTHENTICATE,
    header::STRICT_TRANSPORT_SECURITY,
    header::PUBLIC_KEY_PINS,
    header::ALT_SVC,
    header::LINK,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
];

const ACCESS_CONTROL: &str = "access-control-";

/// Headers that keep a browser from running the content in this plane's origin.
const INERT: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
];

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::CALL, call)
}

async fn call(
    State(calls): State<CallRelay>,
    ReferencePath(reference): ReferencePath,
    CallRequest { parts, request_id, body }: CallRequest,
) -> Result<CallAnswer, Refusal<Stopping>> {
    let call = CallByName { reference, parts, request_id, body, scope: Scope::current() };
    let answer = calls.call(call).await.map_err(Refusal::new)?;
    Ok(CallAnswer(answer.map(Body::new)))
}

/// The id of a request, in its extensions.
#[derive(Clone)]
pub(super) struct RequestId(pub(super) HeaderValue);

/// The request of a call.
struct CallRequest {
    parts: Parts,
    request_id: HeaderValue,
    body: Body,
}

impl<S: Sync> FromRequest<S> for CallRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let id = parts.extensions.get().map(|RequestId(id)| id.clone());
        let request_id = id.unwrap_or_else(request_id::new_value);
        Ok(Self { parts, request_id, body })
    }
}

impl DescribeArgument for CallRequest {
    fn describe(description: &mut Description) {
        description
            .header_parameter("Cache-Control", "`no-cache` runs the function instead of a cached answer");
        description.header_parameter("Prefer", "`receipt` asks for a receipt");
        let bytes = BodyContent::bytes("application/octet-stream");
        description.body([any_json(), BodyContent::text(), bytes], Required::False);
    }
}

/// The function's answer, or the problem of its call.
struct CallAnswer(Response);

impl IntoResponse for CallAnswer {
    fn into_response(self) -> Response {
        let Self(mut response) = self;
        make_inert(response.headers_mut());
        response
    }
}

impl DescribeReply for CallAnswer {
    fn describe(description: &mut Description) {
        let contents = || [any_json(), BodyContent::text(), BodyContent::bytes("application/octet-stream")];
        description.reply(StatusCode::OK, "the function's value", contents());
        description.other_replies("any other answer of the data plane", contents());
    }
}

/// Removes the headers that affect this plane's origin, and adds those that protect it.
fn make_inert(headers: &mut HeaderMap) {
    let affects = |name: &HeaderName| OF_ORIGIN.contains(name) || name.as_str().starts_with(ACCESS_CONTROL);
    let removed: Vec<_> = headers.keys().filter(|name| affects(name)).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
    for (name, value) in INERT {
        headers.insert(name, value);
    }
}

fn any_json() -> BodyContent {
    BodyContent::json(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build())
}

/// The server stops before the call has its answer.
enum Stopping {}

impl AsProblem for Stopping {
    const PROBLEMS: &'static [ListedProblem] = &[
        ListedProblem::new(404, "there is no such function or version"),
        ListedProblem::new(503, "the call was shed, or the server stops"),
    ];

    fn problem(&self) -> Problem {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_no_header_that_affects_the_origin() {
        let names = OF_ORIGIN.into_iter().map(|name| name.to_string());
        for name in names.chain(["access-control-allow-origin".to_owned(), "access-control-x".to_owned()]) {
            let mut headers = HeaderMap::new();
            headers.append(HeaderName::try_from(&name).unwrap(), HeaderValue::from_static("a"));
            headers.append(HeaderName::try_from(&name).unwrap(), HeaderValue::from_static("b"));
            make_inert(&mut headers);
            assert!(!headers.contains_key(&name), "{name}");
        }
        let mut headers = HeaderMap::new();
        for name in ["content-type", "x-own", "content-security-policy", "content-disposition"] {
            headers.append(name, HeaderValue::from_static("own"));
        }
        make_inert(&mut headers);
        assert!(headers["content-type"] == "own" && headers["x-own"] == "own");
        for (name, value) in INERT {
            assert_eq!(headers.get_all(&name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
    }
}
