//! The id of a request: the client's or a new one, in every answer and in the log of the call.

use std::collections::HashSet;

use super::*;

#[test]
fn every_answer_has_the_id_of_its_request() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let mut seen = HashSet::new();
    for (method, path) in [
        ("POST", "/f/greets"),
        ("GET", "/f/greets?name=you"),
        ("OPTIONS", "/f/greets"),
        ("GET", "/f/none"),
        ("GET", "/healthz"),
        ("GET", "/api/v1/functions"),
    ] {
        let request = || match path.starts_with("/api") {
            true => nebula.control(method, path),
            false => nebula.request(method, path),
        };
        // From the third on, a call is answered by the cached fast path.
        for round in 0..5 {
            let own = format!("own-{round}");
            request().header("x-request-id", &own).send().has("x-request-id", &own);
            let answer = request().send();
            let id = answer.header("x-request-id").expect("an id").to_owned();
            assert_eq!(id.len(), 16, "{answer:?}");
            assert!(seen.insert(id), "{answer:?}");
            // An id that a log or a header couldn't hold is replaced.
            let answer = request().header("x-request-id", &"x".repeat(200)).send();
            assert_eq!(answer.header("x-request-id").unwrap().len(), 16, "{answer:?}");
        }
    }
}

#[test]
fn the_log_of_a_call_has_the_id_of_its_request() {
    let nebula = Nebula::start_uncached().deploy("prints", guests::PRINTS);
    nebula.request("GET", "/f/prints?lines=1").header("x-request-id", "my-call").send().is(200);
    let answer = nebula.request("GET", "/f/prints?lines=1").send().is(200);
    let logs = nebula.control("GET", "/api/v1/functions/prints/logs").send().is(200).json();
    assert_eq!(logs["calls"][0]["request_id"], "my-call", "{logs}");
    assert_eq!(logs["calls"][1]["request_id"], answer.header("x-request-id").unwrap(), "{logs}");
}
