//! Admission of requests: the token or the session first, then the path, the method and the token's
//! scope.
//!
//! A path that the plane doesn't have requires a token too, so a client without one can't find out
//! which paths exist.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use nebula_runtime::token::TokenScope;

use super::access::{self, Access, Holder, NoHolder};
use super::browser::ConsoleHosts;
use super::endpoints::Scope;
use super::events;
use super::routes::{Operation, Operations};
use crate::observe::AcceptedToken;
use crate::problem::Problem;
use crate::spans::OperationRoute;
use crate::{body, session_cookie, status};

/// The challenge to a client that has no token.
const MISSING_TOKEN: &str = r#"Bearer realm="nebula""#;

/// The challenge to a client whose token is unknown or has expired.
const INVALID_TOKEN: &str = r#"Bearer realm="nebula", error="invalid_token""#;

/// The tokens, and every operation with the scope that it requires.
pub(super) struct Guard {
    pub(super) access: Access,
    pub(super) operations: Arc<Operations>,
    pub(super) console_hosts: ConsoleHosts,
}

/// Runs the handler of an admitted request. Layered around every route and the fallback.
pub(super) async fn admit(
    State(guard): State<Arc<Guard>>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    let method = request.method().as_str();
    let operation = guard.operations.at(path).find(|operation| operation.endpoint.method.as_str() == method);
    // Every token learns that an operation is missing.
    let scope = operation.map_or(Scope::Read, |operation| operation.endpoint.scope);
    let admitted = match scope.required() {
        None if scope == Scope::Optional && may_have_holder(request.headers()) => {
            guard.admitted_if_valid(&request)
        }
        None => Ok(None),
        Some(required) => guard.admitted(&request, required).map(Some),
    };
    let holder = match admitted {
        Ok(holder) => holder,
        Err(refusal) => return *refusal,
    };
    if let Some(holder) = &holder {
        request.extensions_mut().insert(holder.clone());
    }
    let response = match operation {
        Some(operation) => {
            let mut response = next.run(request).await;
            check_described(operation, response.status());
            response.extensions_mut().insert(OperationRoute(operation.endpoint.path));
            response
        }
        None => {
            let methods: Vec<_> =
                guard.operations.at(path).map(|operation| operation.endpoint.method.as_str()).collect();
            match methods.as_slice() {
                [] => status::no_such_path(request.uri().path()),
                methods => status::method_not_allowed(&methods.join(", ")),
            }
            .into_response()
        }
    };
    match holder {
        Some(holder) => with_token(holder, response),
        None => response,
    }
}

impl Guard {
    /// Returns the holder of the request's token or session, which has the scope.
    ///
    /// # Errors
    /// The answer to a request without such a token.
    fn admitted(&self, request: &Request, required: TokenScope) -> Result<Holder, Box<Response>> {
        let holder = self.holder(request)?.map_err(|reason| {
            events::unauthorized(&reason);
            Box::new(unauthorized(&reason).into_response())
        })?;
        events::accepted(&holder.name);
        if holder.scope.includes(required) {
            return Ok(holder);
        }
        let problem = forbidden(&holder, required);
        events::refused(&problem);
        Err(Box::new(with_token(holder, problem.into_response())))
    }

    /// Returns the holder of the request's token, or of its session if that isn't over.
    ///
    /// # Errors
    /// The answer to a request whose token is invalid, or which comes from a page of another origin.
    fn admitted_if_valid(&self, request: &Request) -> Result<Option<Holder>, Box<Response>> {
        match self.holder(request)? {
            Ok(holder) => {
                events::accepted(&holder.name);
                Ok(Some(holder))
            }
            Err(NoHolder::SessionOver) => Ok(None),
            Err(reason) => {
                events::unauthorized(&reason);
                Err(Box::new(unauthorized(&reason).into_response()))
            }
        }
    }

    /// Returns the holder of the request's token or session.
    ///
    /// # Errors
    /// The answer to a request that comes from a page of another origin.
    fn holder(&self, request: &Request) -> Result<Result<Holder, NoHolder>, Box<Response>> {
        let headers = request.headers();
        let is_session =
            !headers.contains_key(header::AUTHORIZATION) && session_cookie::values(headers).next().is_some();
        let (now, authorization) = (access::now_unix_s(), body::text(headers, header::AUTHORIZATION));
        Ok(match is_session {
            true => {
                let checked = self.console_hosts.check(request.method(), request.uri(), headers);
                checked.map_err(|error| {
                    let problem = error.problem();
                    events::refused_unidentified(&problem);
                    Box::new(problem.into_response())
                })?;
                self.access.holder_of_session(session_cookie::values(headers), now)
            }
            false => self.access.holder(authorization, now),
        })
    }
}

/// Returns whether a request may have a token or a session.
fn may_have_holder(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || session_cookie::values(headers).next().is_some()
}

/// Adds the token to an answer, for the access log.
fn with_token(holder: Holder, mut response: Response) -> Response {
    response.extensions_mut().insert(AcceptedToken(holder.name));
    response
}

/// Panics in a debug build if the document doesn't list the status, so that tests find it.
fn check_described(operation: &Operation, status: StatusCode) {
    debug_assert!(
        operation.describe().has(status) || status == StatusCode::INSUFFICIENT_STORAGE,
        "`{}` answered {status}, which its description lacks",
        operation.endpoint.operation_id(),
    );
}

/// Returns a problem of status 401, with its challenge.
fn problem(kind: &str, detail: &str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, kind, detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// Returns the problem of a sign-in link that doesn't work.
pub(super) fn link_over(detail: &str) -> Problem {
    problem("link-over", detail, MISSING_TOKEN)
}

/// Returns the problem of a request without a valid token (RFC 6750 §3).
pub(super) fn unauthorized(reason: &NoHolder) -> Problem {
    match reason {
        NoHolder::Missing => problem(
            "unauthorized",
            "this needs `Authorization: Bearer …` with the token from the server's data directory, or a named one",
            MISSING_TOKEN,
        ),
        NoHolder::SessionOver => problem("session-over", "the session is over: sign in again", MISSING_TOKEN),
        NoHolder::Unknown => problem(
            "unauthorized",
            "the server doesn't have this token: it is neither the one in its data directory nor a named one, or it \
             was revoked",
            INVALID_TOKEN,
        ),
        NoHolder::Expired { name, at_unix_s } => {
            let expired = UNIX_EPOCH.checked_add(Duration::from_secs(*at_unix_s));
            let expired =
                expired.map_or_else(String::new, |time| format!(" on {}", httpdate::fmt_http_date(time)));
            problem("token-expired", &format!("the token `{name}` expired{expired}"), INVALID_TOKEN)
                .with("token", name.as_str())
        }
    }
}

/// Returns the problem of a token whose scope isn't enough (RFC 6750 §3.1).
fn forbidden(Holder { name, scope, .. }: &Holder, required: TokenScope) -> Problem {
    let detail =
        format!("this needs a token with the scope `{required}`, and `{name}` has the scope `{scope}`");
    let challenge = match required {
        TokenScope::Read => r#"Bearer realm="nebula", error="insufficient_scope", scope="read""#,
        TokenScope::Invoke => r#"Bearer realm="nebula", error="insufficient_scope", scope="invoke""#,
        TokenScope::Admin => r#"Bearer realm="nebula", error="insufficient_scope", scope="admin""#,
    };
    Problem::new(StatusCode::FORBIDDEN, "insufficient-scope", detail)
        .with("required", required.as_str())
        .with("scope", scope.as_str())
        .with("token", name.as_str())
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
