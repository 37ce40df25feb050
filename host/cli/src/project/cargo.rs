//! Cargo: the packages of a workspace, and builds of some of them.
//!
//! `nebula` runs the installed `cargo`, whose diagnostics go to stderr.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde::Deserialize;

use crate::report::{hinted, note};

/// A command that builds components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builder {
    /// `cargo build --target wasm32-wasip2`.
    Cargo,
    /// `cargo component build`.
    CargoComponent,
}

impl Builder {
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Cargo => "wasm32-wasip2",
            Self::CargoComponent => "wasm32-wasip1",
        }
    }
}

/// The output of `cargo metadata`.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    pub(super) workspace_root: PathBuf,
    pub(super) target_directory: PathBuf,
    /// The directory of intermediate files, if this version of cargo separates it.
    pub(super) build_directory: Option<PathBuf>,
}

/// A package of a workspace.
#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest_path: PathBuf,
    pub(super) targets: Vec<Target>,
    pub(super) dependencies: Vec<Dependency>,
}

/// A target of a package.
#[derive(Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    /// The crate types of a library; otherwise `bin`, `example` or the like.
    kind: Vec<String>,
    pub(super) src_path: PathBuf,
}

/// A dependency of a package.
#[derive(Deserialize)]
pub(super) struct Dependency {
    /// The directory of a path dependency.
    pub(super) path: Option<PathBuf>,
}

impl Target {
    /// Returns whether this is a library that builds to a component. A package has one at most.
    pub(super) fn is_component(&self) -> bool {
        self.kind.iter().any(|kind| kind == "cdylib")
    }
}

impl Metadata {
    /// Reads the metadata of the workspace that `directory` is in.
    pub(super) fn read(directory: &Path) -> anyhow::Result<Self> {
        let output = command(directory)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(cannot_run)?;
        anyhow::ensure!(output.status.success(), "cargo cannot read `{}`", directory.display());
        serde_json::from_slice(&output.stdout).context("cannot parse cargo's metadata")
    }
}

/// A component that cargo wrote.
pub(super) struct Artifact {
    /// The directory of its package.
    pub(super) package: PathBuf,
    pub(super) component: PathBuf,
}

/// The outcome of a build.
pub(super) struct Artifacts {
    /// The components written, also if others failed to build.
    pub(super) written: Vec<Artifact>,
    pub(super) complete: bool,
}

/// A line of cargo's `--message-format=json`, as far as it is used here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds packages with `cargo build` and returns the components it reports.
pub(super) fn build<'a>(
    directory: &Path,
    packages: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Artifacts> {
    let mut command = command(directory);
    command.args(["build", "--keep-going", "--message-format=json-render-diagnostics", "--target"]);
    // A binary beside the library is a tool of its author's, and need not compile to Wasm.
    command.args([Builder::Cargo.target(), "--release", "--lib"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(cannot_run)?;
    let mut written = Vec::new();
    let stdout = child.stdout.take().into_iter();
    for line in stdout.flat_map(|stdout| BufReader::new(stdout).lines()) {
        let line = line.context("cannot read cargo's messages")?;
        // Build scripts and macros print other lines.
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if message.reason != "compiler-artifact" {
            continue;
        }
        let component =
            message.filenames.into_iter().find(|file| file.extension().is_some_and(|end| end == "wasm"));
        let package = message.manifest_path.as_deref().and_then(Path::parent).map(Path::to_owned);
        if let (Some(component), Some(package)) = (component, package) {
            written.push(Artifact { package, component });
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok(Artifacts { written, complete: status.success() })
}

/// Builds packages with `cargo component build`; returns whether all succeeded.
pub(super) fn build_with_cargo_component<'a>(
    directory: &Path,
    packages: impl Iterator<Item = &'a str>,
) -> anyhow::Result<bool> {
    let mut command = command(directory);
    command.args(["component", "build", "--release", "--lib"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let status = command.stdout(Stdio::null()).status().map_err(cannot_run)?;
    Ok(status.success())
}

/// Returns whether the standard library for a target is installed.
pub(crate) fn has_target(directory: &Path, target: &str) -> std::io::Result<bool> {
    let library = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(directory)
        .output()?;
    Ok(Path::new(String::from_utf8_lossy(&library.stdout).trim()).is_dir())
}

/// Installs the standard library for a target if it is missing.
pub(super) fn ensure_target(directory: &Path, target: &str) -> anyhow::Result<()> {
    if has_target(directory, target).map_err(cannot_run)? {
        return Ok(());
    }
    note(format!("installing the Rust target {target}"));
    let added = Command::new("rustup")
        .args(["target", "add", target])
        .current_dir(directory)
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

fn command(directory: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(directory).stdin(Stdio::null());
    command
}

fn cannot_run(error: std::io::Error) -> anyhow::Error {
    anyhow::Error::new(error)
        .context(hinted("cannot run cargo", "install Rust with rustup: https://rustup.rs"))
}
