//! Compiles the guests in `guests/` and the functions in `functions/` to components, and writes down
//! where they are.
//!
//! Both are workspaces of their own, for another target. What comes out, for `src/lib.rs` to include:
//! a constant with the path of each component, and for each directory of guests a macro that names
//! them all, so that a test module can insist on having a test for each.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

// Nothing but the standard library: what a build script depends on changes the features that wasmtime's
// macros are built with, and so has wasmtime built twice.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What guests and functions are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// A component and its source.
struct Component {
    /// As Rust spells it.
    name: String,
    /// A guest's file, a function's folder.
    source: PathBuf,
    path: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let here = PathBuf::from(env("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env("OUT_DIR")?);
    let root = here.parent().ok_or("tests/ lies in a repository")?;
    // Not cargo's own, which is locked while it runs this script.
    let target = root.join("target/guests");
    ensure_target(&here)?;

    build(&here.join("guests"), "--examples", &target)?;
    build(&root.join("functions"), "--workspace", &target)?;
    let built = target.join(TARGET).join("release");
    let guests = guests(&here.join("guests"), &built)?;
    let functions = functions(&root.join("functions"), &built)?;
    std::fs::write(out.join("components.rs"), generated(&guests, &functions)?)?;

    for source in [here.join("guests"), root.join("guest-sdk"), root.join("wit"), root.join("functions")] {
        watch(&source)?;
    }
    Ok(())
}

fn env(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("cargo sets {name}").into())
}

/// cargo, without what the cargo that runs this script has set for its own target.
fn tool(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let inherited = name.starts_with("RUSTC")
            || name.starts_with("CARGO_ENCODED_RUSTFLAGS")
            || name.starts_with("CARGO_CFG_")
            || name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_FEATURE_")
            || matches!(
                name,
                "RUSTFLAGS" | "RUSTDOC" | "CLIPPY_ARGS" | "CARGO_TARGET_DIR" | "CARGO_BUILD_TARGET"
            );
        if inherited {
            command.env_remove(name);
        }
    }
    command
}

/// Installs the standard library for the target where it is missing.
fn ensure_target(directory: &Path) -> Result<()> {
    let libraries = tool("rustc", directory)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run rustc: {error}"))?;
    if Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir() {
        return Ok(());
    }
    let added = tool("rustup", directory).args(["target", "add", TARGET]).status().map_err(|error| {
        format!("the Rust target {TARGET} is missing, and rustup, which installs it, doesn't run: {error}")
    })?;
    if added.success() {
        Ok(())
    } else {
        Err(format!("the Rust target {TARGET} is missing: `rustup target add {TARGET}`").into())
    }
}

/// Builds what `which` selects in the workspace at `directory`.
fn build(directory: &Path, which: &str, target: &Path) -> Result<()> {
    let status = tool("cargo", directory)
        .args(["build", "--release", "--target", TARGET, which, "--target-dir"])
        .arg(target)
        // cargo reads this script's stdout.
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("building `{}` failed: cargo says why above", directory.display()).into())
    }
}

/// The guests in the folders of `directory`, each an example that is named like its file.
fn guests(directory: &Path, built: &Path) -> Result<Vec<Component>> {
    let mut components = Vec::new();
    for group in folders(directory)? {
        for source in entries(&group)? {
            let name = file_stem(&source)?;
            let path = built.join("examples").join(&name).with_extension("wasm");
            components.push(Component { name, source, path });
        }
    }
    sorted(components)
}

/// The functions of `directory`: its folders with a `Cargo.toml`, each a package that is named like its folder.
fn functions(directory: &Path, built: &Path) -> Result<Vec<Component>> {
    let mut components = Vec::new();
    for folder in folders(directory)? {
        if folder.join("Cargo.toml").is_file() {
            let name = file_stem(&folder)?.replace('-', "_");
            let path = built.join(&name).with_extension("wasm");
            components.push(Component { name, source: folder, path });
        }
    }
    sorted(components)
}

/// Sorts by name, and fails for a component that cargo didn't build.
fn sorted(mut components: Vec<Component>) -> Result<Vec<Component>> {
    components.sort_by(|a, b| a.name.cmp(&b.name));
    match components.iter().find(|component| !component.path.is_file()) {
        None => Ok(components),
        Some(Component { source, path, .. }) => {
            let (source, path) = (source.display(), path.display());
            Err(format!("`{source}` wasn't built: no `{path}`. Is it named in its workspace's Cargo.toml?")
                .into())
        }
    }
}

/// The folders in `directory`, without hidden ones and cargo's own.
fn folders(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = entries(directory)?;
    folders.retain(|path| path.is_dir() && !path.ends_with("target") && !is_hidden(path));
    Ok(folders)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("cannot read `{}`: {error}", directory.display()))?;
    Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn file_stem(path: &Path) -> Result<String> {
    let stem = path.file_stem().and_then(OsStr::to_str);
    Ok(stem.ok_or_else(|| format!("`{}` has no name in UTF-8", path.display()))?.to_owned())
}

fn generated(guests: &[Component], functions: &[Component]) -> Result<String> {
    let mut text = String::new();
    for (module, doc, components) in [
        ("guests", "Components that misbehave, or are special in another way.", guests),
        ("functions", "The functions of this repository.", functions),
    ] {
        writeln!(text, "/// {doc}\npub mod {module} {{")?;
        for Component { name, path, .. } in components {
            writeln!(text, "    /// The path of `{name}`.")?;
            writeln!(text, "    pub const {}: &str = {path:?};", name.to_uppercase())?;
        }
        writeln!(text, "}}")?;
    }
    writeln!(text, "/// Every function: its crate's directory, and its component.")?;
    writeln!(text, "pub const FUNCTIONS: &[(&str, &str)] = &[")?;
    for Component { source, path, .. } in functions {
        writeln!(text, "    ({source:?}, {path:?}),")?;
    }
    writeln!(text, "];")?;

    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for Component { name, source, .. } in guests {
        let group = source.parent().and_then(Path::file_name).ok_or("guests lie in directories")?;
        groups.entry(group.to_string_lossy().into_owned()).or_default().push(name);
    }
    for (group, names) in groups {
        writeln!(text, "/// Expands `$mac!(name)` for every guest in `guests/{group}/`.")?;
        writeln!(text, "#[macro_export]\nmacro_rules! foreach_guest_in_{group} {{\n    ($mac:ident) => {{")?;
        for name in names {
            writeln!(text, "        $mac!({name});")?;
        }
        writeln!(text, "    }};\n}}")?;
    }
    Ok(text)
}

/// Has cargo run this script again when a source changes, and not when a build writes beside it.
fn watch(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "target" || name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            watch(&entry.path())?;
        } else {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    Ok(())
}
