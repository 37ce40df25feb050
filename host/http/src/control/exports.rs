//! Exports of functions with all their versions, and imports of them.

use axum::extract::{FromRequestParts, State};
use http::StatusCode;
use http::request::Parts;
use nebula_runtime::id::{FunctionName, IdError};
use nebula_runtime::{DeployError, Difference, ImportConflict, ImportError, NamingError};
use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::describe::{DescribeArgument, Description, ListedProblem, QueryParameter};
use super::endpoints;
use super::events;
use super::payload::JsonBody;
use super::refusal::{AsProblem, Refusal};
use super::reply::Json;
use super::routes::Routes;
use super::state::{BlockingRuntime, ControlState};
use crate::problem::Problem;
use crate::status;
use crate::wire::schema::NAME_PATTERN;
use crate::wire::{Export, ImportReport, ImportRequest};

/// The query parameter with a function's name.
const NAME: &str = "name";

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::EXPORT, export).add(&endpoints::IMPORT, import)
}

async fn export(
    State(runtime): State<BlockingRuntime>,
    NamesQuery(names): NamesQuery,
) -> Result<Json<Export>, Refusal<NamingError>> {
    runtime.run(move |runtime| Ok(Json::new(&Export::from(runtime.export(&names)?)))).await
}

async fn import(
    State(runtime): State<BlockingRuntime>,
    JsonBody(request): JsonBody<ImportRequest>,
) -> Result<Json<ImportReport>, Refusal<ImportError>> {
    let dry_run = request.dry_run;
    let functions = runtime.import(request.into()).await?;
    if !dry_run {
        events::imported(&functions);
    }
    let functions = functions.into_iter().map(Into::into).collect();
    Ok(Json::new(&ImportReport { dry_run, functions }))
}

/// The names of functions; empty for all.
struct NamesQuery(Vec<FunctionName>);

/// Returns the query that asks for these functions.
pub fn names_query(names: &[FunctionName]) -> Vec<(&'static str, String)> {
    names.iter().map(|name| (NAME, name.to_string())).collect()
}

impl<S: Sync> FromRequestParts<S> for NamesQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or("");
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let names = pairs.map(|pair| match pair.split_once('=').unwrap_or((pair, "")) {
            (NAME, value) => {
                value.parse().map_err(|error: IdError| status::bad_request("bad-name", error.to_string()))
            }
            (name, _) => {
                let detail = format!("unknown parameter `{name}`: this takes `{NAME}`");
                Err(status::bad_request("bad-query", detail))
            }
        });
        names.collect::<Result<_, _>>().map(Self)
    }
}

impl DescribeArgument for NamesQuery {
    fn describe(description: &mut Description) {
        description.query_parameter(QueryParameter {
            name: NAME,
            about: "a function to export with everything that it calls; may be repeated; all if absent",
            schema: ObjectBuilder::new().schema_type(Type::String).pattern(Some(NAME_PATTERN)).build(),
        });
    }
}

impl AsProblem for ImportError {
    const PROBLEMS: &'static [ListedProblem] = DeployError::PROBLEMS;

    fn problem(&self) -> Problem {
        let detail = self.to_string();
        let of = |problem: Problem, name: &FunctionName, version: &nebula_runtime::id::Version| {
            problem.with("name", name.as_str()).with("version", version.to_string())
        };
        match self {
            Self::Conflicts(conflicts) => {
                let conflicts: Vec<_> = conflicts.iter().map(conflict).collect();
                Problem::new(StatusCode::CONFLICT, "import-conflicts", detail).with("conflicts", conflicts)
            }
            Self::Missing(digests) => status::missing_components(detail, digests),
            Self::Inconsistent { name, version, .. } => {
                of(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-import", detail), name, version)
            }
            Self::Refused { name, version, source } => {
                of(status::deploy(source).with("detail", detail), name, version)
            }
            Self::Deploy(source) => status::deploy(source),
        }
    }
}

/// Returns a conflict as it appears in the problem.
fn conflict(conflict: &ImportConflict) -> Value {
    let version = match &conflict.difference {
        Difference::Version { version, .. } | Difference::MissingVersion(version) => Some(*version),
        Difference::Current { .. } | Difference::Route { .. } => None,
    };
    let reason = conflict.to_string();
    match version {
        Some(version) => json!({"name": conflict.name, "version": version, "reason": reason}),
        None => json!({"name": conflict.name, "reason": reason}),
    }
}
