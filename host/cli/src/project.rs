//! A directory of functions: `nebula.toml`, cargo's view of it, and what building it gives.
//!
//! ```text
//! directory -> Project (crates that are functions) -> Built (their components)
//! ```
//!
//! A function is a package with a `cdylib` target. Its name is the package's, unless the `nebula.toml`
//! beside its manifest says otherwise.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use nebula_runtime::id::FunctionName;
use nebula_runtime::limits::LimitOverrides;
use nebula_runtime::pipeline::{Fuse, Pipeline, Step};
use nebula_runtime::{Remember, Settings};
use serde::Deserialize;

use crate::report::{hinted, note};

/// `nebula.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Where the functions are, if not here: for the root of a larger repository.
    functions: Option<PathBuf>,
    /// The function's name, if not its package's.
    name: Option<FunctionName>,
    /// The function's own limits.
    limits: LimitOverrides,
    /// What is remembered of it.
    remember: Remember,
    /// Pipelines by name: of a whole project, where its functions are.
    pipelines: BTreeMap<FunctionName, PipelineTable>,
}

/// `[pipelines.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineTable {
    input: Option<String>,
    steps: Step,
    calls_max: Option<u64>,
    #[serde(default)]
    fuse: Fuse,
    #[serde(default)]
    limits: LimitOverrides,
    #[serde(default)]
    remember: Remember,
}

impl Config {
    /// The file's content, or the defaults where there is no file.
    fn read(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join("nebula.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("cannot use `{}`", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }
}

/// What builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builder {
    /// `cargo build --target wasm32-wasip2`.
    Cargo,
    /// `cargo component build`.
    CargoComponent,
}

impl Builder {
    fn target(self) -> &'static str {
        match self {
            Self::Cargo => "wasm32-wasip2",
            Self::CargoComponent => "wasm32-wasip1",
        }
    }
}

/// A cargo workspace, or a part of one, that holds functions.
#[derive(Debug)]
pub(crate) struct Project {
    /// Where cargo runs.
    pub(crate) directory: PathBuf,
    target_directory: PathBuf,
    functions: Vec<FunctionCrate>,
    pipelines: Vec<PipelineConfig>,
}

/// A pipeline of a project.
#[derive(Debug)]
pub(crate) struct PipelineConfig {
    pub(crate) name: FunctionName,
    /// Where its sample is, if it has one: `pipelines/NAME` beside the functions.
    pub(crate) directory: PathBuf,
    pub(crate) pipeline: Pipeline,
    pub(crate) settings: Settings,
}

impl PipelineConfig {
    /// Whether it calls that one.
    pub(crate) fn calls(&self, name: &FunctionName) -> bool {
        self.pipeline.steps.calls().iter().any(|function| function.name == *name)
    }

    fn of(name: FunctionName, table: PipelineTable, directory: &Path) -> Self {
        let PipelineTable { input, steps, calls_max, fuse, limits, remember } = table;
        Self {
            directory: directory.join("pipelines").join(name.as_str()),
            name,
            pipeline: Pipeline { input, steps, calls_max, fuse },
            settings: Settings { limits, remember },
        }
    }
}

/// A package that builds to a component.
#[derive(Debug)]
struct FunctionCrate {
    package: String,
    library: String,
    name: FunctionName,
    directory: PathBuf,
    settings: Settings,
}

/// A component that was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The function's name.
    pub(crate) name: FunctionName,
    /// Its crate's directory.
    pub(crate) directory: PathBuf,
    /// Its component.
    pub(crate) component: PathBuf,
    /// What its `nebula.toml` says of it.
    pub(crate) settings: Settings,
}

