//! The map from the runtime's errors to problem documents, for both planes.
//!
//! Invariants:
//! * Every match on an error is exhaustive: a new error has to pick its status to compile.
//! * Only a defect of Nebula or of its machine is a 500.
//!
//! `problem` has the format of the documents.

use http::{HeaderValue, StatusCode, header};
use nebula_runtime::id::Digest;
use nebula_runtime::pipeline::InvalidPipeline;
use nebula_runtime::{
    Broken, CallError, ClearError, CompileError, DecodeError, DeployError, ErrorCode, ExplainError, Failure,
    Fault, Form, Inadmissible, InitialiseError, InvalidImport, InvalidRoutes, LoadError, NamingError,
    ResolveError, ResultStoreError, StepFailure, StoreError, StoreErrorKind, Uncompilable,
};

use crate::coding::Coding;
use crate::input;
use crate::problem::Problem;

/// The longest name of a function in a backtrace, characters. Longer ones are cut.
const FRAME_CHARS_MAX: usize = 256;

/// The longest description of a failure in a guest's words, characters. Longer ones are cut.
const FAILURE_CHARS_MAX: usize = 4096;

/// The longest text of a request in a problem, characters. Longer ones are cut.
const EXCERPT_CHARS_MAX: usize = 300;
/// The longest target of a request, path and query, bytes.
pub(crate) const TARGET_BYTES_MAX: usize = 32 * 1024;

/// The longest names and values of all headers together, bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 32 * 1024;

/// The most headers of a request.
pub(crate) const HEADERS_MAX: usize = 100;

/// Returns the problem for a call that failed.
pub(crate) fn call(error: &CallError) -> Problem {
    let detail = error.to_string();
    let kind = error.code().name();
    match error {
        CallError::BadInput(reason) => bad_input(reason),
        CallError::UnsupportedMediaType { accepted, .. } => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, kind, detail).with("accepted", accepted.clone())
        }
        CallError::UnsupportedInput(_) => Problem::new(StatusCode::METHOD_NOT_ALLOWED, kind, detail)
            .header(header::ALLOW, HeaderValue::from_static(input::methods(Form::Raw))),
        CallError::InputTooLarge { bytes_max } => too_large(*bytes_max),
        CallError::Trapped(failure) | CallError::StackExhausted(failure) => {
            with_failure(kind, detail, failure)
        }
        CallError::ResourceLimit { limit, max, failure } => {
            with_failure(kind, detail, failure).with("limit", *limit).with("max", *max)
        }
        CallError::OutputTooLarge { bytes_max } => {
            Problem::new(StatusCode::BAD_GATEWAY, kind, detail).with("bytes_max", *bytes_max)
        }
        CallError::InvalidAnswer(failure) => with_failure(kind, detail, failure),
        CallError::Failed { .. } => {
            let detail = truncate(&detail, FAILURE_CHARS_MAX);
            Problem::new(StatusCode::BAD_GATEWAY, kind, detail)
        }
        CallError::DeadlineExceeded { deadline_ms, log_tail } => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, kind, detail)
                .with("deadline_ms", *deadline_ms)
                .with("log_tail", log_tail.as_str())
        }
        CallError::Overloaded { .. } | CallError::NoSlot => overloaded(detail),
        CallError::Load(_) if error.code() == ErrorCode::Overloaded => overloaded(detail),
        CallError::PipelineLimit { limit, max } => {
            Problem::new(StatusCode::BAD_GATEWAY, kind, detail).with("limit", *limit).with("max", *max)
        }
        CallError::Step(failure) => step(failure, truncate(&detail, FAILURE_CHARS_MAX)),
        CallError::Load(_) | CallError::Internal(_) => internal(error),
    }
}

/// Returns the problem for a failed step of a pipeline: the one of a direct call, except that an
/// error of the step's caller is a 502, because the pipeline's caller didn't make it.
fn step(failure: &StepFailure, detail: String) -> Problem {
    let problem = match failure.cause.fault() {
        Fault::Caller => Problem::new(StatusCode::BAD_GATEWAY, ErrorCode::StepRefused.name(), detail),
        Fault::Guest | Fault::Load | Fault::Host => call(&failure.cause).with("detail", detail),
    };
    problem
        .with("step", failure.step.as_str())
        .with("step_function", failure.function.as_str())
        .with("step_input", failure.input.to_string())
}

