//! Functions with all their versions, as they move between servers.

use std::collections::BTreeMap;

use nebula_runtime as runtime;
use nebula_runtime::id::{Digest, FunctionName, ProjectName, Version};
use nebula_runtime::{Configuration, RouteHost, RoutePath, Settings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::function::{CacheSettings, CorsSettings, FunctionLimits, LinkedFunction};
use super::pipeline::PipelineComposition;
use super::schema::{DigestSchema, NameSchema, RouteHostSchema, RoutePathSchema, VersionSchema};

/// Functions and pipelines with all their versions, and everything that they call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The functions and pipelines, by name.
    #[schema(value_type = BTreeMap<String, ExportedFunction>)]
    pub functions: BTreeMap<FunctionName, ExportedFunction>,
}

/// A function with all its versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportedFunction {
    /// The number of the current version.
    #[schema(value_type = VersionSchema)]
    pub current: Version,
    /// The versions, by number.
    #[schema(value_type = BTreeMap<String, ExportedVersion>)]
    pub versions: BTreeMap<Version, ExportedVersion>,
}

/// A version of an exported function. An importing server derives the rest from the component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportedVersion {
    /// The digest of the component, or of the pipeline's description with every function by its
    /// digest.
    #[schema(value_type = DigestSchema)]
    pub digest: Digest,
    /// The length of the component or description, bytes.
    pub size_bytes: u64,
    /// The time of its first deploy, seconds since the Unix epoch.
    pub deployed_at_unix_s: u64,
    /// The project that deployed it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NameSchema>)]
    pub project: Option<ProjectName>,
    /// The limits that its deploy set.
    #[serde(default)]
    pub limits: FunctionLimits,
    /// The settings for caching its results.
    #[serde(default)]
    pub cache: CacheSettings,
    /// The constants that it reads as environment variables and through `wasi:config/store`.
    #[serde(default, skip_serializing_if = "Configuration::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub config: Configuration,
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
    /// The description, if it is a pipeline, and the versions that it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineComposition>,
    /// The functions that are linked into its component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<LinkedFunction>,
}

/// Functions to add with all their versions. Their components were uploaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImportRequest {
    /// The functions and pipelines, by name.
    #[schema(value_type = BTreeMap<String, ExportedFunction>)]
    pub functions: BTreeMap<FunctionName, ExportedFunction>,
    /// Check everything and change nothing.
    #[schema(default = false)]
    pub dry_run: bool,
}

/// The outcome of an import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImportReport {
    /// Nothing was changed: this is what an import would do.
    pub dry_run: bool,
    /// One entry for each function, by name.
    pub functions: Vec<ImportedFunction>,
}

/// One function's part in an import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImportedFunction {
    /// The function.
    #[schema(value_type = NameSchema)]
    pub name: FunctionName,
    /// The kind of change.
    pub change: ImportChange,
    /// The number of the current version.
    #[schema(value_type = VersionSchema)]
    pub current: Version,
    /// The numbers of the versions, oldest first.
    #[schema(value_type = Vec<VersionSchema>)]
    pub versions: Vec<Version>,
}

/// The kind of a function's part in an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImportChange {
    /// The function was added.
    New,
    /// The server has the function as it is.
    Unchanged,
}

impl From<runtime::Export> for Export {
    fn from(export: runtime::Export) -> Self {
        let runtime::Export { functions } = export;
        let functions = functions.into_iter().map(|(name, function)| {
            let runtime::ExportedFunction { current, versions } = function;
            let versions = versions.into_iter().map(|(number, version)| (number, version.into()));
            (name, ExportedFunction { current, versions: versions.collect() })
        });
        Self { functions: functions.collect() }
    }
}

impl From<runtime::ExportedVersion> for ExportedVersion {
    fn from(version: runtime::ExportedVersion) -> Self {
        let runtime::ExportedVersion {
            digest,
            size_bytes,
            deployed_at_unix_s,
            project,
            settings,
            pipeline,
            linked,
        } = version;
        let Settings { limits, cache, config, cors, routes, hosts } = settings;
        Self {
            digest,
            size_bytes,
            deployed_at_unix_s,
            project,
            limits: limits.into(),
            cache: cache.into(),
            config,
            cors: cors.map(Into::into),
            routes,
            hosts,
            pipeline: pipeline.map(Into::into),
            linked: linked.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ExportedVersion> for runtime::ExportedVersion {
    fn from(version: ExportedVersion) -> Self {
        let ExportedVersion {
            digest,
            size_bytes,
            deployed_at_unix_s,
            project,
            limits,
            cache,
            config,
            cors,
            routes,
            hosts,
            pipeline,
            linked,
        } = version;
        let (limits, cache, cors) = (limits.into(), cache.into(), cors.map(Into::into));
        Self {
            digest,
            size_bytes,
            deployed_at_unix_s,
            project,
            settings: Settings { limits, cache, config, cors, routes, hosts },
            pipeline: pipeline.map(Into::into),
            linked: linked.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ImportRequest> for runtime::Import {
    fn from(request: ImportRequest) -> Self {
        let ImportRequest { functions, dry_run } = request;
        let functions = functions.into_iter().map(|(name, function)| {
            let ExportedFunction { current, versions } = function;
            let versions = versions.into_iter().map(|(number, version)| (number, version.into()));
            (name, runtime::ExportedFunction { current, versions: versions.collect() })
        });
        Self { export: runtime::Export { functions: functions.collect() }, dry_run }
    }
}

impl From<runtime::ImportedFunction> for ImportedFunction {
    fn from(function: runtime::ImportedFunction) -> Self {
        let runtime::ImportedFunction { name, is_new, current, versions } = function;
        let change = if is_new { ImportChange::New } else { ImportChange::Unchanged };
        Self { name, change, current, versions }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_survives_the_way_to_another_server() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let linked = json!({"name": "g", "version": "v2", "digest": digest, "linked": [
            {"name": "h", "version": "v3", "digest": digest},
        ]});
        let json = json!({
            "digest": digest, "size_bytes": 1, "deployed_at_unix_s": 2, "project": "p",
            "limits": {
                "memory_bytes_max": 1, "deadline_ms": 2, "input_bytes_max": 3, "output_bytes_max": 4, "log_bytes_max": 5,
            },
            "cache": {"off": true, "ttl_s": 1, "bytes_max": 2, "traps": true},
            "config": {"A": "1", "B": ""},
            "cors": {"origins": ["https://a", "*"], "max_age_s": 60},
            "route": ["/api/items", "/api/..."],
            "host": ["api.example.org", "*.example.org"],
            "pipeline": {
                "description": {"steps": ["a", {"all": {"x": "b"}}], "calls_max": 1, "fuse": "never"},
                "pinned": {"a": {"version": "v1", "digest": digest}, "b": {"version": "v2", "digest": digest, "config": digest}},
            },
            "linked": [linked],
        });
        let version: ExportedVersion = serde_json::from_value(json.clone()).unwrap();
        let there_and_back = ExportedVersion::from(runtime::ExportedVersion::from(version.clone()));
        assert_eq!(there_and_back, version);
        assert_eq!(serde_json::to_value(&there_and_back).unwrap(), json);
    }
}
