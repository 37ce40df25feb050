//! Input that a function accepts: methods, media types, query parameters and bodies, read from its
//! description.
//!
//! Invariant: the runtime's codec accepts exactly this. The types are recognized by the schemas
//! that the codec itself writes.

use nebula_runtime::{Description, Form};
use serde_json::Value;

/// The media type of pairs in a body, as browsers and `curl -d` send them.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The media type of a form with files.
pub(crate) const MULTIPART: &str = "multipart/form-data";

/// A parameter of the query string.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueryParameter<'a> {
    pub(crate) name: &'a str,
    pub(crate) required: bool,
    /// The schema without the `null` of an option, which stands for an absent parameter.
    pub(crate) schema: &'a Value,
}

/// The input that a typed or raw function takes from a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intake<'a> {
    /// Any bytes with their media type: the function is raw.
    Payload,
    /// The only parameter, of this name, is a `string`.
    Text(&'a str),
    /// The only parameter, of this name, is a `list<u8>`.
    Bytes(&'a str),
    /// JSON.
    Values,
    /// The function has no parameters.
    Nothing,
}

/// Returns the input that a function takes from a body.
pub(crate) fn intake(description: &Description) -> Intake<'_> {
    let name = || only_name(&description.signature).unwrap_or_default();
    match (description.form, &description.input_schema) {
        (Form::Raw | Form::Http, _) => Intake::Payload,
        (Form::Typed, Some(schema)) if is_string(schema) => Intake::Text(name()),
        (Form::Typed, Some(schema)) if is_bytes(schema) => Intake::Bytes(name()),
        (Form::Typed, Some(_)) => Intake::Values,
        (Form::Typed, None) => Intake::Nothing,
    }
}

/// Returns whether a query parameter holds base64.
pub(crate) fn is_base64(parameter: &QueryParameter<'_>) -> bool {
    is_bytes(parameter.schema)
}

/// Returns the methods that a function of this form answers, for `Allow`.
pub(crate) fn methods(form: Form) -> &'static str {
    match form {
        // A function of the http form also answers other methods, if its guest does.
        Form::Typed | Form::Http => "GET, HEAD, POST, QUERY, OPTIONS",
        // A raw function takes a payload, and a query string isn't one.
        Form::Raw => "POST, QUERY, OPTIONS",
    }
}

/// Returns the media types of a function's input, for `Accept-Query` (RFC 10008 §3).
pub(crate) fn media_types(description: &Description) -> &'static [&'static str] {
    match (description.form, &description.input_schema) {
        (Form::Raw | Form::Http, _) => &["*/*"],
        (Form::Typed, Some(schema)) if is_string(schema) => {
            &["application/json", "text/*", "application/octet-stream", FORM, MULTIPART]
        }
        (Form::Typed, Some(schema)) if is_bytes(schema) => &["application/json", "*/*"],
        (Form::Typed, Some(_) | None) if query_parameters(description).is_some() => {
            &["application/json", FORM, MULTIPART]
        }
        (Form::Typed, Some(_) | None) => &["application/json"],
    }
}

/// Returns the query parameters of a function; `None` if its input doesn't fit a query string.
pub(crate) fn query_parameters(description: &Description) -> Option<Vec<QueryParameter<'_>>> {
    match (description.form, &description.input_schema) {
        (Form::Raw | Form::Http, _) => None,
        (Form::Typed, None) => Some(Vec::new()),
        (Form::Typed, Some(schema)) => match schema["properties"].as_object() {
            // The function has several parameters, or one record, whose fields are parameters.
            Some(properties) => {
                properties.iter().map(|(name, schema)| query_parameter(name, schema)).collect()
            }
            None => Some(vec![query_parameter(only_name(&description.signature)?, schema)?]),
        },
    }
}

fn query_parameter<'a>(name: &'a str, schema: &'a Value) -> Option<QueryParameter<'a>> {
    let (optional, schema) = match schema["oneOf"].as_array().map(Vec::as_slice) {
        Some([null, schema]) if null["type"] == "null" => (true, schema),
        Some(_) | None => (false, schema),
    };
    let of_any_length = schema.get("minItems").is_none() && schema.get("uniqueItems").is_none();
    let list = schema["type"] == "array" && of_any_length && is_scalar(&schema["items"]);
    // An absent parameter is an empty list.
    (list || is_scalar(schema)).then_some(QueryParameter { name, required: !optional && !list, schema })
}

