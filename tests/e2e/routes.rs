//! Routes: functions at paths and hosts of their own, beside `/f/NAME`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nebula_tests::{Answer, Nebula, guests};
use serde_json::json;

/// Sends a component for deployment with these query parameters.
fn put(nebula: &Nebula, name: &str, query: &str, component: &str) -> Answer {
    nebula.put(&format!("{name}?{query}"), &std::fs::read(component).unwrap())
}

fn get_from(nebula: &Nebula, host: &str, path: &str) -> Answer {
    nebula.request("GET", path).header("host", host).send()
}

/// Asserts which function answers.
#[track_caller]
fn assert_answers(answer: &Answer, name: &str) {
    let function = answer.header("nebula-function").unwrap_or_default();
    assert!(function.starts_with(&format!("{name}@")), "not `{name}`: {answer:?}");
}

#[track_caller]
fn assert_nothing(answer: Answer) {
    answer.lacks("nebula-function").is(404).problem("unknown-path");
}

/// A route is another address of the function: methods, cached results, receipts, compression and
/// errors are those of `/f/NAME`.
#[test]
fn a_typed_function_answers_at_its_route() {
    let nebula = Nebula::start();
    put(&nebula, "greets", "route=/api/hello&route=/", guests::GREETS).is(200);
    let by_name = nebula.get("/f/greets?name=you").is(200);
    for round in 0..6 {
        for path in ["/api/hello?name=you", "/?name=you", "/%61pi/hell%6F?name=you"] {
            let answer = nebula.get(path).is(200).says(by_name.text()).has("cache-status", "nebula; hit");
            assert_answers(&answer, "greets");
            assert_eq!(answer.header("etag"), by_name.header("etag"), "{round}");
        }
    }
    let answer = nebula.post("/api/hello", "\"me\"").is(200);
    assert_eq!(answer.text(), nebula.post("/f/greets", "\"me\"").text());
    nebula.request("HEAD", "/api/hello?name=you").send().is(200).says("");
    nebula.request("OPTIONS", "/api/hello").send().is(204).has("allow", "GET, HEAD, POST, QUERY, OPTIONS");
    nebula.request("PUT", "/api/hello").send().is(405).problem("method-not-allowed");
    nebula.post("/api/hello", "1").is(400).problem("type-mismatch");
    let receipt = nebula.request("GET", "/api/hello?name=you").header("prefer", "receipt").send().is(200);
    assert!(receipt.header("nebula-receipt").is_some(), "{receipt:?}");
    let id = nebula.request("GET", "/api/hello?name=you").header("x-request-id", "mine").send();
    id.is(200).has("x-request-id", "mine");
    for path in ["/api", "/api/hello/", "/api/hello/x", "/api/hellox", "//", "/api%2Fhello", "/f", "/openapi"]
    {
        assert_nothing(nebula.get(path));
    }
}

