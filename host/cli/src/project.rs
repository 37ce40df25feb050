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
mod inputs;
mod locate;
mod schema;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nebula_runtime::Settings;
use nebula_runtime::id::{FunctionName, ProjectName};

use self::cargo::{Artifacts, Metadata, Package};
pub(crate) use self::cargo::{Builder, has_target};
pub(crate) use self::config::{ComponentConfig, PipelineConfig, functions_of};
use self::config::{Config, ensure_defined};
pub(crate) use self::inputs::Inputs;
pub(crate) use self::locate::locate;
pub(crate) use self::schema::schema;
use crate::report::hinted;
use crate::wit;

/// A cargo workspace, or a part of one, that contains functions.
#[derive(Debug)]
pub(crate) struct Project {
    /// The directory that was given, or found above it.
    pub(crate) root: PathBuf,
    /// The directory in which cargo runs.
    directory: PathBuf,
    workspace_root: PathBuf,
    target_directory: PathBuf,
    name: Option<ProjectName>,
    /// The environment whose settings hold.
    environment: Option<String>,
    build_directory: Option<PathBuf>,
    functions: Vec<FunctionCrate>,
    pipelines: Vec<PipelineConfig>,
    /// The paths in the `watch` lists.
    watch: Vec<PathBuf>,
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

/// Refuses two functions or pipelines of one name.
fn refuse_equal_names(functions: &[FunctionCrate], pipelines: &[PipelineConfig]) -> anyhow::Result<()> {
    let names = functions.iter().map(|function| &function.name);
    let mut seen = HashSet::new();
    match names.chain(pipelines.iter().map(|pipeline| &pipeline.name)).find(|name| !seen.insert(*name)) {
        Some(name) => {
            let hint = "give one of them another name, with `name` in its `nebula.toml`";
            Err(hinted(format!("two functions of the project are called `{name}`"), hint).into())
        }
        None => Ok(()),
    }
}

/// A package that builds to a component.
#[derive(Debug)]
struct FunctionCrate {
    package: String,
    library: String,
    name: FunctionName,
    directory: PathBuf,
    /// The directory of the library's main file.
    sources: PathBuf,
    /// The directories of its path dependencies.
    dependencies: Vec<PathBuf>,
    settings: Settings,
    /// The environments in its `nebula.toml`.
    environments: Vec<String>,
    watch: Vec<PathBuf>,
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
    /// Reads the project that `path` is in, with the settings of an environment.
    pub(crate) fn open(path: &Path, environment: Option<&str>) -> anyhow::Result<Self> {
        Self::read(locate(path)?, environment)
    }

    /// Reads the project again. While its directory or its files are missing, no other project takes
    /// its place.
    pub(crate) fn reopen(&self) -> anyhow::Result<Self> {
        Self::read(self.root.clone(), self.environment.as_deref())
    }

    /// Reads the project in the directory `root`.
    fn read(root: PathBuf, environment: Option<&str>) -> anyhow::Result<Self> {
        let config = Config::read(&root)?;
        let directory = match config.functions {
            Some(functions) => root.join(functions).canonicalize().with_context(|| {
                format!("`functions` in `{}` is not a directory", root.join("nebula.toml").display())
            })?,
            None => root.clone(),
        };
        let mut pipelines = config.pipelines;
        let mut watch: Vec<_> = config.watch.iter().map(|path| root.join(path)).collect();
        if directory != root {
            let config = Config::read(&directory)?;
            pipelines.extend(config.pipelines);
            watch.extend(config.watch.iter().map(|path| directory.join(path)));
        }
        let pipelines = pipelines.into_iter();
        let pipelines: Vec<_> =
            pipelines.map(|(name, table)| PipelineConfig::new(name, table, &directory)).collect();
        if !directory.join("Cargo.toml").is_file() {
            let hint = "`nebula new NAME` creates a function; or give the directory of one";
            return Err(hinted(format!("there is no `Cargo.toml` in `{}`", directory.display()), hint).into());
        }
        let Metadata { packages, workspace_root, target_directory, build_directory } =
            Metadata::read(&directory)?;
        let mut functions = Vec::new();
        for package in packages {
            functions.extend(FunctionCrate::of(package, &directory, environment)?);
        }
        if functions.is_empty() {
            let hint = "a function's `Cargo.toml` has `crate-type = [\"cdylib\"]` under `[lib]`";
            return Err(hinted(format!("no package in `{}` is a function", directory.display()), hint).into());
        }
        let defined = functions.iter().flat_map(|function| &function.environments);
        ensure_defined(environment, defined.map(String::as_str))?;
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        refuse_equal_names(&functions, &pipelines)?;
        Ok(Self {
            root,
            directory,
            workspace_root,
            target_directory,
            build_directory,
            name: config.project,
            environment: environment.map(str::to_owned),
            functions,
            pipelines,
            watch,
        })
    }

