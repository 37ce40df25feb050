//! Behind nginx as a cache: what it keeps, and what it asks Nebula for.
//!
//! `X-Cache-Status` is nginx's own word on that; Nebula's counts of calls, and that nginx answers when there is
//! no Nebula any more, bear it out.

use nebula_tests::{Answer, Nebula, Nginx, eventually, guests};

/// A server that remembers, as it counts only then.
fn remembering() -> Nebula {
    Nebula::start_with(&["--cache-bytes-max", "67108864"])
}

/// Deploys the component at `path`; the address that its digest pins.
fn pin(nebula: &Nebula, name: &str, path: &str) -> String {
    let record = nebula.redeploy(name, path).json();
    format!("/f/{name}@{}", record["digest"].as_str().unwrap())
}

/// How often the only function was asked.
fn asked(nebula: &Nebula) -> u64 {
    let report = nebula.control("GET", "/api/v1/cache").send().is(200).json();
    let counts = ["hits", "collapsed", "misses"].map(|name| report["functions"][0][name].as_u64().unwrap());
    counts.iter().sum()
}

#[track_caller]
fn is_kept(answer: Answer) -> Answer {
    answer.has("x-cache-status", "HIT")
}

#[track_caller]
fn is_asked_for(answer: Answer) -> Answer {
    answer.has("x-cache-status", "MISS")
}

#[track_caller]
fn same(answer: &Answer, other: &Answer) {
    for name in ["content-type", "content-length", "etag", "cache-control", "vary", "nebula-function"] {
        assert_eq!(answer.header(name), other.header(name), "{name}: {answer:?} {other:?}");
    }
}

#[test]
#[ignore = "needs nginx, which `cargo xtask test` gets"]
fn a_pinned_answer_is_asked_for_once() {
    let nebula = remembering();
    let nginx = Nginx::before(&nebula);
    let path = format!("{}?name=Ada", pin(&nebula, "greets", guests::GREETS));
    let immutable = "public, max-age=31536000, immutable";
    let first =
        is_asked_for(nginx.get(&path).is(200)).says("\"Hello, Ada!\"").has("cache-control", immutable);
    for _ in 0..3 {
        same(&is_kept(nginx.get(&path).is(200)).says("\"Hello, Ada!\""), &first);
    }
    assert_eq!(asked(&nebula), 1);
    // A digest that is escaped is the same, and another input isn't.
    let escaped = path.replace('@', "%40").replace(':', "%3A");
    nginx.get(&escaped).is(200).says("\"Hello, Ada!\"");
    is_kept(nginx.get(&escaped).is(200)).says("\"Hello, Ada!\"");
    is_asked_for(nginx.get(&path.replace("Ada", "Eve")).is(200)).says("\"Hello, Eve!\"");
    // A body isn't part of what nginx knows an answer by.
    for name in ["\"Ada\"", "\"Eve\""] {
        let post = nginx.request("POST", &path).header("content-type", "application/json").body(name);
        post.send().is(200).says(&format!("\"Hello, {}!\"", name.trim_matches('"'))).lacks("x-cache-status");
    }
    nebula.kill();
    same(&is_kept(nginx.get(&path).is(200)).says("\"Hello, Ada!\""), &first);
    // That one is nginx's own.
    nginx.get(&path.replace("Ada", "Bob")).is(502).lacks("nebula-function");
}

#[test]
#[ignore = "needs nginx, which `cargo xtask test` gets"]
fn forms_of_an_answer_are_kept_apart() {
    let nebula = remembering();
    let nginx = Nginx::before(&nebula);
    let text = format!("{}?name=Ada", pin(&nebula, "greets", guests::GREETS));
    // Base64 of `ab`.
    let bytes = format!("{}?bytes=YWI=", pin(&nebula, "reverses", guests::REVERSES));
    let forms = [
        (&text, "application/json", "\"Hello, Ada!\"", "application/json"),
        (&text, "text/plain", "Hello, Ada!", "text/plain; charset=utf-8"),
        (&text, "text/plain;q=0.1, application/json", "\"Hello, Ada!\"", "application/json"),
        (&bytes, "application/json", "\"YmE=\"", "application/json"),
        (&bytes, "application/octet-stream", "ba", "application/octet-stream"),
    ];
    let ask = |(path, accept, content, media_type): (&String, &str, &str, &str)| {
        let answer = nginx.request("GET", path).header("accept", accept).send().is(200);
        answer.says(content).has("content-type", media_type).has("vary", "accept, prefer")
    };
    forms.iter().for_each(|form| drop(is_asked_for(ask(*form))));
    nebula.kill();
    forms.iter().rev().for_each(|form| drop(is_kept(ask(*form))));
}

/// What nginx keeps of HEAD is what it got for GET, which it asks for instead.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` gets"]
fn head_has_the_headers_of_get() {
    let nebula = remembering();
    let nginx = Nginx::before(&nebula);
    let pinned = pin(&nebula, "greets", guests::GREETS);
    let head = |path: &str| nginx.request("HEAD", path).send().is(200).says("").has("content-length", "13");
    let path = format!("{pinned}?name=Ada");
    let first = is_asked_for(head(&path));
    let get = is_kept(nginx.get(&path).is(200)).says("\"Hello, Ada!\"");
    same(&get, &first);
    same(&is_kept(head(&path)), &get);
    assert_eq!(asked(&nebula), 1);
    let named = "/f/greets?name=Ada";
    same(&head(named), &nginx.get(named).is(200).says("\"Hello, Ada!\""));
}

