//! Functions of the http form: they take whole requests and return whole responses.

use nebula_tests::coding::decode;
use nebula_tests::{Nebula, foreach_guest_in_http_form, guests};

mod grpc;
mod messages;

use grpc::speaks_grpc;

foreach_guest_in_http_form!(is_tested);

/// The function gets the whole request, and its whole response reaches the caller.
#[test]
fn mirrors_request() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let answer = nebula
        .request("PATCH", "/f/mirror/some/path%20here?q=1&r=%C3%A4")
        .header("x-custom", "yes")
        .header("content-type", "text/weird")
        .body("the body")
        .send()
        .is(200)
        .has("content-type", "text/x-mirror")
        .has("x-own", "kept");
    for line in [
        "method PATCH",
        "path /some/path%20here?q=1&r=%C3%A4",
        "header x-custom: yes",
        "header content-type: text/weird",
        "body the body",
    ] {
        assert!(answer.text().lines().any(|found| found == line), "no `{line}` in {answer:?}");
    }
    assert!(
        answer.header("nebula-function").is_some_and(|value| value.starts_with("mirror@v1;")),
        "{answer:?}"
    );
    assert!(answer.header("etag").is_some());
}

/// The function sees all headers, so requests with different headers never share a cached answer,
/// however often both are repeated.
#[test]
fn cached_answers_are_separate_for_each_header_value() {
    let caching = Nebula::start();
    let nebula = caching.deploy("mirror", guests::MIRRORS_REQUEST);
    let get = |name: &str, value: &str| {
        let answer = nebula.request("GET", "/f/mirror").header(name, value).send().is(200);
        let expected = format!("header {name}: {value}");
        assert!(answer.text().lines().any(|line| line == expected), "no `{expected}` in {answer:?}");
        answer
    };
    for name in ["x-caller", "authorization", "user-agent"] {
        for value in ["a", "b"] {
            for _ in 0..6 {
                get(name, value);
            }
        }
        for value in ["a", "b", "c", "a"] {
            let answer = get(name, value);
            let hit = answer.header("cache-status") == Some("nebula; hit");
            assert_eq!(hit, value != "c", "{name}: {value}: {answer:?}");
        }
    }
}

/// The function sees the part of the path after its own name, with or without a version.
#[test]
fn the_path_begins_after_the_name() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    for (path, seen) in [
        ("/f/mirror", "path /"),
        ("/f/mirror/", "path /"),
        ("/f/mirror?x", "path /?x"),
        ("/f/mirror@v1/a//b", "path /a//b"),
    ] {
        let answer = nebula.get(path).is(200);
        assert!(answer.text().lines().any(|line| line == seen), "no `{seen}`: {answer:?}");
    }
}

#[test]
fn the_function_sees_every_method() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "BREW"] {
        let answer = nebula.request(method, "/f/mirror").send().is(200);
        assert!(answer.text().starts_with(&format!("method {method}\n")), "{answer:?}");
    }
    nebula.request("HEAD", "/f/mirror").send().is(200).says("");
}

#[test]
fn the_function_chooses_the_status() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    nebula.get("/f/mirror/teapot").is(418).has("x-own", "kept");
}

/// A function's own 401, redirect or problem document is its answer, on the control plane too.
#[test]
fn answers_as_told() {
    let nebula = Nebula::start().deploy("told", guests::ANSWERS_AS_TOLD);
    let document = r#"{"type":"about:blank","status":"odd"}"#;
    for (status, media_type, body) in [
        (401, "text/plain", "who?"),
        (302, "text/html", "<p>elsewhere"),
        (409, "application/problem+json", document),
    ] {
        let told = format!("{status} {media_type}\n{body}");
        let direct = nebula.request("POST", "/f/told").body(&told).send();
        let relayed = nebula.control("POST", "/api/v1/functions/told/call").body(&told).send();
        for answer in [direct, relayed.lacks("location")] {
            let answer = answer.is(status).has("content-type", media_type).says(body);
            assert!(
                answer.header("nebula-function").is_some_and(|it| it.starts_with("told@v1;")),
                "{answer:?}"
            );
        }
    }
}