    /// Returns whether the project's `nebula.toml` names it.
    pub(crate) fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// Returns the project's name.
    pub(crate) fn name(&self) -> anyhow::Result<ProjectName> {
        project_name(self.name.clone(), &self.root)
    }

    /// Returns the project's pipelines.
    pub(crate) fn pipelines(&self) -> &[PipelineConfig] {
        &self.pipelines
    }

    /// Returns the files that a build reads: those that the last build has listed, or, if it failed,
    /// the source directories as well.
    pub(crate) fn inputs(&self, builder: Builder, last_failed: bool) -> Inputs {
        let outputs = [Some(self.target_directory.clone()), self.build_directory.clone()];
        let mut inputs = Inputs::new(outputs.into_iter().flatten());
        for directory in [&self.root, &self.directory, &self.workspace_root] {
            inputs.add_manifests(directory);
        }
        if self.workspace_root == self.directory {
            inputs.add_package_parent(&self.directory);
        }
        self.watch.iter().for_each(|path| inputs.add(path.clone()));
        for function in &self.functions {
            inputs.add_manifests(&function.directory);
            // `cargo component` reads these itself, and a macro also reads those that are new.
            inputs.add(function.directory.join("wit"));
            if let Some(parent) = function.directory.parent().filter(|path| path.starts_with(&self.directory))
            {
                inputs.add_package_parent(parent);
            }
            function.watch.iter().for_each(|path| inputs.add(path.clone()));
            let component = self.component(function, builder);
            let packages = inputs.add_dep_info(&component.with_extension("d"), &self.directory);
            if last_failed || packages.is_empty() {
                inputs.add(function.sources.clone());
                for dependency in packages.iter().chain(&function.dependencies) {
                    inputs.add(dependency.join("Cargo.toml"));
                    inputs.add(dependency.join("src"));
                }
            }
        }
        inputs
    }

    /// Returns the path of a function's component. Neither builder writes it elsewhere.
    fn component(&self, function: &FunctionCrate, builder: Builder) -> PathBuf {
        let directory = self.target_directory.join(builder.target()).join("release");
        directory.join(format!("{}.wasm", function.library.replace('-', "_")))
    }

    /// Builds every function, and adds the documentation that its component lacks.
    pub(crate) fn build(&self, builder: Builder) -> anyhow::Result<BuildOutcome> {
        let outcome = self.build_components(builder)?;
        for built in &outcome.built {
            wit::add_docs(&built.component, &built.directory.join("wit"))?;
        }
        Ok(outcome)
    }

    fn build_components(&self, builder: Builder) -> anyhow::Result<BuildOutcome> {
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
                let built =
                    self.functions.iter().map(|function| function.built(self.component(function, builder)));
                Ok(BuildOutcome { built: built.collect(), complete: true })
            }
        }
    }
}

impl FunctionCrate {
    /// Returns the package as a function; `None` if it isn't one, or is outside of `within`.
    fn of(package: Package, within: &Path, environment: Option<&str>) -> anyhow::Result<Option<Self>> {
        let Some(target) = package.targets.iter().find(|target| target.is_component()) else {
            return Ok(None);
        };
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
            sources: target.src_path.parent().unwrap_or(directory).to_owned(),
            dependencies: package.dependencies.into_iter().filter_map(|dependency| dependency.path).collect(),
            watch: config.watch.iter().map(|path| directory.join(path)).collect(),
            environments: config.env.keys().cloned().collect(),
            settings: config.settings(environment),
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
