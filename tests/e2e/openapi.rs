//! The data plane's OpenAPI document.

use nebula_tests::{Nebula, guests};
use serde_json::{Value, json};

fn document(nebula: &Nebula) -> Value {
    nebula.get("/openapi.json").is(200).has("content-type", "application/json").json()
}

/// Callers get it without a token. It has the functions, and nothing of the control plane.
#[test]
fn callers_get_a_document_of_the_functions() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS).deploy("raw", guests::MIRRORS_PAYLOAD);
    let document = document(&nebula);
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/f/adds", "/f/raw"]);
    assert_eq!(document["servers"], json!([{"url": "/"}]));
    assert!(document["components"].get("securitySchemes").is_none());
    let post = &document["paths"]["/f/adds"]["post"];
    let by_name = &post["requestBody"]["content"]["application/json"]["schema"]["oneOf"][0]["$ref"];
    assert_eq!(by_name, "#/components/schemas/adds.input");
    assert_eq!(document["components"]["schemas"]["adds.input"]["required"], json!(["a", "b"]));
    // An input may be digits in a string. An answer is an integer.
    let answer = &post["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(*answer, json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}));
}

/// A change of any function is in the next document. Until then, a client has it.
#[test]
fn the_document_follows_deploys() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let first = nebula.get("/openapi.json").is(200).header("etag").unwrap().to_owned();
    let known = |tag: &str| nebula.request("GET", "/openapi.json").header("if-none-match", tag).send();
    known(&first).is(304).says("");
    nebula.redeploy("greets", guests::GREETS);
    let second = known(&first).is(200).header("etag").unwrap().to_owned();
    assert!(document(&nebula)["paths"].get("/f/greets").is_some());
    nebula.redeploy("adds", guests::GREETS);
    known(&second).is(200);
    nebula.control("DELETE", "/api/v1/functions/adds").send().is(204);
    assert!(document(&nebula)["paths"].get("/f/adds").is_none());
}

/// No function's name leads to it, and its own path is exact.
#[test]
fn only_its_own_path_leads_to_the_document() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    nebula.request("HEAD", "/openapi.json").send().is(200).says("");
    nebula.post("/openapi.json", "1").is(405).has("allow", "GET, HEAD").problem("method-not-allowed");
    for path in ["/openapi.json/", "/openapi", "//openapi.json", "/f/greets/openapi.json"] {
        nebula.get(path).is(404);
    }
    nebula.get("/f/openapi.json").is(400).problem("bad-name");
}

#[test]
fn the_document_can_be_switched_off() {
    let nebula = Nebula::start_with(&["--openapi", "off"]).deploy("greets", guests::GREETS);
    nebula.get("/openapi.json").is(404).problem("unknown-path");
    nebula.control("GET", "/openapi.json").send().is(200);
}
