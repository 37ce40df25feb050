//! What the tasks need beyond a Rust toolchain, installed where it is missing.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{output, root, run};

const CARGO_COMPONENT: &str = "0.21.1";
const OPENAPI_VALIDATOR: &str = "openapi-spec-validator==0.7.2";

/// The Wasm targets of the two ways to build.
pub(crate) fn targets() -> Result<(), String> {
    run(Command::new("rustup").args(["target", "add", "wasm32-wasip2", "wasm32-wasip1"]))
}

/// cargo-component, so that `cargo component` finds it.
pub(crate) fn cargo_component() -> Result<(), String> {
    let found = Command::new("cargo").args(["component", "--version"]).stderr(Stdio::null()).output();
    let wanted = format!(" {CARGO_COMPONENT}");
    if found.is_ok_and(|found| String::from_utf8_lossy(&found.stdout).contains(&wanted)) {
        return Ok(());
    }
    run(Command::new("cargo").args(["install", "--locked", "cargo-component", "--version", CARGO_COMPONENT]))
}

/// A Python with the OpenAPI validator, in an environment of its own.
pub(crate) fn openapi_validator() -> Result<PathBuf, String> {
    let environment = root().join("target/tools/openapi");
    let python = environment.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", OPENAPI_VALIDATOR]))?;
    Ok(python)
}

/// The `nebula` binary of this tree.
pub(crate) fn nebula() -> Result<PathBuf, String> {
    let messages = output(Command::new("cargo").current_dir(root()).args([
        "build",
        "--package",
        "nebula-cli",
        "--message-format=json-render-diagnostics",
    ]))?;
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .find_map(|message| {
            let is_nebula = message["target"]["name"] == "nebula";
            message["executable"].as_str().filter(|_| is_nebula).map(PathBuf::from)
        })
        .ok_or_else(|| "cargo built no `nebula`".to_owned())
}
