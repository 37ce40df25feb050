//! Compiles the guests in `guests/` and the functions in `functions/` to components, and generates
//! `components.rs`, which `src/lib.rs` includes.
//!
//! Guests and functions are separate workspaces, built for [`TARGET`]. The generated file holds:
//! * `guests::NAME` and `functions::NAME`: the path of each component.
//! * `FUNCTIONS`: the crate directory and the component of every function.
//! * `foreach_guest_in_DIRECTORY!`: a macro that expands another one for each guest of a directory.
//!   A test module uses it to fail to compile while a guest has no test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The compilation target of guests and functions.
const TARGET: &str = "wasm32-wasip2";

/// A built component and the source it was built from.
struct Component {
    /// The name of the Cargo target as a Rust identifier.
    name: String,
    source: PathBuf,
    path: PathBuf,
}

fn main() -> Result<()> {
    let here = PathBuf::from(env("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env("OUT_DIR")?);
    // <target>/<profile>/build/<package>/out
    let target = out.ancestors().nth(4).context("OUT_DIR is too short")?.join("guests");
    let root = here.parent().context("tests/ lies in a repository")?;
    ensure_target(&here)?;

    let guests = build(&here.join("guests"), "--examples", &target)?;
    let functions = build(&root.join("functions"), "--workspace", &target)?;
    std::fs::write(out.join("components.rs"), render(&guests, &functions)?)?;

    for source in [here.join("guests"), root.join("guest-sdk"), root.join("wit"), root.join("functions")] {
        rerun_if_changed(&source)?;
    }
    Ok(())
}

fn env(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("cargo sets {name}"))
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
        .context("cannot run rustc")?;
    if Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir() {
        return Ok(());
    }
    let added =
        clean_command("rustup", directory).args(["target", "add", TARGET]).status().with_context(|| {
            format!("the Rust target {TARGET} is missing, and rustup can't be run to install it")
        })?;
    ensure!(added.success(), "the Rust target {TARGET} is missing: run `rustup target add {TARGET}`");
    Ok(())
}

/// Builds the Cargo targets that the flag `selection` selects in the workspace at `directory`,
/// sorted by name.
fn build(directory: &Path, selection: &str, target: &Path) -> Result<Vec<Component>> {
    let output = clean_command("cargo", directory)
        .args(["build", "--release", "--target", TARGET, selection])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(target)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "building `{}` failed: see cargo's errors above", directory.display());
    let mut components = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let Some(path) =
            files.map(PathBuf::from).find(|file| file.extension().is_some_and(|end| end == "wasm"))
        else {
            continue;
        };
        let text =
            |value: &Value| value.as_str().map(str::to_owned).context("unknown format of cargo's messages");
        components.push(Component {
            name: text(&message["target"]["name"])?.replace('-', "_"),
            source: PathBuf::from(text(&message["target"]["src_path"])?),
            path,
        });
    }
    components.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(components)
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
        let directory = source.ancestors().nth(2).context("a function's source is in `src/`")?;
        writeln!(text, "    FunctionCrate {{ directory: {directory:?}, component: {path:?} }},")?;
    }
    writeln!(text, "];")?;

    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for Component { name, source, .. } in guests {
        let group = source.parent().and_then(Path::file_name).context("a guest is in a directory")?;
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
