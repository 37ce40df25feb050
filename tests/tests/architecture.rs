//! The crates depend on each other in one direction only. These tests read manifests and sources to
//! check the rules that Cargo can't enforce.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
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
    ("allocator", &[]),
    ("console", &[]),
    ("model", &[]),
    ("telemetry", &["model"]),
    ("otlp", &["telemetry"]),
    ("codec", &["model"]),
    ("store", &["model"]),
    ("linker", &["model", "codec"]),
    ("pipeline", &["model", "codec"]),
    ("diagram", &["pipeline"]),
    ("engine", &["model", "codec"]),
    ("cache", &["model", "codec"]),
    ("runtime", &["model", "telemetry", "codec", "store", "linker", "pipeline", "engine", "cache"]),
    ("http", &["console", "model", "telemetry", "runtime", "diagram"]),
    ("cli", &["allocator", "telemetry", "otlp", "runtime", "http", "diagram"]),
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
fn only_http_otlp_and_the_command_line_open_sockets() {
    for (name, _) in CRATES.iter().filter(|(name, _)| !["http", "otlp", "cli"].contains(name)) {
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

/// Unsafe code is in three files, each of which justifies it: one loads compiled code, one makes a
/// system call that no library wraps, and one is the memory allocator.
#[test]
fn unsafe_code_is_limited_to_three_files() {
    const FILES: [&str; 3] = ["engine/src/artefact.rs", "engine/src/priority.rs", "allocator/src/lib.rs"];
    for (file, source) in sources("host") {
        if !FILES.contains(&file.as_str()) {
            let words = code(&source);
            assert!(
                !words.contains("unsafe {") && !words.contains("unsafe_code"),
                "host/{file} has unsafe code"
            );
        }
    }
}

/// A name that a `use` item brings into a file.
struct Import {
    name: String,
    /// The imported path, as it is written.
    path: String,
    is_public: bool,
}

/// Returns the names that a source imports, one for each leaf of its `use` items.
fn imports(source: &str) -> Vec<Import> {
    fn leaves(prefix: &str, tree: &str, found: &mut Vec<String>) {
        let Some((path, inner)) = tree.split_once('{') else {
            return found.push(format!("{prefix}{tree}"));
        };
        let inner = inner.rsplit_once('}').unwrap().0;
        let (mut depth, mut start) = (0, 0);
        for (at, character) in inner.char_indices().chain([(inner.len(), ',')]) {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let tree = inner[start..at].trim();
                    if !tree.is_empty() {
                        leaves(&format!("{prefix}{path}"), tree, found);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
    }
    let begins_use = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("use ") || (line.starts_with("pub") && line.contains(" use "))
    };
    let mut imports = Vec::new();
    for statement in code(source).split(';') {
        let lines: Vec<_> = statement.lines().skip_while(|line| !begins_use(line)).collect();
        let item = lines.join(" ");
        let Some((visibility, tree)) = item.split_once("use ") else { continue };
        let mut found = Vec::new();
        leaves("", tree, &mut found);
        for leaf in found {
            let (path, alias) = leaf.split_once(" as ").unwrap_or((&leaf, ""));
            let path = path.strip_suffix("::self").unwrap_or(path);
            let name = if alias.is_empty() { path.rsplit("::").next().unwrap() } else { alias };
            let is_public = !visibility.trim().is_empty();
            imports.push(Import { name: name.to_owned(), path: path.to_owned(), is_public });
        }
    }
    imports
}

/// The imports of each file of a crate, by the path of its module: `crate::call::shard`.
struct Modules(BTreeMap<String, Vec<Import>>);

impl Modules {
    /// Reads a crate without its unit tests, which may import all that they test.
    fn read(directory: &str) -> Self {
        let mut modules = BTreeMap::new();
        for (file, source) in sources(directory) {
            let mut path = vec!["crate"];
            path.extend(file.strip_suffix(".rs").unwrap().split('/'));
            if matches!(path.as_slice(), ["crate", "lib" | "main"]) {
                path.pop();
            }
            if !path.contains(&"tests") {
                let earlier = modules.insert(path.join("::"), imports(&source));
                assert!(earlier.is_none(), "{directory} has two root modules");
            }
        }
        Self(modules)
    }

    /// Returns the module that defines what `path` names in `module`. Follows names that are
    /// imported there in turn. `None` if it is in another crate.
    fn definer(&self, module: &str, path: &str) -> Option<&str> {
        let (mut base, mut rest) = (module, path);
        while let Some(outer) = rest.strip_prefix("super::") {
            (base, rest) = (base.rsplit_once("::")?.0, outer);
        }
        rest = rest.strip_prefix("self::").unwrap_or(rest);
        let full = if path.starts_with("crate::") { path.to_owned() } else { format!("{base}::{rest}") };
        // The longest part of the path that is a module.
        let ends = full.match_indices("::").map(|(at, _)| at).chain([full.len()]);
        let (found, imports) = ends.filter_map(|end| self.0.get_key_value(&full[..end])).last()?;
        let name = full[found.len()..].trim_start_matches("::").split("::").next().unwrap();
        match imports.iter().find(|import| import.name == name) {
            // `use hyper;`: the name stands for another crate.
            Some(import) if found == module && import.path == path => None,
            Some(import) => self.definer(found, &import.path),
            None if found == module => None,
            None => Some(found),
        }
    }

    /// Returns the pairs of modules of which the first imports the second.
    fn edges(&self) -> BTreeSet<(&str, &str)> {
        let mut edges = BTreeSet::new();
        for (module, imports) in &self.0 {
            for import in imports {
                let Some(definer) = self.definer(module, &import.path) else { continue };
                let is_below = definer.starts_with(&format!("{module}::"));
                if !(import.is_public && is_below) {
                    edges.insert((module.as_str(), definer));
                }
            }
        }
        edges
    }
}

/// No two files import each other, so a file can be read, tested and moved with only the files that
/// it is built on.
///
/// File A imports file B if a `use` item of A names something that B defines: directly, or through
/// re-exports and imports of other files. Two things don't count: a `pub use` of something from the
/// file's own children, which only forms the interface of the module, and the imports of unit
/// tests. Paths that are written out where they are used aren't examined.
///
/// Two files that need each other usually share a third idea. Give it a file of its own: the error
/// that both return, a constant, the struct whose methods are spread over several files.
#[test]
fn no_two_files_import_each_other() {
    let mut directories: Vec<_> = CRATES.iter().map(|(name, _)| format!("host/{name}/src")).collect();
    let others = ["bench/src", "xtask/src", "tests/src", "guest-sdk/src", "guest-sdk/macros/src"];
    directories.extend(others.map(str::to_owned));
    let mut pairs = Vec::new();
    for directory in directories {
        let modules = Modules::read(&directory);
        let edges = modules.edges();
        let mutual = edges.iter().filter(|(one, other)| one < other && edges.contains(&(*other, *one)));
        pairs.extend(mutual.map(|(one, other)| format!("{directory}: `{one}` and `{other}`")));
    }
    assert!(pairs.is_empty(), "these files import each other:\n{}", pairs.join("\n"));
}

/// A user of the binary has no clone: hints give the address of a document, with `guide!`.
#[test]
fn hints_give_the_addresses_of_documents_that_exist() {
    let mut named = 0;
    for (file, source) in sources("host/cli/src") {
        let code = code(&source);
        for part in code.split("guide!(\"").skip(1) {
            let document = part.split('"').next().unwrap();
            assert!(root().join("docs").join(document).is_file(), "{file} names docs/{document}");
            named += 1;
        }
        let plain = code.lines().find(|line| line.contains("docs/") && line.contains(".md"));
        assert_eq!(plain, None, "{file}: use `guide!`");
    }
    assert!(named > 3, "{named}");
}
