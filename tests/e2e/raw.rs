//! Raw functions: a payload in, a payload out, or an error that says whose fault it was.

use nebula_tests::{Nebula, foreach_guest_in_raw, guests};

foreach_guest_in_raw!(is_tested);

#[test]
fn mirrors_payload() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS_PAYLOAD);
    let call = |media_type: &str, body: &[u8]| {
        nebula.request("POST", "/f/mirrors").header("content-type", media_type).body(body).send()
    };
    call("image/png", b"\x89PNG").is(200).has("content-type", "image/png").bytes(b"\x89PNG");
    call("text/csv; charset=utf-8", b"a,b").is(200).has("content-type", "text/csv; charset=utf-8");
    // JSON is bytes like any other.
    call("application/json", b"{ not json")
        .is(200)
        .has("content-type", "application/json")
        .says("{ not json");
    let unlabelled = nebula.request("POST", "/f/mirrors").body("x").send().is(200);
    unlabelled.has("content-type", "application/octet-stream").says("x");
    call("text/plain", b"").is(200).says("");
}

#[test]
fn errors_say_whose_fault_it_was() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS_PAYLOAD);
    nebula
        .post("/f/mirrors", "bad")
        .is(422)
        .has("content-type", "application/json")
        .says(r#"{"bad-input":"that is not what I take"}"#);
    nebula
        .post("/f/mirrors", "fail")
        .is(502)
        .problem("function-failed")
        .detail("something went wrong in here");
}

/// A media type can't smuggle a header in.
#[test]
fn media_types_stay_in_their_header() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS_PAYLOAD);
    nebula
        .post("/f/mirrors", "media")
        .is(200)
        .has("content-type", "application/octet-stream")
        .lacks("x-evil")
        .says("media");
    let long = nebula.post("/f/mirrors", "long media").is(200);
    long.has("content-type", "application/octet-stream").says("long media");
}

/// There is no body in a query string.
#[test]
fn queries_have_no_payload() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS_PAYLOAD);
    const ALLOW: &str = "POST, QUERY, OPTIONS";
    nebula.get("/f/mirrors?a=1").is(405).problem("method-not-allowed").has("allow", ALLOW);
    let options = nebula.request("OPTIONS", "/f/mirrors").send().is(204);
    options.has("allow", ALLOW).has("accept-query", "*/*");
    nebula.get("/f/mirrors/below").is(404).problem("unknown-path");
}
