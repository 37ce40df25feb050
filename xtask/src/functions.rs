//! `functions/`: tested, built in both ways, and answering as their samples say.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, output, root, run, tools};

pub(crate) fn check() -> Result<(), String> {
    tools::targets()?;
    tools::cargo_component()?;
    let directory = root().join("functions");
    run(cargo("functions").args(["test", "--workspace"]))?;
    let nebula = tools::nebula()?;
    let mut compared = 0;
    for arguments in [&["build"][..], &["build", "--cargo-component"]] {
        for component in build(&nebula, arguments)? {
            compared += compare(&nebula, &directory, &component)?;
        }
    }
    if compared == 0 {
        return Err("no function has a sample".to_owned());
    }
    eprintln!("{compared} samples of both builds agree");
    Ok(())
}

/// The components of every function.
pub(crate) fn build(nebula: &Path, arguments: &[&str]) -> Result<Vec<PathBuf>, String> {
    let built = output(Command::new(nebula).args(arguments).arg(root().join("functions")))?;
    Ok(String::from_utf8_lossy(&built).lines().map(PathBuf::from).collect())
}

/// Runs a component on its function's sample. How many samples there were. What imports other functions runs on a server
/// alone, where the tests call it.
fn compare(nebula: &Path, functions: &Path, component: &Path) -> Result<usize, String> {
    const IMPORT: &[u8] = b"nebula:functions/";
    let bytes = std::fs::read(component)
        .map_err(|error| format!("cannot read `{}`: {error}", component.display()))?;
    if bytes.windows(IMPORT.len()).any(|window| window == IMPORT) {
        return Ok(0);
    }
    let name = component.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
    let sample = functions.join(&name).join("sample");
    let (Some(input), Some(expected)) = (file(&sample, "input"), file(&sample, "output")) else {
        return Ok(0);
    };
    let mut at = std::ffi::OsString::from("@");
    at.push(input);
    let deadline = ["--deadline-ms", "60000"];
    let answer = output(Command::new(nebula).arg("invoke").arg(component).arg(at).args(deadline))?;
    let expected =
        std::fs::read(&expected).map_err(|error| format!("cannot read `{}`: {error}", expected.display()))?;
    if answer != expected {
        return Err(format!(
            "`{}` answers its sample otherwise than `{}`",
            component.display(),
            sample.display()
        ));
    }
    Ok(1)
}

fn file(directory: &Path, stem: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_stem().is_some_and(|found| found == stem))
}
