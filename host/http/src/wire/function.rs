//! Functions and their versions.

use std::num::NonZeroU64;

use nebula_runtime as runtime;
use nebula_runtime::id::{Digest, FunctionName, ProjectName, Version};
use nebula_runtime::limits::LimitOverrides;
use nebula_runtime::{Configuration, CorsOrigin, RouteHost, RoutePath};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::cache::Disagreement;
use super::pipeline::PipelineComposition;
use super::schema::{
    DigestSchema, JsonSchemaSchema, NameSchema, RouteHostSchema, RoutePathSchema, VersionSchema,
};

/// Every function.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FunctionList {
    /// The current version of each function, by name.
    pub functions: Vec<FunctionVersion>,
}

/// A function with its history.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FunctionDetail {
    /// The version that a call by name reaches.
    pub current: FunctionVersion,
    /// Every version, oldest first.
    pub versions: Vec<FunctionVersion>,
    /// The reason why results of the current version aren't cached, if two computations disagreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
}

/// The version to roll back to. An empty body goes one version back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version to make current; the one before the current version if absent.
    #[serde(default)]
    #[schema(value_type = Option<VersionSchema>)]
    pub version: Option<Version>,
}

/// One immutable version of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionVersion {
    /// The function.
    #[schema(value_type = NameSchema)]
    pub name: FunctionName,
    /// The version's number.
    #[schema(value_type = VersionSchema)]
    pub version: Version,
    /// The digest of the component, or of the pipeline's description with every function by its
    /// digest.
    #[schema(value_type = DigestSchema)]
    pub digest: Digest,
    /// The length of the component or description, bytes.
    pub size_bytes: u64,
    /// The time of the deploy, seconds since the Unix epoch.
    pub deployed_at_unix_s: u64,
    /// The limits that its deploy set; the host's defaults hold for the others.
    pub limits: FunctionLimits,
    /// The settings for caching its results; absent if they are the defaults.
    #[serde(default, alias = "remember", skip_serializing_if = "CacheSettings::is_default")]
    pub cache: CacheSettings,
    /// The constants that it reads as environment variables and through `wasi:config/store`.
    #[serde(default, skip_serializing_if = "Configuration::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub config: Configuration,
    /// The project that deployed it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NameSchema>)]
    pub project: Option<ProjectName>,
    /// The pages that may call it; if absent, the server's policy holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsSettings>,
    /// The paths under which it answers beside `/f/NAME`.
    #[serde(default, rename = "route", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RoutePathSchema>)]
    pub routes: Vec<RoutePath>,
    /// The hosts of these paths; all if absent.
    #[serde(default, rename = "host", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RouteHostSchema>)]
    pub hosts: Vec<RouteHost>,
    /// The description, if it is a pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineComposition>,
    /// The functions that it imports, which are linked into its component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<LinkedFunction>,
    /// The form of its input and output.
    pub form: FunctionForm,
    /// The signature, in WIT.
    pub signature: String,
    /// The author's text about the function, in Markdown; absent if the component has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// JSON Schema of the input document; null for functions on bytes and of the http form.
    #[schema(value_type = JsonSchemaSchema)]
    pub input_schema: Option<Value>,
    /// JSON Schema of the answer.
    #[schema(value_type = JsonSchemaSchema)]
    pub output_schema: Option<Value>,
    /// JSON Schema of the function's own error.
    #[schema(value_type = JsonSchemaSchema)]
    pub error_schema: Option<Value>,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// Notes for its author, such as imports that are always denied.
    pub notes: Vec<String>,
}

/// The form of a function's input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FunctionForm {
    /// A world-level `handle` of any WIT values.
    Typed,
    /// `nebula:function/handler`: bytes with a media type.
    Raw,
    /// `wasi:http/incoming-handler@0.2`.
    Http,
}

/// The limits that a deploy set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FunctionLimits {
    /// Linear memory of an instance, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    /// Wall-clock time of a call, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub deadline_ms: Option<NonZeroU64>,
    /// The request's body, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_bytes_max: Option<u64>,
    /// The answer's body, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes_max: Option<u64>,
    /// The part of a call's output streams that is kept, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes_max: Option<u64>,
}

/// The settings for caching a function's results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Run the function for every call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    pub off: bool,
    /// The time for which a result is used, seconds; if absent, until it is evicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub ttl_s: Option<NonZeroU64>,
    /// The largest answer that is cached, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Also cache traps, and calls that reach the memory or output limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    pub traps: bool,
}

impl CacheSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The pages of other origins that may call a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsSettings {
    /// The origins of the pages, or `*` for all.
    #[schema(value_type = Vec<String>)]
    pub origins: Vec<CorsOrigin>,
    /// The time for which browsers cache the answer to a preflight, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u32>,
}

impl From<CorsSettings> for runtime::Cors {
    fn from(settings: CorsSettings) -> Self {
        let CorsSettings { origins, max_age_s } = settings;
        Self { origins, max_age_s }
    }
}

/// A function that is linked into a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkedFunction {
    /// The function.
    #[schema(value_type = NameSchema)]
    pub name: FunctionName,
    /// The version that its name stood for.
    #[schema(value_type = VersionSchema)]
    pub version: Version,
    /// The digest of its component, with the functions that are linked into that.
    #[schema(value_type = DigestSchema)]
    pub digest: Digest,
    /// The functions that are linked into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub linked: Vec<LinkedFunction>,
}

