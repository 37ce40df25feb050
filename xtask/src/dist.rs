//! Builds the binary that is benchmarked and packaged, `target/dist/package/nebula`, and puts its
//! debug symbols beside it in `nebula.debug`.

use std::path::PathBuf;
use std::process::Command;

use crate::command::{cargo, output, root, run};

pub(crate) fn build() -> Result<(), String> {
    run(cargo(".").args(["build", "--profile", "dist", "--package", "nebula-cli"]))?;
    let built = root().join("target/dist/nebula");
    let package = root().join("target/dist/package");
    std::fs::create_dir_all(&package)
        .map_err(|error| format!("cannot create `{}`: {error}", package.display()))?;
    let (binary, symbols) = (package.join("nebula"), package.join("nebula.debug"));
    let objcopy = objcopy()?;
    run(Command::new(&objcopy).arg("--only-keep-debug").args([&built, &symbols]))?;
    run(Command::new(&objcopy).arg("--strip-all").args([&built, &binary]))?;
    // Names the file that debuggers look for beside the binary.
    run(Command::new(&objcopy).current_dir(&package).args(["--add-gnu-debuglink=nebula.debug", "nebula"]))?;
    for file in [binary, symbols] {
        let bytes = std::fs::metadata(&file).map_err(|error| error.to_string())?.len();
        eprintln!("{} ({:.1} MB)", file.display(), bytes as f64 / 1e6);
    }
    Ok(())
}

/// Returns the path of the Rust toolchain's own `objcopy`.
fn objcopy() -> Result<PathBuf, String> {
    let libraries = output(Command::new("rustc").current_dir(root()).args(["--print", "target-libdir"]))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&libraries).trim());
    Ok(libraries.with_file_name("bin").join("rust-objcopy"))
}
