//! The JSON Schema of `nebula.toml`, from the types that read it.
//!
//! `docs/nebula.schema.json` holds it for editors. A test compares the two.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::config::Config;

/// The draft that all TOML editors read. The schema has only what later drafts have too.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The prefix of utoipa's references.
const COMPONENTS: &str = "#/components/schemas/";

/// Returns the JSON Schema of `nebula.toml`, as text.
pub(crate) fn schema() -> String {
    let mut definitions = Vec::new();
    Config::schemas(&mut definitions);
    let definitions: Map<_, _> =
        definitions.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    let mut schema = json!(Config::schema());
    schema["$schema"] = DRAFT.into();
    schema["title"] = "nebula.toml".into();
    schema["definitions"] = definitions.into();
    refer_to_definitions(&mut schema);
    format!("{schema:#}\n")
}

/// Points every reference to the schema's own definitions.
fn refer_to_definitions(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().and_then(|target| target.strip_prefix(COMPONENTS)) {
                    Some(target) if name == "$ref" => *member = format!("#/definitions/{target}").into(),
                    Some(_) | None => refer_to_definitions(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(refer_to_definitions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The path of the committed schema.
    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/nebula.schema.json");

    /// `UPDATE_SCHEMA=1` writes it.
    #[test]
    fn the_committed_schema_is_that_of_the_types() {
        let schema = schema();
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(COMMITTED, &schema).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap();
        assert_eq!(committed, schema, "write it with `nebula schema > docs/nebula.schema.json`");
    }

    /// Returns the names that serde lists in an error: "expected one of `a`, `b`". The former name
    /// of `cache` is accepted and not described.
    fn names_in(error: &str) -> BTreeSet<String> {
        let listed = error.split_once("expected").unwrap().1;
        listed.split('`').skip(1).step_by(2).filter(|name| *name != "remember").map(str::to_owned).collect()
    }

    /// The types that stand in for those of the runtime have the same members.
    #[test]
    fn the_schema_has_what_the_parser_takes() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let definition = |name: &str| &schema["definitions"][name];
        let table = "[pipelines.p]\nsteps = []\n";
        for (toml, described) in [
            ("zzz = 1", &schema),
            ("[limits]\nzzz = 1", definition("FunctionLimits")),
            ("[cache]\nzzz = 1", definition("CacheSettings")),
            ("[env.e]\nzzz = 1", definition("EnvironmentTable")),
            (&format!("{table}zzz = 1"), definition("PipelineTable")),
            (&format!("{table}limits.zzz = 1"), definition("FunctionLimits")),
            (&format!("{table}cache.zzz = 1"), definition("CacheSettings")),
        ] {
            let error = toml::from_str::<Config>(toml).unwrap_err().to_string();
            let members = described["properties"].as_object().unwrap().keys().cloned().collect();
            assert_eq!(names_in(&error), members, "{toml}: {error}");
            assert_eq!(described["additionalProperties"], json!(false), "{toml}");
        }
        let error = toml::from_str::<Config>(&format!("{table}fuse = \"zzz\"")).unwrap_err().to_string();
        let values = definition("Fuse")["enum"].as_array().unwrap();
        let values = values.iter().map(|value| value.as_str().unwrap().to_owned()).collect();
        assert_eq!(names_in(&error), values, "{error}");
        assert_eq!(schema["required"], Value::Null);
        assert_eq!(definition("PipelineTable")["required"], json!(["steps"]));
    }

    /// Every reference leads to a definition.
    #[test]
    fn references_are_resolved() {
        fn targets(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|member| targets(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| targets(item, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let mut found = Vec::new();
        targets(&schema, &mut found);
        assert!(found.len() > 5, "{found:?}");
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(schema.pointer(pointer).is_some(), "{target}");
        }
    }
}
