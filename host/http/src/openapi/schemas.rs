//! Named schemas: records, variants and enums inside a schema become components that it refers to.
//!
//! Generators of clients make a type from each component, and name it after the component. A
//! component's name begins with that of its function: `csv-stats.column`. After it comes the name that
//! the type has in its author's code, if the component has it (`title`), else the place: `add.input`,
//! `f.input-rows-item`. If an answer has a form of its own, its name ends in `-answer`.
//!
//! Invariants:
//! * A schema means the same as before.
//! * The names of a function's components depend on nothing but its schemas.

use serde_json::{Map, Value, json};

/// The schema of the floats that aren't numbers in JSON.
const NON_FINITE: &str = "NonFinite";

/// The longest name of a type in a component's name, bytes. Places of deeply nested types can be longer.
const NAME_BYTES_MAX: usize = 120;

/// The document that a schema describes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Input,
    Answer,
    Error,
}

impl Place {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Answer => "answer",
            Self::Error => "error",
        }
    }
}

/// The components of one function, among those of others.
pub(super) struct NamedSchemas<'a> {
    function: &'a str,
    components: &'a mut Map<String, Value>,
    /// The number of components of this function.
    count: usize,
}

impl<'a> NamedSchemas<'a> {
    pub(super) fn new(function: &'a str, components: &'a mut Map<String, Value>) -> Self {
        Self { function, components, count: 0 }
    }

    /// Returns the schema of a whole document, with references to components.
    pub(super) fn document(&mut self, schema: &Value, place: Place) -> Value {
        self.refer(schema, place.name(), place)
    }

    /// Returns the schema of a parameter of a query or a field of a form, with the same components
    /// as that part of the input. `input` is the schema of the whole input.
    pub(super) fn part(&mut self, schema: &Value, input: &Value, name: &str) -> Value {
        let whole = name_of(input, Place::Input.name());
        match input.get("properties") {
            Some(_) => self.refer(schema, &format!("{whole}-{name}"), Place::Input),
            None => self.refer(schema, whole, Place::Input),
        }
    }

    /// Adds the schema of an object and returns a reference to it.
    pub(super) fn object(&mut self, name: &str, schema: Value) -> Value {
        self.insert(name, Place::Input, schema)
    }

    /// Returns a schema with references in place of what becomes a component. `at` names the schema
    /// if it has no name of its own. Types nest up to a limit, and so does the recursion.
    fn refer(&mut self, schema: &Value, at: &str, place: Place) -> Value {
        let Value::Object(keywords) = schema else { return schema.clone() };
        if keywords.get("type") == Some(&json!(["object", "array"])) {
            return self.arguments(keywords, at, place);
        }
        if schema["enum"] == json!(["NaN", "Infinity", "-Infinity"]) {
            self.components.insert(NON_FINITE.to_owned(), schema.clone());
            return reference(NON_FINITE);
        }
        if let Some(case) = keywords.get("const").and_then(Value::as_str) {
            // Some generators of clients refuse the other alternatives of a constant, but not of an enum.
            let mut case =
                Map::from_iter([("type".to_owned(), "string".into()), ("enum".to_owned(), json!([case]))]);
            case.extend(keywords.get("description").map(|text| ("description".to_owned(), text.clone())));
            return self.insert(at, place, Value::Object(case));
        }
        let name = name_of(schema, at).to_owned();
        let is_variant = is_variant(schema);
        let mut replaced = Map::new();
        for (keyword, argument) in keywords {
            let argument = match (keyword.as_str(), argument) {
                ("title", _) => continue,
                ("properties", Value::Object(properties)) => {
                    let mut property = |(key, schema): (&String, &Value)| {
                        (key.clone(), self.refer(schema, &format!("{name}-{key}"), place))
                    };
                    properties.iter().map(&mut property).collect()
                }
                ("items", item) => self.refer(item, &format!("{name}-item"), place),
                ("additionalProperties", value @ Value::Object(_)) => {
                    self.refer(value, &format!("{name}-value"), place)
                }
                ("prefixItems", Value::Array(items)) => {
                    let mut item =
                        |(index, item): (usize, &Value)| self.refer(item, &format!("{name}-{index}"), place);
                    items.iter().enumerate().map(&mut item).collect()
                }
                ("oneOf", Value::Array(kinds)) => {
                    let mut kind = |kind: &Value| match case_of(kind).filter(|_| is_variant) {
                        Some(case) => self.refer(kind, &format!("{name}-{case}"), place),
                        None => self.refer(kind, &name, place),
                    };
                    kinds.iter().map(&mut kind).collect()
                }
                _ => argument.clone(),
            };
            replaced.insert(keyword.clone(), argument);
        }
        let is_component = is_variant || keywords.contains_key("properties") || keywords.contains_key("enum");
        match is_component {
            true => self.insert(&name, place, Value::Object(replaced)),
            false => Value::Object(replaced),
        }
    }

