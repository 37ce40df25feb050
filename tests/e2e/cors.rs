//! Calls by pages of other origins: preflights, the headers of answers, and where they come from.

use nebula_tests::{Answer, Nebula, guests};

const PAGE: &str = "https://app.example";
const OTHER: &str = "https://other.example";

fn deploy_with_origins(nebula: &Nebula, name: &str, component: &str, origins: &[&str]) {
    let query: Vec<_> = origins.iter().map(|origin| format!("cors_origin={origin}")).collect();
    nebula.put(&format!("{name}?{}", query.join("&")), &std::fs::read(component).unwrap()).is(200);
}

fn preflight(nebula: &Nebula, path: &str, origin: &str, method: &str) -> Answer {
    let request = nebula.request("OPTIONS", path).header("origin", origin);
    let request = request.header("access-control-request-method", method);
    request.header("access-control-request-headers", "content-type, x-own").send()
}

fn from(nebula: &Nebula, origin: &str, path: &str) -> Answer {
    nebula.request("GET", path).header("origin", origin).send()
}

/// Returns all lines of a header as one list.
fn list(answer: &Answer, name: &str) -> String {
    let lines: Vec<_> = answer.headers().get_all(name).iter().map(|line| line.to_str().unwrap()).collect();
    lines.join(", ")
}

fn assert_allowed(answer: &Answer, origin: &str) {
    assert_eq!(list(answer, "access-control-allow-origin"), origin, "{answer:?}");
    let exposed = list(answer, "access-control-expose-headers");
    for name in ["etag", "nebula-function", "server-timing", "cache-status", "x-request-id"] {
        assert!(exposed.split(", ").any(|found| found == name), "no `{name}` in {answer:?}");
    }
}

fn assert_refused(answer: &Answer) {
    let names = answer.headers().keys().filter(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(names.count(), 0, "{answer:?}");
}

#[test]
fn preflights_of_every_form_are_answered_without_a_call() {
    let nebula = Nebula::start_with(&["--cors-origin", PAGE])
        .deploy("typed", guests::ADDS)
        .deploy("raw", guests::MIRRORS_PAYLOAD)
        .deploy("http", guests::NEVER_ANSWERS);
    for (path, method, methods) in [
        ("/f/typed", "POST", "GET, HEAD, POST, QUERY, OPTIONS"),
        ("/f/typed@v1", "GET", "GET, HEAD, POST, QUERY, OPTIONS"),
        ("/f/raw", "POST", "POST, QUERY, OPTIONS"),
        ("/f/http/below", "PATCH", "PATCH"),
        // The page may then read the 404.
        ("/f/none", "POST", "POST"),
    ] {
        let answer = preflight(&nebula, path, PAGE, method).is(204);
        assert_allowed(&answer, PAGE);
        assert_eq!(list(&answer, "access-control-allow-methods"), methods, "{path}");
        assert_eq!(list(&answer, "access-control-allow-headers"), "content-type, x-own", "{path}");
        assert_eq!(list(&answer, "access-control-max-age"), "600", "{path}");
        for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
            assert!(list(&answer, "vary").split(", ").any(|found| found == name), "{answer:?}");
        }
        let answer = preflight(&nebula, path, OTHER, method).is(204);
        assert_refused(&answer);
        assert!(list(&answer, "vary").contains("origin"), "{answer:?}");
    }
    // `OPTIONS` that isn't a preflight reaches the function.
    nebula.request("OPTIONS", "/f/http").send().is(502);
}

/// The answers come from the function, from the cache and from the cached fast path, and errors have
/// the headers too.
#[test]
fn answers_name_the_origin_that_asked() {
    let nebula = Nebula::start_with(&["--cors-origin", PAGE, "--cors-origin", OTHER])
        .deploy("greets", guests::GREETS)
        .deploy("odd", guests::ANSWERS_BY_PATH);
    for round in 0..6 {
        for path in ["/f/greets?name=you", "/f/odd", "/f/odd/cors", "/f/greets?name=1&name=2", "/f/none"] {
            for origin in [PAGE, OTHER] {
                let answer = from(&nebula, origin, path);
                assert_allowed(&answer, origin);
                assert!(list(&answer, "vary").contains("origin"), "{round}: {answer:?}");
            }
            for answer in
                [from(&nebula, "https://evil.example", path), from(&nebula, "null", path), nebula.get(path)]
            {
                assert_eq!(list(&answer, "access-control-allow-origin"), "", "{round}: {answer:?}");
                assert!(list(&answer, "vary").contains("origin"), "{round}: {answer:?}");
            }
        }
    }
    let tag = nebula.get("/f/greets?name=you").header("etag").unwrap().to_owned();
    let request = nebula.request("GET", "/f/greets?name=you").header("if-none-match", &tag);
    assert_allowed(&request.header("origin", PAGE).send().is(304), PAGE);
}

