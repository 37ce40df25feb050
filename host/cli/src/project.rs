//! A directory of functions and pipelines, and the components that a build of it gives.
//!
//! ```text
//! directory --config, cargo--> Project (packages that are functions) --cargo--> Built (their components)
//! ```
//!
//! A function is a package with a `cdylib` target. It has the package's name, unless the
//! `nebula.toml` beside its manifest gives another.

mod cargo;
mod config;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nebula_runtime::Settings;
use nebula_runtime::id::{FunctionName, ProjectName};

pub(crate) use self::cargo::Builder;
use self::cargo::{Artifacts, Metadata, Package, Target};
use self::config::Config;
pub(crate) use self::config::{ComponentConfig, PipelineConfig};
use crate::report::hinted;

/// A cargo workspace, or a part of one, that contains functions.
#[derive(Debug)]
pub(crate) struct Project {
    /// The directory of its `nebula.toml`.
    root: PathBuf,
    /// The directory in which cargo runs.
    pub(crate) directory: PathBuf,
    target_directory: PathBuf,
    name: Option<ProjectName>,
    functions: Vec<FunctionCrate>,
    pipelines: Vec<PipelineConfig>,
}

/// The pipelines in a `nebula.toml`, and the project that they belong to.
pub(crate) struct ProjectPipelines {
    pub(crate) project: ProjectName,
    pub(crate) pipelines: Vec<PipelineConfig>,
}

/// Reads the pipelines in a `nebula.toml`.
pub(crate) fn project_pipelines(config: &Path) -> anyhow::Result<ProjectPipelines> {
    let config = config.canonicalize().with_context(|| format!("cannot find `{}`", config.display()))?;
    let directory = config.parent().unwrap_or(Path::new("/"));
    let Config { project, pipelines, .. } = Config::read(directory)?;
    let pipelines = pipelines.into_iter().map(|(name, table)| PipelineConfig::new(name, table, directory));
    let pipelines: Vec<_> = pipelines.collect();
    anyhow::ensure!(!pipelines.is_empty(), "there is no pipeline in `{}`", config.display());
    Ok(ProjectPipelines { project: project_name(project, directory)?, pipelines })
}

/// Returns the project's name: the one given, or else the directory's.
fn project_name(given: Option<ProjectName>, directory: &Path) -> anyhow::Result<ProjectName> {
    if let Some(name) = given {
        return Ok(name);
    }
    let name = directory.file_name().unwrap_or_default().to_string_lossy().to_lowercase().replace('_', "-");
    name.parse().map_err(|error| {
        let hint = "give it one: `project = \"NAME\"` in its `nebula.toml`, or `--project NAME`";
        anyhow::Error::new(error).context(hinted("the project has no name", hint))
    })
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

/// A function with the component that was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The function's name.
    pub(crate) name: FunctionName,
    /// The directory of its crate.
    pub(crate) directory: PathBuf,
    /// The component file.
    pub(crate) component: PathBuf,
    /// The settings in its `nebula.toml`.
    pub(crate) settings: Settings,
}

/// The outcome of a build.
#[derive(Debug)]
pub(crate) struct BuildOutcome {
    /// The functions that were built, also if others failed.
    pub(crate) built: Vec<Built>,
    /// Set if all functions were built.
    pub(crate) complete: bool,
}

impl Project {
    /// Reads the project at `path`.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let given = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
        let config = Config::read(&given)?;
        let directory = match config.functions {
            Some(functions) => given.join(functions).canonicalize().with_context(|| {
                format!("`functions` in `{}` is not a directory", given.join("nebula.toml").display())
            })?,
            None => given.clone(),
        };
        let mut pipelines = config.pipelines;
        if directory != given {
            pipelines.extend(Config::read(&directory)?.pipelines);
        }
        let pipelines = pipelines.into_iter();
        let pipelines = pipelines.map(|(name, table)| PipelineConfig::new(name, table, &directory)).collect();
        if !directory.join("Cargo.toml").is_file() {
            let hint = "`nebula new NAME` creates a function; or give the directory of one";
            return Err(hinted(format!("there is no `Cargo.toml` in `{}`", directory.display()), hint).into());
        }
        let metadata = Metadata::read(&directory)?;
        let mut functions = Vec::new();
        for package in metadata.packages {
            functions.extend(FunctionCrate::of(package, &directory)?);
        }
        if functions.is_empty() {
            let hint = "a function's `Cargo.toml` has `crate-type = [\"cdylib\"]` under `[lib]`";
            return Err(hinted(format!("no package in `{}` is a function", directory.display()), hint).into());
        }
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        let target_directory = metadata.target_directory;
        Ok(Self { root: given, directory, target_directory, name: config.project, functions, pipelines })
    }

    /// Returns the project's name.
    pub(crate) fn name(&self) -> anyhow::Result<ProjectName> {
        project_name(self.name.clone(), &self.root)
    }

    /// Returns the project's pipelines.
    pub(crate) fn pipelines(&self) -> &[PipelineConfig] {
        &self.pipelines
    }

    /// Returns whether a change to `path` may change a component.
    pub(crate) fn is_source(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.directory) else { return false };
        let hidden_or_built = |part: &OsStr| part == "target" || part.as_encoded_bytes().starts_with(b".");
        if inside.iter().any(hidden_or_built) {
            return false;
        }
        // Builds write these files.
        if inside.ends_with("Cargo.lock") || inside.ends_with("src/bindings.rs") {
            return false;
        }
        // The top directory may contain other files, such as the log of `nebula up` itself.
        let at_the_top = inside.iter().count() == 1;
        !at_the_top || path.is_dir() || inside.extension().is_some_and(|end| end == "toml" || end == "rs")
    }

    /// Builds every function.
    pub(crate) fn build(&self, builder: Builder) -> anyhow::Result<BuildOutcome> {
        cargo::ensure_target(&self.directory, builder.target())?;
        let packages = self.functions.iter().map(|function| function.package.as_str());
        match builder {
            Builder::Cargo => {
                let Artifacts { written, complete } = cargo::build(&self.directory, packages)?;
                let built = written.into_iter().filter_map(|artifact| {
                    let mut functions = self.functions.iter();
                    let function = functions.find(|function| function.directory == artifact.package)?;
                    Some(function.built(artifact.component))
                });
                Ok(BuildOutcome { built: built.collect(), complete })
            }
            Builder::CargoComponent => {
                if !cargo::build_with_cargo_component(&self.directory, packages)? {
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
}

impl FunctionCrate {
    /// Returns the package as a function; `None` if it isn't one, or is outside of `within`.
    fn of(package: Package, within: &Path) -> anyhow::Result<Option<Self>> {
        let is_component = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
        let Some(target) = package.targets.iter().find(is_component) else { return Ok(None) };
        let Some(directory) = package.manifest_path.parent().filter(|path| path.starts_with(within)) else {
            return Ok(None);
        };
        let mut config = Config::read(directory)?;
        let name = match config.name.take() {
            Some(name) => name,
            None => package.name.replace('_', "-").parse().with_context(|| {
                format!("the package `{}` needs a `name` in its `nebula.toml`", package.name)
            })?,
        };
        Ok(Some(Self {
            library: target.name.clone(),
            name,
            directory: directory.to_owned(),
            settings: config.settings(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_builds_write_are_not_sources() {
        let project = Project {
            directory: "/p".into(),
            target_directory: "/p/target".into(),
            root: "/p".into(),
            name: None,
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
}