/// What a build came to.
#[derive(Debug)]
pub(crate) struct BuildOutcome {
    /// What was built, also where something else failed.
    pub(crate) built: Vec<Built>,
    /// Whether all of it was.
    pub(crate) complete: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

/// A line of cargo's `--message-format=json`, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Project {
    /// Reads what cargo knows of `path`.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let given = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
        let config = Config::read(&given)?;
        let directory = match config.functions {
            Some(functions) => given.join(functions).canonicalize().with_context(|| {
                format!("`functions` in `{}` names no directory", given.join("nebula.toml").display())
            })?,
            None => given.clone(),
        };
        let mut pipelines = config.pipelines;
        if directory != given {
            pipelines.extend(Config::read(&directory)?.pipelines);
        }
        let pipelines = pipelines.into_iter();
        let pipelines = pipelines.map(|(name, table)| PipelineConfig::of(name, table, &directory)).collect();
        if !directory.join("Cargo.toml").is_file() {
            let hint = "`nebula new NAME` begins a function; or name the directory of one";
            return Err(hinted(format!("there is no `Cargo.toml` in `{}`", directory.display()), hint).into());
        }
        let output = cargo(&directory)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(no_cargo)?;
        anyhow::ensure!(output.status.success(), "cargo cannot read `{}`", directory.display());
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cargo's metadata is not what this expects")?;
        let mut functions = Vec::new();
        for package in metadata.packages {
            functions.extend(FunctionCrate::of(package, &directory)?);
        }
        if functions.is_empty() {
            let hint = "a function's `Cargo.toml` has `crate-type = [\"cdylib\"]` under `[lib]`";
            return Err(hinted(format!("no package in `{}` is a function", directory.display()), hint).into());
        }
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { directory, target_directory: metadata.target_directory, functions, pipelines })
    }

    /// Its pipelines.
    pub(crate) fn pipelines(&self) -> &[PipelineConfig] {
        &self.pipelines
    }

    /// Whether a change to `path` may change a component.
    pub(crate) fn is_source(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.directory) else { return false };
        let hidden_or_built = |part: &OsStr| part == "target" || part.as_encoded_bytes().starts_with(b".");
        if inside.iter().any(hidden_or_built) {
            return false;
        }
        // Written by the builds themselves.
        if inside.ends_with("Cargo.lock") || inside.ends_with("src/bindings.rs") {
            return false;
        }
        // At the top there is also what is no source, such as the log of `nebula up` itself.
        let at_the_top = inside.iter().count() == 1;
        !at_the_top || path.is_dir() || inside.extension().is_some_and(|end| end == "toml" || end == "rs")
    }

    /// Builds every function; cargo talks to stderr meanwhile.
    pub(crate) fn build(&self, builder: Builder) -> anyhow::Result<BuildOutcome> {
        self.ensure_target(builder)?;
        let mut command = cargo(&self.directory);
        match builder {
            Builder::Cargo => command.args([
                "build",
                "--keep-going",
                "--message-format=json-render-diagnostics",
                "--target",
                builder.target(),
            ]),
            Builder::CargoComponent => command.args(["component", "build"]),
        };
        command.arg("--release");
        for function in &self.functions {
            command.args(["--package", &function.package]);
        }
        match builder {
            Builder::Cargo => self.build_reading_messages(command),
            Builder::CargoComponent => {
                let status = command.stdout(Stdio::null()).status().map_err(no_cargo)?;
                if !status.success() {
                    return Ok(BuildOutcome { built: Vec::new(), complete: false });
                }
                let directory = self.target_directory.join(builder.target()).join("release");
                let built = self.functions.iter().map(|function| {
                    function.built(directory.join(format!("{}.wasm", function.library.replace('-', "_"))))
                });
                Ok(BuildOutcome { built: built.collect(), complete: true })
            }
        }
    }

    fn build_reading_messages(&self, mut command: Command) -> anyhow::Result<BuildOutcome> {
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(no_cargo)?;
        let mut built = Vec::new();
        let stdout = child.stdout.take().into_iter();
        for line in stdout.flat_map(|stdout| BufReader::new(stdout).lines()) {
            let line = line.context("cargo's messages broke off")?;
            // Lines that are no messages are what build scripts and macros print.
            let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
            if message.reason != "compiler-artifact" {
                continue;
            }
            let component =
                message.filenames.into_iter().find(|file| file.extension().is_some_and(|end| end == "wasm"));
            let function = self.functions.iter().find(|function| {
                message.manifest_path.as_deref().and_then(Path::parent) == Some(&function.directory)
            });
            if let (Some(component), Some(function)) = (component, function) {
                built.push(function.built(component));
            }
        }
        let status = child.wait().context("cargo got lost")?;
        Ok(BuildOutcome { built, complete: status.success() })
    }

    /// Installs the standard library for the builder's target where it is missing.
    fn ensure_target(&self, builder: Builder) -> anyhow::Result<()> {
        let target = builder.target();
        let directory = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", target])
            .current_dir(&self.directory)
            .output()
            .map_err(no_cargo)?;
        let directory = PathBuf::from(String::from_utf8_lossy(&directory.stdout).trim());
        if directory.is_dir() {
            return Ok(());
        }
        note(format!("installing the Rust target {target}"));
        let added = Command::new("rustup")
            .args(["target", "add", target])
            .current_dir(&self.directory)
            .stdout(Stdio::null())
            .status();
        match added {
            Ok(status) if status.success() => Ok(()),
            Ok(_) | Err(_) => Err(hinted(
                format!("the Rust target {target} is missing and could not be installed"),
                format!("install it with `rustup target add {target}`"),
            )
            .into()),
        }
    }
}

