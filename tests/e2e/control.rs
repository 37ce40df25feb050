//! The control plane: authorization, functions and their records, methods and paths, the OpenAPI
//! document.

use nebula_tests::{Nebula, guests};
use serde_json::json;

#[test]
fn every_path_but_healthz_requires_the_token() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let component = std::fs::read(guests::GREETS).unwrap();
    for (method, path) in [
        ("GET", "/api/v1/functions"),
        ("GET", "/api/v1/functions/greets"),
        ("PUT", "/api/v1/functions/other"),
        ("DELETE", "/api/v1/functions/greets"),
        ("POST", "/api/v1/functions/greets/rollback"),
        ("GET", "/api/v1/functions/greets/logs"),
        ("GET", "/api/v1/functions/greets/stats"),
        ("GET", "/api/v1/stats"),
        ("GET", "/api/v1/logs"),
        ("GET", "/api/v1/server"),
        ("GET", "/api/v1/functions/greets/component"),
        ("DELETE", "/api/v1/functions/greets/cache"),
        ("GET", "/api/v1/cache"),
        ("GET", "/api/v1/experiment"),
        ("GET", "/api/v1/pipelines/greets/diagram"),
        ("DELETE", "/api/v1/cache"),
        ("GET", "/api/v1/tokens"),
        ("DELETE", "/api/v1/tokens/ci"),
        ("GET", "/openapi.json"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
    ] {
        let body = if method == "PUT" { component.as_slice() } else { b"" };
        let call = || nebula.control_without_token(method, path).body(body);
        let missing = r#"Bearer realm="nebula""#;
        let invalid = r#"Bearer realm="nebula", error="invalid_token""#;
        for (authorization, challenge) in [
            (None, missing),
            (Some("Bearer wrong"), invalid),
            (Some("Bearer "), missing),
            (Some("Basic eDp5"), missing),
            (Some(""), missing),
        ] {
            let call = match authorization {
                Some(value) => call().header("authorization", value),
                None => call(),
            };
            let answer = call.send().is(401).problem("unauthorized").clone();
            answer.has("www-authenticate", challenge);
        }
    }
    nebula.control_without_token("GET", "/healthz").send().is(200).says("ok\n");
    let list = nebula.control("GET", "/api/v1/functions").send().is(200).json();
    assert_eq!(list["functions"].as_array().unwrap().len(), 1);
}

/// Tries every operation in the OpenAPI document, so that endpoints added later are covered too.
#[test]
fn every_operation_requires_the_token_unless_it_is_public() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let document = nebula.control("GET", "/openapi.json").send().is(200).json();
    let (mut public, mut guarded) = (Vec::new(), 0);
    let own = document["paths"].as_object().unwrap().iter().filter(|(path, _)| !path.starts_with("/f/"));
    for (path, item) in own {
        let url = path.replace("{name}", "greets").replace("{digest}", &format!("sha256:{:064}", 0));
        let url = url.replace("{asset}", "none");
        for (method, operation) in item.as_object().unwrap() {
            let answer = nebula.control_without_token(&method.to_uppercase(), &url).send();
            if operation["security"].as_array().unwrap().is_empty() {
                let status = match path.as_str() {
                    "/console/{asset}" => 404,
                    "/api/v1/session" if method == "get" => 204,
                    "/api/v1/session" => 403,
                    _ => 200,
                };
                answer.is(status);
                public.push(path.as_str());
            } else {
                answer.is(401).problem("unauthorized");
                guarded += 1;
            }
        }
    }
    assert_eq!(public, ["/", "/api/v1/session", "/api/v1/session", "/console/{asset}", "/healthz"]);
    assert!(guarded > 20, "only {guarded} operations are in the document");
}

#[test]
fn the_token_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let nebula = Nebula::start();
    let mode = std::fs::metadata(nebula.data_dir().join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let directory = std::fs::metadata(nebula.data_dir()).unwrap().permissions().mode();
    assert_eq!(directory & 0o077, 0);
}

#[test]
fn each_plane_serves_only_its_own_paths() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    nebula.get("/api/v1/functions").is(404).problem("unknown-path");
    nebula.control("POST", "/f/greets").body("x").send().is(404).problem("unknown-path");
}