/// The function's status and headers reach the caller, except interim statuses.
#[test]
fn answers_by_path() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_BY_PATH);
    nebula.get("/f/odd").is(200).has("x-own", "kept").says("ten bytes.");
    // An interim status isn't an answer, and a guest may not switch protocols.
    for status in [100, 101, 103] {
        let answer = nebula.get(&format!("/f/odd/status/{status}")).is(502);
        answer.problem("invalid-answer").mentions("reason", &format!("interim status {status}"));
    }
    for status in [204, 205, 304] {
        nebula.get(&format!("/f/odd/status/{status}")).is(status).has("x-own", "kept").says("").lacks("etag");
    }
    for status in [203, 404, 500, 599, 999] {
        let answer = nebula.get(&format!("/f/odd/status/{status}")).is(status).says("ten bytes.");
        assert!(answer.header("etag").is_some(), "{answer:?}");
    }
}

/// Headers have a limit of their own; the output limit applies to bodies.
#[test]
fn response_headers_are_bounded() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_BY_PATH);
    nebula.get("/f/odd/headers/30000").is(200).says("ten bytes.");
    let answer = nebula.get("/f/odd/headers/40000").is(502);
    answer.problem("output-too-large").member("bytes_max", 32 * 1024);
}

#[test]
fn the_functions_own_entity_tag_is_compared() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_BY_PATH);
    nebula.get("/f/odd/own-tag").is(200).has("etag", "\"my,own\"");
    let get = |tags: &str| nebula.request("GET", "/f/odd/own-tag").header("if-none-match", tags).send();
    get("\"other\", W/\"my,own\"").is(304).has("etag", "\"my,own\"").says("");
    get("\"other\"").is(200).says("ten bytes.");
    // The hash of the content doesn't match while the function sets its own tag.
    let hash = nebula.get("/f/odd").header("etag").unwrap().to_owned();
    get(&hash).is(200);
    nebula.request("HEAD", "/f/odd/own-tag").send().is(200).has("etag", "\"my,own\"");
}

/// The function sees every header, so a shared cache may reuse its answer only as far as the
/// function itself allows.
#[test]
fn pinned_answers_are_immutable_only_with_a_vary() {
    let nebula = Nebula::start();
    let record = nebula.redeploy("odd", guests::ANSWERS_BY_PATH).json();
    let pinned = format!("/f/odd@{}", record["digest"].as_str().unwrap());
    let policy = |path: &str, policy: &str| drop(nebula.get(path).is(200).has("cache-control", policy));
    policy(&pinned, "public, no-cache");
    policy(&format!("{pinned}/vary"), "public, max-age=31536000, immutable");
    policy(&format!("{pinned}/max-age/7"), "max-age=7");
    policy("/f/odd/vary", "public, no-cache");
}

/// A guest may omit the body for `HEAD`, which hides the length and the hash of the body.
#[test]
fn head_has_neither_length_nor_tag() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_BY_PATH);
    nebula.get("/f/odd").is(200).has("content-length", "10");
    nebula.request("HEAD", "/f/odd").send().is(200).lacks("content-length").lacks("etag");
}

/// The bodies are longer than a buffer.
#[test]
fn long_bodies_pass_in_both_directions() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let long = "long ".repeat(200_000);
    let answer = nebula.request("POST", "/f/mirror").body(&long).send().is(200);
    assert!(answer.text().ends_with(&format!("body {long}")));
}

/// A function that sets no response is answered with 502.
#[test]
fn never_answers() {
    let nebula = Nebula::start().deploy("never", guests::NEVER_ANSWERS);
    nebula.get("/f/never").is(502).problem("invalid-answer").mentions("reason", "without setting a response");
}

/// The half that the guest has written before its panic isn't sent.
#[test]
fn breaks_off() {
    let nebula = Nebula::start().deploy("breaks-off", guests::BREAKS_OFF);
    let answer = nebula.get("/f/breaks-off").is(502);
    answer.problem("trap").mentions("reason", "there is no second half").frame("handle");
}