    /// Returns the schema of several arguments as two: of the object by name, and of the array in
    /// order, whose items are the properties.
    fn arguments(&mut self, keywords: &Map<String, Value>, at: &str, place: Place) -> Value {
        let part = |ty: &str, names: [&str; 3]| {
            let of_part = |(keyword, _): &(&String, &Value)| names.contains(&keyword.as_str());
            let part =
                keywords.iter().filter(of_part).map(|(name, argument)| (name.clone(), argument.clone()));
            part.chain([("type".to_owned(), ty.into())]).collect::<Map<_, _>>()
        };
        let by_name = part("object", ["properties", "required", "additionalProperties"]);
        let mut by_position = part("array", ["prefixItems", "minItems", "maxItems"]);
        let properties = keywords.get("properties").and_then(Value::as_object);
        if let Some(Value::Array(items)) = by_position.get_mut("prefixItems") {
            for (index, item) in items.iter_mut().enumerate() {
                // Only properties have names and descriptions. Among equal ones any is right.
                let found = properties.into_iter().flatten().find(|(_, schema)| plain(schema) == *item);
                *item = match found {
                    Some((name, schema)) => self.refer(schema, &format!("{at}-{name}"), place),
                    None => self.refer(item, &format!("{at}-{index}"), place),
                };
            }
        }
        json!({"oneOf": [self.refer(&Value::Object(by_name), at, place), by_position]})
    }

    /// Adds a component, unless there is an equal one, and returns a reference to it with the
    /// description of this place. The component keeps the text that all places share.
    fn insert(&mut self, name: &str, place: Place, schema: Value) -> Value {
        let name = format!("{}.{name}", self.function);
        let with_place = format!("{name}-{}", place.name());
        let is_usable = |name: &&String| {
            self.components.get(*name).is_none_or(|other| undescribed(other) == undescribed(&schema))
        };
        let usable = [&name, &with_place].into_iter().find(is_usable).cloned();
        // Each component has another number, so this one is free.
        let name = usable.unwrap_or_else(|| format!("{name}-{}", self.count));
        let mut reference = reference(&name);
        if let Some(text) = schema.get("description") {
            reference["description"] = text.clone();
        }
        match self.components.get_mut(&name).and_then(Value::as_object_mut) {
            Some(component) => {
                let texts = [component.remove("description"), schema.get("description").cloned()];
                if let [Some(Value::String(one)), Some(Value::String(other))] = &texts
                    && let Some(text) = common_text(one, other)
                {
                    component.insert("description".to_owned(), text.into());
                }
            }
            None => {
                self.count += 1;
                self.components.insert(name, schema);
            }
        }
        reference
    }
}

/// Returns a reference to a component.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Returns the name that a schema gives, if it is one, or that of its place, unless it is too long.
fn name_of<'a>(schema: &'a Value, at: &'a str) -> &'a str {
    let is_name = |name: &&str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_part)
    };
    [schema["title"].as_str(), Some(at)].into_iter().flatten().find(is_name).unwrap_or("type")
}

/// Returns whether a schema is that of a variant or a result: every alternative is a case.
fn is_variant(schema: &Value) -> bool {
    schema["oneOf"].as_array().is_some_and(|kinds| kinds.iter().all(|kind| case_of(kind).is_some()))
}

/// Returns the name of the case that an alternative is: a constant, or an object with one property.
fn case_of(schema: &Value) -> Option<&str> {
    let mut properties = schema["properties"].as_object().into_iter().flat_map(Map::keys);
    match (schema["const"].as_str(), properties.next(), properties.next()) {
        (Some(name), ..) => Some(name),
        (None, Some(name), None) => Some(name),
        (None, ..) => None,
    }
}

