//! The schema of every error.

use utoipa::ToSchema;

/// A problem document (RFC 9457). Each kind of problem may have further members.
#[derive(ToSchema)]
#[schema(as = problem)]
#[expect(dead_code, reason = "`Problem` writes it; this is its schema")]
pub(crate) struct ProblemDocument {
    /// A stable name: `urn:nebula:problem:unknown-function`.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// A sentence for people.
    detail: String,
}