#[test]
#[ignore = "needs nginx, which `cargo xtask test` gets"]
fn content_that_a_caller_has_is_not_sent_again() {
    let nebula = remembering();
    let nginx = Nginx::before(&nebula);
    let pinned = format!("{}?name=Ada", pin(&nebula, "greets", guests::GREETS));
    let named = "/f/greets?name=Ada";
    let etag = is_asked_for(nginx.get(&pinned).is(200)).header("etag").unwrap().to_owned();
    let get = |path: &str, tag: &str| nginx.request("GET", path).header("if-none-match", tag).send();
    let unchanged = |path: &str| get(path, &etag).is(304).says("").has("etag", &etag).lacks("content-type");
    unchanged(named).has("vary", "accept, prefer").has("cache-control", "public, no-cache");
    get(named, "\"other\"").is(200).says("\"Hello, Ada!\"");
    // Nginx knows by itself, also where it has nothing yet.
    let asked_before = asked(&nebula);
    is_kept(unchanged(&pinned)).has("vary", "accept, prefer");
    is_kept(get(&pinned, "\"other\"").is(200)).says("\"Hello, Ada!\"");
    assert_eq!(asked(&nebula), asked_before);
    let other = pinned.replace("Ada", "Eve");
    is_asked_for(get(&other, &etag).is(200)).says("\"Hello, Eve!\"");
    is_kept(get(&other, &etag).is(200)).says("\"Hello, Eve!\"");
}

/// Whatever nginx is told to keep.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` gets"]
fn a_name_is_never_answered_by_what_it_meant_before() {
    let nebula = remembering();
    let careful = Nginx::before(&nebula);
    let careless = Nginx::caching_everything_of(&nebula);
    for component in [guests::COUNTS, guests::SAYS_NOTHING, guests::COUNTS] {
        nebula.redeploy("f", component);
        let content = nebula.get("/f/f").is(200);
        for _ in 0..2 {
            same(&careful.get("/f/f").is(200).bytes(content.body()), &content);
            same(&is_asked_for(careless.get("/f/f").is(200).bytes(content.body())), &content);
        }
    }
    // What it meant before is not what a caller has of it now.
    let old = careful.get("/f/f").is(200).header("etag").unwrap().to_owned();
    nebula.redeploy("f", guests::SAYS_NOTHING);
    for nginx in [&careful, &careless] {
        let answer = nginx.request("GET", "/f/f").header("if-none-match", &old).send().is(200);
        assert_ne!(answer.header("etag"), Some(&*old), "{answer:?}");
    }
}

/// A function may say for how long its answer is good. Then nginx asks whether it still is, and doesn't
/// get it again.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` gets"]
fn what_has_grown_old_is_asked_about() {
    let nebula = remembering();
    let nginx = Nginx::before(&nebula);
    let path = format!("{}/max-age/1", pin(&nebula, "odd", guests::ANSWERS_ODDLY));
    let get = || nginx.get(&path).is(200).says("ten bytes.").has("cache-control", "max-age=1");
    let first = is_asked_for(get());
    let later = eventually("it has grown old", || {
        Some(get()).filter(|answer| answer.header("x-cache-status") != Some("HIT"))
    });
    // Had it been sent again, that were `EXPIRED`.
    same(&later.has("x-cache-status", "REVALIDATED"), &first);
    assert_eq!(asked(&nebula), 2);
}

/// A function's own error is as lasting as a value. What a problem is about may be gone the next time.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` gets"]
fn errors_of_the_functions_own_are_kept_and_problems_are_not() {
    let nebula = remembering();
    let nginx = Nginx::before(&nebula);
    let adds = pin(&nebula, "adds", guests::ADDS);
    let traps = pin(&nebula, "traps", guests::TRAPS);
    let digest = adds.split_once('@').unwrap().1;
    let late = format!("/f/late@{digest}");
    let refused = format!("{adds}?a=9223372036854775807&b=1");
    let error = || nginx.get(&refused).is(422).says("\"9223372036854775807 + 1 is out of range\"");
    is_asked_for(error());
    is_kept(error());
    let problems = [
        (format!("{adds}?a=1"), 400, "type-mismatch"),
        (format!("{late}?a=1&b=2"), 404, "unknown-function"),
        (traps, 502, "trap"),
    ];
    for (path, status, kind) in &problems {
        for _ in 0..2 {
            let answer = is_asked_for(nginx.get(path).is(*status)).has("cache-control", "no-store");
            answer.problem(kind);
        }
    }
    // What nobody had deployed is there now.
    pin(&nebula, "late", guests::ADDS);
    nginx.get(&problems[1].0).is(200).says("3");
}

/// A function of the http form may look at any header; where it doesn't say at which, nobody else gets its answer.
#[test]
#[ignore = "needs nginx, which `cargo xtask test` gets"]
fn answers_to_headers_are_not_given_to_others() {
    let nebula = remembering();
    let path = pin(&nebula, "mirror", guests::MIRRORS_REQUEST);
    let nginx = Nginx::before(&nebula);
    for mark in ["one", "other", "one"] {
        let answer = nginx.request("GET", &path).header("x-mark", mark).send().is(200);
        let line = format!("header x-mark: {mark}");
        assert!(answer.text().lines().any(|said| said == line), "{answer:?}");
        answer.has("cache-control", "public, no-cache");
    }
}
