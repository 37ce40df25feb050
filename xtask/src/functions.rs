//! Tests the sample functions in `functions/` and checks their samples.
//!
//! Each function is built in both supported ways, by `cargo build` for `wasm32-wasip2` and by
//! cargo-component. Both components must turn `sample/input.*` into `sample/output.*`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{cargo, output, root, run};
use crate::tools;

/// Runs the functions' own tests, then compares both builds with the samples.
pub(crate) fn check() -> Result<(), String> {
    tools::targets()?;
    tools::cargo_component()?;
    let directory = root().join("functions");
    run(cargo("functions").args(["test", "--workspace"]))?;
    let nebula = tools::nebula()?;
    let mut samples = 0;
    for arguments in [&["build"][..], &["build", "--cargo-component"]] {
        for component in build(&nebula, arguments)? {
            samples += usize::from(check_sample(&nebula, &directory, &component)?);
        }
    }
    if samples == 0 {
        return Err("no function has a sample".to_owned());
    }
    eprintln!("checked {samples} samples");
    Ok(())
}

/// Builds every function with `nebula build` and returns the paths of the components.
pub(crate) fn build(nebula: &Path, arguments: &[&str]) -> Result<Vec<PathBuf>, String> {
    let built = output(Command::new(nebula).args(arguments).arg(root().join("functions")))?;
    Ok(String::from_utf8_lossy(&built).lines().map(PathBuf::from).collect())
}

/// Runs a component on its function's sample input and compares the output.
///
/// Returns whether there was something to compare. Skips functions without a sample, and functions
/// that import others: those need a server, and the end-to-end tests call them.
fn check_sample(nebula: &Path, functions: &Path, component: &Path) -> Result<bool, String> {
    const IMPORT: &[u8] = b"nebula:functions/";
    let bytes = std::fs::read(component)
        .map_err(|error| format!("cannot read `{}`: {error}", component.display()))?;
    if bytes.windows(IMPORT.len()).any(|window| window == IMPORT) {
        return Ok(false);
    }
    let name = component.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
    let sample = functions.join(&name).join("sample");
    let (Some(input), Some(expected)) = (file_with_stem(&sample, "input"), file_with_stem(&sample, "output"))
    else {
        return Ok(false);
    };
    let mut at = std::ffi::OsString::from("@");
    at.push(input);
    let deadline = ["--deadline-ms", "60000"];
    let answer = output(Command::new(nebula).arg("invoke").arg(component).arg(at).args(deadline))?;
    let expected =
        std::fs::read(&expected).map_err(|error| format!("cannot read `{}`: {error}", expected.display()))?;
    if answer != expected {
        return Err(format!(
            "`{}` returned another output for its sample than the one in `{}`",
            component.display(),
            sample.display()
        ));
    }
    Ok(true)
}

fn file_with_stem(directory: &Path, stem: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_stem().is_some_and(|found| found == stem))
}