#[test]
fn a_raw_function_and_a_pipeline_answer_at_their_routes() {
    let nebula = Nebula::start();
    put(&nebula, "mirror", "route=/echo", guests::MIRRORS_PAYLOAD).is(200);
    let answer = nebula.request("POST", "/echo").header("content-type", "text/x").body("abc").send();
    assert_answers(&answer.clone().is(200), "mirror");
    let by_name = nebula.request("POST", "/f/mirror").header("content-type", "text/x").body("abc").send();
    assert_eq!(answer.body(), by_name.body());
    nebula.redeploy("greets", guests::GREETS);
    let pipeline = json!({"steps": ["greets"]}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/p?route=/piped").body(pipeline).send().is(200);
    let answer = nebula.get("/piped?name=you").is(200);
    assert_answers(&answer, "p");
    // A new version of its function gives the pipeline one, which keeps the route.
    put(&nebula, "greets", "deadline_ms=900", guests::GREETS).is(200);
    let answer = nebula.get("/piped?name=you").is(200);
    assert!(answer.header("nebula-function").unwrap().starts_with("p@v2"), "{answer:?}");
}

/// A function of the http form sees the path below its route, as it does below `/f/NAME`.
#[test]
fn the_http_form_sees_the_path_below_its_route() {
    let nebula = Nebula::start();
    put(&nebula, "mirror", "route=/api/...&route=/hook", guests::MIRRORS_REQUEST).is(200);
    for (path, seen) in [
        ("/api", "path /"),
        ("/api/", "path /"),
        ("/api?x=1", "path /?x=1"),
        ("/api/a//b%20c?x", "path /a//b%20c?x"),
        ("/%61pi/%61", "path /%61"),
        ("/hook?y", "path /?y"),
    ] {
        for _ in 0..4 {
            let answer = nebula.get(path).is(200);
            assert!(answer.text().lines().any(|line| line == seen), "no `{seen}`: {answer:?}");
        }
    }
    assert_answers(&nebula.request("PATCH", "/api/x").body("b").send().is(200), "mirror");
    assert_nothing(nebula.get("/hook/x"));
    assert_nothing(nebula.get("/apix"));
    put(&nebula, "all", "route=/...", guests::MIRRORS_REQUEST).is(200);
    assert_answers(&nebula.get("/hook/x"), "all");
    assert_answers(&nebula.get("/api/x"), "mirror");
    nebula.get("/healthz").is(200).says("ok\n");
    nebula.get("/readyz").is(200);
    nebula.get("/f/none").is(404).problem("unknown-function");
    nebula.get("/openapi.json").is(200).has("content-type", "application/json");
}

/// The most specific host comes first, with and without the cached fast path.
#[test]
fn hosts_separate_functions_at_one_path() {
    let nebula = Nebula::start();
    for (name, hosts) in
        [("any", ""), ("one", "&host=api.example.org&host=b.example"), ("sub", "&host=*.example.org")]
    {
        put(&nebula, name, &format!("route=/hello{hosts}"), guests::GREETS).is(200);
    }
    put(&nebula, "only", "route=/only/...&host=only.example", guests::ANSWERS_BY_PATH).is(200);
    for _ in 0..4 {
        for (host, name) in [
            ("other.example", "any"),
            ("example.org", "any"),
            ("api.example.org", "one"),
            ("API.Example.ORG:8080", "one"),
            ("b.example", "one"),
            ("x.example.org", "sub"),
            ("x.y.example.org", "sub"),
        ] {
            assert_answers(&get_from(&nebula, host, "/hello?name=you").is(200), name);
        }
        assert_answers(&get_from(&nebula, "only.example", "/only/x").is(200), "only");
        assert_nothing(get_from(&nebula, "other.example", "/only/x"));
        assert_nothing(nebula.get("/only/x"));
    }
    // `/f/NAME` is the same on every host.
    assert_answers(&get_from(&nebula, "only.example", "/f/any?name=you").is(200), "any");
}

#[test]
fn routes_that_cannot_be_are_refused() {
    let nebula = Nebula::start();
    for (query, component, status, kind) in [
        ("route=api", guests::GREETS, 400, "bad-route"),
        ("route=/f/x", guests::GREETS, 400, "bad-route"),
        ("route=/healthz", guests::GREETS, 400, "bad-route"),
        ("route=/a&host=https://a", guests::GREETS, 400, "bad-route"),
        ("route=/a/...", guests::GREETS, 422, "invalid-route"),
        ("route=/a/...", guests::MIRRORS_PAYLOAD, 422, "invalid-route"),
        ("host=a.example", guests::GREETS, 422, "invalid-route"),
    ] {
        put(&nebula, "x", query, component).is(status).problem(kind);
    }
    nebula.get("/f/x").is(404);
}

/// Two functions can't have one route: not in turn, not in one project, and not by a rollback.
#[test]
fn conflicts_are_refused_with_both_names() {
    let nebula = Nebula::start();
    put(&nebula, "one", "route=/a&route=/b", guests::GREETS).is(200);
    let refused = put(&nebula, "two", "route=/c&route=/%62", guests::GREETS).is(409).problem("route-taken");
    refused.member("route", "/b").member("function", "two").member("taken_by", "one");
    nebula.get("/f/two").is(404);
    nebula.get("/c").is(404);
    put(&nebula, "two", "route=/b&host=b.example", guests::GREETS).is(200);

    // The first version has a route that is another function's by now.
    put(&nebula, "one", "route=/a", guests::GREETS).is(200);
    put(&nebula, "three", "route=/b", guests::GREETS).is(200);
    let rollback = |name: &str| nebula.control("POST", &format!("/api/v1/functions/{name}/rollback")).send();
    rollback("one").is(409).problem("route-taken").member("taken_by", "three").member("function", "one");
    assert_answers(&nebula.get("/b?name=you"), "three");
    nebula.control("DELETE", "/api/v1/functions/three").send().is(204);
    assert_nothing(nebula.get("/b"));
    rollback("one").is(200);
    assert_answers(&nebula.get("/b?name=you"), "one");

    let pipeline = |route: &str| json!({"description": {"steps": ["one"]}, "route": [route]});
    let project = |pipelines: &serde_json::Value, dry_run: bool| {
        let request = json!({"pipelines": pipelines, "dry_run": dry_run, "prune": true}).to_string();
        nebula.control("PUT", "/api/v1/projects/shop").body(request).send()
    };
    for dry_run in [true, false] {
        let both = json!({"p": pipeline("/x"), "q": pipeline("/x")});
        let refused = project(&both, dry_run).is(409).problem("route-taken");
        refused.member("function", "q").member("taken_by", "p");
        project(&json!({"p": pipeline("/a")}), dry_run)
            .is(409)
            .problem("route-taken")
            .member("taken_by", "one");
    }
    project(&json!({"p": pipeline("/x"), "q": pipeline("/y")}), false).is(200);
    assert_answers(&nebula.get("/x?name=you"), "p");
    // One change may exchange routes, and pass that of a removed function on.
    project(&json!({"p": pipeline("/y"), "q": pipeline("/x")}), false).is(200);
    assert_answers(&nebula.get("/x?name=you"), "q");
    project(&json!({"p": pipeline("/x")}), false).is(200);
    assert_answers(&nebula.get("/x?name=you"), "p");
    assert_nothing(nebula.get("/y"));
    nebula.get("/f/q").is(404);
}

/// A route is a part of the version: deploys keep it unless they change it, and it survives a
/// restart. Answers that the cached fast path holds don't outlive a change.
#[test]
fn routes_change_with_versions() {
    let nebula = Nebula::start();
    put(&nebula, "greets", "route=/hello&host=a.example", guests::GREETS).is(200);
    let hot = |nebula: &Nebula, name: &str| {
        for _ in 0..6 {
            assert_answers(&get_from(nebula, "a.example", "/hello?name=you").is(200), name);
        }
    };
    hot(&nebula, "greets");
    put(&nebula, "greets", "deadline_ms=900", guests::GREETS).is(200);
    hot(&nebula, "greets");
    let moved = put(&nebula, "greets", "route=/hi", guests::GREETS).is(200).json();
    assert_eq!(moved["route"], json!(["/hi"]));
    assert_eq!(moved["host"], json!(["a.example"]));
    let note = "changes `route` from [\"/hello\"] to [\"/hi\"]";
    assert!(moved["notes"].as_array().unwrap().contains(&note.into()), "{moved}");
    assert_nothing(get_from(&nebula, "a.example", "/hello?name=you"));
    // Another function takes the route, while clients repeat the request.
    put(&nebula, "other", "route=/hello", guests::GREETS).is(200);
    hot(&nebula, "other");
    nebula.control("DELETE", "/api/v1/functions/other").send().is(204);
    assert_nothing(get_from(&nebula, "a.example", "/hello?name=you"));
    nebula.control("POST", "/api/v1/functions/greets/rollback").send().is(200);
    hot(&nebula, "greets");
    assert_nothing(get_from(&nebula, "a.example", "/hi?name=you"));

    let home = nebula.home();
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &[]);
    hot(&nebula, "greets");
    put(&nebula, "greets", "route=default&host=default", guests::GREETS).is(200);
    assert_nothing(get_from(&nebula, "a.example", "/hello?name=you"));
    nebula.get("/f/greets?name=you").is(200);
}