/// Returns the problem for an invalid description of a pipeline.
fn pipeline(error: &InvalidPipeline) -> Problem {
    let detail = error.to_string();
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-pipeline", detail);
    match error {
        InvalidPipeline::Mismatch(mismatch) => problem
            .with("step", mismatch.step.as_str())
            .with("taken", mismatch.taken.as_str())
            .with("given", mismatch.given.as_str())
            .with("at", mismatch.at.as_str())
            .with("found", mismatch.found.as_str())
            .with("expected", mismatch.expected.as_str()),
        InvalidPipeline::UnknownFunction { step, function, .. } => {
            problem.with("step", step.as_str()).with("function", function.as_str())
        }
        InvalidPipeline::Unsuitable { step, given, .. } => {
            problem.with("step", step.as_str()).with("given", given.as_str())
        }
        InvalidPipeline::Cycle { names } => problem.with("cycle", names.clone()),
        InvalidPipeline::Description(_)
        | InvalidPipeline::TooNested { .. }
        | InvalidPipeline::TypeTooLarge
        | InvalidPipeline::DifferentBranches { .. }
        | InvalidPipeline::UnknownInput { .. }
        | InvalidPipeline::CannotFuse { .. }
        | InvalidPipeline::BadInputType(_) => problem,
    }
}

/// Returns the problem for a change that pipelines don't fit.
fn breaks(detail: String, broken: &[Broken]) -> Problem {
    let pipelines: Vec<_> = broken
        .iter()
        .map(|Broken { pipeline, reason }| {
            serde_json::json!({"pipeline": pipeline, "reason": reason.to_string()})
        })
        .collect();
    Problem::new(StatusCode::CONFLICT, "breaks-pipelines", detail).with("pipelines", pipelines)
}

/// Returns the problem for routes that a function can't have.
fn routes(error: &InvalidRoutes) -> Problem {
    let detail = error.to_string();
    match error {
        InvalidRoutes::Taken { name, route, by } => Problem::new(StatusCode::CONFLICT, "route-taken", detail)
            .with("route", route.as_str())
            .with("function", name.as_str())
            .with("taken_by", by.as_str()),
        InvalidRoutes::Below { .. } | InvalidRoutes::HostAlone { .. } | InvalidRoutes::TooMany { .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-route", detail)
        }
    }
}

/// Returns the problem for a refused rollback or removal, or for a pipeline that can't be shown.
pub(crate) fn naming(error: &NamingError) -> Problem {
    match error {
        NamingError::Resolve(error) => resolve(error),
        NamingError::Breaks(broken) => breaks(error.to_string(), broken),
        NamingError::InUse { by, .. } => {
            let by: Vec<_> = by.iter().map(ToString::to_string).collect();
            Problem::new(StatusCode::CONFLICT, "in-use", error.to_string()).with("pipelines", by)
        }
        NamingError::Pipeline(error) => pipeline(error),
        NamingError::Import(error) => import(error),
        NamingError::Routes(error) => routes(error),
        NamingError::Unmet(error) => precondition_failed(&error.to_string()),
        NamingError::Load(error) => load(error),
    }
}

/// Returns the problem for a name that isn't that of a pipeline.
pub(crate) fn no_pipeline(name: &impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-pipeline", format!("`{name}` isn't a pipeline"))
}

/// Returns the problem for a call that can't be explained.
pub(crate) fn explain(error: &ExplainError) -> Problem {
    match error {
        ExplainError::Resolve(error) => resolve(error),
        ExplainError::WholeRequests => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not-explained", error.to_string())
        }
        ExplainError::Overloaded => overloaded(error.to_string()),
        ExplainError::Load(error) => load(error),
        ExplainError::Input(error) => call(error),
    }
}

/// Returns the problem for `/readyz` of a server that will stop soon.
pub(crate) fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server stops soon")
}

/// Returns the problem for a body that [`bodies`](crate::bodies) has no memory for.
pub(crate) fn body_memory_full() -> Problem {
    overloaded("the memory for request bodies is full")
}

