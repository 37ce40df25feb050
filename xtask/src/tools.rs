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
        python_with_venv()?;
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", OPENAPI_VALIDATOR]))?;
    Ok(python)
}

/// Python 3 that can make environments: from the system's packages where there is none.
fn python_with_venv() -> Result<(), String> {
    if has_venv() {
        return Ok(());
    }
    let packages = ["python3", "python3-venv"];
    // Debian's and Ubuntu's; whoever has another system, or isn't root, is told.
    if is_root() && succeeds("apt-get", &["--version"]) {
        let apt = || {
            let mut apt = Command::new("apt-get");
            apt.env("DEBIAN_FRONTEND", "noninteractive");
            apt
        };
        run(apt().arg("update"))?;
        run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
        if has_venv() {
            return Ok(());
        }
    }
    Err("the OpenAPI document is validated in Python, and there is no `python3` with `venv` and `ensurepip` \
         here\n\nhint: `sudo apt-get install python3 python3-venv`, or what your system calls them, and again"
        .to_owned())
}

/// Debian's `python3` alone has a `venv` that fails for want of `ensurepip`.
fn has_venv() -> bool {
    succeeds("python3", &["-c", "import ensurepip, venv"])
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
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