impl From<runtime::VersionRecord> for FunctionVersion {
    fn from(record: runtime::VersionRecord) -> Self {
        let runtime::VersionRecord {
            name,
            version,
            digest,
            size_bytes,
            deployed_at_unix_s,
            limits,
            cache,
            config,
            project,
            cors,
            routes,
            hosts,
            pipeline,
            linked,
            description,
        } = record;
        let runtime::Description {
            form,
            signature,
            docs,
            input_schema,
            output_schema,
            error_schema,
            imports,
            notes,
        } = description;
        Self {
            name,
            version,
            digest,
            size_bytes,
            deployed_at_unix_s,
            limits: limits.into(),
            cache: cache.into(),
            config,
            project,
            cors: cors.map(Into::into),
            routes,
            hosts,
            pipeline: pipeline.map(Into::into),
            linked: linked.into_iter().map(Into::into).collect(),
            form: form.into(),
            signature,
            docs,
            input_schema,
            output_schema,
            error_schema,
            imports,
            notes,
        }
    }
}

impl From<runtime::Form> for FunctionForm {
    fn from(form: runtime::Form) -> Self {
        match form {
            runtime::Form::Typed => Self::Typed,
            runtime::Form::Raw => Self::Raw,
            runtime::Form::Http => Self::Http,
        }
    }
}

impl From<CacheSettings> for runtime::Caching {
    fn from(settings: CacheSettings) -> Self {
        let CacheSettings { off, ttl_s, bytes_max, traps } = settings;
        Self { off, ttl_s, bytes_max, traps }
    }
}

impl From<LimitOverrides> for FunctionLimits {
    fn from(limits: LimitOverrides) -> Self {
        let LimitOverrides {
            memory_bytes_max,
            deadline_ms,
            input_bytes_max,
            output_bytes_max,
            log_bytes_max,
        } = limits;
        Self { memory_bytes_max, deadline_ms, input_bytes_max, output_bytes_max, log_bytes_max }
    }
}

impl From<FunctionLimits> for LimitOverrides {
    fn from(limits: FunctionLimits) -> Self {
        let FunctionLimits {
            memory_bytes_max,
            deadline_ms,
            input_bytes_max,
            output_bytes_max,
            log_bytes_max,
        } = limits;
        Self { memory_bytes_max, deadline_ms, input_bytes_max, output_bytes_max, log_bytes_max }
    }
}

impl From<runtime::Caching> for CacheSettings {
    fn from(cache: runtime::Caching) -> Self {
        let runtime::Caching { off, ttl_s, bytes_max, traps } = cache;
        Self { off, ttl_s, bytes_max, traps }
    }
}

impl From<runtime::Cors> for CorsSettings {
    fn from(cors: runtime::Cors) -> Self {
        let runtime::Cors { origins, max_age_s } = cors;
        Self { origins, max_age_s }
    }
}

impl From<runtime::Linked> for LinkedFunction {
    fn from(function: runtime::Linked) -> Self {
        let runtime::Linked { name, version, digest, linked } = function;
        Self { name, version, digest, linked: linked.into_iter().map(Into::into).collect() }
    }
}

impl From<LinkedFunction> for runtime::Linked {
    fn from(function: LinkedFunction) -> Self {
        let LinkedFunction { name, version, digest, linked } = function;
        Self { name, version, digest, linked: linked.into_iter().map(Into::into).collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Clients of earlier releases read the runtime's own record, which has `remember` for `cache`.
    #[test]
    fn a_version_reads_as_the_runtime_writes_it() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let linked = json!({"name": "g", "version": "v2", "digest": digest, "linked": [
            {"name": "h", "version": "v3", "digest": digest},
        ]});
        let plain = json!({
            "name": "f", "version": "v1", "digest": digest, "size_bytes": 1, "deployed_at_unix_s": 2,
            "limits": {}, "form": "typed", "signature": "handle: func()", "input_schema": null,
            "output_schema": {"type": "string"}, "error_schema": null, "imports": ["a"], "notes": ["b"],
        });
        let mut full = plain.clone();
        full["limits"] = json!({
            "memory_bytes_max": 1, "deadline_ms": 2, "input_bytes_max": 3, "output_bytes_max": 4, "log_bytes_max": 5,
        });
        full["cache"] = json!({"off": true, "ttl_s": 1, "bytes_max": 2, "traps": true});
        full["config"] = json!({"A": "1", "B": ""});
        full["cors"] = json!({"origins": ["https://a", "*"], "max_age_s": 60});
        full["route"] = json!(["/api/items", "/api/..."]);
        full["host"] = json!(["api.example.org", "*.example.org"]);
        full["pipeline"] = json!({
            "description": {"input": "u8", "steps": ["a", {"all": {"x": "b"}}], "calls_max": 1, "fuse": "never"},
            "pinned": {"a": {"version": "v1", "digest": digest}, "b": {"version": "v2", "digest": digest, "config": digest}},
        });
        full["linked"] = json!([linked]);
        full["form"] = json!("http");
        full["docs"] = json!("About it.");
        for value in [plain, full] {
            let mut stored = value.clone();
            if let Some(cache) = stored.as_object_mut().unwrap().remove("cache") {
                stored["remember"] = cache;
            }
            let record: runtime::VersionRecord = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!(serde_json::to_value(&record).unwrap(), stored);
            let version = FunctionVersion::from(record);
            assert_eq!(serde_json::to_value(&version).unwrap(), value);
            for json in [value, stored] {
                assert_eq!(serde_json::from_value::<FunctionVersion>(json).unwrap(), version);
            }
        }
    }
}
