//! Raw functions: they take a payload and return a payload, or an error that says whose fault it
//! is.

use nebula_tests::{Nebula, foreach_guest_in_raw, guests};

foreach_guest_in_raw!(is_tested);

/// The function gets the body and its media type unchanged, and returns both.
#[test]
fn mirrors_payload() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS_PAYLOAD);
    let call = |media_type: &str, body: &[u8]| {
        nebula.request("POST", "/f/mirrors").header("content-type", media_type).body(body).send()
    };
    call("image/png", b"\x89PNG").is(200).has("content-type", "image/png").bytes(b"\x89PNG");
    call("text/csv; charset=utf-8", b"a,b").is(200).has("content-type", "text/csv; charset=utf-8");
    // A raw function gets JSON unparsed.
    call("application/json", b"{ not json")
        .is(200)
        .has("content-type", "application/json")
        .says("{ not json");
    let unlabelled = nebula.request("POST", "/f/mirrors").body("x").send().is(200);
    unlabelled.has("content-type", "application/octet-stream").says("x");
    call("text/plain", b"").is(200).says("");
}

#[test]
fn bad_input_is_422_and_a_failure_502() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS_PAYLOAD);
    nebula
        .post("/f/mirrors", "bad")
        .is(422)
        .has("content-type", "application/json")
        .says(r#"{"bad-input":"the input is `bad`"}"#);
    nebula
        .post("/f/mirrors", "fail")
        .is(502)
        .problem("function-failed")
        .detail("the function failed as asked");
}

/// A guest can't inject a header through its media type.
#[test]
fn invalid_media_types_become_octet_stream() {
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

/// A query string holds no payload.
#[test]
fn get_is_405() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS_PAYLOAD);
    const ALLOW: &str = "POST, QUERY, OPTIONS";
    nebula.get("/f/mirrors?a=1").is(405).problem("method-not-allowed").has("allow", ALLOW);
    let options = nebula.request("OPTIONS", "/f/mirrors").send().is(204);
    options.has("allow", ALLOW).has("accept-query", "*/*");
    nebula.get("/f/mirrors/below").is(404).problem("unknown-path");
}