/// Returns a schema without the names and descriptions in it.
fn plain(schema: &Value) -> Value {
    match schema {
        Value::Object(keywords) => {
            let is_kept = |(keyword, argument): &(&String, &Value)| {
                !(matches!(keyword.as_str(), "title" | "description") && argument.is_string())
            };
            let kept = keywords.iter().filter(is_kept);
            kept.map(|(keyword, argument)| (keyword.clone(), plain(argument))).collect()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

/// Returns a schema without its own description.
fn undescribed(schema: &Value) -> Vec<(&String, &Value)> {
    let keywords = schema.as_object().into_iter().flatten();
    keywords.filter(|(keyword, _)| *keyword != "description").collect()
}

/// Returns the last paragraphs that two texts share. The text about a field is before that about its
/// type.
fn common_text(one: &str, other: &str) -> Option<String> {
    let starts = std::iter::once(0).chain(one.match_indices("\n\n").map(|(at, _)| at + 2));
    let shared = |text: &&str| {
        other.strip_suffix(text).is_some_and(|before| before.is_empty() || before.ends_with("\n\n"))
    };
    starts.map(|at| &one[at..]).find(shared).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(properties: Value) -> Value {
        let required: Vec<_> = properties.as_object().unwrap().keys().cloned().collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    /// Replaces references by what they refer to.
    fn resolved(schema: &Value, components: &Map<String, Value>) -> Value {
        match schema {
            Value::Object(keywords) => match keywords.get("$ref").and_then(Value::as_str) {
                Some(at) => {
                    resolved(&components[at.strip_prefix("#/components/schemas/").unwrap()], components)
                }
                None => {
                    keywords.iter().map(|(key, value)| (key.clone(), resolved(value, components))).collect()
                }
            },
            Value::Array(items) => items.iter().map(|item| resolved(item, components)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
        }
    }

    #[test]
    fn records_variants_and_enums_are_components() {
        let mut point = record(json!({"x": {"type": "integer"}}));
        point["title"] = "point".into();
        let shape = json!({"title": "shape", "oneOf": [{"const": "none"}, record(json!({"dot": point}))]});
        let kind = json!({"type": "string", "enum": ["a", "b"]});
        let float = json!({"oneOf": [
            {"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
        ]});
        let input = record(json!({
            "shapes": {"type": "array", "items": shape}, "at": {"oneOf": [{"type": "null"}, point]},
            "kind": kind, "size": float, "pair": {"type": "array", "prefixItems": [kind, {"type": "null"}]},
        }));
        let mut components = Map::new();
        let mut named = NamedSchemas::new("f", &mut components);
        let referring = named.document(&input, Place::Input);
        assert_eq!(referring, json!({"$ref": "#/components/schemas/f.input"}));
        let names: Vec<_> = components.keys().map(String::as_str).collect();
        let expected = [
            "NonFinite",
            "f.input",
            "f.input-kind",
            "f.input-pair-0",
            "f.point",
            "f.shape",
            "f.shape-dot",
            "f.shape-none",
        ];
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
        let text = plain(&input).to_string();
        let enums = text.replace("{\"const\":\"none\"}", "{\"type\":\"string\",\"enum\":[\"none\"]}");
        assert_eq!(resolved(&referring, &components), serde_json::from_str::<Value>(&enums).unwrap());
    }

    /// A type whose answers have another form is another component. An equal one isn't.
    #[test]
    fn equal_types_share_a_component() {
        let tally = |count: &str| {
            let mut tally = record(json!({"count": {"type": count}}));
            tally["title"] = "tally".into();
            tally
        };
        let mut components = Map::new();
        let mut named = NamedSchemas::new("f", &mut components);
        let input = named.document(&tally("integer"), Place::Input);
        assert_eq!(named.document(&tally("integer"), Place::Answer), input);
        let of = |name: &str| reference(&format!("f.{name}"));
        assert_eq!(named.document(&tally("string"), Place::Answer), of("tally-answer"));
        assert_eq!(named.document(&tally("null"), Place::Error), of("tally-error"));
        assert_eq!(named.document(&tally("boolean"), Place::Answer), of("tally-3"));
        // Functions don't share names.
        let other = NamedSchemas::new("g", &mut components).document(&tally("null"), Place::Input);
        assert_eq!(other, reference("g.tally"));
    }

    #[test]
    fn several_arguments_are_an_object_or_an_array() {
        let mut kind = json!({"type": "string", "enum": ["a"], "title": "kind"});
        let mut input = record(json!({"n": {"type": "integer"}, "kind": kind}));
        kind.as_object_mut().unwrap().remove("title");
        input["type"] = json!(["object", "array"]);
        input["prefixItems"] = json!([kind, {"type": "integer"}]);
        input["minItems"] = 2.into();
        let mut components = Map::new();
        let referring = NamedSchemas::new("f", &mut components).document(&input, Place::Input);
        let kind = reference("f.kind");
        let by_position = json!({"type": "array", "minItems": 2, "prefixItems": [kind, {"type": "integer"}]});
        assert_eq!(referring, json!({"oneOf": [reference("f.input"), by_position]}));
        assert_eq!(components["f.input"]["properties"], json!({"kind": kind, "n": {"type": "integer"}}));
    }

    #[test]
    fn a_component_has_the_text_of_its_type_and_a_reference_that_of_its_place() {
        let of = |text: &str| json!({"type": "string", "enum": ["a"], "title": "kind", "description": text});
        let input = record(json!({"a": of("A field.\n\nA kind.\n\nOf two."), "b": of("A kind.\n\nOf two.")}));
        let mut components = Map::new();
        NamedSchemas::new("f", &mut components).document(&input, Place::Input);
        assert_eq!(components["f.kind"]["description"], "A kind.\n\nOf two.");
        let a = &components["f.input"]["properties"]["a"];
        assert_eq!(a["description"], "A field.\n\nA kind.\n\nOf two.");
        assert_eq!(common_text("Of two.", "One of two."), None);
    }

    /// A component is named by its own names, which may be anything.
    #[test]
    fn names_are_names_or_places() {
        for (title, at, expected) in [
            ("point", "input", "point"),
            ("a point", "input", "input"),
            ("", "input", "input"),
            ("../x", "input", "input"),
            (&"x".repeat(1000), &*"y".repeat(1000), "type"),
        ] {
            assert_eq!(name_of(&json!({"title": title}), at), expected);
        }
    }
}
