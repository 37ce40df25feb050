//! Methods on the data plane, content negotiation, and the probes.

use nebula_tests::{Nebula, guests};

const ALLOW: &str = "GET, HEAD, POST, QUERY, OPTIONS";

#[test]
fn query_takes_a_body_and_is_conditional() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let query = || nebula.request("QUERY", "/f/adds").header("content-type", "application/json");
    let answer = query().body(r#"{"a":1,"b":2}"#).send().is(200).says("3");
    let etag = answer.header("etag").unwrap().to_owned();
    query().header("if-none-match", &etag).body(r#"{"a":1,"b":2}"#).send().is(304).says("");
    query().body(r#"{"a":1}"#).send().is(400).problem("type-mismatch");
}

#[test]
fn get_takes_parameters_from_the_query() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS).deploy("greets", guests::GREETS);
    nebula.get("/f/adds?a=1&b=-2").is(200).says("-1");
    nebula.get("/f/adds?b=1&a=9223372036854775807").is(422);
    nebula.get("/f/adds?a=1&b=x").is(400).problem("type-mismatch").pointer("/b").expected("s64");
    nebula.get("/f/adds").is(400).problem("type-mismatch");
    nebula.get("/f/greets?name=%C3%84da+L").is(200).says("\"Hello, Äda L!\"");
    nebula.get("/f/greets").is(400).problem("type-mismatch").pointer("/name").expected("string");
}

/// A query string can't hold a list of variants; the answer says to use POST.
#[test]
fn get_refuses_types_that_a_query_cannot_hold() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS);
    let answer = nebula.get("/f/mirrors?yes=true&shapes=x").is(400);
    answer.problem("type-mismatch").mentions("found", "use POST");
}

#[test]
fn head_has_the_headers_of_get_without_the_body() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let get = nebula.get("/f/greets?name=Ada").is(200);
    let head = nebula.request("HEAD", "/f/greets?name=Ada").send().is(200).says("");
    for name in ["content-type", "etag", "cache-control", "nebula-function", "content-length"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    nebula.request("HEAD", "/f/nothing").send().is(404).says("");
}

/// A 304 has neither content nor a length.
#[test]
fn head_is_conditional() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let etag = nebula.get("/f/greets?name=Ada").is(200).header("etag").unwrap().to_owned();
    let head = nebula.request("HEAD", "/f/greets?name=Ada").header("if-none-match", &etag).send();
    head.is(304).lacks("content-length").has("etag", &etag);
}

/// `If-Match` compares strongly with the content that a safe method would get. A pure function
/// changes nothing, so `POST` has nothing to protect.
#[test]
fn if_match_names_the_content_of_a_safe_method() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS).deploy("odd", guests::ANSWERS_BY_PATH);
    let path = "/f/greets?name=Ada";
    let etag = nebula.get(path).is(200).header("etag").unwrap().to_owned();
    // The fourth is answered by the cached fast path.
    for _ in 0..4 {
        for method in ["GET", "HEAD"] {
            let ask = |tags: &str| nebula.request(method, path).header("if-match", tags).send();
            ask(&etag).is(200);
            ask(&format!("\"other\", {etag}")).is(200);
            ask("*").is(200);
            ask("\"other\"")
                .is(412)
                .has("nebula-function", nebula.get(path).header("nebula-function").unwrap());
            ask(&format!("W/{etag}")).is(412);
        }
        nebula.request("GET", path).header("if-match", "\"other\"").send().problem("precondition-failed");
        // `If-Match` is evaluated first.
        let both = nebula.request("GET", path).header("if-match", "\"other\"").header("if-none-match", &etag);
        both.send().is(412);
        let both = nebula.request("GET", path).header("if-match", &etag).header("if-none-match", &etag);
        both.send().is(304);
        nebula.request("POST", "/f/greets").header("if-match", "\"other\"").body("Ada").send().is(200);
    }
    // Errors aren't content.
    nebula.request("GET", "/f/greets").header("if-match", "\"other\"").send().is(400);
    let own = |tag: &str| nebula.request("GET", "/f/odd/own-tag").header("if-match", tag).send();
    own("\"my,own\"").is(200);
    own("\"my\"").is(412);
}

/// A type with `q=0` is never sent, and the type with the highest weight wins.
#[test]
fn accept_weights_choose_the_media_type() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let accept = |accept: &str| {
        let call = nebula.request("POST", "/f/greets").header("content-type", "application/json");
        call.header("accept", accept).body("\"Ada\"").send().is(200)
    };
    accept("application/json;q=0, text/plain").has("content-type", "text/plain; charset=utf-8");
    accept("application/json;q=0.5, text/plain;q=0.4").has("content-type", "application/json");
    accept("text/plain, application/json;q=0.9").says("Hello, Ada!");
}

#[test]
fn options_lists_methods_and_media_types() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS).deploy("adds", guests::ADDS);
    let greets = nebula.request("OPTIONS", "/f/greets").send().is(204).has("allow", ALLOW);
    let forms = "application/x-www-form-urlencoded, multipart/form-data";
    let text = "application/json, text/*, application/octet-stream";
    let greets = greets.has("accept-query", &format!("{text}, {forms}"));
    assert!(greets.header("nebula-function").is_some_and(|name| name.starts_with("greets@v1;")));
    let adds = nebula.request("OPTIONS", "/f/adds").send().is(204);
    adds.has("allow", ALLOW).has("accept-query", &format!("application/json, {forms}"));
}

#[test]
fn other_methods_are_405() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let answer = nebula.request(method, "/f/greets").send().is(405);
        answer.problem("method-not-allowed").has("allow", ALLOW);
    }
}

#[test]
fn healthz_and_readyz_answer_get_and_head() {
    let nebula = Nebula::start();
    for path in ["/healthz", "/readyz"] {
        nebula.get(path).is(200).says("ok\n");
        nebula.request("HEAD", path).send().is(200).says("");
        nebula.request("POST", path).send().is(405).problem("method-not-allowed").has("allow", "GET, HEAD");
    }
}

#[test]
fn refused_requests_name_their_function() {
    let nebula = Nebula::start().deploy("raw", guests::MIRRORS_PAYLOAD);
    nebula.put("adds?input_bytes_max=4", &std::fs::read(guests::ADDS).unwrap()).is(200);
    for (method, path, body, status, function) in [
        ("POST", "/f/adds", "{\"a\":1,\"b\":2}", 413, "adds@v1; digest=sha256:"),
        ("PUT", "/f/adds", "", 405, "adds@v1; digest=sha256:"),
        ("GET", "/f/adds?a=%ff", "", 400, "adds@v1; digest=sha256:"),
        ("GET", "/f/adds/below", "", 404, "adds@v1; digest=sha256:"),
        ("PUT", "/f/raw", "", 405, "raw@v1; digest=sha256:"),
        ("GET", "/f/raw", "", 405, "raw@v1; digest=sha256:"),
    ] {
        let answer = nebula.request(method, path).body(body).send().is(status);
        let named = answer.header("nebula-function").unwrap_or_default().to_owned();
        assert!(named.starts_with(function), "{method} {path}: {named}");
    }
    nebula.get("/f/raw").has("allow", "POST, QUERY, OPTIONS");
}

#[test]
fn several_accept_lines_are_one_list() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let call = nebula.request("POST", "/f/greets").header("content-type", "text/plain").body("you");
    let call = call.header("accept", "text/plain;q=0.5").header("accept", "application/json");
    call.send().is(200).says("\"Hello, you!\"");
}
