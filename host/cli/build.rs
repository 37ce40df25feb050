//! Generates `sdk_files.rs`: the files of the guest SDK, which the binary carries. Asks the compiler
//! for its version, which the metrics show.
//!
//! The list has what a build of the SDK needs, without its tests, their snapshots and its lock file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// No library reports these errors: a build dependency would add features to crates below wasmtime
/// and compile it twice.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let sdk = here.join("../../guest-sdk").canonicalize()?;
    let mut files = Vec::new();
    for part in ["Cargo.toml", "README.md", "src", "macros/Cargo.toml", "macros/src", "macros/wit"] {
        collect(&sdk.join(part), &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        let path = file.strip_prefix(&sdk)?;
        writeln!(list, "    SdkFile {{ path: {path:?}, content: include_str!({file:?}) }},")?;
    }
    list.push_str("]\n");
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("sdk_files.rs"), list)?;
    println!("cargo::rustc-env=NEBULA_SDK_VERSION={}", version(&sdk.join("Cargo.toml"))?);
    println!("cargo::rustc-env=NEBULA_RUSTC_VERSION={}", rustc_version()?);
    Ok(())
}

/// Returns the version of the compiler: `1.95.0 (f2d3ce0bd 2026-04-13)`.
fn rustc_version() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").ok_or("cargo names the compiler in `RUSTC`")?;
    let printed = std::process::Command::new(rustc).arg("--version").output()?;
    let printed = String::from_utf8(printed.stdout)?;
    Ok(printed.trim().strip_prefix("rustc ").ok_or("the compiler prints its version")?.to_owned())
}

/// Adds a file, or all files below a directory.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    // A file that is added changes its directory.
    println!("cargo::rerun-if-changed={}", path.display());
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() != "snapshots" {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// Returns the version in the SDK's manifest.
fn version(manifest: &Path) -> Result<String> {
    let text = std::fs::read_to_string(manifest)?;
    let version = text.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    Ok(version.ok_or("the SDK's manifest has no version")?.to_owned())
}
