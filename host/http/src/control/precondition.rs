//! Conditional changes of a name: `If-Match` and `If-None-Match` (RFC 9110 §13.1).
//!
//! The entity tag of a function identifies its current version. A client that read it can change
//! the function only if no other client has changed it since.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use nebula_runtime::id::FunctionName;
use nebula_runtime::{Precondition, ResolveError, Runtime, UnmetPrecondition, VersionRecord};

use super::describe::{DescribeArgument, Description, ListedProblem};
use crate::etag::EntityTag;
use crate::problem::Problem;

/// The conditions of a request, unless it has none.
pub(super) struct Conditions {
    if_match: Vec<HeaderValue>,
    if_none_match: Vec<HeaderValue>,
}

/// Returns the entity tag of a function: of its current version, and of whether two computations of
/// that version disagreed.
pub(super) fn tag(current: &VersionRecord, is_distrusted: bool) -> EntityTag {
    let VersionRecord { name, version, digest, .. } = current;
    EntityTag::of(format!("{name}@{version} {digest} {is_distrusted}").as_bytes())
}

impl Conditions {
    /// Compares the conditions with the function's current version, and returns the precondition
    /// that the change has to meet. Blocks on the disk.
    ///
    /// # Errors
    /// [`UnmetPrecondition`], and errors of the store.
    pub(super) fn evaluate<E>(&self, runtime: &Runtime, name: &FunctionName) -> Result<Precondition, E>
    where
        E: From<UnmetPrecondition> + From<ResolveError>,
    {
        if self.if_match.is_empty() && self.if_none_match.is_empty() {
            return Ok(Precondition::None);
        }
        let current = match runtime.versions(name) {
            Ok(versions) => Some(versions.current),
            Err(ResolveError::UnknownFunction { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(current) = current else {
            let is_met = self.if_match.is_empty();
            return if is_met { Ok(Precondition::Unused) } else { Err(UnmetPrecondition.into()) };
        };
        let is_distrusted = runtime.disagreement(&current.digest).map_err(ResolveError::from)?.is_some();
        let tag = tag(&current, is_distrusted);
        let matches =
            self.if_match.is_empty() || self.if_match.iter().any(|line| tag.is_strongly_named_in(line));
        if !matches || self.if_none_match.iter().any(|line| tag.is_named_in(line)) {
            return Err(UnmetPrecondition.into());
        }
        Ok(Precondition::current(&current))
    }
}

impl<S: Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let lines = |name: HeaderName| parts.headers.get_all(name).iter().cloned().collect();
        Ok(Self { if_match: lines(header::IF_MATCH), if_none_match: lines(header::IF_NONE_MATCH) })
    }
}

impl DescribeArgument for Conditions {
    fn describe(description: &mut Description) {
        description.header_parameter("if-match", "change it only if this is its entity tag");
        description.header_parameter("if-none-match", "`*`: only if there is no such function");
        description.problem(&ListedProblem::new(412, "the condition isn't met; nothing has changed"));
    }
}