/// Returns the problem for a body that no thread becomes free to read.
pub(crate) fn bodies_wait() -> Problem {
    overloaded("too many request bodies wait to be decoded")
}

fn overloaded(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Overloaded.name(), detail)
        .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

fn with_failure(kind: &str, detail: String, failure: &Failure) -> Problem {
    with_location(Problem::new(StatusCode::BAD_GATEWAY, kind, detail), failure)
}

/// Adds the reason, the guest's backtrace and the end of its log.
fn with_location(problem: Problem, failure: &Failure) -> Problem {
    problem
        .with("reason", failure.reason.as_str())
        .with(
            "backtrace",
            failure.backtrace.iter().map(|frame| truncate(frame, FRAME_CHARS_MAX)).collect::<Vec<_>>(),
        )
        .with("log_tail", failure.log_tail.as_str())
}

/// Returns a guest's text, cut after `chars_max` characters.
fn truncate(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the problem for an input that can't be decoded.
pub(crate) fn bad_input(error: &DecodeError) -> Problem {
    let detail = error.to_string();
    let kind = ErrorCode::of_input(error).name();
    match error {
        DecodeError::Syntax { line, column, .. } => {
            Problem::new(StatusCode::BAD_REQUEST, kind, detail).with("line", *line).with("column", *column)
        }
        DecodeError::Empty { expected } => {
            Problem::new(StatusCode::BAD_REQUEST, kind, detail).with("expected", expected.as_str())
        }
        DecodeError::Mismatch { at, expected, found, hint } => {
            let problem = Problem::new(StatusCode::BAD_REQUEST, kind, detail)
                .with("pointer", at.as_str())
                .with("expected", expected.as_str())
                .with("found", found.as_str());
            match hint {
                Some(hint) => problem.with("hint", hint.as_str()),
                None => problem,
            }
        }
        DecodeError::TooLarge { at, bytes_max } => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, kind, detail)
            .with("pointer", at.as_str())
            .with("bytes_max", *bytes_max),
        DecodeError::NotUtf8 { valid_up_to } => {
            Problem::new(StatusCode::BAD_REQUEST, kind, detail).with("valid_up_to", *valid_up_to)
        }
    }
}

/// Returns the problem for a defect of Nebula or of its machine.
pub(crate) fn internal(error: &dyn std::error::Error) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal.name(), error_chain(error))
}

/// Returns the error and the whole chain of its causes.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        detail.push_str(": ");
        detail.push_str(&error.to_string());
        cause = error.source();
    }
    detail
}

/// Returns the problem for a digest without content of this kind.
pub(crate) fn unknown_digest(kind: &str, digest: &Digest) -> Problem {
    let detail = format!("this server doesn't have the {kind} {digest}");
    Problem::new(StatusCode::NOT_FOUND, "unknown-digest", detail)
}

/// Returns the problem for a change whose components weren't uploaded.
pub(crate) fn missing_components(detail: String, digests: &[Digest]) -> Problem {
    let digests: Vec<_> = digests.iter().map(ToString::to_string).collect();
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "missing-components", detail).with("components", digests)
}

/// Returns the problem for a name, version or digest that can't be resolved.
pub(crate) fn resolve(error: &ResolveError) -> Problem {
    match error {
        ResolveError::UnknownFunction { similar, .. } => {
            let problem = Problem::new(StatusCode::NOT_FOUND, "unknown-function", error.to_string());
            match similar {
                Some(similar) => problem.with("hint", format!("did you mean `{similar}`?")),
                None => problem,
            }
        }
        ResolveError::UnknownVersion { .. } | ResolveError::NoEarlierVersion { .. } => {
            Problem::new(StatusCode::NOT_FOUND, "unknown-version", error.to_string())
        }
        ResolveError::Store(error) => store(error),
    }
}

/// Returns the problem for an error of the store: 409 if other changes came first or no version can
/// follow, 503 if it was late, 507 if the disk is full.
pub(crate) fn store(error: &StoreError) -> Problem {
    match error.kind() {
        StoreErrorKind::Conflict => {
            Problem::new(StatusCode::CONFLICT, "changed-meanwhile", format!("{error}: try again"))
        }
        StoreErrorKind::Late => late(&error.to_string()),
        StoreErrorKind::OutOfSpace => storage_full(error),
        StoreErrorKind::LastVersion => Problem::new(StatusCode::CONFLICT, "last-version", error.to_string()),
        StoreErrorKind::Defect => internal(error),
    }
}

