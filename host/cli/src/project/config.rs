//! `nebula.toml`: the name, limits and caching of a function, and the pipelines of a project.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nebula_http::wire::{
    CacheSettings, CorsSettings, FunctionLimits, FuseSchema, NameSchema, ProjectPipeline, StepSchema,
};
use nebula_runtime::id::{FunctionName, ProjectName};
use nebula_runtime::limits::LimitOverrides;
use nebula_runtime::pipeline::{Fuse, Pipeline, Step};
use nebula_runtime::{Caching, Cors, Settings};
use serde::Deserialize;
use utoipa::ToSchema;

/// The settings of a function, and the pipelines of a project.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// The project's name, if it isn't its directory's.
    #[schema(value_type = NameSchema, required = false)]
    pub(super) project: Option<ProjectName>,
    /// The directory of the functions, if it is another one: for the root of a larger repository.
    #[schema(value_type = String, required = false)]
    pub(super) functions: Option<PathBuf>,
    /// The function's name, if it isn't its package's.
    #[schema(value_type = NameSchema, required = false)]
    pub(super) name: Option<FunctionName>,
    /// The function's own limits.
    #[serde(default)]
    #[schema(value_type = FunctionLimits)]
    limits: LimitOverrides,
    /// Caching of the function's results.
    #[serde(default, alias = "remember")]
    #[schema(value_type = CacheSettings)]
    cache: Caching,
    /// The pages of other origins that may call the function.
    #[schema(value_type = CorsSettings, required = false)]
    cors: Option<Cors>,
    /// Files and directories whose changes rebuild the project under `nebula up`, beside those that
    /// its build reads.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub(super) watch: Vec<PathBuf>,
    /// The project's pipelines by name.
    #[serde(default)]
    #[schema(value_type = BTreeMap<NameSchema, PipelineTable>)]
    pub(super) pipelines: BTreeMap<FunctionName, PipelineTable>,
}

/// A pipeline.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PipelineTable {
    /// The type of its input, in WIT, or `payload`, if it doesn't follow from the first steps.
    #[schema(nullable = false)]
    input: Option<String>,
    /// The steps.
    #[schema(value_type = StepSchema)]
    steps: Step,
    /// The most calls, nested pipelines included.
    #[schema(nullable = false)]
    calls_max: Option<u64>,
    #[serde(default)]
    #[schema(value_type = FuseSchema)]
    fuse: Fuse,
    /// The pipeline's own limits.
    #[serde(default)]
    #[schema(value_type = FunctionLimits)]
    limits: LimitOverrides,
    /// Caching of the pipeline's results.
    #[serde(default, alias = "remember")]
    #[schema(value_type = CacheSettings)]
    cache: Caching,
    #[schema(value_type = CorsSettings, required = false)]
    cors: Option<Cors>,
}

