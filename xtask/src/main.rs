//! Tasks of this repository: `cargo xtask <task>`.
//!
//! ```text
//! test       installs whatever the tests need, and runs all of them
//! functions  builds functions/ in both ways, and compares their answers with their samples
//! openapi    validates the OpenAPI document of a server with every function deployed
//! ```

mod functions;
mod openapi;
mod tools;

use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let done = match task.as_deref() {
        Some("test") => test(),
        Some("functions") => functions::check(),
        Some("openapi") => openapi::check(),
        Some(_) | None => Err("usage: cargo xtask test | functions | openapi".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything.
fn test() -> Result<(), String> {
    tools::targets()?;
    tools::nginx()?;
    // Those that `cargo test` ignores need what has been installed.
    let arguments = ["test", "--workspace", "--", "--include-ignored"];
    run(Command::new("cargo").current_dir(root()).args(arguments))?;
    guests()?;
    functions::check()?;
    openapi::check()
}

/// The tests' own guests, which their build script has built, are held to the same style as the rest.
fn guests() -> Result<(), String> {
    let cargo = || {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(root().join("tests/guests")).env("CARGO_TARGET_DIR", root().join("target/guests"));
        cargo
    };
    run(cargo().args(["fmt", "--all", "--check"]))?;
    let wasm = ["--all-targets", "--target", "wasm32-wasip2"];
    run(cargo().arg("clippy").args(wasm).args(["--", "-D", "warnings"]))
}

/// The repository.
fn root() -> &'static Path {
    // Its parent exists: this crate is one folder of it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Runs a command to its success.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}

/// Runs a command to its success, for what it writes to stdout.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let shown = format!("{command:?}").replace('"', "");
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("`{shown}` failed: {}", output.status))
    }
}