/// Returns the problem for a change that the disk has no room for.
pub(crate) fn storage_full(error: &dyn std::error::Error) -> Problem {
    let detail = format!("{error}: there is no room on the disk");
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "storage-full", detail)
}

/// Returns the problem for code that couldn't be loaded outside of a call.
fn load(error: &LoadError) -> Problem {
    match error {
        LoadError::Store(error) => store(error),
        LoadError::NotCompiled { .. } | LoadError::Engine(_) | LoadError::Compile(_) => internal(error),
    }
}

/// Returns the problem for cached results that couldn't be removed.
pub(crate) fn clear(error: &ClearError) -> Problem {
    match error {
        ClearError::Resolve(error) => resolve(error),
        ClearError::Results(ResultStoreError::DeadlineExceeded) => late(&error.to_string()),
        ClearError::Results(ResultStoreError::Failed) => internal(error),
    }
}

/// Returns the problem for a store that didn't answer in time.
fn late(detail: &str) -> Problem {
    let problem =
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "storage-late", format!("{detail}: try again"));
    problem.header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Returns the problem for a refused deploy.
pub(crate) fn deploy(error: &DeployError) -> Problem {
    match error {
        DeployError::Admission(Inadmissible::Unsupported(_)) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", error.to_string())
        }
        DeployError::Admission(
            Inadmissible::Empty
            | Inadmissible::Text
            | Inadmissible::NotWasm
            | Inadmissible::CoreModule
            | Inadmissible::TooLarge { .. }
            | Inadmissible::TooDeep
            | Inadmissible::TooMany
            | Inadmissible::Invalid { .. },
        ) => Problem::new(StatusCode::BAD_REQUEST, "not-a-component", error.to_string()),
        DeployError::Import(reason) => import(reason),
        DeployError::Refused(_) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", error.to_string())
        }
        DeployError::Limit(_) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "limit-too-high", error.to_string())
        }
        DeployError::Config(_) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-config", error.to_string())
        }
        DeployError::Compile(reason) => match reason {
            CompileError::Uncompilable(Uncompilable::Initialise(reason)) => initialise(reason),
            CompileError::Uncompilable(Uncompilable::Refused(_)) | CompileError::TooCostly => {
                let detail = truncate(&error.to_string(), FAILURE_CHARS_MAX);
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", detail)
            }
            CompileError::Process(_) => internal(error),
        },
        DeployError::Pipeline(reason) => pipeline(reason),
        DeployError::Breaks(broken) => breaks(error.to_string(), broken),
        DeployError::Routes(error) => routes(error),
        DeployError::Unmet(error) => precondition_failed(&error.to_string()),
        DeployError::Store(error) => store(error),
        DeployError::Load(error) => load(error),
        DeployError::Internal(_) => internal(error),
    }
}

/// Returns the problem for a component whose imported functions can't be linked into it. A missing
/// function has a kind of its own, because deploying it first solves the problem.
fn import(error: &InvalidImport) -> Problem {
    let problem = |kind| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, error_chain(error));
    match error {
        InvalidImport::Unknown { name } => problem("unknown-import").with("function", name.as_str()),
        InvalidImport::Mismatch(mismatch) => problem("invalid-import")
            .with("function", mismatch.function.as_str())
            .with("imported", mismatch.imported.as_str())
            .with("deployed", mismatch.deployed.as_str())
            .with("at", mismatch.at.as_str())
            .with("found", mismatch.found.as_str())
            .with("expected", mismatch.expected.as_str()),
        InvalidImport::Cycle { names } => problem("invalid-import").with("cycle", names.clone()),
        InvalidImport::Form { name, .. } | InvalidImport::Initialises { function: Some(name) } => {
            problem("invalid-import").with("function", name.as_str())
        }
        InvalidImport::Initialises { function: None }
        | InvalidImport::Name { .. }
        | InvalidImport::Versioned { .. }
        | InvalidImport::Shape { .. }
        | InvalidImport::Type { .. }
        | InvalidImport::TooMany { .. }
        | InvalidImport::TooLarge { .. }
        | InvalidImport::NeedsTooMuch(_)
        | InvalidImport::Unlinkable(_) => problem("invalid-import"),
    }
}

