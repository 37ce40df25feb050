//! Compiles the guests in `guests/` and the functions in `functions/` to components, and generates
//! `components.rs`, which `src/lib.rs` includes.
//!
//! Guests and functions are separate workspaces, built for [`TARGET`]. The generated file holds:
//! * `guests::NAME` and `functions::NAME`: the path of each component.
//! * `FUNCTIONS`: the crate directory and the component of every function.
//! * `foreach_guest_in_DIRECTORY!`: a macro that expands another one for each guest of a directory.
//!   A test module uses it to fail to compile while a guest has no test.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// No library reports these errors: a build dependency would add features to crates below wasmtime
/// and compile it twice.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The compilation target of guests and functions.
const TARGET: &str = "wasm32-wasip2";

/// A built component and the source it was built from.
struct Component {
    /// The name of the Cargo target as a Rust identifier.
    name: String,
    /// The file of a guest, or the directory of a function.
    source: PathBuf,
    path: PathBuf,
}

fn main() -> Result<()> {
    let here = PathBuf::from(env("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env("OUT_DIR")?);
    // <target>/<profile>/build/<package>/out
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is too short")?.join("guests");
    let root = here.parent().ok_or("tests/ lies in a repository")?;
    ensure_target(&here)?;

    build(&here.join("guests"), "--examples", &target)?;
    build(&root.join("functions"), "--workspace", &target)?;
    let built = target.join(TARGET).join("release");
    let guests = guests(&here.join("guests"), &built)?;
    let functions = functions(&root.join("functions"), &built)?;
    std::fs::write(out.join("components.rs"), render(&guests, &functions)?)?;

    for source in [here.join("guests"), root.join("guest-sdk"), root.join("wit"), root.join("functions")] {
        rerun_if_changed(&source)?;
    }
    Ok(())
}

fn env(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("cargo sets {name}").into())
}

/// Prepares a command without the variables that the outer cargo has set for its own target.
fn clean_command(program: &str, directory: &Path) -> Command {
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

/// Installs the standard library for the target if it is missing.
fn ensure_target(directory: &Path) -> Result<()> {
    let libraries = clean_command("rustc", directory)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run rustc: {error}"))?;
    if Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir() {
        return Ok(());
    }
    let added =
        clean_command("rustup", directory).args(["target", "add", TARGET]).status().map_err(|error| {
            format!("the Rust target {TARGET} is missing, and rustup can't be run to install it: {error}")
        })?;
    match added.success() {
        true => Ok(()),
        false => Err(format!("the Rust target {TARGET} is missing: run `rustup target add {TARGET}`").into()),
    }
}

/// Builds the Cargo targets that the flag `selection` selects in the workspace at `directory`.
fn build(directory: &Path, selection: &str, target: &Path) -> Result<()> {
    let status = clean_command("cargo", directory)
        .args(["build", "--release", "--target", TARGET, selection, "--target-dir"])
        .arg(target)
        // Cargo reads the output of this script.
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("building `{}` failed: see cargo's errors above", directory.display()).into())
    }
}

/// Lists the guests in the folders of `directory`: examples named like their files.
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

/// Lists the functions of `directory`: folders with a `Cargo.toml`, packages named like their
/// folders.
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

/// Sorts components by name.
///
/// # Errors
/// Returns an error for a component that cargo didn't build.
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

/// Lists the folders in `directory`, without hidden ones and `target/`.
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

fn render(guests: &[Component], functions: &[Component]) -> Result<String> {
    let mut text = String::new();
    for (module, doc, components) in [
        ("guests", "Paths of the test components.", guests),
        ("functions", "Paths of the components of this repository's functions.", functions),
    ] {
        writeln!(text, "/// {doc}\npub mod {module} {{")?;
        for Component { name, path, .. } in components {
            writeln!(text, "    /// The path of `{name}`.")?;
            writeln!(text, "    pub const {}: &str = {path:?};", name.to_uppercase())?;
        }
        writeln!(text, "}}")?;
    }
    writeln!(text, "/// Every function of this repository.")?;
    writeln!(text, "pub const FUNCTIONS: &[FunctionCrate] = &[")?;
    for Component { source, path, .. } in functions {
        writeln!(text, "    FunctionCrate {{ directory: {source:?}, component: {path:?} }},")?;
    }
    writeln!(text, "];")?;

    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for Component { name, source, .. } in guests {
        let group = source.parent().and_then(Path::file_name).ok_or("a guest is in a directory")?;
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

/// Tells cargo to rerun this script when a source below `directory` changes. Build output
/// (`target/`) and hidden files don't count.
fn rerun_if_changed(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "target" || name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            rerun_if_changed(&entry.path())?;
        } else {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    Ok(())
}