#[test]
fn the_output_limit_applies_to_responses() {
    let nebula = Nebula::start();
    nebula.put("mirror?output_bytes_max=5000", &std::fs::read(guests::MIRRORS_REQUEST).unwrap()).is(200);
    nebula.get("/f/mirror").is(200);
    let answer = nebula.request("POST", "/f/mirror").body("x".repeat(100_000)).send();
    answer.is(502).problem("output-too-large").member("bytes_max", 5000);
}

/// The host compresses text, unless the function says otherwise or has encoded it itself. The function
/// doesn't see what clients accept, so its answer is computed once for all of them.
#[test]
fn answers_long() {
    let nebula = Nebula::start().deploy("long", guests::ANSWERS_LONG);
    let get = |path: &str, codings: &str| {
        let path = format!("/f/long{path}");
        nebula.request("GET", &path).header("accept-encoding", codings).send().is(200).has("x-seen", "|")
    };
    let plain = get("", "identity").lacks("content-encoding").has("vary", "accept-encoding, prefer");
    for (codings, coding) in [("gzip", "gzip"), ("gzip, br;q=0.5", "gzip"), ("br", "br"), ("zstd, x", "zstd")]
    {
        let coded = get("", codings).has("content-encoding", coding).has("cache-status", "nebula; hit");
        let coded = coded.has("vary", "accept-encoding, prefer");
        assert_eq!(decode(coding, coded.body()), plain.body(), "{coding}");
        assert!(coded.body().len() < 500, "{coded:?}");
    }
    get("/coded", "gzip").has("content-encoding", "x-own").has("vary", "prefer").bytes(plain.body());
    get("/no-transform", "gzip").lacks("content-encoding").has("vary", "prefer").bytes(plain.body());
    get("/image", "gzip").lacks("content-encoding").has("vary", "prefer").bytes(plain.body());
    // With the switch off, the function sees the header and may compress.
    let nebula = Nebula::start_with(&["--compress", "off"]).deploy("long", guests::ANSWERS_LONG);
    let answer = nebula.request("GET", "/f/long").header("accept-encoding", "gzip").send().is(200);
    answer.has("x-seen", "gzip|").has("vary", "prefer").lacks("content-encoding").bytes(plain.body());
}

/// The function compares its own tag. The client has it with the coding of its content.
#[test]
fn own_entity_tags_differ_by_coding() {
    let nebula = Nebula::start().deploy("long", guests::ANSWERS_LONG);
    let get = |codings: &str, tags: &str| {
        let get = nebula.request("GET", "/f/long/tag").header("accept-encoding", codings);
        get.header("if-none-match", tags).send()
    };
    let coded = get("gzip", "\"other\"").is(200).has("etag", "\"own;gzip\"").has("content-encoding", "gzip");
    assert_eq!(decode("gzip", coded.body()).len(), 5000);
    get("identity", "\"other\"").is(200).has("etag", "\"own\"").lacks("content-encoding");
    let known = get("gzip", "\"own;gzip\"").is(304).has("etag", "\"own;gzip\"").has("x-seen", "|\"own\"");
    known.lacks("content-encoding").says("");
    get("gzip", "W/\"own;gzip\", \"x;br\"")
        .is(304)
        .has("etag", "\"own;gzip\"")
        .has("x-seen", "|W/\"own\", \"x\"");
    get("identity", "\"own\"").is(304).has("etag", "\"own\"");
}

/// A function of the http form gets a body as it was sent, and is told its coding.
#[test]
fn coded_bodies_are_passed_on() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    for coding in ["br", "x-own"] {
        let call = nebula.request("POST", "/f/mirror").header("content-encoding", coding).body("as it is");
        let answer = call.send().is(200);
        let text = answer.text();
        assert!(
            text.contains(&format!("header content-encoding: {coding}")) && text.ends_with("body as it is")
        );
    }
}
