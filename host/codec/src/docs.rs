//! Documentation in schemas: adds each text where its type or part is, and the names of types as
//! titles.
//!
//! [`json_schema`](crate::json_schema) decides the form of a schema. Every part is looked up here:
//! one that has another form keeps no text.

use std::fmt::Write as _;

use nebula_model::docs::{FunctionDocs, NamedTypes, PartDocs};
use serde_json::Value;

use crate::types::{Signature, Type};

/// Maximum length of all texts that are added to the schemas of a function, bytes. A type can be in
/// many places, and its text is repeated in each.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The schemas of a typed function.
pub struct FunctionSchemas<'a> {
    /// The schema of the input document.
    pub input: Option<&'a mut Value>,
    /// The schema of the value.
    pub output: Option<&'a mut Value>,
    /// The schema of the function's own error.
    pub error: Option<&'a mut Value>,
}

/// Adds the names and the documentation of a function's types to its schemas. Texts beyond 64 KiB in
/// all are left out.
pub fn describe_schemas(signature: &Signature, docs: &FunctionDocs, schemas: FunctionSchemas<'_>) {
    let mut writer = Writer { docs, left: TEXT_BYTES_MAX };
    let FunctionSchemas { input, output, error } = schemas;
    match (&*signature.params, input) {
        ([param], Some(schema)) => writer.describe(schema, &param.ty, writer.param(&param.name)),
        (params, Some(schema)) => {
            for param in params {
                if let Some(schema) =
                    schema.pointer_mut("/properties").and_then(|all| all.get_mut(&param.name))
                {
                    writer.describe(schema, &param.ty, writer.param(&param.name));
                }
            }
        }
        (_, None) => {}
    }
    match &signature.result {
        Some(Type::Result(result)) => {
            for (index, ty, schema) in [(0, &result.ok, output), (1, &result.err, error)] {
                if let (Some(ty), Some(schema)) = (ty, schema) {
                    writer.describe(schema, ty, part(&docs.result, index));
                }
            }
        }
        Some(ty) => {
            if let Some(schema) = output {
                writer.describe(schema, ty, &docs.result);
            }
        }
        None => {}
    }
}

/// Writes documentation into schemas.
struct Writer<'a> {
    docs: &'a FunctionDocs,
    /// The length of the texts that may still be added, bytes.
    left: usize,
}