impl FunctionCrate {
    /// The package as a function, if it is one and lives in `within`.
    fn of(package: Package, within: &Path) -> anyhow::Result<Option<Self>> {
        let is_component = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
        let Some(target) = package.targets.iter().find(is_component) else { return Ok(None) };
        let Some(directory) = package.manifest_path.parent().filter(|path| path.starts_with(within)) else {
            return Ok(None);
        };
        let config = Config::read(directory)?;
        let name = match config.name {
            Some(name) => name,
            None => package.name.replace('_', "-").parse().with_context(|| {
                format!("the package `{}` needs a `name` in its `nebula.toml`", package.name)
            })?,
        };
        Ok(Some(Self {
            library: target.name.clone(),
            name,
            directory: directory.to_owned(),
            settings: Settings { limits: config.limits, remember: config.remember },
            package: package.name,
        }))
    }

    fn built(&self, component: PathBuf) -> Built {
        Built {
            name: self.name.clone(),
            directory: self.directory.clone(),
            component,
            settings: self.settings.clone(),
        }
    }
}

fn cargo(directory: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(directory).stdin(Stdio::null());
    command
}

fn no_cargo(error: std::io::Error) -> anyhow::Error {
    anyhow::Error::new(error)
        .context(hinted("cannot run cargo", "install Rust with rustup: https://rustup.rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_write_is_no_source() {
        let project = Project {
            directory: "/p".into(),
            target_directory: "/p/target".into(),
            functions: Vec::new(),
            pipelines: Vec::new(),
        };
        for source in ["/p/Cargo.toml", "/p/src/lib.rs", "/p/a/nebula.toml", "/p/a/src/font.ttf"] {
            assert!(project.is_source(Path::new(source)), "{source}");
        }
        for other in ["/p/target/x", "/p/.nebula/token", "/p/Cargo.lock", "/p/a/src/bindings.rs", "/q/lib.rs"]
        {
            assert!(!project.is_source(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(toml::from_str::<Config>("[limits]\ndeadline_ms = 10").is_ok());
        assert!(toml::from_str::<Config>("[limits]\ndeadline = 10").is_err());
        let config: Config = toml::from_str("[remember]\noff = true\nttl_s = 60").unwrap();
        assert_eq!((config.remember.off, config.remember.ttl_s.map(|ttl| ttl.get())), (true, Some(60)));
        assert!(toml::from_str::<Config>("[remember]\nttl_s = 0").is_err());
        assert!(toml::from_str::<Config>("name = \"No Name\"").is_err());
    }
}
