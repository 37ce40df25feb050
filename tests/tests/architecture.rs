//! The crates depend on each other in one direction only. These tests read manifests and sources to
//! check the rules that Cargo can't enforce.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns every Rust source below `directory` by its relative path.
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

/// Removes the comments and the unit tests from a source.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    source.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The crates of the host with the crates that each may depend on. Cargo refuses only cycles.
const CRATES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("telemetry", &["model"]),
    ("codec", &["model"]),
    ("store", &["model"]),
    ("linker", &["model", "codec"]),
    ("pipeline", &["model", "codec"]),
    ("engine", &["model", "codec"]),
    ("cache", &["model", "codec"]),
    ("runtime", &["model", "telemetry", "codec", "store", "linker", "pipeline", "engine", "cache"]),
    ("http", &["model", "telemetry", "runtime"]),
    ("cli", &["runtime", "http"]),
];

/// Returns the names of the packages that a manifest depends on, without those of its tests.
fn dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let dependencies = text.split("[dependencies]\n").nth(1).unwrap_or("").split("\n[").next().unwrap();
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap().to_owned();
    dependencies.lines().filter(|line| !line.starts_with('#')).map(name).collect()
}

#[test]
fn crates_depend_only_downward() {
    for (name, allowed) in CRATES {
        for dependency in dependencies(&format!("host/{name}/Cargo.toml")) {
            let Some(dependency) = dependency.strip_prefix("nebula-") else { continue };
            assert!(allowed.contains(&dependency), "`{name}` depends on `{dependency}`");
        }
    }
    let folders = fs::read_dir(root().join("host")).unwrap();
    let folders: Vec<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for folder in folders {
        assert!(CRATES.iter().any(|(name, _)| *name == folder), "`{folder}` is missing in `CRATES`");
    }
}

#[test]
fn the_guest_sdk_depends_on_no_host_crate() {
    for dependency in dependencies("guest-sdk/Cargo.toml") {
        assert!(!dependency.starts_with("nebula-") || dependency == "nebula-sdk-macros", "{dependency}");
    }
}

#[test]
fn http_and_the_command_line_do_not_use_wasmtime() {
    for directory in ["host/http", "host/cli"] {
        for (file, source) in sources(&format!("{directory}/src")) {
            assert!(!code(&source).contains("wasmtime"), "{directory}/src/{file} uses wasmtime");
        }
        let manifest = fs::read_to_string(root().join(directory).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("wasmtime"), "{directory} depends on wasmtime");
    }
}

#[test]
fn only_http_and_the_command_line_open_sockets() {
    for (name, _) in CRATES.iter().filter(|(name, _)| !["http", "cli"].contains(name)) {
        for server in ["hyper", "hyper-util", "socket2", "axum"] {
            let dependencies = dependencies(&format!("host/{name}/Cargo.toml"));
            assert!(
                !dependencies.iter().any(|dependency| dependency == server),
                "`{name}` depends on `{server}`"
            );
        }
    }
}

/// A store handles only bytes and digests.
#[test]
fn the_store_does_not_depend_on_wasmtime() {
    assert!(!dependencies("host/store/Cargo.toml").iter().any(|name| name.starts_with("wasmtime")));
}

/// Unsafe code is in two files, each of which justifies it: one loads compiled code, the other makes
/// a system call that no library wraps.
#[test]
fn unsafe_code_is_limited_to_two_files() {
    for (file, source) in sources("host") {
        if !["engine/src/artefact.rs", "engine/src/priority.rs"].contains(&file.as_str()) {
            let words = code(&source);
            assert!(
                !words.contains("unsafe {") && !words.contains("unsafe_code"),
                "host/{file} has unsafe code"
            );
        }
    }
}
