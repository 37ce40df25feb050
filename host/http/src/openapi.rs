//! `GET /openapi.json`: OpenAPI 3.1, with a path for every deployed function.

use nebula_runtime::limits::{Limits, MEMORY_BYTES_CEILING};
use nebula_runtime::{Form, VersionRecord};
use serde_json::{Map, Value, json};

use crate::input::{media_types, query_parameters};

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

/// What may come of any request, before anybody has looked at its body.
fn of_any_request(responses: &mut Value) {
    responses["405"] = problem("not a method for this; `Allow` says which are");
    responses["431"] = problem("more headers than are taken");
}

/// What may come of any body.
fn of_any_body(responses: &mut Value) {
    responses["408"] = problem("the body did not come in time");
    responses["413"] = problem("the body is over the limit");
}

fn call_path(function: &VersionRecord) -> Value {
    let description = &function.description;
    let (answer, error) = match description.form {
        Form::Typed => {
            (content(description.output_schema.as_ref()), content(description.error_schema.as_ref()))
        }
        Form::Raw | Form::Http => (json!({"*/*": {}}), json!({"application/json": {}})),
    };
    let mut responses = json!({
        "200": {"description": "what the function returned", "content": answer},
        "400": problem("the request is malformed, or the input doesn't match the type"),
        "404": problem("no such function"),
        "422": {"description": "the function's own error", "content": error},
        "500": problem("a defect of Nebula"),
        "502": problem("the function trapped or hit its own limit"),
        "503": problem("shed under load"),
        "504": problem("the deadline passed"),
    });
    of_any_request(&mut responses);
    let name = function.name.as_str();
    let mut path = json!({});
    if let Some(parameters) = query_parameters(description) {
        let mut responses = responses.clone();
        responses["304"] = json!({"description": "the content is the one that `If-None-Match` names"});
        path["get"] = json!({
            "operationId": format!("get-{name}"),
            "summary": description.signature,
            "parameters": parameters.iter().map(|parameter| json!({
                "name": parameter.name, "in": "query", "required": parameter.required,
                "schema": parameter.schema,
            })).collect::<Vec<_>>(),
            "responses": responses,
        });
    }
    of_any_body(&mut responses);
    responses["415"] = problem("not a media type that the function takes");
    let bodies = media_types(description).iter().map(|media_type| {
        let schema = description.input_schema.as_ref().filter(|_| *media_type == "application/json");
        ((*media_type).to_owned(), schema.map_or_else(|| json!({}), |schema| json!({"schema": schema})))
    });
    path["post"] = json!({
        "operationId": format!("call-{name}"),
        "summary": description.signature,
        "requestBody": {"content": bodies.collect::<Map<_, _>>()},
        "responses": responses,
    });
    path
}

/// A deploy's query: the function's own limits, as [`LimitOverrides`] has them.
///
/// [`LimitOverrides`]: nebula_runtime::limits::LimitOverrides
fn limit_parameters() -> Value {
    let parameter = |name: &str, what: &str, default: u64| {
        json!({
            "name": name, "in": "query", "required": false, "description": what,
            "schema": {"type": "integer", "minimum": 0, "default": default},
        })
    };
    let Limits { memory_bytes_max, deadline_ms, input_bytes_max, output_bytes_max, log_bytes_max } =
        Limits::default();
    let mut memory = parameter("memory_bytes_max", "linear memory of an instance, bytes", memory_bytes_max);
    memory["schema"]["maximum"] = MEMORY_BYTES_CEILING.into();
    let mut deadline = parameter("deadline_ms", "wall-clock time of a call, ms", deadline_ms.get());
    deadline["schema"]["minimum"] = 1.into();
    json!([
        deadline,
        memory,
        parameter("input_bytes_max", "the request's body, bytes", input_bytes_max),
        parameter("output_bytes_max", "the answer's body, bytes", output_bytes_max),
        parameter("log_bytes_max", "what is kept of a call's output streams, bytes", log_bytes_max),
    ])
}

/// What of a function's results is remembered, as a deploy's query says it.
fn remember_parameters() -> [Value; 4] {
    let parameter = |name: &str, what: &str, schema: Value| json!({"name": name, "in": "query", "required": false, "description": what, "schema": schema});
    let integer = |minimum: u64| json!({"type": "integer", "minimum": minimum});
    [
        parameter(
            "remember",
            "whether results are remembered",
            json!({"enum": ["on", "off"], "default": "on"}),
        ),
        parameter("remember_ttl_s", "how long a result is used, seconds", integer(1)),
        parameter("remember_bytes_max", "the largest answer that is remembered, bytes", integer(0)),
        parameter(
            "remember_traps",
            "whether its traps are remembered too",
            json!({"enum": ["on", "off"], "default": "off"}),
        ),
    ]
}

