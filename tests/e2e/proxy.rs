//! nginx as a cache in front of Nebula: which answers it stores and which requests it forwards.
//!
//! Three things show that: nginx's `X-Cache-Status`, Nebula's counts of calls, and the answers that
//! nginx still gives after Nebula is killed.

use nebula_tests::{Answer, Nebula, Nginx, eventually, guests};

/// Deploys the component at `path` and returns the path of a call that is pinned to its digest.
fn pin(nebula: &Nebula, name: &str, path: &str) -> String {
    let record = nebula.redeploy(name, path).json();
    format!("/f/{name}@{}", record["digest"].as_str().unwrap())
}

/// Returns how often the only function was called, by the cache's report.
fn calls(nebula: &Nebula) -> u64 {
    let report = nebula.control("GET", "/api/v1/cache").send().is(200).json();
    let counts = ["hits", "collapsed", "misses"].map(|name| report["functions"][0][name].as_u64().unwrap());
    counts.iter().sum()
}

#[track_caller]
fn assert_hit(answer: Answer) -> Answer {
    answer.has("x-cache-status", "HIT")
}

#[track_caller]
fn assert_miss(answer: Answer) -> Answer {
    answer.has("x-cache-status", "MISS")
}

#[track_caller]
fn assert_same_headers(answer: &Answer, other: &Answer) {
    for name in ["content-type", "content-length", "etag", "cache-control", "vary", "nebula-function"] {
        assert_eq!(answer.header(name), other.header(name), "{name}: {answer:?} {other:?}");
    }
}

#[test]
#[ignore = "needs nginx, which `cargo xtask test` downloads"]
fn a_pinned_answer_is_requested_once() {
    let nebula = Nebula::start();
    let nginx = Nginx::in_front_of(&nebula);
    let path = format!("{}?name=Ada", pin(&nebula, "greets", guests::GREETS));
    let immutable = "public, max-age=31536000, immutable";
    let first = assert_miss(nginx.get(&path).is(200)).says("\"Hello, Ada!\"").has("cache-control", immutable);
    for _ in 0..3 {
        assert_same_headers(&assert_hit(nginx.get(&path).is(200)).says("\"Hello, Ada!\""), &first);
    }
    assert_eq!(calls(&nebula), 1);
    // An escaped digest is the same digest; another input is another call.
    let escaped = path.replace('@', "%40").replace(':', "%3A");
    nginx.get(&escaped).is(200).says("\"Hello, Ada!\"");
    assert_hit(nginx.get(&escaped).is(200)).says("\"Hello, Ada!\"");
    assert_miss(nginx.get(&path.replace("Ada", "Eve")).is(200)).says("\"Hello, Eve!\"");
    // nginx's cache key doesn't include the body, so POST requests bypass it.
    for name in ["\"Ada\"", "\"Eve\""] {
        let post = nginx.request("POST", &path).header("content-type", "application/json").body(name);
        post.send().is(200).says(&format!("\"Hello, {}!\"", name.trim_matches('"'))).lacks("x-cache-status");
    }
    nebula.kill();
    assert_same_headers(&assert_hit(nginx.get(&path).is(200)).says("\"Hello, Ada!\""), &first);
    // This 502 is nginx's own.
    nginx.get(&path.replace("Ada", "Bob")).is(502).lacks("nebula-function");
}

#[test]
#[ignore = "needs nginx, which `cargo xtask test` downloads"]
fn media_types_of_an_answer_are_cached_separately() {
    let nebula = Nebula::start();
    let nginx = Nginx::in_front_of(&nebula);
    let text = format!("{}?name=Ada", pin(&nebula, "greets", guests::GREETS));
    // Base64 of `ab`.
    let bytes = format!("{}?bytes=YWI=", pin(&nebula, "reverses", guests::REVERSES));
    struct Form<'a> {
        path: &'a str,
        accept: &'a str,
        body: &'a str,
        media_type: &'a str,
    }
    let form = |path, accept, body, media_type| Form { path, accept, body, media_type };
    let forms = [
        form(&text, "application/json", "\"Hello, Ada!\"", "application/json"),
        form(&text, "text/plain", "Hello, Ada!", "text/plain; charset=utf-8"),
        form(&text, "text/plain;q=0.1, application/json", "\"Hello, Ada!\"", "application/json"),
        form(&bytes, "application/json", "\"YmE=\"", "application/json"),
        form(&bytes, "application/octet-stream", "ba", "application/octet-stream"),
    ];
    let get = |form: &Form<'_>| {
        let answer = nginx.request("GET", form.path).header("accept", form.accept).send().is(200);
        answer
            .says(form.body)
            .has("content-type", form.media_type)
            .has("vary", "accept, accept-encoding, prefer")
    };
    forms.iter().for_each(|form| drop(assert_miss(get(form))));
    nebula.kill();
    forms.iter().rev().for_each(|form| drop(assert_hit(get(form))));
}

/// nginx forwards HEAD as GET and answers from the stored response.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` downloads"]
fn head_has_the_headers_of_get() {
    let nebula = Nebula::start();
    let nginx = Nginx::in_front_of(&nebula);
    let pinned = pin(&nebula, "greets", guests::GREETS);
    let head = |path: &str| nginx.request("HEAD", path).send().is(200).says("").has("content-length", "13");
    let path = format!("{pinned}?name=Ada");
    let first = assert_miss(head(&path));
    let get = assert_hit(nginx.get(&path).is(200)).says("\"Hello, Ada!\"");
    assert_same_headers(&get, &first);
    assert_same_headers(&assert_hit(head(&path)), &get);
    assert_eq!(calls(&nebula), 1);
    let named = "/f/greets?name=Ada";
    assert_same_headers(&head(named), &nginx.get(named).is(200).says("\"Hello, Ada!\""));
}