/// An answer for all origins is the same for each, so that a cache may give it to any.
#[test]
fn a_policy_for_all_origins_does_not_vary() {
    let nebula = Nebula::start_with(&["--cors-origin", "*"]).deploy("greets", guests::GREETS);
    for _ in 0..4 {
        for answer in [from(&nebula, PAGE, "/f/greets?name=you"), nebula.get("/f/greets?name=you")] {
            assert_allowed(&answer, "*");
            assert!(!list(&answer, "vary").contains("origin"), "{answer:?}");
        }
    }
}

#[test]
fn a_functions_own_policy_takes_precedence() {
    let nebula = Nebula::start_with(&["--cors-origin", PAGE]);
    deploy_with_origins(&nebula, "open", guests::GREETS, &["*"]);
    deploy_with_origins(&nebula, "other", guests::GREETS, &[OTHER]);
    deploy_with_origins(&nebula, "closed", guests::GREETS, &[""]);
    nebula.redeploy("default", guests::GREETS);
    for (name, allowed_to_page, allowed_to_other) in
        [("open", "*", "*"), ("other", "", OTHER), ("closed", "", ""), ("default", PAGE, "")]
    {
        let path = format!("/f/{name}?name=you");
        for (origin, allowed) in [(PAGE, allowed_to_page), (OTHER, allowed_to_other)] {
            for answer in [from(&nebula, origin, &path), preflight(&nebula, &path, origin, "GET")] {
                assert_eq!(list(&answer, "access-control-allow-origin"), allowed, "{name}: {answer:?}");
            }
        }
    }
    let record = nebula.control("GET", "/api/v1/functions/other").send().is(200).json();
    assert_eq!(record["current"]["cors"]["origins"][0], OTHER, "{record}");
    // The policy is a part of the version, and survives a restart.
    let home = nebula.home();
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &[]);
    assert_allowed(&from(&nebula, OTHER, "/f/other?name=you"), OTHER);
    assert_eq!(list(&from(&nebula, PAGE, "/f/default?name=you"), "access-control-allow-origin"), "");
    for wrong in ["https://a/b", "a.example", "https://A.example"] {
        let answer = nebula.put(&format!("x?cors_origin={wrong}"), &std::fs::read(guests::GREETS).unwrap());
        answer.is(400).problem("bad-origin");
    }
}

/// Without a policy nothing is added, and functions of the http form answer CORS themselves.
#[test]
fn without_a_policy_a_function_answers_for_itself() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS).deploy("odd", guests::ANSWERS_BY_PATH);
    assert_refused(&from(&nebula, PAGE, "/f/greets?name=you"));
    let answer =
        preflight(&nebula, "/f/greets", PAGE, "POST").is(204).has("allow", "GET, HEAD, POST, QUERY, OPTIONS");
    assert_refused(&answer);
    let answer =
        from(&nebula, PAGE, "/f/odd/cors").has("access-control-allow-origin", "https://guest.example");
    assert_eq!(list(&answer, "access-control-expose-headers"), "x-own");
    let answer = preflight(&nebula, "/f/odd/cors", PAGE, "POST").is(200);
    assert_eq!(list(&answer, "access-control-allow-origin"), "https://guest.example");
}

#[test]
fn the_command_line_deploys_with_a_policy() {
    let nebula = Nebula::start();
    let deploy =
        ["deploy", guests::GREETS, "--name", "greets", "--cors-origin", PAGE, "--cors-max-age-s", "60"];
    nebula.cli(&deploy).exits(0);
    let answer = preflight(&nebula, "/f/greets", PAGE, "POST").is(204);
    assert_eq!(list(&answer, "access-control-max-age"), "60", "{answer:?}");
    nebula
        .cli(&["deploy", guests::GREETS, "--cors-origin", "app.example"])
        .exits(2)
        .explains("is not an origin");
}
