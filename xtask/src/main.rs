//! Tasks of this repository: `cargo xtask <task>`.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let done = match task.as_deref() {
        Some("test") => test(),
        Some(_) | None => Err("usage: cargo xtask test".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Installs what the tests need, then runs all of them.
fn test() -> Result<(), String> {
    run(Command::new("rustup").args(["target", "add", "wasm32-wasip2", "wasm32-wasip1"]))?;
    run(Command::new("cargo").args(["test", "--workspace"]))
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}
