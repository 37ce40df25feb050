//! `nebula.toml`: the name, settings and routes of a function, in each environment, and the pipelines
//! of a project.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use nebula_http::wire::{
    CacheSettings, CorsSettings, FunctionLimits, FuseSchema, NameSchema, ProjectPipeline, RouteHostSchema,
    RoutePathSchema, StepSchema,
};
use nebula_runtime::id::{FunctionName, ProjectName};
use nebula_runtime::limits::LimitOverrides;
use nebula_runtime::pipeline::{Fuse, Pipeline, Step};
use nebula_runtime::similar::did_you_mean;
use nebula_runtime::{
    Caching, Configuration, Cors, RouteError, RouteHost, RoutePath, Settings, SettingsBase, SettingsUpdate,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::hints::guide;
use crate::report::hinted;

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
    /// Constants that the function reads as environment variables and through `wasi:config/store`.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    config: Configuration,
    /// The pages of other origins that may call the function.
    #[schema(value_type = CorsSettings, required = false)]
    cors: Option<Cors>,
    /// A path, or several, under which the function answers beside `/f/NAME`.
    #[serde(default, rename = "route", deserialize_with = "one_or_several")]
    #[schema(value_type = OneOrSeveral<RoutePathSchema>)]
    routes: Vec<RoutePath>,
    /// A host of these paths, or several; by default every host.
    #[serde(default, rename = "host", deserialize_with = "one_or_several")]
    #[schema(value_type = OneOrSeveral<RouteHostSchema>)]
    hosts: Vec<RouteHost>,
    /// Settings by environment, which `--env NAME` lays over the others.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, EnvironmentTable>)]
    pub(super) env: BTreeMap<String, Environment>,
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

/// The settings of a function that differ in an environment.
#[derive(Debug)]
pub(super) struct Environment(SettingsUpdate);

/// The settings of a function that differ in an environment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EnvironmentTable {
    /// The function's own limits.
    #[schema(value_type = FunctionLimits, required = false)]
    limits: Option<Map<String, Value>>,
    /// Caching of the function's results.
    #[serde(alias = "remember")]
    #[schema(value_type = CacheSettings, required = false)]
    cache: Option<Map<String, Value>>,
    /// Constants that the function reads.
    #[schema(value_type = BTreeMap<String, String>, required = false)]
    config: Option<Map<String, Value>>,
    /// The pages of other origins that may call the function.
    #[schema(value_type = CorsSettings, required = false)]
    cors: Option<Map<String, Value>>,
}

/// Reads the settings as a change: one that is absent stays as it is, and `off = false` also
/// switches caching on.
impl<'de> Deserialize<'de> for Environment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let EnvironmentTable { limits, cache, config, cors } = EnvironmentTable::deserialize(deserializer)?;
        let tables = [("limits", limits), ("cache", cache), ("config", config), ("cors", cors)];
        let given =
            |(name, table): (&str, Option<Map<String, Value>>)| Some((name.to_owned(), table?.into()));
        let patch: Map<String, Value> = tables.into_iter().filter_map(given).collect();
        let update = SettingsUpdate::parse(SettingsBase::Current, patch.into());
        update.map(Self).map_err(serde::de::Error::custom)
    }
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
    /// A path, or several, under which the pipeline answers beside `/f/NAME`.
    #[serde(default, rename = "route", deserialize_with = "one_or_several")]
    #[schema(value_type = OneOrSeveral<RoutePathSchema>)]
    routes: Vec<RoutePath>,
    /// A host of these paths, or several; by default every host.
    #[serde(default, rename = "host", deserialize_with = "one_or_several")]
    #[schema(value_type = OneOrSeveral<RouteHostSchema>)]
    hosts: Vec<RouteHost>,
}

/// A value, or a list of such values.
#[derive(Deserialize, ToSchema)]
#[serde(untagged, expecting = "not a text or a list of texts")]
enum OneOrSeveral<T> {
    One(T),
    Several(Vec<T>),
}

/// Reads a text or a list of texts. An error is that of the text, which untagged enums would hide.
fn one_or_several<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err = RouteError>,
    D: Deserializer<'de>,
{
    let texts = match OneOrSeveral::deserialize(deserializer)? {
        OneOrSeveral::One(text) => vec![text],
        OneOrSeveral::Several(texts) => texts,
    };
    texts.iter().map(|text: &String| text.parse().map_err(D::Error::custom)).collect()
}

