//! Everything a run needs, built or installed if it isn't there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// What goes to an echo and must come back.
pub(crate) const BODY: &[u8] = b"the quick brown fox jumps over a dog";

/// A body of any length to echo.
pub(crate) fn body(len: usize) -> Vec<u8> {
    BODY.iter().copied().cycle().take(len).collect()
}

/// The release of wasmtime that Nebula embeds too.
const WASMTIME_VERSION: &str = "48.0.8";

/// What `wasmtime serve` needs of the command-line tool's features, with whatever bears on its speed.
const WASMTIME_FEATURES: &str = "serve,run,compile,cranelift,component-model,component-model-async,\
                                 pooling-allocator,parallel-compilation";

/// The tool that composes components, as a document says.
const WAC_VERSION: &str = "0.12.0";

/// It reads components as text too. It asks no registry.
const WAC_FEATURES: &str = "wat";

/// The root of the repository.
fn root() -> &'static Path {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().unwrap_or(bench)
}

/// Whether figures of this build mean anything.
///
/// # Errors
/// When they don't.
pub(crate) fn ensure_optimised() -> anyhow::Result<()> {
    ensure!(!cfg!(debug_assertions), "an unoptimised build measures nothing: run it with `--profile dist`");
    Ok(())
}

/// Whether a program that isn't installed here is there.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Builds the `nebula` binary with the profile of this program; gives its path.
///
/// # Errors
/// When this isn't an optimised build itself, or cargo fails.
pub(crate) fn nebula() -> anyhow::Result<PathBuf> {
    ensure_optimised()?;
    let program = std::env::current_exe()?;
    // <target>/<profile>/nebula-bench
    let profile =
        program.parent().and_then(Path::file_name).context("a build is in a folder of its profile")?;
    let mut build = cargo();
    build.args(["build", "--package", "nebula-cli", "--profile"]).arg(profile);
    run(build.current_dir(root()))?;
    Ok(program.with_file_name("nebula"))
}

/// Builds functions of the repository; gives their components, in the order of `packages`.
///
/// # Errors
/// When cargo fails.
pub(crate) fn functions<const N: usize>(packages: [&str; N]) -> anyhow::Result<[PathBuf; N]> {
    let directory = root().join("functions");
    let mut build = cargo();
    build.args(["build", "--release", "--target", "wasm32-wasip2"]);
    for package in packages {
        build.args(["--package", package]);
    }
    run(build.current_dir(&directory).env_remove("CARGO_TARGET_DIR"))?;
    // As `functions/.cargo/config.toml` says.
    let built = root().join("target/guests/wasm32-wasip2/release");
    Ok(packages.map(|package| built.join(package.replace('-', "_")).with_extension("wasm")))
}

/// Installs `wasmtime` below the target directory unless it is there; gives its path.
///
/// # Errors
/// When cargo fails.
pub(crate) fn wasmtime() -> anyhow::Result<PathBuf> {
    installed("wasmtime", "wasmtime-cli", WASMTIME_VERSION, WASMTIME_FEATURES)
}

/// Likewise `wac`.
///
/// # Errors
/// When cargo fails.
pub(crate) fn wac() -> anyhow::Result<PathBuf> {
    installed("wac", "wac-cli", WAC_VERSION, WAC_FEATURES)
}

fn installed(name: &str, package: &str, version: &str, features: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program isn't in a target directory")?;
    let tools = target.join("bench-tools");
    let tool = tools.join("bin").join(name);
    // Which release with which features is there: the program itself doesn't tell.
    let (stamp, wanted) = (tools.join(format!("{name}.stamp")), format!("{version} {features}"));
    if tool.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(tool);
    }
    eprintln!("installing {name} {version}; this takes some minutes, once");
    let mut install = cargo();
    install.args(["install", "--locked", "--force", package, "--version", version]);
    install.args(["--no-default-features", "--features", features, "--root"]).arg(&tools);
    run(&mut install)?;
    std::fs::write(&stamp, wanted)?;
    Ok(tool)
}

/// The cargo that runs this, or the one in the path.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs it to its end.
///
/// # Errors
/// When it fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