/// While two functions exchange a route again and again, every request is answered by one of them.
#[test]
fn a_route_that_moves_is_always_answered() {
    let nebula = Nebula::start();
    nebula.redeploy("greets", guests::GREETS);
    let project = |first: &str, second: &str| {
        let pipeline = |route: &str| json!({"description": {"steps": ["greets"]}, "route": [route]});
        let request = json!({"pipelines": {"p": pipeline(first), "q": pipeline(second)}}).to_string();
        nebula.control("PUT", "/api/v1/projects/shop").body(request).send().is(200);
    };
    project("/x", "/y");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for path in ["/x?name=you", "/y?name=you"] {
            let (nebula, done) = (&nebula, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    nebula.get(path).is(200);
                }
            });
        }
        for round in 0..20 {
            let (first, second) = if round % 2 == 0 { ("/y", "/x") } else { ("/x", "/y") };
            project(first, second);
            let (at_x, at_y) = if first == "/x" { ("p", "q") } else { ("q", "p") };
            assert_answers(&nebula.get("/x?name=you"), at_x);
            assert_answers(&nebula.get("/y?name=you"), at_y);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn pages_may_call_a_route() {
    let nebula = Nebula::start();
    put(&nebula, "greets", "route=/hello&cors_origin=https://app.example", guests::GREETS).is(200);
    let preflight = nebula.request("OPTIONS", "/hello").header("origin", "https://app.example");
    let preflight = preflight.header("access-control-request-method", "POST").send().is(204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://app.example"));
    let answer = nebula.request("GET", "/hello?name=you").header("origin", "https://app.example").send();
    answer.is(200).has("access-control-allow-origin", "https://app.example");
}

#[test]
fn the_command_line_deploys_and_shows_routes() {
    let nebula = Nebula::start();
    let deploy =
        ["deploy", guests::GREETS, "--name", "greets", "--route", "/hello", "--host", "*.example.org"];
    nebula.cli(&deploy).exits(0);
    assert_answers(&get_from(&nebula, "x.example.org", "/hello?name=you").is(200), "greets");
    let shown = nebula.cli(&["inspect", "greets"]).exits(0);
    assert!(shown.stdout().contains("route      *.example.org/hello\n"), "{}", shown.stdout());
    let listed = nebula.cli(&["list", "--json"]).exits(0).json();
    assert_eq!(listed["functions"][0]["route"], json!(["/hello"]));
    assert_eq!(listed["functions"][0]["host"], json!(["*.example.org"]));
    let other = ["deploy", guests::GREETS, "--name", "other", "--route", "/hello", "--host", "*.example.org"];
    nebula
        .cli(&other)
        .exits(7)
        .explains("the route `*.example.org/hello` of `other` is already that of `greets`");
    nebula.cli(&["deploy", guests::GREETS, "--route", "/f/x"]).exits(2).explains("is not a route");

    // A component takes the routes of the file beside it.
    let home = tempfile::tempdir().unwrap();
    let component = home.path().join("x.wasm");
    std::fs::copy(guests::ANSWERS_BY_PATH, &component).unwrap();
    std::fs::write(home.path().join("nebula.toml"), "name = \"web\"\nroute = \"/web/...\"\n").unwrap();
    nebula.cli(&["deploy", component.to_str().unwrap()]).exits(0);
    nebula.get("/web/status/201").is(201);

    let document = nebula.control("GET", "/openapi.json").send().is(200).json();
    assert_eq!(document["paths"]["/hello"]["get"]["operationId"], "get-greets_route1");
    assert_eq!(document["paths"]["/web/{below}"]["post"]["operationId"], "call-web_route1");
}