impl Config {
    /// Reads the `nebula.toml` of a directory; returns the defaults without one.
    pub(super) fn read(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self::read_if_present(directory)?.unwrap_or_default())
    }

    /// Reads the `nebula.toml` of a directory; returns `None` without one.
    fn read_if_present(directory: &Path) -> anyhow::Result<Option<Self>> {
        let path = directory.join("nebula.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                Self::parse(&text).map(Some).with_context(|| format!("cannot use `{}`", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        toml::from_str(text).map_err(|error| {
            let has_secrets = |table: &toml::Table| table.contains_key("secrets");
            let document: toml::Table = toml::from_str(text).unwrap_or_default();
            let environments = document.get("env").and_then(toml::Value::as_table);
            let mut environments = environments.into_iter().flat_map(toml::Table::values);
            let in_environment = environments.any(|table| table.as_table().is_some_and(has_secrets));
            if !has_secrets(&document) && !in_environment {
                return error.into();
            }
            let message = "a function has no secrets: whoever may read a version reads its settings, and its \
                           answers are cached and replayed";
            let hint = concat!(
                "constants that aren't secret belong into `[config]`; ",
                "see Secrets in ",
                guide!("writing-functions.md")
            );
            hinted(message, hint).into()
        })
    }

    /// Returns the function's settings, in an environment if it has that.
    pub(super) fn settings(self, environment: Option<&str>) -> Settings {
        let Self { limits, cache, config, cors, routes, hosts, mut env, .. } = self;
        let settings = Settings { limits, cache, config, cors, routes, hosts };
        match environment.and_then(|name| env.remove(name)) {
            Some(Environment(update)) => update.apply(&settings),
            None => settings,
        }
    }
}

/// The name and settings in the `nebula.toml` beside a component.
#[derive(Debug, Default)]
pub(crate) struct ComponentConfig {
    /// The function's name.
    pub(crate) name: Option<FunctionName>,
    /// The settings, complete: one that the file doesn't name has its default. `None` without a
    /// file.
    pub(crate) settings: Option<Settings>,
}

impl ComponentConfig {
    /// Reads the `nebula.toml` in the directory of a component file, in an environment.
    pub(crate) fn beside(component: &Path, environment: Option<&str>) -> anyhow::Result<Self> {
        if component == Path::new("-") {
            ensure_defined(environment, std::iter::empty())?;
            return Ok(Self::default());
        }
        let directory = component.parent().filter(|parent| !parent.as_os_str().is_empty());
        let config = Config::read_if_present(directory.unwrap_or(Path::new(".")))?;
        let environments = config.iter().flat_map(|config| config.env.keys());
        ensure_defined(environment, environments.map(String::as_str))?;
        let Some(mut config) = config else { return Ok(Self::default()) };
        Ok(Self { name: config.name.take(), settings: Some(config.settings(environment)) })
    }
}

