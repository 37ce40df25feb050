//! `nebula new`: creates a function in a new directory, ready to build, test and deploy.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nebula_runtime::id::FunctionName;

use crate::args::{New, Template};
use crate::report::{hinted, line, note};

/// Paths in the new directory, and their contents.
type Files = &'static [(&'static str, &'static str)];

const COMMON: Files = &[(".gitignore", include_str!("../../templates/gitignore"))];

const TYPED: Files = &[
    ("Cargo.toml", include_str!("../../templates/typed/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../../templates/typed/lib.rs.in")),
    ("sample/input.json", include_str!("../../templates/typed/input.json.in")),
];

const RAW: Files = &[
    ("Cargo.toml", include_str!("../../templates/raw/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../../templates/raw/lib.rs.in")),
    ("sample/input.txt", include_str!("../../templates/raw/input.txt.in")),
];

const WIT_FIRST: Files = &[
    ("Cargo.toml", include_str!("../../templates/wit-first/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../../templates/wit-first/lib.rs.in")),
    ("wit/world.wit", include_str!("../../templates/wit-first/world.wit.in")),
    ("sample/input.json", include_str!("../../templates/wit-first/input.json.in")),
];

const HTTP: Files = &[
    ("Cargo.toml", include_str!("../../templates/http/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../../templates/http/lib.rs.in")),
];

pub(crate) fn run(new: &New) -> anyhow::Result<()> {
    let path = &new.path;
    let name = name_of(path)?;
    if path.exists() && std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some()) {
        let message = format!("`{}` exists and is not an empty directory", path.display());
        return Err(hinted(message, "give the new function another name").into());
    }
    let sdk = sdk_dependency(new.sdk.as_deref())?;
    let files = match new.template {
        Template::Typed => TYPED,
        Template::Raw => RAW,
        Template::WitFirst => WIT_FIRST,
        Template::Http => HTTP,
    };
    for (file, content) in COMMON.iter().chain(files) {
        let target = path.join(file);
        let content = content.replace("{{name}}", name.as_str()).replace("{{sdk}}", &sdk);
        let written = target
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&target, content));
        written.with_context(|| format!("cannot write `{}`", target.display()))?;
    }
    note(format!("created the function `{name}`; next:"));
    line(format!("cd {} && nebula up", path.display()))
}

/// Returns the directory's name if a function and a package can have it.
fn name_of(path: &Path) -> anyhow::Result<FunctionName> {
    let hint = "a name has up to 63 lowercase letters, digits and `-`, and begins with a letter";
    let text = path.file_name().unwrap_or_default().to_string_lossy();
    let name: FunctionName = text.parse().map_err(|error| {
        anyhow::Error::new(error).context(hinted(format!("cannot name a function `{text}`"), hint))
    })?;
    if name.as_str().starts_with(|first: char| first.is_ascii_digit()) {
        return Err(hinted(
            format!("cargo doesn't allow a package name that begins with a digit: `{name}`"),
            hint,
        )
        .into());
    }
    Ok(name)
}

/// Returns the SDK dependency for `Cargo.toml`: the given source, else the clone that this binary
/// was built from, else the release.
fn sdk_dependency(given: Option<&Path>) -> anyhow::Result<String> {
    let path = match given {
        Some(path) => Some(path.canonicalize().map_err(|error| {
            let hint = "`--sdk` is the directory `guest-sdk` of a clone";
            anyhow::Error::new(error).context(hinted(format!("cannot find `{}`", path.display()), hint))
        })?),
        None => {
            let clone = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest-sdk"));
            clone.canonicalize().ok()
        }
    };
    Ok(match path {
        Some(path) => format!("{{ path = {:?} }}", path.display().to_string()),
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
    })
}