/// Returns the problem for a component whose initialisation failed at deploy.
fn initialise(error: &InitialiseError) -> Problem {
    let detail = truncate(&error.to_string(), FAILURE_CHARS_MAX);
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "initialisation-failed", detail);
    match error {
        InitialiseError::Trapped(failure) => with_location(problem, failure),
        InitialiseError::ResourceLimit { limit, max, failure } => {
            with_location(problem, failure).with("limit", limit.as_str()).with("max", *max)
        }
        InitialiseError::DeadlineExceeded { deadline_ms, log_tail } => {
            problem.with("deadline_ms", *deadline_ms).with("log_tail", log_tail.as_str())
        }
        InitialiseError::HandleLeft { log_tail } => problem.with("log_tail", log_tail.as_str()),
        InitialiseError::TooLarge { .. }
        | InitialiseError::NotAFunction
        | InitialiseError::Unsupported(_) => problem,
    }
}

/// Returns the problem for a body that is too long.
pub(crate) fn too_large(bytes_max: u64) -> Problem {
    let detail = format!("the body is over the limit of {bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BodyTooLarge.name(), detail)
        .with("bytes_max", bytes_max)
}

/// Returns the problem for a body in an unknown content coding, or in too many.
pub(crate) fn unsupported_coding(list: &str) -> Problem {
    let detail = format!("the content coding `{}` isn't supported", excerpt(list));
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-content-coding", detail)
        .with("accepted", Coding::NAMES.split(", ").collect::<Vec<_>>())
        // RFC 9110 §12.5.3.
        .header(header::ACCEPT_ENCODING, HeaderValue::from_static(Coding::NAMES))
}

/// Returns the problem for a body of a media type that the function doesn't take.
pub(crate) fn unsupported_media_type(detail: &str, accepted: &[&str]) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::UnsupportedMediaType.name(), detail)
        .with("accepted", accepted.to_vec())
}

/// Returns the beginning of a text for a problem document.
fn excerpt(text: &str) -> String {
    truncate(text, EXCERPT_CHARS_MAX)
}

/// Returns the problem for a body whose announced length is over any limit.
pub(crate) fn endless_body() -> Problem {
    let detail = "the `Content-Length` is over any limit";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BodyTooLarge.name(), detail)
}

/// Returns the problem for a request target that is too long.
pub(crate) fn target_too_long() -> Problem {
    let detail =
        format!("the limit is {TARGET_BYTES_MAX} bytes for path and query: send the input in a body");
    Problem::new(StatusCode::URI_TOO_LONG, "target-too-long", detail).with("bytes_max", TARGET_BYTES_MAX)
}

/// Returns the problem for too many or too long headers.
pub(crate) fn headers_too_large() -> Problem {
    let detail = format!("the limit is {HEADERS_MAX} headers and {HEADER_BYTES_MAX} bytes for all of them");
    Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", detail)
}

/// Returns the problem for a body in a transfer coding other than `chunked`.
pub(crate) fn unsupported_transfer_coding() -> Problem {
    let detail = "the only `Transfer-Encoding` is `chunked`: a compressed body has a `Content-Encoding`";
    Problem::new(StatusCode::NOT_IMPLEMENTED, "unsupported-transfer-coding", detail)
}

/// Returns the problem for a request with an `If-Match` that doesn't name the content.
pub(crate) fn precondition_failed(detail: &str) -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", detail)
}

/// Returns a problem of status 400.
pub(crate) fn bad_request(kind: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, kind, detail)
}

/// Returns the problem for a path that doesn't exist.
pub(crate) fn no_such_path(path: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", format!("there is nothing at `{path}`"))
}

/// Returns the problem for a method that the path doesn't have. `allow` lists its methods, as in
/// the header of that name.
pub(crate) fn method_not_allowed(allow: &str) -> Problem {
    let kind = ErrorCode::MethodNotAllowed.name();
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, kind, format!("use {allow}"));
    match HeaderValue::from_str(allow) {
        Ok(allow) => problem.header(header::ALLOW, allow),
        Err(_) => problem,
    }
}

#[cfg(test)]
mod tests;
