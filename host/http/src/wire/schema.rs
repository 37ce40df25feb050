//! Schemas of values that parse themselves: names, versions, digests, and the steps of a pipeline.

use std::borrow::Cow;

use nebula_runtime::token::TokenScope;
use utoipa::openapi::schema::{
    AdditionalProperties, AllOfBuilder, AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// A function's name, as in a URL.
pub(crate) const NAME_PATTERN: &str = "^[a-z0-9][a-z0-9-]{0,62}$";

/// A function's name, alone or with a version or digest.
pub(crate) const REFERENCE_PATTERN: &str = "^[a-z0-9][a-z0-9-]{0,62}(@(v[1-9][0-9]*|sha256:[0-9a-f]{64}))?$";

const VERSION_PATTERN: &str = "^v[1-9][0-9]*$";

/// The beginning of a route's path. The parser checks the rest.
const ROUTE_PATH_PATTERN: &str = "^/";

const ROUTE_HOST_PATTERN: &str = "^([*][.])?[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$";

pub(crate) const DIGEST_PATTERN: &str = "^sha256:[0-9a-f]{64}$";

/// A string that matches `pattern`.
pub(crate) fn string(pattern: &str) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build().into()
}

macro_rules! string_schema {
    ($type:ident, $name:literal, $pattern:expr, $description:literal) => {
        /// Stands in for a runtime type in a struct's schema.
        #[derive(Clone, Copy, Debug)]
        pub struct $type;

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern));
                schema.description(Some($description)).build().into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    };
}

string_schema!(NameSchema, "FunctionName", NAME_PATTERN, "a function's name");
string_schema!(TokenNameSchema, "TokenName", NAME_PATTERN, "a token's name");
string_schema!(VersionSchema, "Version", VERSION_PATTERN, "the number of a deploy under one name");
string_schema!(DigestSchema, "Digest", DIGEST_PATTERN, "the SHA-256 of a component or a description");
string_schema!(
    RoutePathSchema,
    "RoutePath",
    ROUTE_PATH_PATTERN,
    "a path such as `/api/items`, or `/api/...` for it and everything below"
);
string_schema!(
    RouteHostSchema,
    "RouteHost",
    ROUTE_HOST_PATTERN,
    "a host such as `api.example.org`, or `*.example.org` for all its subdomains"
);

/// A JSON Schema, or null where a function has none.
pub(crate) struct JsonSchemaSchema;

impl PartialSchema for JsonSchemaSchema {
    fn schema() -> RefOr<Schema> {
        let types = SchemaType::Array(vec![Type::Object, Type::Boolean, Type::Null]);
        ObjectBuilder::new().schema_type(types).description(Some("a JSON Schema")).build().into()
    }
}

impl ToSchema for JsonSchemaSchema {
    fn name() -> Cow<'static, str> {
        "JsonSchema".into()
    }
}

/// A pipeline's description.
pub(crate) struct PipelineSchema;

impl PartialSchema for PipelineSchema {
    fn schema() -> RefOr<Schema> {
        let text =
            |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
        ObjectBuilder::new()
            .description(Some("a pipeline as its author writes it"))
            .property("input", text("the type of its input, in WIT, or `payload`"))
            .property("steps", step())
            .property("calls_max", ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)))
            .property("fuse", FuseSchema::schema())
            .required("steps")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .build()
            .into()
    }
}

impl ToSchema for PipelineSchema {
    fn name() -> Cow<'static, str> {
        "Pipeline".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((StepSchema::name().into_owned(), StepSchema::schema()));
        StepSchema::schemas(schemas);
    }
}

/// When a chain runs as one component.
#[derive(Clone, Copy, Debug)]
pub struct FuseSchema;

impl PartialSchema for FuseSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("whether a chain runs as one component"))
            .enum_values(Some(["auto", "always", "never"]))
            .default(Some("auto".into()))
            .build()
            .into()
    }
}

impl ToSchema for FuseSchema {
    fn name() -> Cow<'static, str> {
        "Fuse".into()
    }
}