#[test]
#[ignore = "needs nginx, which `cargo xtask test` downloads"]
fn a_matching_entity_tag_gets_304() {
    let nebula = Nebula::start();
    let nginx = Nginx::in_front_of(&nebula);
    let pinned = format!("{}?name=Ada", pin(&nebula, "greets", guests::GREETS));
    let named = "/f/greets?name=Ada";
    let etag = assert_miss(nginx.get(&pinned).is(200)).header("etag").unwrap().to_owned();
    let get = |path: &str, tag: &str| nginx.request("GET", path).header("if-none-match", tag).send();
    let unchanged = |path: &str| get(path, &etag).is(304).says("").has("etag", &etag).lacks("content-type");
    unchanged(named).has("vary", "accept, accept-encoding, prefer").has("cache-control", "public, no-cache");
    get(named, "\"other\"").is(200).says("\"Hello, Ada!\"");
    // nginx compares the tag of a stored answer by itself, and fetches an answer that it hasn't
    // stored.
    let calls_before = calls(&nebula);
    assert_hit(unchanged(&pinned)).has("vary", "accept, accept-encoding, prefer");
    assert_hit(get(&pinned, "\"other\"").is(200)).says("\"Hello, Ada!\"");
    assert_eq!(calls(&nebula), calls_before);
    let other = pinned.replace("Ada", "Eve");
    assert_miss(get(&other, &etag).is(200)).says("\"Hello, Eve!\"");
    assert_hit(get(&other, &etag).is(200)).says("\"Hello, Eve!\"");
}

/// The second nginx is configured to cache the whole data plane.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` downloads"]
fn a_name_is_never_answered_by_its_earlier_version() {
    let nebula = Nebula::start();
    let careful = Nginx::in_front_of(&nebula);
    let careless = Nginx::caching_everything_in_front_of(&nebula);
    for component in [guests::COUNTS, guests::SAYS_NOTHING, guests::COUNTS] {
        nebula.redeploy("f", component);
        let content = nebula.get("/f/f").is(200);
        for _ in 0..2 {
            assert_same_headers(&careful.get("/f/f").is(200).bytes(content.body()), &content);
            assert_same_headers(&assert_miss(careless.get("/f/f").is(200).bytes(content.body())), &content);
        }
    }
    // The tag of the earlier version's answer doesn't match.
    let old = careful.get("/f/f").is(200).header("etag").unwrap().to_owned();
    nebula.redeploy("f", guests::SAYS_NOTHING);
    for nginx in [&careful, &careless] {
        let answer = nginx.request("GET", "/f/f").header("if-none-match", &old).send().is(200);
        assert_ne!(answer.header("etag"), Some(&*old), "{answer:?}");
    }
}

/// A function may limit how long its answer is fresh. After that nginx revalidates the answer
/// without fetching it again.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` downloads"]
fn stale_answers_are_revalidated() {
    let nebula = Nebula::start();
    let nginx = Nginx::in_front_of(&nebula);
    let path = format!("{}/max-age/1", pin(&nebula, "odd", guests::ANSWERS_BY_PATH));
    let get = || nginx.get(&path).is(200).says("ten bytes.").has("cache-control", "max-age=1");
    let first = assert_miss(get());
    let later = eventually("the stored answer is stale", || {
        Some(get()).filter(|answer| answer.header("x-cache-status") != Some("HIT"))
    });
    // The status would be `EXPIRED` if nginx had fetched the answer again.
    assert_same_headers(&later.has("x-cache-status", "REVALIDATED"), &first);
    assert_eq!(calls(&nebula), 2);
}

/// A function's own error is a result. The cause of a problem may be gone at the next request.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` downloads"]
fn the_functions_own_errors_are_cached_and_problems_are_not() {
    let nebula = Nebula::start();
    let nginx = Nginx::in_front_of(&nebula);
    let adds = pin(&nebula, "adds", guests::ADDS);
    let traps = pin(&nebula, "traps", guests::TRAPS);
    let digest = adds.split_once('@').unwrap().1;
    let late = format!("/f/late@{digest}");
    let refused = format!("{adds}?a=9223372036854775807&b=1");
    let error = || nginx.get(&refused).is(422).says("\"9223372036854775807 + 1 is out of range\"");
    assert_miss(error());
    assert_hit(error());
    let problems = [
        (format!("{adds}?a=1"), 400, "type-mismatch"),
        (format!("{late}?a=1&b=2"), 404, "unknown-function"),
        (traps, 502, "trap"),
    ];
    for (path, status, kind) in &problems {
        for _ in 0..2 {
            let answer = assert_miss(nginx.get(path).is(*status)).has("cache-control", "no-store");
            answer.problem(kind);
        }
    }
    // The function that was unknown is deployed now.
    pin(&nebula, "late", guests::ADDS);
    nginx.get(&problems[1].0).is(200).says("3");
}

/// A function of the http form sees every header. Unless it sends a `Vary`, its answers aren't
/// reused.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` downloads"]
fn answers_of_the_http_form_are_not_reused_without_vary() {
    let nebula = Nebula::start();
    let path = pin(&nebula, "mirror", guests::MIRRORS_REQUEST);
    let nginx = Nginx::in_front_of(&nebula);
    for mark in ["one", "other", "one"] {
        let answer = nginx.request("GET", &path).header("x-mark", mark).send().is(200);
        let line = format!("header x-mark: {mark}");
        assert!(answer.text().lines().any(|found| found == line), "{answer:?}");
        answer.has("cache-control", "public, no-cache");
    }
}