impl<'a> Writer<'a> {
    fn param(&self, name: &str) -> &'a NamedTypes {
        self.docs.params.get(name).unwrap_or(&NamedTypes::None)
    }

    /// Describes a type and the types in it. The type bounds the recursion.
    fn describe(&mut self, schema: &mut Value, ty: &Type, named: &NamedTypes) {
        match named {
            NamedTypes::None => {}
            NamedTypes::Name(name) => self.describe_named(schema, ty, name),
            NamedTypes::Parts(_) => self.describe_parts(schema, ty, named),
        }
    }

    fn describe_parts(&mut self, schema: &mut Value, ty: &Type, named: &NamedTypes) {
        match ty {
            Type::List(element) => self.describe_at(schema, "/items", element, part(named, 0)),
            Type::Option(value) => {
                let at =
                    if matches!(**value, Type::Option(_)) { "/oneOf/1/properties/some" } else { "/oneOf/1" };
                self.describe_at(schema, at, value, part(named, 0));
            }
            Type::Tuple(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    self.describe_at(schema, &format!("/prefixItems/{index}"), element, part(named, index));
                }
            }
            Type::Result(result) => {
                for (index, ty, at) in
                    [(0, &result.ok, "/oneOf/0/properties/ok"), (1, &result.err, "/oneOf/1/properties/err")]
                {
                    if let Some(ty) = ty {
                        self.describe_at(schema, at, ty, part(named, index));
                    }
                }
            }
            // The SDK makes no maps and flags. The others have a name or no parts.
            Type::Map(_)
            | Type::Primitive(_)
            | Type::Record(_)
            | Type::Variant(_)
            | Type::Enum(_)
            | Type::Flags(_) => {}
        }
    }

    fn describe_at(&mut self, schema: &mut Value, at: &str, ty: &Type, named: &NamedTypes) {
        if let Some(schema) = schema.pointer_mut(at) {
            self.describe(schema, ty, named);
        }
    }

    fn describe_named(&mut self, schema: &mut Value, ty: &Type, name: &str) {
        self.name(schema, name);
        let Some(docs) = self.docs.types.get(name) else { return };
        let mut text = docs.docs.clone().unwrap_or_default();
        let undocumented = PartDocs::default();
        let of = |name: &str| docs.parts.get(name).unwrap_or(&undocumented);
        match ty {
            Type::Record(fields) => {
                for field in &**fields {
                    let schema =
                        schema.pointer_mut("/properties").and_then(|fields| fields.get_mut(&field.name));
                    if let Some(schema) = schema {
                        self.describe(schema, &field.ty, &of(&field.name).named);
                        self.add(schema, of(&field.name).docs.as_deref());
                    }
                }
            }
            Type::Variant(cases) => {
                for (index, case) in cases.iter().enumerate() {
                    let Some(schema) = schema.pointer_mut(&format!("/oneOf/{index}")) else { continue };
                    if let Some(ty) = &case.payload {
                        self.describe_at(
                            schema,
                            &format!("/properties/{}", case.name),
                            ty,
                            &of(&case.name).named,
                        );
                    }
                    self.add(schema, of(&case.name).docs.as_deref());
                }
            }
            Type::Enum(names) => {
                // A schema has no place for a text about one name of several.
                let mut list = String::new();
                for name in &**names {
                    if let Some(docs) = &of(name).docs {
                        // Writing to a string can't fail.
                        let _ = write!(list, "\n* `{name}`: {}", docs.replace('\n', "\n  "));
                    }
                }
                if !list.is_empty() {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(&list);
                }
            }
            Type::Primitive(_)
            | Type::List(_)
            | Type::Map(_)
            | Type::Tuple(_)
            | Type::Flags(_)
            | Type::Option(_)
            | Type::Result(_) => {}
        }
        self.add(schema, Some(text.trim_start_matches('\n')));
    }

    /// Adds the name of a type.
    fn name(&mut self, schema: &mut Value, name: &str) {
        let Some(schema) = schema.as_object_mut() else { return };
        let Some(left) = self.left.checked_sub(name.len()) else { return };
        self.left = left;
        schema.insert("title".to_owned(), name.into());
    }

    /// Adds a text before the one that a schema has: that of a field comes before that of its type.
    fn add(&mut self, schema: &mut Value, text: Option<&str>) {
        let (Some(text), Some(schema)) = (text.filter(|text| !text.is_empty()), schema.as_object_mut())
        else {
            return;
        };
        let Some(left) = self.left.checked_sub(text.len()) else { return };
        self.left = left;
        let text = match schema.get("description").and_then(Value::as_str) {
            Some(before) => format!("{text}\n\n{before}"),
            None => text.to_owned(),
        };
        schema.insert("description".to_owned(), text.into());
    }
}

