use http_body_util::BodyExt;
use nebula_store::catalog::{AppendError, CatalogError};
use nebula_store::{BlobError, Sequence};

use super::*;

/// A component chooses its functions' names, and a backtrace has up to 32 of them.
#[test]
fn names_in_a_backtrace_are_bounded() {
    let backtrace = vec!["ä".repeat(100_000), "handle".to_owned()];
    let failure = Failure { reason: String::new(), backtrace, log_tail: String::new() };
    let reply = call(&CallError::Trapped(Box::new(failure))).into_reply();
    let bytes = http_body::Body::size_hint(reply.body()).exact().unwrap();
    assert!(bytes < 1000, "{bytes}");
}

/// Programs read the code from the document and from the metrics.
#[tokio::test]
async fn the_type_of_a_problem_is_the_code_of_the_error() {
    let errors = || {
        let text = String::new;
        let failure = || Box::new(Failure { reason: text(), backtrace: vec![], log_tail: text() });
        let mismatch = DecodeError::Mismatch { at: text(), expected: text(), found: text(), hint: None };
        [
            CallError::BadInput(DecodeError::Syntax { message: text(), line: 1, column: 1 }),
            CallError::BadInput(DecodeError::Empty { expected: text() }),
            CallError::BadInput(DecodeError::NotUtf8 { valid_up_to: 0 }),
            CallError::BadInput(DecodeError::TooLarge { at: text(), bytes_max: 1 }),
            CallError::BadInput(mismatch),
            CallError::UnsupportedMediaType { found: text(), accepted: vec![] },
            CallError::UnsupportedInput("use POST"),
            CallError::InputTooLarge { bytes_max: 1 },
            CallError::Trapped(failure()),
            CallError::StackExhausted(failure()),
            CallError::ResourceLimit { limit: "memory", max: 1, failure: failure() },
            CallError::OutputTooLarge { bytes_max: 1 },
            CallError::InvalidAnswer(failure()),
            CallError::Failed { message: text() },
            CallError::DeadlineExceeded { deadline_ms: 1, log_tail: text() },
            CallError::PipelineLimit { limit: "calls", max: 1 },
            CallError::Overloaded { queue_max: 1 },
            CallError::NoSlot,
            CallError::Load(LoadError::NotCompiled { digest: Digest::of(b"") }),
            CallError::Load(LoadError::Compile(CompileError::TooCostly)),
            CallError::Internal(text()),
        ]
    };
    let steps = errors().map(|cause| {
        let (step, function, input) = ("s".to_owned(), "f".to_owned(), Digest::of(b""));
        CallError::Step(Box::new(StepFailure { step, function, input, cause: cause.into() }))
    });
    let mut checked = std::collections::HashSet::new();
    for error in errors().into_iter().chain(steps) {
        let body = call(&error).into_reply().into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let code = error.code();
        assert_eq!(problem["type"], format!("urn:nebula:problem:{}", code.name()), "{error:?}");
        checked.insert(code);
    }
    assert_eq!(checked.len(), ErrorCode::ALL.len());
}

#[test]
fn failures_of_the_store_have_a_status_by_their_kind() {
    let status = |error: StoreError| store(&error).into_reply().status().as_u16();
    let conflict = AppendError::Conflict { last: Sequence::START };
    assert_eq!(status(conflict.into()), 409);
    let (name, latest) = ("f".parse().unwrap(), "v4294967295".parse().unwrap());
    assert_eq!(status(StoreError::LastVersion { name, latest }), 409);
    assert_eq!(status(AppendError::DeadlineExceeded.into()), 503);
    assert_eq!(status(CatalogError::DeadlineExceeded.into()), 503);
    assert_eq!(status(BlobError::DeadlineExceeded.into()), 503);
    assert_eq!(status(CatalogError::OutOfSpace("no space".into()).into()), 507);
    assert_eq!(status(CatalogError::Failed("broken".into()).into()), 500);
    let late = clear(&ClearError::Results(ResultStoreError::DeadlineExceeded)).into_reply();
    assert_eq!(late.status(), 503);
    assert_eq!(late.headers()[header::RETRY_AFTER], "1");
    let full = LoadError::Store(CatalogError::OutOfSpace("no space".into()).into());
    assert_eq!(deploy(&DeployError::Load(full)).into_reply().status(), 507);
}

#[test]
fn guest_text_is_cut_between_characters() {
    assert_eq!(truncate("", 0), "");
    assert_eq!(truncate("äöü", 3), "äöü");
    assert_eq!(truncate("äöü", 2), "äö…");
}