/// The scope of a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenScopeSchema;

impl PartialSchema for TokenScopeSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("the permission that a token gives; each scope includes those before it"))
            .enum_values(Some(TokenScope::ALL.map(TokenScope::as_str)))
            .build()
            .into()
    }
}

impl ToSchema for TokenScopeSchema {
    fn name() -> Cow<'static, str> {
        "TokenScope".into()
    }
}

/// One step of a description, with the steps inside it.
#[derive(Clone, Copy, Debug)]
pub struct StepSchema;

fn step() -> RefOr<Schema> {
    Ref::from_schema_name(StepSchema::name()).into()
}

/// Returns the schema of each kind of step that is an object, by its name. Generators of clients
/// need names here: the kinds contain steps.
fn step_kinds() -> [(&'static str, Schema); 8] {
    let kind = |name: &str, description: &str, value: RefOr<Schema>| {
        let object = ObjectBuilder::new().description(Some(description)).property(name, value);
        object.required(name)
    };
    let only = |object: ObjectBuilder| {
        Schema::from(object.additional_properties(Some(AdditionalProperties::FreeForm(false))).build())
    };
    let text = || RefOr::T(ObjectBuilder::new().schema_type(Type::String).build().into());
    let list = || Schema::from(ArrayBuilder::new().items(step()).build());
    let named = || {
        let steps = AdditionalProperties::RefOr(step());
        Schema::from(ObjectBuilder::new().additional_properties(Some(steps)).build())
    };
    let named_or_list = AnyOfBuilder::new().item(named()).item(list()).build();
    let group =
        ObjectBuilder::new().property("by", text()).property("each", step()).required("by").required("each");
    let call = kind("call", "calls a function", text()).property("as", text());
    let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue).build();
    [
        ("StepCall", only(call)),
        ("StepSequence", only(kind("sequence", "one after the other", list().into()))),
        ("StepAll", only(kind("all", "each on the same value", Schema::from(named_or_list).into()))),
        ("StepEach", only(kind("each", "on every item of a list", step()))),
        ("StepGroup", only(kind("group", "on the items of a list by a key", only(group).into()))),
        ("StepChoice", only(kind("choice", "by the value's case", named().into()))),
        ("StepSelect", only(kind("select", "a field of the value", text()))),
        ("StepConstant", only(kind("constant", "this value", any.into()))),
    ]
}

impl PartialSchema for StepSchema {
    fn schema() -> RefOr<Schema> {
        let kinds = AnyOfBuilder::new()
            .description(Some("a step; docs/pipelines.md explains each kind"))
            .item(string(REFERENCE_PATTERN))
            // Not a list of `Step`: generators of clients can't name a union that contains itself.
            .item(ArrayBuilder::new().description(Some("steps, one after the other")));
        let kinds =
            step_kinds().into_iter().fold(kinds, |kinds, (name, _)| kinds.item(Ref::from_schema_name(name)));
        Schema::from(kinds.build()).into()
    }
}

impl ToSchema for StepSchema {
    fn name() -> Cow<'static, str> {
        "Step".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.extend(step_kinds().map(|(name, schema)| (name.to_owned(), schema.into())));
    }
}

/// A step inside a `StepView`: its field or case, and the view of it. Derived, this schema would
/// contain itself.
pub(crate) struct InnerStepSchema;

impl PartialSchema for InnerStepSchema {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new().schema_type(SchemaType::Array(vec![Type::String, Type::Null]));
        let step = AllOfBuilder::new().item(Ref::from_schema_name("StepView"));
        let pair: [Schema; 2] = [name.build().into(), step.build().into()];
        // Without `items: false`: some generators of clients need a schema there.
        let pair = ArrayBuilder::new().prefix_items(pair);
        Schema::from(pair.min_items(Some(2)).max_items(Some(2)).build()).into()
    }
}

impl ToSchema for InnerStepSchema {
    fn name() -> Cow<'static, str> {
        "InnerStep".into()
    }
}
