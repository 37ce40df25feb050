//! The requests of `tests/data/cases`.

use super::*;

/// Sends a file, with the line ends of HTTP, to a function of the http form that mirrors its request.
fn answer_to(file: &str) -> String {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/data/cases");
    let request = std::fs::read_to_string(format!("{directory}/{file}")).unwrap().replace('\n', "\r\n");
    let nebula = Nebula::start().deploy("http-kit", guests::MIRRORS_REQUEST);
    exchange(nebula.calls_address(), request.as_bytes())
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