fn is_scalar(schema: &Value) -> bool {
    let scalar = |schema: &Value| {
        matches!(schema["type"].as_str(), Some("boolean" | "integer" | "number" | "string"))
            || schema["enum"].is_array()
    };
    let several = schema["oneOf"].as_array();
    scalar(schema) || is_bytes(schema) || several.is_some_and(|schemas| schemas.iter().all(scalar))
}

/// Returns whether a schema is that of a `string`.
pub(crate) fn is_string(schema: &Value) -> bool {
    // A `char` is a string with a length, an enum one of some, and bytes are one in an answer.
    let is_narrower = ["maxLength", "enum", "contentEncoding"].iter().any(|key| schema.get(key).is_some());
    schema["type"] == "string" && !is_narrower
}

/// Returns whether a schema is that of a `list<u8>`.
pub(crate) fn is_bytes(schema: &Value) -> bool {
    // An input may also be an array.
    schema["contentEncoding"] == "base64" || schema["oneOf"][0]["contentEncoding"] == "base64"
}

/// Parses the name of the only parameter from `handle: func(name: …`.
fn only_name(signature: &str) -> Option<&str> {
    signature.strip_prefix("handle: func(")?.split_once(':').map(|(name, _)| name.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn typed(signature: &str, input_schema: Option<Value>) -> Description {
        Description {
            form: Form::Typed,
            signature: signature.to_owned(),
            docs: None,
            input_schema,
            output_schema: None,
            error_schema: None,
            imports: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn parameters(description: &Description) -> Option<Vec<(&str, bool)>> {
        let parameters = query_parameters(description)?;
        Some(parameters.iter().map(|parameter| (parameter.name, parameter.required)).collect())
    }

    #[test]
    fn parameters_have_the_names_of_the_input() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "integer", "minimum": 0, "maximum": 9},
            "b": {"oneOf": [{"type": "null"}, {"type": "string"}]},
            "c": {"type": "array", "items": {"oneOf": [{"type": "number"}, {"enum": ["NaN"]}]}},
            "d": {"oneOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "array"}]},
        }});
        let several = typed("handle: func(…)", Some(schema));
        let expected = vec![("a", true), ("b", false), ("c", false), ("d", true)];
        assert_eq!(parameters(&several), Some(expected));
        let one = typed("handle: func(name: string) -> string", Some(json!({"type": "string"})));
        assert_eq!(parameters(&one), Some(vec![("name", true)]));
        assert_eq!(parameters(&typed("handle: func()", None)), Some(Vec::new()));
    }

    #[test]
    fn nested_inputs_have_no_query_parameters() {
        for schema in [
            json!({"type": "array", "items": {"type": "object"}}),
            json!({"type": "array", "uniqueItems": true, "items": {"enum": ["flag"]}}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"oneOf": [{"const": "a"}, {"type": "object"}]}),
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}),
        ] {
            let function = typed("handle: func(input: t)", Some(schema));
            assert_eq!(parameters(&function), None, "{:?}", function.input_schema);
        }
    }

    #[test]
    fn strings_and_bytes_are_taken_as_they_are() {
        let bytes = json!({"oneOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "array"}]});
        for (schema, expected) in [
            (Some(json!({"type": "string"})), Intake::Text("x")),
            (Some(bytes), Intake::Bytes("x")),
            (Some(json!({"type": "string", "maxLength": 1})), Intake::Values),
            (Some(json!({"type": "string", "enum": ["a", "b"]})), Intake::Values),
            (Some(json!({"type": "object", "properties": {"a": {"type": "string"}}})), Intake::Values),
            (None, Intake::Nothing),
        ] {
            assert_eq!(intake(&typed("handle: func(x: t)", schema)), expected);
        }
        assert_eq!(intake(&Description { form: Form::Raw, ..typed("", None) }), Intake::Payload);
    }

    #[test]
    fn strings_and_bytes_have_plain_media_types_too() {
        let of = |schema| media_types(&typed("handle: func(input: t)", Some(schema))).join(", ");
        let forms = "application/x-www-form-urlencoded, multipart/form-data";
        let string = of(json!({"type": "string"}));
        assert_eq!(string, format!("application/json, text/*, application/octet-stream, {forms}"));
        let char = json!({"type": "string", "minLength": 1, "maxLength": 1});
        assert_eq!(of(char), format!("application/json, {forms}"));
        assert_eq!(of(json!({"type": "array", "items": {"type": "object"}})), "application/json");
        let bytes = json!({"oneOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "array"}]});
        assert_eq!(of(bytes), "application/json, */*");
    }
}
