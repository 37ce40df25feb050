//! The path of each function: its operations with their parameters, bodies and answers.

use nebula_runtime::{Description, Form, VersionRecord};
use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

use super::route_paths;
use super::schemas::{NamedSchemas, Place, reference};
use crate::input::{
    FORM, Intake, MULTIPART, QueryParameter, intake, is_base64, is_bytes, is_string, media_types,
    query_parameters,
};
use crate::wire::ProblemDocument;

/// The component of every problem document.
const PROBLEM: &str = "problem";

/// The media type of bytes of any kind. Clients can't send a range like `*/*`.
const OCTETS: &str = "application/octet-stream";

/// The media type that stands for all texts.
const TEXT: &str = "text/plain";

/// The problems that every call may be answered with, besides the function's own answers.
const PROBLEMS: [(&str, &str); 11] = [
    ("400", "the request is malformed, or the input doesn't match the type"),
    ("404", "no such function"),
    ("405", "the function has other methods; `Allow` lists them"),
    ("412", "the content isn't one that `If-Match` names"),
    ("414", "the path and query are over the limit"),
    ("431", "the headers are over the limit"),
    ("500", "a defect of Nebula"),
    ("501", "the body has a transfer coding other than `chunked`"),
    ("502", "the function trapped or hit its own limit"),
    ("503", "shed under load"),
    ("504", "the deadline passed"),
];

/// The problems of a call with a body.
const BODY_PROBLEMS: [(&str, &str); 3] = [
    ("408", "the body did not come in time"),
    ("413", "the body is over the limit"),
    ("415", "the function doesn't take this media type"),
];

/// A media type of forms.
#[derive(Clone, Copy)]
enum FormKind {
    /// `application/x-www-form-urlencoded`
    Pairs,
    /// `multipart/form-data`, which has bytes as files instead of base64.
    Files,
}

/// Paths and the schemas that they refer to.
#[derive(Default)]
pub(crate) struct FunctionPaths {
    pub(crate) paths: Map<String, Value>,
    pub(crate) schemas: Map<String, Value>,
}

/// Returns the paths of functions.
pub(crate) fn function_paths(functions: &[VersionRecord]) -> serde_json::Result<FunctionPaths> {
    let mut all = FunctionPaths::default();
    all.schemas.insert(PROBLEM.to_owned(), serde_json::to_value(ProblemDocument::schema())?);
    for function in functions {
        let mut schemas = NamedSchemas::new(function.name.as_str(), &mut all.schemas);
        let path = path(function.name.as_str(), &function.description, &mut schemas);
        all.paths.insert(format!("/f/{}", function.name), path);
    }
    route_paths::add(&mut all.paths, functions);
    Ok(all)
}

/// Returns the operations of a function.
fn path(name: &str, description: &Description, schemas: &mut NamedSchemas<'_>) -> Value {
    let body = body(description, schemas);
    let responses = responses(description, schemas);
    let mut path = Map::new();
    let has_query = query_parameters(description).is_some();
    if has_query || description.form == Form::Http {
        let mut responses = responses.clone();
        responses["304"] = json!({"description": "the content is one that `If-None-Match` names"});
        let operation = json!({
            "operationId": format!("get-{name}"),
            "parameters": parameters(description, schemas),
            "responses": responses,
        });
        path.insert("get".to_owned(), operation);
    }
    let mut responses = responses;
    if description.form != Form::Http {
        for (status, reason) in BODY_PROBLEMS {
            responses[status] = problem(reason);
        }
    }
    let mut operation = json!({"operationId": format!("call-{name}"), "responses": responses});
    if let Some(body) = body {
        operation["requestBody"] = body;
    }
    path.insert("post".to_owned(), operation);
    for operation in path.values_mut() {
        operation["summary"] = description.signature.as_str().into();
        operation["tags"] = json!(["functions"]);
        if let Some(docs) = &description.docs {
            operation["description"] = docs.as_str().into();
        }
    }
    Value::Object(path)
}

/// Returns the body of a call, unless the function takes nothing.
fn body(description: &Description, schemas: &mut NamedSchemas<'_>) -> Option<Value> {
    // An empty text or payload is an input too.
    let intake = intake(description);
    let is_required = match intake {
        Intake::Nothing => return None,
        Intake::Payload | Intake::Text(_) | Intake::Bytes(_) => false,
        Intake::Values => true,
    };
    let mut content = Map::new();
    for media_type in media_types(description) {
        let (media_type, schema) = match *media_type {
            "application/json" => {
                let input = description.input_schema.as_ref();
                ("application/json", input.map(|input| schemas.document(input, Place::Input)))
            }
            FORM => (FORM, form(FormKind::Pairs, description, schemas)),
            MULTIPART => (MULTIPART, form(FormKind::Files, description, schemas)),
            // Only in UTF-8, as which a text is sent.
            OCTETS if matches!(intake, Intake::Text(_)) => continue,
            "text/*" => (TEXT, Some(json!({"type": "string"}))),
            "*/*" | OCTETS => (OCTETS, Some(bytes())),
            other => (other, None),
        };
        content.insert(media_type.to_owned(), json!({"schema": schema.unwrap_or_else(|| json!({}))}));
    }
    Some(json!({"content": content, "required": is_required}))
}

