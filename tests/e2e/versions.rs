//! Versions: pinning, entity tags, rollback, limits, and the headers about the version that
//! answered.

use nebula_tests::{Nebula, guests};

#[test]
fn a_version_can_be_pinned() {
    let nebula = Nebula::start().deploy("f", guests::GREETS).deploy("f", guests::COUNTS);
    nebula.post("/f/f", "").is(200).says("1");
    nebula.post("/f/f@v2", "").is(200).says("1");
    nebula.post("/f/f@v1", "\"you\"").is(200).says("\"Hello, you!\"");
    nebula.post("/f/f@v3", "").is(404).problem("unknown-version").detail("`f` has no version `v3`");
}

#[test]
fn a_digest_can_be_pinned() {
    let nebula = Nebula::start();
    let record = nebula.redeploy("f", guests::GREETS).json();
    let digest = record["digest"].as_str().unwrap();
    nebula.redeploy("f", guests::COUNTS);
    let pinned = nebula.post(&format!("/f/f@{digest}"), "\"you\"").is(200).says("\"Hello, you!\"");
    pinned
        .has("nebula-function", &format!("f@v1; digest={digest}"))
        .has("cache-control", "public, max-age=31536000, immutable");
    // A path may escape `:` and `@`.
    nebula.post(&format!("/f/f%40{}", digest.replace(':', "%3A")), "\"you\"").is(200);
    let other = format!("sha256:{}", "0".repeat(64));
    nebula.post(&format!("/f/f@{other}"), "").is(404).problem("unknown-version");
}

#[test]
fn malformed_versions_are_400() {
    let nebula = Nebula::start().deploy("f", guests::GREETS);
    for version in ["3", "v0", "v", "latest", "sha256:00", "md5:00", ""] {
        nebula.post(&format!("/f/f@{version}"), "").is(400).problem("bad-name");
    }
}

/// The headers also say how long each phase took and how the answer may be cached.
#[test]
fn answers_name_function_version_and_digest() {
    let nebula = Nebula::start();
    let record = nebula.redeploy("greets", guests::GREETS).json();
    let digest = record["digest"].as_str().unwrap();
    let answer = nebula
        .post("/f/greets", "\"you\"")
        .is(200)
        .has("nebula-function", &format!("greets@v1; digest={digest}"))
        .has("cache-control", "public, no-cache")
        .has("vary", "accept, accept-encoding, prefer");
    let timing = answer.header("server-timing").unwrap();
    for phase in ["queue;dur=", "start;dur=", "run;dur="] {
        assert!(timing.contains(phase), "{answer:?}");
    }
    assert!(answer.header("cache-status").unwrap().starts_with("nebula"), "{answer:?}");
    let etag = answer.header("etag").unwrap();
    assert!(etag.len() >= 18 && etag.starts_with('"') && etag.ends_with('"'), "{answer:?}");
}

/// Equal answers of different functions have equal tags.
#[test]
fn entity_tags_depend_only_on_the_content() {
    let nebula = Nebula::start().deploy("a", guests::GREETS).deploy("b", guests::GREETS);
    let tag = |path: &str, input: &str| nebula.post(path, input).is(200).header("etag").unwrap().to_owned();
    assert_eq!(tag("/f/a", "\"x\""), tag("/f/b", "\"x\""));
    assert_eq!(tag("/f/a", "\"x\""), tag("/f/a@v1", "\"x\""));
    assert_ne!(tag("/f/a", "\"x\""), tag("/f/a", "\"y\""));
}

#[test]
fn a_matching_entity_tag_gets_304() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let path = "/f/greets?name=you";
    let etag = nebula.get(path).is(200).header("etag").unwrap().to_owned();
    let get = |tags: &str| nebula.request("GET", path).header("if-none-match", tags).send();
    let answer = get(&etag).is(304).says("").has("etag", &etag).has("cache-control", "public, no-cache");
    assert!(answer.header("nebula-function").is_some());
    get("*").is(304);
    get(&format!("\"other\", W/{etag}")).is(304);
    get("\"other\"").is(200).says("\"Hello, you!\"");
    // The condition is ignored for POST.
    let post = nebula.request("POST", "/f/greets").header("if-none-match", &etag);
    post.header("content-type", "application/json").body("\"you\"").send().is(200);
}

#[test]
fn rollback_makes_an_earlier_version_current() {
    let nebula = Nebula::start().deploy("f", guests::GREETS).deploy("f", guests::COUNTS);
    let rollback = |body: &str| nebula.control("POST", "/api/v1/functions/f/rollback").body(body).send();
    assert_eq!(rollback("").is(200).json()["version"], "v1");
    nebula.post("/f/f", "\"you\"").is(200).says("\"Hello, you!\"");
    assert_eq!(rollback(r#"{"version": "v2"}"#).is(200).json()["version"], "v2");
    nebula.post("/f/f", "").is(200).says("1");
    rollback(r#"{"version": "v9"}"#).is(404).problem("unknown-version");
    rollback(r#"{"version": 1}"#).is(400).problem("invalid-json");
    rollback(r#"{"versoin": "v1"}"#).is(400).problem("invalid-json");
    rollback("").is(200);
    rollback("").is(404).problem("unknown-version");
    nebula.control("POST", "/api/v1/functions/none/rollback").send().is(404).problem("unknown-function");
    // Version numbers continue after the highest one.
    assert_eq!(nebula.redeploy("f", guests::COUNTS).json()["version"], "v3");
}

/// Deploying the same component makes a new version only if its limits differ.
#[test]
fn limits_belong_to_a_version() {
    let nebula = Nebula::start();
    let component = std::fs::read(guests::RETURNS_TOO_MUCH).unwrap();
    nebula.put("f?output_bytes_max=100", &component).is(200);
    assert_eq!(nebula.put("f?output_bytes_max=200", &component).is(200).json()["version"], "v2");
    assert_eq!(nebula.put("f?output_bytes_max=200", &component).is(200).json()["version"], "v2");
    nebula.post("/f/f@v1", "75").is(502);
    nebula.post("/f/f@v2", "75").is(200);
    nebula.post("/f/f", "75").is(200);
}

/// A call finishes on the version that it started with, even if the function is removed meanwhile.
#[test]
fn a_call_survives_the_removal_of_its_function() {
    use std::io::{Read, Write};

    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let mut stream = std::net::TcpStream::connect(nebula.calls_address()).unwrap();
    stream
        .write_all(
            b"POST /f/greets HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\n\
              content-type: application/json\r\ncontent-length: 5\r\n\r\n",
        )
        .unwrap();
    let mut head = [0; 25];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 100 Continue\r\n\r\n");
    nebula.control("DELETE", "/api/v1/functions/greets").send().is(204);
    stream.write_all(b"\"you\"").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\"Hello, you!\""), "{answer}");
    nebula.post("/f/greets", "\"you\"").is(404).problem("unknown-function");
}
