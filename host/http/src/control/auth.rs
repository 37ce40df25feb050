//! Admission of requests: the token first, then the path, then the method.
//!
//! A path that the plane doesn't have requires the token too, so a client without a token can't
//! find out which paths exist.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::endpoints::Scope;
use super::routes::{Operation, Operations};
use super::token::Token;
use crate::problem::Problem;
use crate::{body, status};

/// The token, and every operation with the scope that it requires.
pub(super) struct Guard {
    pub(super) token: Token,
    pub(super) operations: Arc<Operations>,
}

/// Runs the handler of an admitted request. Layered around every route and the fallback.
pub(super) async fn admit(
    State(guard): State<Arc<Guard>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    let method = request.method().as_str();
    let operation = guard.operations.at(path).find(|operation| operation.endpoint.method.as_str() == method);
    let scope = operation.map_or(Scope::Admin, |operation| operation.endpoint.scope);
    if !guard.token.grants(scope, body::text(request.headers(), header::AUTHORIZATION)) {
        return unauthorized().into_response();
    }
    let Some(operation) = operation else {
        let methods: Vec<_> =
            guard.operations.at(path).map(|operation| operation.endpoint.method.as_str()).collect();
        return match methods.as_slice() {
            [] => status::no_such_path(request.uri().path()),
            methods => status::method_not_allowed(&methods.join(", ")),
        }
        .into_response();
    };
    let response = next.run(request).await;
    check_described(operation, response.status());
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

fn unauthorized() -> Problem {
    let detail = "this needs `Authorization: Bearer …` with the token from the server's data directory";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"nebula\""))
}