#[test]
fn a_deploy_answers_with_the_record() {
    let nebula = Nebula::start();
    let record = nebula.redeploy("adds", guests::ADDS).has("content-type", "application/json").json();
    assert_eq!(record["name"], "adds");
    assert_eq!(record["version"], "v1");
    assert_eq!(record["form"], "typed");
    assert_eq!(record["signature"], "handle: func(a: s64, b: s64) -> result<s64, string>");
    assert_eq!(record["size_bytes"], std::fs::metadata(guests::ADDS).unwrap().len());
    assert!(record["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(nebula.redeploy("raw", guests::MIRRORS_PAYLOAD).json()["form"], "raw");
    assert_eq!(nebula.redeploy("http", guests::MIRRORS_REQUEST).json()["form"], "http");
}

#[test]
fn functions_are_listed_and_inspected() {
    let nebula =
        Nebula::start().deploy("b", guests::GREETS).deploy("a", guests::ADDS).deploy("b", guests::COUNTS);
    let list = nebula.control("GET", "/api/v1/functions").send().is(200).json();
    let listed: Vec<_> = list["functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|function| (&function["name"], &function["version"]))
        .collect();
    assert_eq!(listed, [(&json!("a"), &json!("v1")), (&json!("b"), &json!("v2"))]);

    let detail = nebula.control("GET", "/api/v1/functions/b").send().is(200).json();
    assert_eq!(detail["current"]["version"], "v2");
    let versions: Vec<_> =
        detail["versions"].as_array().unwrap().iter().map(|record| &record["version"]).collect();
    assert_eq!(versions, ["v1", "v2"]);
    nebula.control("GET", "/api/v1/functions/c").send().is(404).problem("unknown-function");

    let component = nebula.control("GET", "/api/v1/functions/a/component").send().is(200);
    component.has("content-type", "application/wasm").bytes(&std::fs::read(guests::ADDS).unwrap());
}

#[test]
fn a_removed_function_is_404() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS).deploy("same", guests::GREETS);
    nebula.post("/f/greets", "\"you\"").is(200);
    nebula.control("DELETE", "/api/v1/functions/greets").send().is(204).says("");
    nebula.post("/f/greets", "\"you\"").is(404).problem("unknown-function");
    nebula.post("/f/greets@v1", "\"you\"").is(404).problem("unknown-function");
    nebula.control("DELETE", "/api/v1/functions/greets").send().is(404).problem("unknown-function");
    nebula.control("GET", "/api/v1/functions/greets/logs").send().is(404).problem("unknown-function");
    // Another name still refers to the same component.
    nebula.post("/f/same", "\"you\"").is(200);
    nebula.redeploy("greets", guests::COUNTS);
    nebula.post("/f/greets", "").is(200).says("1");
}

#[test]
fn removing_the_last_name_deletes_the_component() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let data_dir = nebula.data_dir();
    let components = || std::fs::read_dir(data_dir.join("components")).unwrap().count();
    assert_eq!(components(), 1);
    nebula.control("DELETE", "/api/v1/functions/greets").send().is(204);
    assert_eq!(components(), 0);
}

#[test]
fn logs_keep_failed_calls_and_output() {
    let nebula = Nebula::start().deploy("panics", guests::PANICS);
    let logs = || nebula.control("GET", "/api/v1/functions/panics/logs").send().is(200).json();
    assert_eq!(logs(), json!({"calls": []}));
    nebula.post("/f/panics", "2000000").is(200);
    nebula.post("/f/panics", "\"x\"").is(400);
    assert_eq!(logs(), json!({"calls": []}), "a call without output or with bad input is logged");
    nebula.post("/f/panics", "1").is(502);
    let call = &logs()["calls"][0];
    assert!(call["outcome"].as_str().unwrap().contains("the depth of 1 is not enough"), "{call}");
    assert_eq!(call["version"], "v1");
}

#[test]
fn invalid_limits_are_refused() {
    let nebula = Nebula::start();
    let component = std::fs::read(guests::GREETS).unwrap();
    for query in
        ["deadline_ms=soon", "deadline_ms=-1", "deadline_ms=0", "deadlines=1", "memory_bytes_max=1.5"]
    {
        nebula.put(&format!("greets?{query}"), &component).is(400).problem("bad-limit");
    }
    let too_much = nebula.put("greets?memory_bytes_max=1099511627776", &component).is(422);
    too_much.problem("limit-too-high").detail("memory_bytes_max");
    nebula.post("/f/greets", "\"x\"").is(404);
    let record = nebula.put("greets?deadline_ms=5&log_bytes_max=7", &component).is(200).json();
    assert_eq!(record["limits"], json!({"deadline_ms": 5, "log_bytes_max": 7}));
}

