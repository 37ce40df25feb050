//! The answer to one request of the load, or why there is none.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode, header};

use crate::failure::{problem_document, problem_name};

/// The outcome of a request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The function returned a value.
    Value,
    /// The function returned its own error, which is an answer too.
    OwnError,
    /// The function gave no answer. The name is that of the problem, or of what went wrong.
    Failed(Cow<'static, str>),
}

/// The source of an answer, by its `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A cached result.
    Hit,
    /// The function ran for this request.
    Run,
    /// The result of an identical call that was in flight.
    Merged,
    /// The answer doesn't say.
    Unknown,
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) outcome: Outcome,
    pub(super) source: Source,
}

impl Answer {
    /// Reads an answer. `body` is needed if [`may_be_problem`] says so.
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        Self { status, outcome: outcome(status, headers, body), source: source(headers) }
    }
}

/// Returns whether an answer's body says why there is no answer of the function.
pub(super) fn may_be_problem(status: StatusCode, headers: &HeaderMap) -> bool {
    !status.is_success() && media_type(headers) == "application/problem+json"
}

fn media_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Tells answers of the function from problems of the server and of proxies, as `nebula invoke` does.
fn outcome(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let problem = || problem_document(media_type(headers), body);
    if status.is_success() {
        Outcome::Value
    } else if let Some(document) = problem() {
        let name = problem_name(&document).map(str::to_owned);
        Outcome::Failed(name.map_or_else(|| status_name(status), Cow::Owned))
    } else if !headers.contains_key("nebula-function") {
        Outcome::Failed(status_name(status))
    } else if status.is_client_error() || status.is_server_error() {
        Outcome::OwnError
    } else {
        Outcome::Value
    }
}

fn status_name(status: StatusCode) -> Cow<'static, str> {
    Cow::Owned(format!("status-{}", status.as_u16()))
}

/// Reads `Cache-Status` (RFC 9211): a list in which each cache has its own entry.
fn source(headers: &HeaderMap) -> Source {
    let lines = headers.get_all("cache-status").iter().filter_map(|value| value.to_str().ok());
    let mut entries = lines.flat_map(|line| line.split(','));
    let entry = entries.find_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        (parts.next() == Some("nebula")).then_some(parts)
    });
    let Some(mut parts) = entry else { return Source::Unknown };
    parts
        .clone()
        .find_map(|part| match part {
            "hit" => Some(Source::Hit),
            "collapsed" => Some(Source::Merged),
            _ => None,
        })
        .or_else(|| parts.any(|part| part.starts_with("fwd=")).then_some(Source::Run))
        .unwrap_or(Source::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn own_errors_are_answers_and_problems_are_not() {
        let failed = |name: &'static str| Outcome::Failed(name.into());
        let problem = r#"{"type": "urn:nebula:problem:overloaded"}"#;
        let foreign = r#"{"type": "about:blank"}"#;
        let named = ("nebula-function", "adds@v1; digest=sha256:00");
        let as_problem = ("content-type", "application/problem+json");
        for (status, pairs, body, expected) in [
            (200, vec![named], "", Outcome::Value),
            (204, vec![], "", Outcome::Value),
            (304, vec![named], "", Outcome::Value),
            (422, vec![named], "\"no\"", Outcome::OwnError),
            (404, vec![named], "", Outcome::OwnError),
            (503, vec![named, as_problem], problem, failed("overloaded")),
            (500, vec![named, as_problem], foreign, Outcome::OwnError),
            (502, vec![], "Bad Gateway", failed("status-502")),
            (502, vec![as_problem], foreign, failed("status-502")),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Answer::new(status, &headers(&pairs), body.as_bytes()).outcome, expected, "{status}");
        }
    }

    #[test]
    fn cache_status_tells_hits_from_runs() {
        for (value, expected) in [
            ("nebula; hit", Source::Hit),
            ("nebula; hit; ttl=3; detail=disk", Source::Hit),
            ("nebula; fwd=miss; stored", Source::Run),
            ("nebula; fwd=request", Source::Run),
            ("nebula; fwd=bypass", Source::Run),
            ("nebula; fwd=miss; collapsed", Source::Merged),
            ("nebula; fwd=miss, nginx; hit", Source::Run),
            ("nginx; hit", Source::Unknown),
            ("", Source::Unknown),
        ] {
            assert_eq!(source(&headers(&[("cache-status", value)])), expected, "{value}");
        }
        assert_eq!(source(&HeaderMap::new()), Source::Unknown);
    }
}
