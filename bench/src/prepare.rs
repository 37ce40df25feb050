//! Builds and installs everything that a run needs.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// The default body of echoes.
pub(crate) const BODY: &[u8] = b"the quick brown fox jumps over a dog";

/// Creates a directory for data, which others can't read. It is removed on drop.
///
/// # Errors
/// Returns the error of the system.
pub(crate) fn data_dir() -> io::Result<TempDir> {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()
}

/// Returns a body of any length.
pub(crate) fn body(len: usize) -> Vec<u8> {
    BODY.iter().copied().cycle().take(len).collect()
}

/// A tool that cargo installs.
struct Tool {
    name: &'static str,
    package: &'static str,
    version: &'static str,
    features: &'static str,
}

/// wasmtime's command line, in the release that Nebula embeds, with the features that `wasmtime
/// serve` needs and those that affect its speed.
const WASMTIME: Tool = Tool {
    name: "wasmtime",
    package: "wasmtime-cli",
    version: "48.0.8",
    features: "serve,run,compile,cranelift,component-model,component-model-async,pooling-allocator,\
               parallel-compilation",
};

/// wac, which composes components. It reads components in the text format, too, and uses no
/// registry.
const WAC: Tool = Tool { name: "wac", package: "wac-cli", version: "0.12.0", features: "wat" };

/// Returns the root of the repository.
pub(crate) fn root() -> &'static Path {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().unwrap_or(bench)
}

/// Checks that this is an optimised build.
///
/// # Errors
/// Returns an error if it isn't.
pub(crate) fn ensure_optimised() -> anyhow::Result<()> {
    ensure!(
        !cfg!(debug_assertions),
        "figures of an unoptimised build are meaningless: build with `--profile dist`"
    );
    Ok(())
}

/// Returns whether a program is installed on the system.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Builds the `nebula` binary with the profile of this program and returns its path.
///
/// # Errors
/// Returns an error if this build isn't optimised, or if cargo fails.
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

/// Builds functions of the repository and returns the paths of their components in the order of
/// `packages`.
///
/// # Errors
/// Returns an error if cargo fails.
pub(crate) fn functions<const N: usize>(packages: [&str; N]) -> anyhow::Result<[PathBuf; N]> {
    let directory = root().join("functions");
    let mut build = cargo();
    build.args(["build", "--release", "--target", "wasm32-wasip2"]);
    for package in packages {
        build.args(["--package", package]);
    }
    run(build.current_dir(&directory).env_remove("CARGO_TARGET_DIR"))?;
    // `functions/.cargo/config.toml` sets the target directory and the target.
    let built = root().join("target/guests/wasm32-wasip2/release");
    Ok(packages.map(|package| built.join(package.replace('-', "_")).with_extension("wasm")))
}

/// Installs `wasmtime` in the target directory if it is missing, and returns its path.
///
/// # Errors
/// Returns an error if cargo fails.
pub(crate) fn wasmtime() -> anyhow::Result<PathBuf> {
    install(&WASMTIME)
}

/// Installs `wac` in the target directory if it is missing, and returns its path.
///
/// # Errors
/// Returns an error if cargo fails.
pub(crate) fn wac() -> anyhow::Result<PathBuf> {
    install(&WAC)
}

/// Returns the directory of installed tools, in the target directory.
///
/// # Errors
/// Returns an error if this program isn't in a target directory.
pub(crate) fn bench_tools() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program isn't in a target directory")?;
    Ok(target.join("bench-tools"))
}

fn install(tool: &Tool) -> anyhow::Result<PathBuf> {
    let Tool { name, package, version, features } = tool;
    let tools = bench_tools()?;
    let path = tools.join("bin").join(name);
    // The program doesn't print its features, so a stamp file records the installed release and
    // features.
    let (stamp, wanted) = (tools.join(format!("{name}.stamp")), format!("{version} {features}"));
    if path.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(path);
    }
    eprintln!("installing {name} {version}; this takes a few minutes, once");
    let mut install = cargo();
    install.args(["install", "--locked", "--force", package, "--version", version]);
    install.args(["--no-default-features", "--features", features, "--root"]).arg(&tools);
    run(&mut install)?;
    std::fs::write(&stamp, wanted)?;
    Ok(path)
}

/// Prepares the cargo that runs this program, or the one in the path.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command and waits for it.
///
/// # Errors
/// Returns an error if the command fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
