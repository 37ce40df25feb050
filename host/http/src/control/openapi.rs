//! The OpenAPI document: the control plane's operations, and the paths of every deployed function.

mod route_paths;

use nebula_runtime::{Description, Form, VersionRecord};
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths};

use super::describe::{SECURITY_SCHEME, openapi_method};
use super::routes::Operations;
use crate::input::{FORM, MULTIPART, QueryParameter, is_base64, media_types, query_parameters};

/// Returns the document for these functions.
pub(super) fn document(operations: &Operations, functions: &[VersionRecord]) -> serde_json::Result<Value> {
    let mut document = serde_json::to_value(plane(operations))?;
    for function in functions {
        document["paths"][format!("/f/{}", function.name)] = call_path(function);
    }
    if let Some(paths) = document["paths"].as_object_mut() {
        route_paths::add(paths, functions);
    }
    Ok(document)
}

fn plane(operations: &Operations) -> OpenApi {
    let mut paths = Paths::new();
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let mut components = ComponentsBuilder::new().security_scheme(SECURITY_SCHEME, token);
    for operation in operations.iter() {
        let (endpoint, description) = (operation.endpoint, operation.describe());
        let method = openapi_method(endpoint.method);
        paths.add_path_operation(endpoint.path, vec![method], description.operation(endpoint));
        for (name, schema) in description.schemas() {
            components = components.schema(name, schema.clone());
        }
    }
    let about = "Pure functions over HTTP. Paths under /f and the functions' routes are the data plane's, on an address of its \
                 own; the others are the control plane's.";
    let info = InfoBuilder::new().title("Nebula").version(env!("CARGO_PKG_VERSION")).description(Some(about));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
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
    let (answer, error) = match description.form {
        Form::Typed => {
            (content(description.output_schema.as_ref()), content(description.error_schema.as_ref()))
        }
        Form::Raw | Form::Http => (json!({"*/*": {}}), json!({"application/json": {}})),
    };
    let responses = json!({
        "200": {"description": "what the function returned", "content": answer},
        "400": problem("the request is malformed, or the input doesn't match the type"),
        "404": problem("no such function"),
        "405": problem("the function has other methods; `Allow` lists them"),
        "422": {"description": "the function's own error", "content": error},
        "431": problem("the headers are over the limit"),
        "500": problem("a defect of Nebula"),
        "502": problem("the function trapped or hit its own limit"),
        "503": problem("shed under load"),
        "504": problem("the deadline passed"),
    });
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
    let mut responses = responses;
    for (status, reason) in [
        ("408", "the body did not come in time"),
        ("413", "the body is over the limit"),
        ("415", "the function doesn't take this media type"),
    ] {
        responses[status] = problem(reason);
    }
    let bodies = media_types(description).iter().map(|media_type| {
        let schema = match *media_type {
            "application/json" => description.input_schema.clone(),
            FORM | MULTIPART => form_schema(description, *media_type == MULTIPART),
            _ => None,
        };
        ((*media_type).to_owned(), schema.map_or_else(|| json!({}), |schema| json!({"schema": schema})))
    });
    path["post"] = json!({
        "operationId": format!("call-{name}"),
        "summary": description.signature,
        "requestBody": {"content": bodies.collect::<Map<_, _>>()},
        "responses": responses,
    });
    if let (Some(docs), Some(operations)) = (&description.docs, path.as_object_mut()) {
        for operation in operations.values_mut() {
            operation["description"] = docs.as_str().into();
        }
    }
    path
}

/// Returns the schema of a form, whose fields are the query parameters. `has_files` sends bytes as
/// files instead of base64.
fn form_schema(description: &Description, has_files: bool) -> Option<Value> {
    let parameters = query_parameters(description)?;
    let property = |parameter: &QueryParameter<'_>| {
        let schema = match has_files && is_base64(parameter) {
            true => json!({"type": "string", "contentMediaType": "application/octet-stream"}),
            false => parameter.schema.clone(),
        };
        (parameter.name.to_owned(), schema)
    };
    let required = parameters.iter().filter(|parameter| parameter.required);
    Some(json!({
        "type": "object", "properties": parameters.iter().map(property).collect::<Map<_, _>>(),
        "required": required.map(|parameter| parameter.name).collect::<Vec<_>>(),
        "additionalProperties": false,
    }))
}

#[cfg(test)]
mod tests {
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

    /// The author's text describes the operations, and that of a field its parameter.
    #[test]
    fn docs_are_descriptions() {
        let path = call_path(&function(json!({
            "form": "typed", "signature": "handle: func(name: string) -> string", "docs": "Greets.",
            "input_schema": {"type": "string"},
        })));
        for method in ["get", "post"] {
            assert_eq!(path[method]["description"], "Greets.");
        }
        let path = call_path(&function(json!({"form": "raw", "signature": "", "input_schema": null})));
        assert!(path["post"].get("description").is_none());
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
        let form = &path["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
        assert_eq!(form["required"], json!(["name"]));
        assert_eq!(form["properties"], json!({"name": {"type": "string"}}));
        let raw = call_path(&function(json!({"form": "raw", "signature": "", "input_schema": null})));
        assert!(raw.get("get").is_none());
    }
}