impl Config {
    /// Reads the `nebula.toml` of a directory; returns the defaults without one.
    pub(super) fn read(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join("nebula.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("cannot use `{}`", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// Returns the function's settings.
    pub(super) fn settings(self) -> Settings {
        Settings { limits: self.limits, cache: self.cache, cors: self.cors }
    }
}

/// What the `nebula.toml` beside a component says about it.
#[derive(Debug, Default)]
pub(crate) struct ComponentConfig {
    /// The function's name.
    pub(crate) name: Option<FunctionName>,
    /// The settings, if it has any.
    pub(crate) settings: Option<Settings>,
}

impl ComponentConfig {
    /// Reads the `nebula.toml` in the directory of a component file.
    pub(crate) fn beside(component: &Path) -> anyhow::Result<Self> {
        if component == Path::new("-") {
            return Ok(Self::default());
        }
        let directory = component.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Config { name, limits, cache, cors, .. } = Config::read(directory.unwrap_or(Path::new(".")))?;
        let settings = Settings { limits, cache, cors };
        Ok(Self { name, settings: (settings != Settings::default()).then_some(settings) })
    }
}

/// Returns the directory of functions that the `nebula.toml` in a directory names, if it names one.
pub(crate) fn functions_of(directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    Ok(Config::read(directory)?.functions.map(|functions| directory.join(functions)))
}

/// A pipeline of a project.
#[derive(Debug)]
pub(crate) struct PipelineConfig {
    pub(crate) name: FunctionName,
    /// The directory of its sample, if it has one: `pipelines/NAME` beside the functions.
    pub(crate) directory: PathBuf,
    pub(crate) pipeline: Pipeline,
    pub(crate) settings: Settings,
}

impl PipelineConfig {
    pub(super) fn new(name: FunctionName, table: PipelineTable, directory: &Path) -> Self {
        let PipelineTable { input, steps, calls_max, fuse, limits, cache, cors } = table;
        Self {
            directory: directory.join("pipelines").join(name.as_str()),
            name,
            pipeline: Pipeline { input, steps, calls_max, fuse },
            settings: Settings { limits, cache, cors },
        }
    }

    /// Returns the pipeline as the control plane reads it.
    pub(crate) fn to_wire(&self) -> (FunctionName, ProjectPipeline) {
        let Settings { limits, cache, cors } = self.settings.clone();
        let pipeline = ProjectPipeline {
            description: self.pipeline.clone(),
            limits: limits.into(),
            cache: cache.into(),
            cors: cors.map(Into::into),
        };
        (self.name.clone(), pipeline)
    }

    /// Returns whether the pipeline calls that function.
    pub(crate) fn calls(&self, name: &FunctionName) -> bool {
        self.pipeline.steps.calls().iter().any(|function| function.name == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_settings_are_refused() {
        assert!(toml::from_str::<Config>("[limits]\ndeadline_ms = 10").is_ok());
        assert!(toml::from_str::<Config>("[limits]\ndeadline = 10").is_err());
        let config: Config = toml::from_str("[cache]\noff = true\nttl_s = 60").unwrap();
        assert_eq!((config.cache.off, config.cache.ttl_s.map(|ttl| ttl.get())), (true, Some(60)));
        assert!(toml::from_str::<Config>("[cache]\nttl_s = 0").is_err());
        assert!(toml::from_str::<Config>("name = \"No Name\"").is_err());
        let config: Config = toml::from_str("[cors]\norigins = [\"https://a\"]\nmax_age_s = 60").unwrap();
        assert_eq!(
            config.cors.map(|cors| (cors.allows(b"https://a"), cors.max_age_s)),
            Some((true, Some(60)))
        );
        for wrong in ["[cors]", "[cors]\norigins = [\"https://a/\"]", "[cors]\norigins = []\nmethods = []"] {
            assert!(toml::from_str::<Config>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_former_name_of_the_cache_table_is_accepted() {
        let pipeline = "[pipelines.p]\nsteps = []\n";
        for name in ["cache", "remember"] {
            let config: Config = toml::from_str(&format!("[{name}]\nttl_s = 60")).unwrap();
            assert_eq!(config.cache.ttl_s.map(|ttl| ttl.get()), Some(60), "{name}");
            let config: Config = toml::from_str(&format!("{pipeline}{name}.ttl_s = 60")).unwrap();
            assert!(config.pipelines.values().all(|pipeline| pipeline.cache.ttl_s.is_some()), "{name}");
        }
        assert!(toml::from_str::<Config>("[cache]\noff = true\n[remember]\ntraps = true").is_err());
    }

    #[test]
    fn sizes_are_numbers_or_have_a_unit() {
        let bytes = |size: &str| {
            let text = format!("[limits]\nmemory_bytes_max = {size}\n[cache]\nbytes_max = {size}");
            let config = toml::from_str::<Config>(&text).map_err(|error| error.to_string())?;
            assert_eq!(config.limits.memory_bytes_max, config.cache.bytes_max);
            Ok::<_, String>(config.limits.memory_bytes_max)
        };
        assert_eq!(bytes("65536"), Ok(Some(65536)));
        assert_eq!(bytes("\"64M\""), Ok(Some(64 << 20)));
        assert!(bytes("\"64MB\"").unwrap_err().contains("is not a size"));
        assert!(bytes("-1").is_err());
        assert!(bytes("1.5").is_err());
    }
}