/// Returns the schema of a form, whose fields are the parameters of a query.
fn form(kind: FormKind, description: &Description, schemas: &mut NamedSchemas<'_>) -> Option<Value> {
    let input = description.input_schema.as_ref()?;
    let parameters = query_parameters(description)?;
    let (name, is_strict) = match kind {
        // What isn't a form of a single text is the text itself.
        FormKind::Pairs => ("form", !matches!(intake(description), Intake::Text(_))),
        FormKind::Files => ("files", true),
    };
    let mut property = |parameter: &QueryParameter<'_>| {
        let schema = match kind {
            FormKind::Files if is_base64(parameter) => bytes(),
            FormKind::Files | FormKind::Pairs => {
                schemas.part(&written_in_text(parameter.schema), input, parameter.name)
            }
        };
        (parameter.name.to_owned(), schema)
    };
    let properties: Map<_, _> = parameters.iter().map(&mut property).collect();
    let required = parameters.iter().filter(|parameter| parameter.required && is_strict);
    let form = json!({
        "type": "object", "properties": properties,
        "required": required.map(|parameter| parameter.name).collect::<Vec<_>>(),
        "additionalProperties": !is_strict,
    });
    Some(schemas.object(name, form))
}

/// Returns the parameters of a query.
fn parameters(description: &Description, schemas: &mut NamedSchemas<'_>) -> Vec<Value> {
    let (Some(parameters), Some(input)) = (query_parameters(description), &description.input_schema) else {
        return Vec::new();
    };
    let parameter = |parameter: &QueryParameter<'_>| {
        json!({
            "name": parameter.name, "in": "query", "required": parameter.required,
            "schema": schemas.part(&written_in_text(parameter.schema), input, parameter.name),
        })
    };
    parameters.iter().map(parameter).collect()
}

/// Returns the schema of a value in a query or form. There an integer and its digits in a string look
/// the same, and bytes are base64.
fn written_in_text(schema: &Value) -> Value {
    let mut written = match schema["oneOf"].as_array().map(Vec::as_slice) {
        Some([integer, _]) if integer["type"] == "integer" => integer.clone(),
        Some([base64, _]) if base64["contentEncoding"] == "base64" => base64.clone(),
        Some(_) | None => schema.clone(),
    };
    if let Some(items) = written.get_mut("items") {
        *items = written_in_text(items);
    }
    written
}

/// Returns the responses that a call with or without a body may get.
fn responses(description: &Description, schemas: &mut NamedSchemas<'_>) -> Value {
    let mut responses = json!({});
    // A function of the http form may answer with any status, so that a problem's isn't only Nebula's.
    if description.form != Form::Http {
        for (status, reason) in PROBLEMS {
            responses[status] = problem(reason);
        }
    }
    match description.form {
        Form::Typed => {
            let answer = description.output_schema.as_ref();
            let answer = match answer {
                Some(schema) => answer_content(schema, schemas),
                None if gives_payload(description) => anything(),
                None => json!({"application/json": {"schema": {"type": "null"}}}),
            };
            let error = description.error_schema.as_ref();
            let error = error.map_or_else(|| json!({}), |schema| schemas.document(schema, Place::Error));
            responses["200"] = json!({"description": "what the function returned", "content": answer});
            responses["422"] = json!({
                "description": "the function's own error", "content": {"application/json": {"schema": error}},
            });
        }
        Form::Raw => {
            responses["200"] = json!({"description": "what the function returned", "content": anything()});
            let error = json!({"type": "object"});
            responses["422"] = json!({
                "description": "the function's own error", "content": {"application/json": {"schema": error}},
            });
        }
        Form::Http => {
            responses["default"] =
                json!({"description": "what the function answered, or a problem", "content": anything()});
        }
    }
    responses
}

/// Returns the forms in which a typed function's answer may be sent. `Accept` and the form of the
/// input decide.
fn answer_content(schema: &Value, schemas: &mut NamedSchemas<'_>) -> Value {
    let mut content = json!({"application/json": {"schema": schemas.document(schema, Place::Answer)}});
    if is_string(schema) {
        content[TEXT] = json!({"schema": {"type": "string"}});
    }
    if is_bytes(schema) {
        content[OCTETS] = json!({"schema": bytes()});
    }
    content
}

/// Returns whether a function on values returns a payload, as only a pipeline can. No type of WIT
/// has this name.
fn gives_payload(description: &Description) -> bool {
    let (_, result) = description.signature.rsplit_once(" -> ").unwrap_or_default();
    result.trim_start_matches("result<").starts_with("payload")
}

/// Returns the content of any media type. Clients that don't understand the range read bytes.
fn anything() -> Value {
    json!({OCTETS: {"schema": bytes()}, "*/*": {"schema": {}}})
}

