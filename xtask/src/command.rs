//! Commands: run in the repository, and shown when they fail.

use std::path::Path;
use std::process::Command;

/// Returns the root folder of the repository.
pub(crate) fn root() -> &'static Path {
    // This crate is a folder in the root, so the parent exists.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Returns a cargo command that runs in `directory`, relative to the root.
pub(crate) fn cargo(directory: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root().join(directory));
    cargo
}

/// Prints a command and runs it. A status other than success is an error.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}

/// Runs a command and returns what it writes to stdout. A status other than success is an error.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>, String> {
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
