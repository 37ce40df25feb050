//! The logs of calls, of one function or of all.
//!
//! A client that follows them asks again with the time of the last entry it has.

use axum::extract::{FromRequestParts, State};
use http::request::Parts;
use nebula_runtime::ResolveError;
use nebula_runtime::id::FunctionName;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::describe::{DescribeArgument, Description, QueryParameter};
use super::endpoints;
use super::path::{FunctionPath, PipelinePath};
use super::refusal::Refusal;
use super::reply::Json;
use super::routes::Routes;
use super::state::{BlockingRuntime, ControlState};
use crate::problem::Problem;
use crate::status;
use crate::wire::FunctionLogs;

/// The query parameter with a time.
const AFTER: &str = "after_unix_us";

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new()
        .add(&endpoints::LOGS, of::<FunctionPath>)
        .add(&endpoints::LOGS_OF_PIPELINE, of::<PipelinePath>)
        .add(&endpoints::LOGS_OF_ALL, of_all)
}

async fn of<Name: Into<FunctionName>>(
    State(runtime): State<BlockingRuntime>,
    name: Name,
    LogsQuery { after_unix_us }: LogsQuery,
) -> Result<Json<FunctionLogs>, Refusal<ResolveError>> {
    let name = name.into();
    let logs = runtime.run(move |runtime| {
        runtime.versions(&name)?;
        let calls = runtime.logs(after_unix_us, Some(&name)).into_iter().map(Into::into).collect();
        Ok(Json::new(&FunctionLogs { calls }))
    });
    logs.await
}

async fn of_all(
    State(runtime): State<BlockingRuntime>,
    LogsQuery { after_unix_us }: LogsQuery,
) -> Result<Json<FunctionLogs>, Refusal<std::convert::Infallible>> {
    let logs = runtime.run(move |runtime| {
        let calls = runtime.logs(after_unix_us, None).into_iter().map(Into::into).collect();
        Ok(Json::new(&FunctionLogs { calls }))
    });
    logs.await
}

/// The time after which calls are listed, microseconds since the Unix epoch; 0 for all.
struct LogsQuery {
    after_unix_us: u64,
}

/// Returns the query that asks for the calls after a time.
pub fn logs_query(after_unix_us: u64) -> (&'static str, String) {
    (AFTER, after_unix_us.to_string())
}

impl<S: Sync> FromRequestParts<S> for LogsQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or("");
        let mut after_unix_us = 0;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = |detail| status::bad_request("bad-query", detail);
            if name != AFTER {
                return Err(wrong(format!("unknown parameter `{name}`: this takes `{AFTER}`")));
            }
            let number = value.parse();
            after_unix_us = number.map_err(|_| wrong(format!("`{AFTER}` is `{value}`, not a number")))?;
        }
        Ok(Self { after_unix_us })
    }
}

impl DescribeArgument for LogsQuery {
    fn describe(description: &mut Description) {
        description.query_parameter(QueryParameter {
            name: AFTER,
            about: "list only the calls after this time, microseconds since the Unix epoch",
            schema: ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build(),
        });
    }
}
