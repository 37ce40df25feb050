//! `GET /openapi.json`: OpenAPI 3.1, with a path for every deployed function.

use nebula_runtime::{Form, VersionRecord};
use serde_json::{Map, Value, json};

/// The document for the functions there are.
pub(crate) fn document(functions: &[VersionRecord]) -> Value {
    let mut paths = control_paths();
    for function in functions {
        paths.insert(format!("/f/{}", function.name), call_path(function));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Nebula",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Pure functions over HTTP. Paths under /f are the data plane's, on an address of its own; the others are the control plane's.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"problem": {
                "type": "object",
                "description": "RFC 9457",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"}, "title": {"type": "string"},
                    "status": {"type": "integer"}, "detail": {"type": "string"},
                },
            }},
        },
    })
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}},
    })
}

fn content(schema: Option<&Value>) -> Value {
    match schema {
        Some(schema) => json!({"application/json": {"schema": schema}}),
        None => json!({"application/json": {}}),
    }
}

fn call_path(function: &VersionRecord) -> Value {
    let description = &function.description;
    let (request, answer, error) = match description.form {
        Form::Typed => (
            content(description.input_schema.as_ref()),
            content(description.output_schema.as_ref()),
            content(description.error_schema.as_ref()),
        ),
        Form::Raw | Form::Http => (json!({"*/*": {}}), json!({"*/*": {}}), json!({"application/json": {}})),
    };
    let name = function.name.as_str();
    json!({"post": {
        "operationId": format!("call-{name}"),
        "summary": description.signature,
        "requestBody": {"content": request},
        "responses": {
            "200": {"description": "what the function returned", "content": answer},
            "400": problem("the input doesn't match the type"),
            "422": {"description": "the function's own error", "content": error},
            "502": problem("the function trapped or hit its own limit"),
            "503": problem("shed under load"),
            "504": problem("the deadline passed"),
        },
    }})
}

fn control_paths() -> Map<String, Value> {
    let secured = json!([{"token": []}]);
    let name = json!([{
        "name": "name", "in": "path", "required": true,
        "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
    }]);
    let operation = |id: &str, summary: &str| {
        json!({
            "operationId": id, "summary": summary, "security": secured,
            "responses": {
                "200": {"description": "done", "content": {"application/json": {}}},
                "401": problem("no or another token"), "404": problem("no such function"),
            },
        })
    };
    let mut deploy = operation("deploy", "deploys a component");
    deploy["requestBody"] = json!({"required": true, "content": {"application/wasm": {}}});
    deploy["responses"]["400"] = problem("the body is no component");
    deploy["responses"]["422"] = problem("the component is no pure function");
    let mut remove = operation("remove", "removes a function with its versions");
    remove["responses"] = json!({
        "204": {"description": "removed"},
        "401": problem("no or another token"), "404": problem("no such function"),
    });
    let mut rollback = operation("rollback", "makes an earlier version current");
    rollback["requestBody"] = json!({"content": {"application/json": {"schema": {
        "type": "object", "properties": {"version": {"type": "string", "pattern": "^v[1-9][0-9]*$"}},
    }}}});
    let function = "/api/v1/functions/{name}";
    Map::from_iter([
        ("/api/v1/functions".to_owned(), json!({"get": operation("list", "every function")})),
        (
            function.to_owned(),
            json!({
                "parameters": name, "put": deploy, "delete": remove,
                "get": operation("inspect", "a function and its versions"),
            }),
        ),
        (format!("{function}/rollback"), json!({"parameters": name, "post": rollback})),
        (
            format!("{function}/logs"),
            json!({"parameters": name, "get": operation("logs", "what its last calls printed")}),
        ),
        (
            format!("{function}/component"),
            json!({"parameters": name, "get": operation("component", "the current component")}),
        ),
    ])
}
