//! The requests of `tests/data/cases`, byte by byte.

use super::*;

/// Sends a file to a function of the http form that mirrors its request.
fn answer_to(file: &str) -> String {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/data/cases");
    let request = std::fs::read(format!("{directory}/{file}")).unwrap();
    let nebula = Nebula::start().deploy("http-kit", guests::MIRRORS_REQUEST);
    exchange(nebula.calls_address(), &request)
}

#[track_caller]
fn assert_has_line(answer: &str, line: &str) {
    assert!(answer.lines().any(|found| found == line), "no `{line}`: {answer}");
}

#[test]
fn the_target_of_the_absolute_form_names_the_host() {
    let answer = answer_to("absolute-form.http");
    assert_eq!(status(&answer), "200", "{answer}");
    assert_has_line(&answer, "authority b.example");
}

#[test]
fn request_trailers_reach_the_function() {
    let answer = answer_to("request-trailers.http");
    assert_eq!(status(&answer), "200", "{answer}");
    assert_has_line(&answer, "trailer x-sum: 42");
    assert_has_line(&answer, "body hello");
}

#[test]
fn an_unknown_transfer_coding_is_refused() {
    let answer = answer_to("unknown-transfer-coding.http");
    assert_eq!(status(&answer), "501", "{answer}");
    assert!(answer.contains("urn:nebula:problem:unsupported-transfer-coding"), "{answer}");
}