#[test]
fn wrong_methods_are_405_and_unknown_paths_404() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    for (method, path, allow) in [
        ("POST", "/api/v1/functions", "GET"),
        ("PATCH", "/api/v1/functions/greets", "GET, PUT, DELETE"),
        ("GET", "/api/v1/functions/greets/rollback", "POST"),
        ("POST", "/api/v1/functions/greets/logs", "GET"),
        ("DELETE", "/api/v1/functions/greets/component", "GET"),
        ("POST", "/openapi.json", "GET"),
        ("POST", "/api/v1/cache", "GET, DELETE"),
        ("GET", "/api/v1/functions/greets/cache", "DELETE"),
    ] {
        let answer = nebula.control(method, path).send().is(405);
        answer.problem("method-not-allowed").has("allow", allow);
    }
    for path in
        ["/api", "/api/v1", "/api/v2/functions", "/api/v1/functions/greets/x", "/api/v1/functions/a/b/c"]
    {
        nebula.control("GET", path).send().is(404).problem("unknown-path");
    }
    nebula.control("GET", "/api/v1/functions/No%20Name").send().is(400).problem("bad-name");
}

#[test]
fn openapi_describes_deployed_functions() {
    let nebula = Nebula::start()
        .deploy("adds", guests::ADDS)
        .deploy("mirrors", guests::MIRRORS)
        .deploy("raw", guests::MIRRORS_PAYLOAD)
        .deploy("http", guests::MIRRORS_REQUEST);
    let document = nebula.control("GET", "/openapi.json").send().is(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/api/v1/functions",
        "/api/v1/functions/{name}",
        "/api/v1/cache",
        "/f/adds",
        "/f/mirrors",
        "/f/raw",
        "/f/http",
    ] {
        assert!(paths.contains_key(path), "no {path}");
    }
    let adds = &paths["/f/adds"]["post"];
    assert_eq!(adds["summary"], "handle: func(a: s64, b: s64) -> result<s64, string>");
    assert!(adds["responses"]["422"]["content"]["application/json"]["schema"].is_object());
    // Each plane has an address of its own.
    assert_eq!(document["servers"][0]["url"], "/");
    let server = nebula.control("GET", "/api/v1/server").send().is(200).json();
    assert_eq!(paths["/f/adds"]["servers"][0]["url"], server["calls_url"]);

    // The first checks of a validator: unique operation ids, a description of each response, and no
    // dangling reference.
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in paths {
        for (method, operation) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "parameters" | "servers"))
        {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "the operation id {id} occurs twice");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(response["description"].is_string(), "{method} {path} {status}");
            }
        }
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} refers to nothing");
    }
}

/// A client changes a function only if it still is what the client has read.
#[test]
fn changes_may_have_conditions() {
    let nebula = Nebula::start();
    let (greets, adds) = (std::fs::read(guests::GREETS).unwrap(), std::fs::read(guests::ADDS).unwrap());
    let path = "/api/v1/functions/f";
    let put = |name: &str, tag: &str, component: &[u8]| {
        nebula.control("PUT", path).header(name, tag).body(component).send()
    };
    put("if-match", "*", &greets).is(412).problem("precondition-failed");
    let first = put("if-none-match", "*", &greets).is(200).header("etag").unwrap().to_owned();
    put("if-none-match", "*", &adds).is(412);
    nebula.control("GET", path).send().is(200).has("etag", &first);
    let second = put("if-match", &first, &adds).is(200).header("etag").unwrap().to_owned();
    put("if-match", &first, &greets).is(412);
    put("if-match", &format!("W/{second}"), &greets).is(412);
    nebula.control("DELETE", path).header("if-match", &first).send().is(412);
    nebula.post("/f/f", r#"{"a":1,"b":2}"#).is(200).says("3");
    // The same version again is the same tag.
    let back = nebula.control("POST", "/api/v1/functions/f/rollback").send().is(200);
    assert_eq!(back.header("etag"), Some(&*first));
    nebula.control("DELETE", path).header("if-match", &first).send().is(204);
    nebula.get("/f/f?a=1&b=2").is(404);

    nebula.redeploy("greets", guests::GREETS);
    let pipeline = |name: &str, tag: &str| {
        let put = nebula.control("PUT", "/api/v1/pipelines/p").header(name, tag);
        put.header("content-type", "application/json").body(r#"{"steps": ["greets"]}"#).send()
    };
    let tag = pipeline("if-none-match", "*").is(200).header("etag").unwrap().to_owned();
    pipeline("if-none-match", "*").is(412);
    nebula.control("DELETE", "/api/v1/pipelines/p").header("if-match", "\"other\"").send().is(412);
    nebula.control("DELETE", "/api/v1/pipelines/p").header("if-match", &tag).send().is(204);
}

/// The name of an authentication scheme is the same in any case.
#[test]
fn the_schemes_name_has_any_case() {
    let nebula = Nebula::start();
    let token = std::fs::read_to_string(nebula.data_dir().join("token")).unwrap();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let request = nebula.control_without_token("GET", "/api/v1/functions");
        request.header("authorization", &format!("{scheme} {token}")).send().is(200);
    }
    let request = nebula.control_without_token("GET", "/api/v1/functions");
    request.header("authorization", &format!("Basic {token}")).send().is(401);
}