fn bytes() -> Value {
    json!({"type": "string", "format": "binary"})
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/problem+json": {"schema": reference(PROBLEM)}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(description: Value) -> Value {
        let mut record = json!({
            "name": "f", "version": "v1", "digest": format!("sha256:{}", "0".repeat(64)), "size_bytes": 1,
            "deployed_at_unix_s": 1, "limits": {}, "form": "typed", "signature": "handle: func(x: t)",
            "input_schema": null, "output_schema": null, "error_schema": null, "imports": [], "notes": [],
        });
        for (name, value) in description.as_object().unwrap() {
            record[name] = value.clone();
        }
        let FunctionPaths { mut paths, schemas } =
            function_paths(&[serde_json::from_value(record).unwrap()]).unwrap();
        let path = paths.remove("/f/f").unwrap();
        // Every reference leads to a component.
        let document = json!({"paths": path, "components": {"schemas": schemas}});
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
        path
    }

    fn names(object: &Value) -> Vec<&str> {
        object.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn docs_are_descriptions() {
        let string = json!({"type": "string"});
        let path = path_of(json!({"docs": "Greets.", "input_schema": string}));
        for method in ["get", "post"] {
            assert_eq!(path[method]["description"], "Greets.");
        }
        assert!(path_of(json!({"input_schema": string}))["post"].get("description").is_none());
    }

    #[test]
    fn what_fits_a_query_can_be_got() {
        let u64 = json!({"oneOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+$"}]});
        let path = path_of(json!({"input_schema": {"type": "object", "properties": {
            "n": u64, "all": {"type": "array", "items": u64}, "at": {"oneOf": [{"type": "null"}, {"type": "string"}]},
        }}}));
        let mut parameters = path["get"]["parameters"].as_array().unwrap().clone();
        parameters.sort_by_key(|parameter| parameter["name"].to_string());
        // In text, an integer is its digits.
        let integer = json!({"type": "integer"});
        assert_eq!(
            parameters,
            [
                json!({"name": "all", "in": "query", "required": false,
                    "schema": {"type": "array", "items": integer}}),
                json!({"name": "at", "in": "query", "required": false, "schema": {"type": "string"}}),
                json!({"name": "n", "in": "query", "required": true, "schema": integer}),
            ]
        );
        assert!(path["get"]["responses"].get("304").is_some());
        let raw = path_of(json!({"form": "raw", "signature": ""}));
        assert!(raw.get("get").is_none());
    }

    /// A client can send each media type, and generators need each to have a schema.
    #[test]
    fn bodies_are_those_that_the_function_takes() {
        let bytes = json!({"oneOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "array"}]});
        let record = json!({"type": "object", "properties": {"file": bytes}});
        let nested = json!({"type": "array", "items": {"type": "object", "properties": {}}});
        for (description, media_types, is_required) in [
            (
                json!({"input_schema": {"type": "string"}}),
                &["application/json", FORM, MULTIPART, TEXT][..],
                false,
            ),
            (json!({"input_schema": bytes}), &["application/json", OCTETS], false),
            (json!({"input_schema": record}), &["application/json", FORM, MULTIPART], true),
            (json!({"input_schema": nested}), &["application/json"], true),
            (json!({"form": "raw"}), &[OCTETS], false),
            (json!({"form": "http"}), &[OCTETS], false),
        ] {
            let path = path_of(description);
            let body = &path["post"]["requestBody"];
            let mut found = names(&body["content"]);
            found.sort_unstable();
            assert_eq!(found, media_types);
            assert_eq!(body["required"], is_required, "{media_types:?}");
            for content in body["content"].as_object().unwrap().values() {
                assert!(content["schema"].is_object(), "{media_types:?}");
            }
        }
        assert!(path_of(json!({"signature": "handle: func()"}))["post"].get("requestBody").is_none());
    }

    #[test]
    fn answers_have_the_media_types_that_they_are_sent_as() {
        let content = |description: Value| {
            let path = path_of(description);
            let mut found: Vec<String> =
                names(&path["post"]["responses"]["200"]["content"]).into_iter().map(str::to_owned).collect();
            found.sort_unstable();
            found
        };
        let base64 = json!({"type": "string", "contentEncoding": "base64"});
        let kind = json!({"type": "string", "enum": ["a"]});
        assert_eq!(content(json!({"output_schema": {"type": "string"}})), ["application/json", TEXT]);
        assert_eq!(content(json!({"output_schema": base64})), ["application/json", OCTETS]);
        assert_eq!(content(json!({"output_schema": kind})), ["application/json"]);
        assert_eq!(content(json!({"signature": "handle: func()"})), ["application/json"]);
        for signature in ["handle: func(x: u8) -> payload", "handle: func(x: u8) -> result<payload, string>"]
        {
            assert_eq!(content(json!({"signature": signature})), ["*/*", OCTETS]);
        }
        let http = path_of(json!({"form": "http"}));
        assert_eq!(names(&http["post"]["responses"]), ["default"]);
    }

    #[test]
    fn every_status_is_listed() {
        let path = path_of(json!({"input_schema": {"type": "string"}}));
        let found = names(&path["post"]["responses"]);
        for status in PROBLEMS.iter().chain(&BODY_PROBLEMS).map(|(status, _)| *status).chain(["200", "422"]) {
            assert!(found.contains(&status), "{status}");
        }
    }
}
