//! The events of the control plane in the server's log: what was changed or refused.
//!
//! Each is inside the span of its request, which tells the token, the client and the ids.

use std::net::SocketAddr;

use http::HeaderValue;
use nebula_runtime::id::FunctionName;
use nebula_runtime::token::TokenRecord;
use nebula_runtime::{ImportedFunction, ProjectChange, TraceId, VersionRecord};
use nebula_telemetry::EventRate;
use tracing::field::{self, Empty};
use tracing::{Span, debug, info, warn};

use super::access::NoHolder;
use crate::problem::Problem;

/// The target of events about functions.
const DEPLOY: &str = "nebula::deploy";

/// The target of events about tokens.
const TOKEN: &str = "nebula::token";

/// The target of other events, and of the span.
const CONTROL: &str = "nebula::control";

/// Returns the span of a request. Its level is that of errors, so that every event has it.
pub(super) fn span(client: Option<SocketAddr>, request_id: &HeaderValue, trace_id: Option<TraceId>) -> Span {
    tracing::error_span!(
        target: CONTROL,
        "request",
        token = Empty,
        client = client.map(field::display),
        request_id = request_id.to_str().ok(),
        trace_id = trace_id.map(field::display),
    )
}

/// Adds the accepted token to the span of the request.
pub(super) fn accepted(token: &str) {
    Span::current().record("token", token);
}

/// Logs that a request has no valid token.
pub(super) fn unauthorized(reason: &NoHolder) {
    static RATE: EventRate = EventRate::new();
    let name = match reason {
        // Also a browser that opens the page.
        NoHolder::Missing => return debug!(target: TOKEN, "a request without a token was refused"),
        // Also a page that asks again and again.
        NoHolder::SessionOver => {
            return debug!(target: TOKEN, "a request of a session that is over was refused");
        }
        NoHolder::Unknown => None,
        NoHolder::Expired { name, .. } => Some(name.as_str()),
    };
    if let Some(skipped) = RATE.admit() {
        let skipped = (skipped > 0).then_some(skipped);
        warn!(target: TOKEN, expired = name, skipped, "a request with an invalid token was refused");
    }
}

/// Logs that a request was refused.
pub(super) fn refused(problem: &Problem) {
    let (status, reason) = (problem.status().as_u16(), problem.detail());
    if problem.status().is_server_error() {
        warn!(target: CONTROL, status, reason, "a request failed");
    } else {
        info!(target: CONTROL, status, reason, "a request was refused");
    }
}

/// Logs that a request was refused whose client isn't known. Anybody can send many of these.
pub(super) fn refused_unidentified(problem: &Problem) {
    static RATE: EventRate = EventRate::new();
    if let Some(skipped) = RATE.admit() {
        let (status, reason) = (problem.status().as_u16(), problem.detail());
        let skipped = (skipped > 0).then_some(skipped);
        warn!(target: CONTROL, status, reason, skipped, "a request of a browser was refused");
    }
}

/// Logs that a browser has signed in, with a token or by a link.
pub(super) fn signed_in(name: &str, by_link: bool) {
    info!(target: TOKEN, name, by_link, "signed in to the console");
}

/// Logs that a browser has signed out.
pub(super) fn signed_out(name: &str) {
    info!(target: TOKEN, name, "signed out of the console");
}

/// Logs a version that has become current.
pub(super) fn deployed(record: &VersionRecord) {
    log_version(record, "deployed");
}

/// Logs an earlier version that has become current again.
pub(super) fn rolled_back(record: &VersionRecord) {
    log_version(record, "rolled back");
}

fn log_version(record: &VersionRecord, done: &str) {
    let VersionRecord { name, version, digest, project, limits, .. } = record;
    // Those that the version doesn't have are absent.
    let limits = serde_json::to_string(limits).ok().filter(|limits| limits != "{}");
    let project = project.as_ref().map(field::display);
    info!(target: DEPLOY, function = name.as_str(), %version, %digest, limits, project, "{done}");
}

/// Logs that a function was removed.
pub(super) fn removed(name: &FunctionName) {
    info!(target: DEPLOY, function = name.as_str(), "removed");
}

/// Logs the changes by a deploy of a project.
pub(super) fn project_deployed(changes: &[ProjectChange]) {
    for change in changes {
        match change {
            ProjectChange::Published { record, .. } => deployed(record),
            ProjectChange::Removed(name) => removed(name),
            ProjectChange::Unchanged(_) | ProjectChange::Kept { .. } => {}
        }
    }
}

/// Logs the functions that an import has added.
pub(super) fn imported(functions: &[ImportedFunction]) {
    for ImportedFunction { name, current, .. } in functions.iter().filter(|function| function.is_new) {
        info!(target: DEPLOY, function = name.as_str(), version = %current, "imported");
    }
}

/// Logs that cached results were cleared: those of a function, or all.
pub(super) fn cleared(name: Option<&FunctionName>) {
    info!(target: CONTROL, function = name.map(FunctionName::as_str), "cleared cached results");
}

/// Logs that a token was created.
pub(super) fn token_created(record: &TokenRecord) {
    let TokenRecord { name, scope, expires_at_unix_s, .. } = record;
    info!(target: TOKEN, name = name.as_str(), scope = scope.as_str(), expires_at_unix_s, "created a token");
}

/// Logs that a token was revoked.
pub(super) fn token_revoked(name: &str) {
    info!(target: TOKEN, name, "revoked a token");
}
