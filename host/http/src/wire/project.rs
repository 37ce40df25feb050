//! Deploys of a project.

use std::collections::BTreeMap;

use nebula_runtime as runtime;
use nebula_runtime::id::{Digest, FunctionName, ProjectName, Version};
use nebula_runtime::pipeline::Pipeline;
use nebula_runtime::{Configuration, Followers, RouteHost, RoutePath, Settings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::function::{CacheSettings, CorsSettings, FunctionLimits};
use super::schema::{
    DigestSchema, NameSchema, PipelineSchema, RouteHostSchema, RoutePathSchema, VersionSchema,
};

/// Everything that a project deploys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectRequest {
    /// The functions that have a component, by name.
    #[schema(value_type = BTreeMap<String, ProjectFunction>)]
    pub functions: BTreeMap<FunctionName, ProjectFunction>,
    /// The pipelines, by name.
    #[schema(value_type = BTreeMap<String, ProjectPipeline>)]
    pub pipelines: BTreeMap<FunctionName, ProjectPipeline>,
    /// Remove the functions that the project deployed earlier and that aren't listed.
    #[schema(default = false)]
    pub prune: bool,
    /// Check everything and change nothing.
    #[schema(default = false)]
    pub dry_run: bool,
    /// The treatment of other pipelines that call the functions and don't fit any more.
    pub followers: FollowersPolicy,
}

/// The treatment of pipelines that don't fit a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FollowersPolicy {
    /// The change is refused.
    #[default]
    MustFit,
    /// They keep the versions that they call.
    MayStay,
}

/// A function of a project. Settings that are absent have their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectFunction {
    /// The digest of its component, which was uploaded.
    #[schema(value_type = DigestSchema)]
    pub component: Digest,
    /// Its limits.
    #[serde(default)]
    pub limits: FunctionLimits,
    /// The settings for caching its results.
    #[serde(default, alias = "remember")]
    pub cache: CacheSettings,
    /// The constants that it reads as environment variables and through `wasi:config/store`: at most
    /// 64, of 16 KiB together.
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
}

/// A pipeline of a project. Settings that are absent have their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectPipeline {
    /// The description.
    #[schema(value_type = PipelineSchema)]
    pub description: Pipeline,
    /// Its limits.
    #[serde(default)]
    pub limits: FunctionLimits,
    /// The settings for caching its results.
    #[serde(default, alias = "remember")]
    pub cache: CacheSettings,
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
}

/// The outcome of a project's deploy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectReport {
    /// The project.
    #[schema(value_type = NameSchema)]
    pub project: ProjectName,
    /// Nothing was changed: these are the changes that a deploy would make.
    pub dry_run: bool,
    /// One entry for each name.
    pub changes: Vec<ProjectChange>,
}

/// One name's part in a project's deploy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectChange {
    /// The function.
    #[schema(value_type = NameSchema)]
    pub name: FunctionName,
    /// The kind of change.
    pub change: ProjectChangeKind,
    /// The current version after the deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionSchema>)]
    pub version: Option<Version>,
    /// The current version before the deploy, if there was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VersionSchema>)]
    pub before: Option<Version>,
    /// The signature, in WIT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The pipelines that call a function which is kept because of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<NameSchema>)]
    pub called_by: Vec<FunctionName>,
    /// Notes for the deployer, such as settings that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectChangeKind {
    /// The function is new.
    New,
    /// The function has a new version.
    Changed,
    /// The pipeline isn't the project's, and has a new version because it calls a function that
    /// changed.
    Follows,
    /// The function is deployed as it is.
    Unchanged,
    /// The function is removed.
    Removed,
    /// The function isn't listed, and stays because pipelines call it.
    Kept,
}

impl ProjectRequest {
    /// Returns the deploy of these functions as `project`.
    pub(crate) fn into_deploy(self, project: ProjectName) -> runtime::ProjectDeploy {
        let Self { functions, pipelines, prune, dry_run, followers } = self;
        let functions = functions.into_iter().map(|(name, function)| {
            let ProjectFunction { component, limits, cache, config, cors, routes, hosts } = function;
            let (limits, cache, cors) = (limits.into(), cache.into(), cors.map(Into::into));
            let settings = Settings { limits, cache, config, cors, routes, hosts };
            runtime::ProjectFunction { name, digest: component, settings: settings.into() }
        });
        let pipelines = pipelines.into_iter().map(|(name, pipeline)| {
            let ProjectPipeline { description, limits, cache, cors, routes, hosts } = pipeline;
            let (limits, cache, cors) = (limits.into(), cache.into(), cors.map(Into::into));
            let settings = Settings { limits, cache, cors, routes, hosts, ..Settings::default() };
            runtime::ProjectPipeline { name, pipeline: description, settings: settings.into() }
        });
        runtime::ProjectDeploy {
            project,
            functions: functions.collect(),
            pipelines: pipelines.collect(),
            prune,
            followers: followers.into(),
            dry_run,
        }
    }
}

impl From<FollowersPolicy> for Followers {
    fn from(policy: FollowersPolicy) -> Self {
        match policy {
            FollowersPolicy::MustFit => Self::MustFit,
            FollowersPolicy::MayStay => Self::MayStay,
        }
    }
}

impl From<Followers> for FollowersPolicy {
    fn from(followers: Followers) -> Self {
        match followers {
            Followers::MustFit => Self::MustFit,
            Followers::MayStay => Self::MayStay,
        }
    }
}

impl From<runtime::ProjectChange> for ProjectChange {
    fn from(change: runtime::ProjectChange) -> Self {
        let without_version = |name, change, called_by| Self {
            name,
            change,
            version: None,
            before: None,
            signature: None,
            called_by,
            notes: Vec::new(),
        };
        let with_version = |record: runtime::VersionRecord, change, before| Self {
            name: record.name,
            change,
            version: Some(record.version),
            before,
            signature: Some(record.description.signature),
            called_by: Vec::new(),
            notes: record.description.notes,
        };
        match change {
            runtime::ProjectChange::Published { record, before, follows } => {
                let kind = match (follows, before) {
                    (true, _) => ProjectChangeKind::Follows,
                    (false, Some(_)) => ProjectChangeKind::Changed,
                    (false, None) => ProjectChangeKind::New,
                };
                with_version(*record, kind, before)
            }
            runtime::ProjectChange::Unchanged(record) => {
                with_version(*record, ProjectChangeKind::Unchanged, None)
            }
            runtime::ProjectChange::Removed(name) => {
                without_version(name, ProjectChangeKind::Removed, Vec::new())
            }
            runtime::ProjectChange::Kept { name, by } => without_version(name, ProjectChangeKind::Kept, by),
        }
    }
}