/// Returns the named types in a part.
fn part(named: &NamedTypes, index: usize) -> &NamedTypes {
    match named {
        NamedTypes::Parts(parts) => parts.get(index).unwrap_or(&NamedTypes::None),
        NamedTypes::None | NamedTypes::Name(_) => &NamedTypes::None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::Field;
    use crate::{input_schema, json_schema, parse_type};

    fn signature(params: &[(&str, &str)], result: &str) -> Signature {
        let params =
            params.iter().map(|(name, ty)| Field { name: (*name).into(), ty: parse_type(ty).unwrap() });
        Signature { params: params.collect(), result: Some(parse_type(result).unwrap()) }
    }

    /// Every text is at the schema of its type or part, whatever is around it.
    #[test]
    fn texts_are_where_their_types_are() {
        let kind = "enum { plain, fancy }";
        let point = "record { x: f64, y: f64 }";
        let shape = format!("variant {{ nothing, dot({point}), path(list<{point}>) }}");
        let signature = signature(
            &[("shapes", &format!("list<tuple<u8, {shape}>>")), ("kind", &format!("option<option<{kind}>>"))],
            &format!("result<{point}, {kind}>"),
        );
        let docs: FunctionDocs = serde_json::from_value(json!({
            "params": {"shapes": [[null, "shape"]], "kind": [["kind"]]}, "result": ["point", "kind"],
            "types": {
                "point": {"docs": "A point.", "parts": {"x": {"docs": "To the right."}}},
                "shape": {"parts": {"nothing": {"docs": "None."}, "dot": {"type": "point"},
                    "path": {"docs": "Several.", "type": ["point"]}}},
                "kind": {"docs": "A kind.", "parts": {"fancy": {"docs": "With\nornaments."}}},
            },
        }))
        .unwrap();
        let mut input = input_schema(&signature.params).unwrap();
        let Some(Type::Result(result)) = &signature.result else { panic!("a result") };
        let mut output = json_schema(result.ok.as_ref().unwrap());
        let mut error = json_schema(result.err.as_ref().unwrap());
        describe_schemas(
            &signature,
            &docs,
            FunctionSchemas { input: Some(&mut input), output: Some(&mut output), error: Some(&mut error) },
        );
        let shape = "/properties/shapes/items/prefixItems/1";
        let kind = "A kind.\n\n* `fancy`: With\n  ornaments.";
        for (schema, at, text) in [
            (&input, format!("{shape}/oneOf/0"), "None."),
            (&input, format!("{shape}/oneOf/1/properties/dot"), "A point."),
            (&input, format!("{shape}/oneOf/1/properties/dot/properties/x"), "To the right."),
            (&input, format!("{shape}/oneOf/2"), "Several."),
            (&input, format!("{shape}/oneOf/2/properties/path/items"), "A point."),
            (&input, "/properties/kind/oneOf/1/properties/some/oneOf/1".to_owned(), kind),
            (&output, String::new(), "A point."),
            (&output, "/properties/x".to_owned(), "To the right."),
            (&error, String::new(), kind),
        ] {
            let found = schema.pointer(&at).and_then(|schema| schema["description"].as_str());
            assert_eq!(found, Some(text), "{at}");
        }
        assert_eq!(output.pointer("/properties/y/description"), None);
        for (schema, at, name) in [
            (&input, shape.to_owned(), "shape"),
            (&input, format!("{shape}/oneOf/2/properties/path/items"), "point"),
            (&input, "/properties/kind/oneOf/1/properties/some/oneOf/1".to_owned(), "kind"),
            (&output, String::new(), "point"),
            (&error, String::new(), "kind"),
        ] {
            assert_eq!(schema.pointer(&at).unwrap()["title"], name, "{at}");
        }
    }

    /// A type in many places can't make the schemas large, and docs of other types do nothing.
    #[test]
    fn texts_are_bounded_and_must_fit() {
        let fields: Vec<String> = (0..100).map(|index| format!("f{index}: record {{ x: u8 }}")).collect();
        let signature = signature(&[("all", &format!("record {{ {} }}", fields.join(", ")))], "u8");
        let parts: serde_json::Map<String, Value> =
            (0..100).map(|index| (format!("f{index}"), json!({"type": "small"}))).collect();
        let docs: FunctionDocs = serde_json::from_value(json!({
            "params": {"all": "all", "other": "all"}, "result": [["all"]],
            "types": {"all": {"parts": parts}, "small": {"docs": "x".repeat(5 * 1024)}},
        }))
        .unwrap();
        let mut input = input_schema(&signature.params).unwrap();
        let mut output = json_schema(signature.result.as_ref().unwrap());
        let before = output.clone();
        let schemas = FunctionSchemas { input: Some(&mut input), output: Some(&mut output), error: None };
        describe_schemas(&signature, &docs, schemas);
        let length = input.to_string().len();
        assert!((50 * 1024..80 * 1024).contains(&length), "{length}");
        assert_eq!(output, before);
    }
}
