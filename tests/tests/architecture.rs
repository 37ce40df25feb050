//! The directions that the code keeps, read off the code.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust source below `directory`, by its path relative to it.
fn sources(directory: &str) -> BTreeMap<String, String> {
    fn walk(base: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(base, &path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let base = root().join(directory);
    let mut found = BTreeMap::new();
    walk(&base, &base, &mut found);
    assert!(!found.is_empty(), "no sources in {directory}");
    found
}

/// The code of a source: without comments and without its unit tests.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    source.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// What follows each occurrence of `prefix`, as far as it is an identifier.
fn identifiers_after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let identifier = |text: &'a str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        &text[..end]
    };
    code.split(prefix).skip(1).map(identifier).collect()
}

/// The layers that the runtime's own header draws, top first: `a -> b, c -> d`.
fn layers() -> Vec<Vec<String>> {
    let header = fs::read_to_string(root().join("host/runtime/src/lib.rs")).unwrap();
    let line = header.lines().find(|line| line.contains("runtime -> ")).expect("the header draws its layers");
    let drawn = line.trim_start_matches("//!").trim().trim_matches(['`', '.']);
    drawn.split(" -> ").map(|layer| layer.split(", ").map(str::to_owned).collect()).collect()
}

#[test]
fn the_runtimes_modules_import_only_downward() {
    let layers = layers();
    let rank = |module: &str| layers.iter().position(|layer| layer.iter().any(|name| name == module));
    for (file, source) in sources("host/runtime/src") {
        let module = file.split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let own = rank(module).unwrap_or_else(|| panic!("the header of lib.rs doesn't draw `{module}`"));
        let code = code(&source);
        assert!(!code.contains("use crate::{"), "{file}: one import a module, so that this test can read it");
        for imported in identifiers_after(&code, "crate::") {
            // Names that lib.rs exports again have no module to check: use the module's.
            let Some(other) = rank(imported) else {
                panic!("{file} imports `crate::{imported}`, which is no module of the header");
            };
            let below = other > own || imported == module;
            assert!(below, "{file} imports `{imported}`, which isn't below `{module}`");
        }
    }
}

#[test]
fn the_layers_are_those_there_are() {
    let modules = sources("host/runtime/src");
    for module in layers().iter().flatten() {
        assert!(modules.contains_key(&format!("{module}.rs")), "there is no module `{module}`");
    }
}

/// cli -> http -> runtime -> meter, and nothing upward; the guest SDK stands alone.
#[test]
fn crates_depend_only_downward() {
    let depends = |manifest: &str| -> Vec<String> {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        text.lines()
            .filter(|line| line.starts_with("nebula-"))
            .map(|line| line.split(['.', ' ', '=']).next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(depends("host/meter/Cargo.toml"), Vec::<String>::new());
    assert_eq!(depends("host/runtime/Cargo.toml"), ["nebula-meter"]);
    let http = depends("host/http/Cargo.toml");
    assert!(http.iter().all(|name| ["nebula-runtime", "nebula-meter"].contains(&name.as_str())), "{http:?}");
    let sdk = depends("guest-sdk/Cargo.toml");
    assert!(sdk.iter().all(|name| name == "nebula-sdk-macros"), "{sdk:?}");
}

#[test]
fn http_and_the_command_line_never_name_wasmtime() {
    for directory in ["host/http", "host/cli"] {
        for (file, source) in sources(&format!("{directory}/src")) {
            assert!(!code(&source).contains("wasmtime"), "{directory}/src/{file} names wasmtime");
        }
        let manifest = fs::read_to_string(root().join(directory).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("wasmtime"), "{directory} depends on wasmtime");
    }
}

#[test]
fn the_runtime_knows_no_server() {
    let manifest = fs::read_to_string(root().join("host/runtime/Cargo.toml")).unwrap();
    assert!(!manifest.lines().any(|line| line.starts_with("hyper")), "the runtime depends on hyper");
}

/// Unsafe code is in two places, each with its argument written down: what trusts compiled code, and a system
/// call that no library wraps.
#[test]
fn only_loading_artefacts_and_scheduling_are_unsafe() {
    for (file, source) in sources("host") {
        if !["runtime/src/engine/artefact.rs", "runtime/src/priority.rs"].contains(&file.as_str()) {
            let words = code(&source);
            assert!(
                !words.contains("unsafe {") && !words.contains("unsafe_code"),
                "host/{file} has unsafe code"
            );
        }
    }
}