/// Checks that an environment is one of those that are defined.
pub(super) fn ensure_defined<'a>(
    environment: Option<&str>,
    defined: impl Iterator<Item = &'a str>,
) -> anyhow::Result<()> {
    let Some(name) = environment else { return Ok(()) };
    let defined: BTreeSet<_> = defined.collect();
    if defined.contains(name) {
        return Ok(());
    }
    let hint = match defined.is_empty() {
        true => format!("add `[env.{name}.config]` to the `nebula.toml` of a function"),
        false => {
            let all = || defined.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            did_you_mean(name, defined.iter().copied()).unwrap_or_else(|| format!("there are {}", all()))
        }
    };
    let message = format!("no `nebula.toml` of a function has the environment `{name}`");
    Err(Failure::usage(message, hint).into())
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
        let PipelineTable { input, steps, calls_max, fuse, limits, cache, cors, routes, hosts } = table;
        Self {
            directory: directory.join("pipelines").join(name.as_str()),
            name,
            pipeline: Pipeline { input, steps, calls_max, fuse },
            settings: Settings { limits, cache, cors, routes, hosts, ..Settings::default() },
        }
    }

    /// Returns the pipeline as the control plane reads it.
    pub(crate) fn to_wire(&self) -> (FunctionName, ProjectPipeline) {
        // A pipeline has no configuration.
        let Settings { limits, cache, cors, routes, hosts, config: _ } = self.settings.clone();
        let pipeline = ProjectPipeline {
            description: self.pipeline.clone(),
            limits: limits.into(),
            cache: cache.into(),
            cors: cors.map(Into::into),
            routes,
            hosts,
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
    fn constants_are_text() {
        let config =
            Config::parse("[config]\nPORT = \"80\"\nfeature = \"on\"").unwrap().settings(None).config;
        assert_eq!(config.iter().collect::<Vec<_>>(), [("PORT", "80"), ("feature", "on")]);
        for (value, found) in [("80", "a number"), ("true", "a boolean"), ("[]", "a list")] {
            let error = Config::parse(&format!("[config]\nPORT = {value}")).unwrap_err().to_string();
            assert!(error.contains(&format!("the value of `PORT` is {found}")), "{error}");
        }
    }

    #[test]
    fn an_environment_overrides_only_what_it_names() {
        let text = r#"
            [limits]
            deadline_ms = 5
            log_bytes_max = 7
            [cache]
            off = true
            [config]
            A = "1"
            B = "2"
            [cors]
            origins = ["https://a"]

            [env.staging.limits]
            deadline_ms = 6
            input_bytes_max = "64K"
            [env.staging.cache]
            off = false
            [env.staging.config]
            B = "3"
            C = "4"
            [env.staging.cors]
            origins = []
            [env.empty]
        "#;
        let settings = |environment| Config::parse(text).unwrap().settings(environment);
        assert_eq!(settings(Some("empty")), settings(None));
        let staging = settings(Some("staging"));
        let expected = serde_json::json!({
            "limits": {"deadline_ms": 6, "log_bytes_max": 7, "input_bytes_max": 65536},
            "cache": {},
            "config": {"A": "1", "B": "3", "C": "4"},
            "cors": {"origins": []},
        });
        assert_eq!(serde_json::to_value(staging).unwrap(), expected);
        for wrong in ["limits.deadline = 1", "config.A = 1", "name = \"a\"", "cache.ttl_s = 0"] {
            assert!(Config::parse(&format!("[env.staging]\n{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_refused_with_the_reason() {
        for text in ["[secrets]\nKEY = \"x\"", "secrets = []", "[env.production.secrets]\nKEY = \"x\""] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.to_string().starts_with("a function has no secrets"), "{text}: {error}");
            assert!(crate::report::hint(&error).unwrap().contains("[config]"), "{text}");
        }
        assert!(Config::parse("secret = 1").unwrap_err().to_string().contains("unknown field"));
    }

    #[test]
    fn unknown_environments_are_named_with_the_similar_one() {
        let hint = |name, defined: &[&str]| {
            let error = ensure_defined(Some(name), defined.iter().copied()).unwrap_err();
            crate::report::hint(&error).unwrap().to_owned()
        };
        assert!(ensure_defined(Some("a"), ["b", "a"].into_iter()).is_ok());
        assert!(ensure_defined(None, [].into_iter()).is_ok());
        assert_eq!(hint("stagin", &["production", "staging"]), "did you mean `staging`?");
        assert_eq!(hint("qa", &["production", "staging"]), "there are `production`, `staging`");
        assert!(hint("qa", &[]).contains("[env.qa.config]"));
    }

    #[test]
    fn routes_are_one_or_a_list() {
        let settings = |text: &str| toml::from_str::<Config>(text).map(|config| config.settings(None));
        let texts = |routes: &[RoutePath]| routes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let one = settings("route = \"/api/...\"\nhost = \"*.example.org\"").unwrap();
        assert_eq!(texts(&one.routes), ["/api/..."]);
        assert_eq!(one.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*.example.org"]);
        assert_eq!(texts(&settings("route = [\"/a\", \"/b\"]").unwrap().routes), ["/a", "/b"]);
        assert_eq!(texts(&settings("route = []").unwrap().routes), [""; 0]);
        let error = settings("route = [\"/a\", \"/f/b\"]").unwrap_err().to_string();
        assert!(error.contains("`/f/b` is not a route: the server has this path itself"), "{error}");
        for wrong in ["route = 1", "host = \"a:1\"", "[route]"] {
            assert!(settings(wrong).is_err(), "{wrong}");
        }
        let pipeline = "[pipelines.p]\nsteps = []\nroute = \"/p\"";
        let mut config: Config = toml::from_str(pipeline).unwrap();
        let (name, table) = config.pipelines.pop_first().unwrap();
        assert_eq!(texts(&PipelineConfig::new(name, table, Path::new(".")).settings.routes), ["/p"]);
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
