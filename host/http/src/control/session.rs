//! The session of a browser: sign in, show it, sign out.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};

use super::access::{self, Holder, NewSession, SignInError};
use super::auth;
use super::browser::OwnRequest;
use super::describe::{BodyContent, DescribeArgument, DescribeReply, Description, FOREIGN, ListedProblem};
use super::endpoints;
use super::events;
use super::payload::JsonBody;
use super::refusal::{AsProblem, Refusal};
use super::reply::{Json, NoContent};
use super::routes::Routes;
use super::state::{BlockingAccess, ControlState};
use crate::observe::AcceptedToken;
use crate::problem::Problem;
use crate::session_cookie;
use crate::status;
use crate::wire::{SessionInfo, SignInRequest};

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new()
        .add(&endpoints::SIGN_IN, sign_in)
        .add(&endpoints::SESSION, show)
        .add(&endpoints::SIGN_OUT, sign_out)
}

type Tokens = State<BlockingAccess>;

async fn sign_in(
    State(access): Tokens,
    own: OwnRequest,
    JsonBody(request): JsonBody<SignInRequest>,
) -> Result<SignedIn, Refusal<SignInError>> {
    let sign_in = access.run(move |access| {
        let now = access::now_unix_s();
        let signed_in = match &request {
            SignInRequest::Token(secret) => access.sign_in(secret, now),
            SignInRequest::Code(code) => access.sign_in_by_link(code, now),
        };
        if let Ok(NewSession { holder, id: _ }) = &signed_in {
            events::accepted(&holder.name);
            events::signed_in(&holder.name, matches!(request, SignInRequest::Code(_)));
        }
        Ok::<_, Infallible>(signed_in)
    });
    let signed_in = sign_in.await.map_err(|refusal| Refusal::logged(refusal.into_problem()))?;
    let NewSession { holder, id } = signed_in.map_err(|error| {
        let problem = error.problem();
        events::refused_unidentified(&problem);
        Refusal::logged(problem)
    })?;
    let cookie = session_cookie::start(&id, own.is_https);
    Ok(SignedIn { info: Json::new(&SessionInfo::from(&holder)), holder, cookie })
}

async fn show(holder: Option<Extension<Holder>>) -> Shown {
    Shown(holder.map(|Extension(holder)| Json::new(&SessionInfo::from(&holder))))
}

async fn sign_out(
    State(access): Tokens,
    Extension(holder): Extension<Holder>,
    SessionIds(ids): SessionIds,
) -> Result<SignedOut, Refusal<Infallible>> {
    let sign_out = access.run(move |access| {
        if access.sign_out(&ids) {
            events::signed_out(&holder.name);
        }
        Ok(SignedOut)
    });
    sign_out.await
}

impl From<&Holder> for SessionInfo {
    fn from(Holder { name, scope, expires_at_unix_s }: &Holder) -> Self {
        Self { name: name.clone(), scope: *scope, expires_at_unix_s: *expires_at_unix_s }
    }
}

/// The ids in a request's cookies. It implements no `Debug`, so that nothing prints them.
struct SessionIds(Vec<String>);

impl<S: Sync> FromRequestParts<S> for SessionIds {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(session_cookie::values(&parts.headers).map(str::to_owned).collect()))
    }
}

impl DescribeArgument for SessionIds {
    /// Programs have no session, so the document doesn't mention the cookie.
    fn describe(_: &mut Description) {}
}

impl FromRequestParts<ControlState> for OwnRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ControlState) -> Result<Self, Problem> {
        let checked = state.console_hosts.check(&parts.method, &parts.uri, &parts.headers);
        checked.map_err(|error| {
            let problem = error.problem();
            events::refused_unidentified(&problem);
            problem
        })
    }
}

impl DescribeArgument for OwnRequest {
    fn describe(description: &mut Description) {
        description.header_parameter("Origin", "the origin of the console; or `Sec-Fetch-Site: same-origin`");
        description.problem(&FOREIGN);
    }
}

/// The token that a session began with, and the cookie with its id.
struct SignedIn {
    info: Json<SessionInfo>,
    holder: Holder,
    cookie: Option<HeaderValue>,
}

impl IntoResponse for SignedIn {
    fn into_response(self) -> Response {
        let mut response = self.info.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(cookie) = self.cookie {
            headers.insert(header::SET_COOKIE, cookie);
        }
        response.extensions_mut().insert(AcceptedToken(self.holder.name));
        response
    }
}

impl DescribeReply for SignedIn {
    fn describe(description: &mut Description) {
        let schema = description.schema_of::<SessionInfo>();
        let content = [BodyContent::json(schema)];
        description.reply(StatusCode::OK, "signed in; the cookie `nebula_session` is set", content);
    }
}

/// The token of a request; `None` if it has none.
struct Shown(Option<Json<SessionInfo>>);

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        self.0.map_or_else(|| NoContent.into_response(), IntoResponse::into_response)
    }
}

impl DescribeReply for Shown {
    fn describe(description: &mut Description) {
        Json::<SessionInfo>::describe(description);
        description.reply(StatusCode::NO_CONTENT, "nobody is signed in", []);
    }
}

/// The session is over.
struct SignedOut;

impl IntoResponse for SignedOut {
    fn into_response(self) -> Response {
        let mut response = NoContent.into_response();
        response.headers_mut().insert(header::SET_COOKIE, session_cookie::clear());
        response
    }
}

impl DescribeReply for SignedOut {
    fn describe(description: &mut Description) {
        NoContent::describe(description);
    }
}

impl AsProblem for SignInError {
    const PROBLEMS: &'static [ListedProblem] =
        &[ListedProblem::new(401, "the token is wrong or has expired, or the link doesn't work any more")];

    fn problem(&self) -> Problem {
        match self {
            Self::Token(reason) => auth::unauthorized(reason),
            Self::Link => auth::link_over(&self.to_string()),
            Self::Random(_) => status::internal(self),
        }
    }
}
