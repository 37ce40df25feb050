//! Functions of the http form: whole requests in, whole responses out.

use nebula_tests::{Nebula, foreach_guest_in_http_form, guests};

foreach_guest_in_http_form!(is_tested);

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
    let said = answer.text();
    for line in [
        "method PATCH",
        "path /some/path%20here?q=1&r=%C3%A4",
        "header x-custom: yes",
        "header content-type: text/weird",
        "body the body",
    ] {
        assert!(said.lines().any(|said| said == line), "no `{line}` in {answer:?}");
    }
    assert!(
        answer.header("nebula-function").is_some_and(|value| value.starts_with("mirror@v1;")),
        "{answer:?}"
    );
    assert!(answer.header("etag").is_some());
}

/// A function that sees who asks may answer each in another way, however often both have asked before.
#[test]
fn callers_have_answers_of_their_own() {
    let remembering = Nebula::start_with(&["--cache-bytes-max", "67108864"]);
    let nebula = remembering.deploy("mirror", guests::MIRRORS_REQUEST);
    let ask = |name: &str, who: &str| {
        let answer = nebula.request("GET", "/f/mirror").header(name, who).send().is(200);
        let expected = format!("header {name}: {who}");
        assert!(answer.text().lines().any(|said| said == expected), "no `{expected}` in {answer:?}");
        answer
    };
    for name in ["x-who", "authorization", "user-agent"] {
        for who in ["a", "b"] {
            for _ in 0..6 {
                ask(name, who);
            }
        }
        for who in ["a", "b", "c", "a"] {
            let answer = ask(name, who);
            let hit = answer.header("cache-status") == Some("nebula; hit");
            assert_eq!(hit, who != "c", "{name}: {who}: {answer:?}");
        }
    }
}

/// The path begins below the function's name, whichever version is named.
#[test]
fn paths_begin_below_the_name() {
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
fn every_method_arrives() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "BREW"] {
        let answer = nebula.request(method, "/f/mirror").send().is(200);
        assert!(answer.text().starts_with(&format!("method {method}\n")), "{answer:?}");
    }
    nebula.request("HEAD", "/f/mirror").send().is(200).says("");
}

/// A status of the function's own choice passes.
#[test]
fn statuses_pass() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    nebula.get("/f/mirror/teapot").is(418).has("x-own", "kept");
}

#[test]
fn answers_oddly() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_ODDLY);
    nebula.get("/f/odd").is(200).has("x-own", "kept").says("ten bytes.");
    // Interim responses are no answers, and switching protocols isn't a guest's to do.
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

/// The output limit is of bodies; heads have one of their own.
#[test]
fn response_headers_are_bounded() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_ODDLY);
    nebula.get("/f/odd/headers/30000").is(200).says("ten bytes.");
    let answer = nebula.get("/f/odd/headers/40000").is(502);
    answer.problem("output-too-large").member("bytes_max", 32 * 1024);
}

#[test]
fn a_functions_own_entity_tag_is_compared() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_ODDLY);
    nebula.get("/f/odd/own-tag").is(200).has("etag", "\"my,own\"");
    let get = |tags: &str| nebula.request("GET", "/f/odd/own-tag").header("if-none-match", tags).send();
    get("\"other\", W/\"my,own\"").is(304).has("etag", "\"my,own\"").says("");
    get("\"other\"").is(200).says("ten bytes.");
    // One for the content's hash is none for the function's own.
    let hash = nebula.get("/f/odd").header("etag").unwrap().to_owned();
    get(&hash).is(200);
    nebula.request("HEAD", "/f/odd/own-tag").send().is(200).has("etag", "\"my,own\"");
}

/// It sees every header of the request, so what a cache may give to others is only what it says.
#[test]
fn pinned_answers_last_where_they_say_what_they_vary_by() {
    let nebula = Nebula::start();
    let record = nebula.redeploy("odd", guests::ANSWERS_ODDLY).json();
    let pinned = format!("/f/odd@{}", record["digest"].as_str().unwrap());
    let policy = |path: &str, policy: &str| drop(nebula.get(path).is(200).has("cache-control", policy));
    policy(&pinned, "public, no-cache");
    policy(&format!("{pinned}/vary"), "public, max-age=31536000, immutable");
    policy(&format!("{pinned}/max-age/7"), "max-age=7");
    policy("/f/odd/vary", "public, no-cache");
}

/// A guest that leaves the body out for `HEAD` doesn't say how long it would have been.
#[test]
fn head_promises_no_length_that_is_not_known() {
    let nebula = Nebula::start().deploy("odd", guests::ANSWERS_ODDLY);
    nebula.get("/f/odd").is(200).has("content-length", "10");
    nebula.request("HEAD", "/f/odd").send().is(200).lacks("content-length").lacks("etag");
}

/// Bodies pass in both directions, beyond what one buffer holds.
#[test]
fn long_bodies_pass() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    let long = "long ".repeat(200_000);
    let answer = nebula.request("POST", "/f/mirror").body(&long).send().is(200);
    assert!(answer.text().ends_with(&format!("body {long}")));
}

#[test]
fn never_answers() {
    let nebula = Nebula::start().deploy("never", guests::NEVER_ANSWERS);
    nebula.get("/f/never").is(502).problem("invalid-answer").mentions("reason", "without setting a response");
}

/// Half a response is none.
#[test]
fn breaks_off() {
    let nebula = Nebula::start().deploy("breaks-off", guests::BREAKS_OFF);
    let answer = nebula.get("/f/breaks-off").is(502);
    answer.problem("trap").mentions("reason", "there is no second half").frame("handle");
}

/// The function's limits hold for this form too.
#[test]
fn responses_are_bounded() {
    let nebula = Nebula::start();
    nebula.put("mirror?output_bytes_max=5000", &std::fs::read(guests::MIRRORS_REQUEST).unwrap()).is(200);
    nebula.get("/f/mirror").is(200);
    let answer = nebula.request("POST", "/f/mirror").body("x".repeat(100_000)).send();
    answer.is(502).problem("output-too-large").member("bytes_max", 5000);
}