/// The same operation at another path.
fn named(operation: &Value, id: &str) -> Value {
    let mut operation = operation.clone();
    operation["operationId"] = id.into();
    operation
}

/// What becomes of pipelines that call a function by its name.
fn followers() -> Value {
    json!({
        "name": "followers", "in": "query", "required": false,
        "description": "whether pipelines that don't fit the new version have the change refused, or stay as they are",
        "schema": {"enum": ["must-fit", "may-stay"], "default": "must-fit"},
    })
}

fn control_paths() -> Map<String, Value> {
    let secured = json!([{"token": []}]);
    let name = json!([{
        "name": "name", "in": "path", "required": true,
        "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
    }]);
    let operation = |id: &str, summary: &str| {
        let mut responses = json!({
            "200": {"description": "done", "content": {"application/json": {}}},
            "400": problem("the request is malformed"),
            "401": problem("no or another token"), "404": problem("no such function"),
            "500": problem("a defect of Nebula"),
        });
        of_any_request(&mut responses);
        json!({"operationId": id, "summary": summary, "security": secured, "responses": responses})
    };
    let full = || problem("no room on the disk; nothing has changed");
    let mut deploy = operation("deploy", "deploys a component");
    deploy["requestBody"] = json!({"required": true, "content": {"application/wasm": {}}});
    let limits = limit_parameters().as_array().cloned().unwrap_or_default();
    deploy["parameters"] = limits.into_iter().chain(remember_parameters()).chain([followers()]).collect();
    of_any_body(&mut deploy["responses"]);
    deploy["responses"]["400"] = problem("the body is no component, or a limit is no number");
    deploy["responses"]["422"] = problem(
        "the component is no pure function, imports functions that can't be linked into it, or a limit is too high",
    );
    deploy["responses"]["409"] = problem("it would break pipelines that call it");
    deploy["responses"]["507"] = full();
    let without_content = |id: &str, summary: &str, done: &str| {
        let mut operation = operation(id, summary);
        if let Some(responses) = operation["responses"].as_object_mut() {
            responses.remove("200");
            responses.insert("204".to_owned(), json!({"description": done}));
        }
        operation
    };
    let mut remove = without_content("remove", "removes a function with its versions", "removed");
    remove["responses"]["409"] = problem("pipelines call it");
    remove["responses"]["507"] = full();
    let mut rollback = operation("rollback", "makes an earlier version current");
    rollback["requestBody"] = json!({"content": {"application/json": {"schema": {
        "type": "object", "properties": {"version": {"type": "string", "pattern": "^v[1-9][0-9]*$"}},
    }}}});
    of_any_body(&mut rollback["responses"]);
    rollback["parameters"] = json!([followers()]);
    rollback["responses"]["409"] = problem("it would break pipelines that call it");
    rollback["responses"]["507"] = full();
    let mut download = operation("component", "the current component");
    download["responses"]["200"]["content"] = json!({"application/wasm": {}});
    let digest = json!([{
        "name": "digest", "in": "path", "required": true,
        "schema": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
    }]);
    let mut component_of = operation("component-of", "a component, whatever it is called");
    component_of["responses"]["200"]["content"] = json!({"application/wasm": {}});
    let mut input = operation("input", "an input that a caller asked to have kept");
    input["responses"]["200"]["content"] = json!({"application/octet-stream": {}});
    let function = "/api/v1/functions/{name}";
    let pipeline = "/api/v1/pipelines/{name}";
    let description = json!({"required": true, "content": {"application/json": {"schema": {
        "type": "object", "required": ["steps"],
        "properties": {
            "input": {"type": "string", "description": "the type of what it takes, in WIT, or `payload`"},
            "steps": {"description": "a function's name, a list of steps, or an object of one kind of step"},
            "calls_max": {"type": "integer", "minimum": 0},
            "fuse": {"enum": ["auto", "always", "never"], "default": "auto"},
        },
    }}}});
    let mut compose = operation("deploy-pipeline", "checks a pipeline and deploys it");
    compose["requestBody"] = description.clone();
    compose["parameters"] = deploy["parameters"].clone();
    of_any_body(&mut compose["responses"]);
    compose["responses"]["409"] = problem("it would break pipelines that call it");
    compose["responses"]["422"] =
        problem("its types don't fit, it calls what isn't there, or a limit is too high");
    compose["responses"]["507"] = full();
    let mut check = operation("check-pipeline", "checks a pipeline; nothing changes");
    check["requestBody"] = description;
    of_any_body(&mut check["responses"]);
    check["responses"]["422"] = problem("its types don't fit, or it calls what isn't there");
    let mut explain = operation("explain", "makes a call and tells how each step of it went");
    explain["requestBody"] = json!({"content": {"*/*": {}}});
    of_any_body(&mut explain["responses"]);
    explain["responses"]["415"] = problem("a media type that the function doesn't take");
    Map::from_iter([
        ("/api/v1/pipelines".to_owned(), json!({"get": operation("list-pipelines", "every pipeline")})),
        (
            pipeline.to_owned(),
            json!({
                "parameters": name, "put": compose, "delete": named(&remove, "remove-pipeline"),
                "get": operation("pipeline", "a pipeline, with its steps' types"),
            }),
        ),
        (format!("{pipeline}/check"), json!({"parameters": name, "post": check})),
        (
            format!("{pipeline}/rollback"),
            json!({"parameters": name, "post": named(&rollback, "rollback-pipeline")}),
        ),
        (format!("{function}/explain"), json!({"parameters": name, "post": explain})),
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
        (format!("{function}/component"), json!({"parameters": name, "get": download})),
        (
            format!("{function}/cache"),
            json!({
                "parameters": name,
                "delete": without_content("clear-cache-of", "forgets a function's results", "forgotten"),
            }),
        ),
        ("/api/v1/components/{digest}".to_owned(), json!({"parameters": digest, "get": component_of})),
        ("/api/v1/inputs/{digest}".to_owned(), json!({"parameters": digest, "get": input})),
        (
            "/api/v1/cache".to_owned(),
            json!({
                "get": operation("cache", "what is remembered, and what that saves"),
                "delete": without_content("clear-cache", "forgets all results", "forgotten"),
            }),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use nebula_runtime::limits::LimitOverrides;

    use super::*;

    fn function(description: Value) -> VersionRecord {
        let mut record = json!({
            "name": "f", "version": "v1", "digest": format!("sha256:{}", "0".repeat(64)), "size_bytes": 1,
            "deployed_at_unix_s": 1, "limits": {}, "output_schema": null, "error_schema": null,
            "imports": [], "notes": [],
        });
        for (name, value) in description.as_object().unwrap() {
            record[name] = value.clone();
        }
        serde_json::from_value(record).unwrap()
    }

    fn statuses(operation: &Value) -> Vec<&str> {
        operation["responses"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn every_limit_is_a_parameter_of_a_deploy() {
        let parameters = limit_parameters();
        let all: Map<String, Value> = parameters
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| {
                (parameter["name"].as_str().unwrap().to_owned(), parameter["schema"]["default"].clone())
            })
            .collect();
        // Each is one that is read, and none is missing.
        let overrides: LimitOverrides = serde_json::from_value(Value::Object(all.clone())).unwrap();
        assert_eq!(Limits::default().with(&overrides).unwrap(), Limits::default());
        assert_eq!(serde_json::to_value(Limits::default()).unwrap(), Value::Object(all));
    }

    #[test]
    fn deploys_tell_what_may_come_of_them() {
        let paths = control_paths();
        let deploy = &paths["/api/v1/functions/{name}"]["put"];
        let expected = ["200", "400", "401", "404", "405", "408", "409", "413", "422", "431", "500", "507"];
        let mut found = statuses(deploy);
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_fits_a_query_can_be_got() {
        let path = call_path(&function(json!({
            "form": "typed", "signature": "handle: func(name: string) -> string",
            "input_schema": {"type": "string"},
        })));
        assert_eq!(
            path["get"]["parameters"],
            json!([
                {"name": "name", "in": "query", "required": true, "schema": {"type": "string"}},
            ])
        );
        assert!(statuses(&path["get"]).contains(&"304"));
        for status in ["405", "408", "413", "415", "431"] {
            assert!(statuses(&path["post"]).contains(&status), "{status}");
        }
        assert!(path["post"]["requestBody"]["content"]["text/*"].is_object());
        let raw = call_path(&function(json!({"form": "raw", "signature": "", "input_schema": null})));
        assert!(raw.get("get").is_none());
    }
}
