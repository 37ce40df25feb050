//! The files that a build of a project reads.
//!
//! cargo writes them beside each component (`NAME.d`): sources, those of path dependencies, files
//! of `include_str!`, and files that build scripts name. Manifests, `nebula.toml` and its `watch`
//! list are added here. Files that builds read from their own output aren't inputs.
//!
//! While a build fails, that list may be incomplete: a missing module isn't in it. The source
//! directories are inputs then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The files in a package's or workspace's directory that affect how cargo builds.
const CARGO_FILES: [&str; 7] = [
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain",
    "rust-toolchain.toml",
    ".cargo/config",
    ".cargo/config.toml",
];

/// The files and directories that decide what a build gives. Some may not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Files, and directories with everything below them.
    paths: BTreeSet<PathBuf>,
    /// Directories in which a new package may appear.
    package_parents: BTreeSet<PathBuf>,
    /// Directories that builds write.
    outputs: BTreeSet<PathBuf>,
}

impl Inputs {
    /// Creates a set without files. `outputs` are directories that builds write.
    pub(super) fn new(outputs: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { outputs: outputs.into_iter().collect(), ..Self::default() }
    }

    /// Adds a file, or a directory with everything below it.
    pub(super) fn add(&mut self, path: PathBuf) {
        if !self.is_output(&path) {
            self.paths.insert(path);
        }
    }

    /// Adds the files in `directory` that affect how cargo builds, and its `nebula.toml`.
    pub(super) fn add_manifests(&mut self, directory: &Path) {
        for file in CARGO_FILES.into_iter().chain(["nebula.toml"]) {
            self.add(directory.join(file));
        }
    }

    /// Adds the manifests of packages that may appear in `directory`.
    pub(super) fn add_package_parent(&mut self, directory: &Path) {
        self.package_parents.insert(directory.to_owned());
    }

    /// Adds the files that cargo lists in `dep_info`, and the manifests of their packages. Returns
    /// the directories of these packages; an empty set without such a file.
    pub(super) fn add_dep_info(&mut self, dep_info: &Path, directory: &Path) -> BTreeSet<PathBuf> {
        let Ok(text) = std::fs::read_to_string(dep_info) else { return BTreeSet::new() };
        let mut packages = BTreeSet::new();
        for file in files_in(&text) {
            // The paths are relative if the user configures `build.dep-info-basedir`.
            let file = directory.join(file);
            let parents = file.ancestors().skip(1);
            let manifests = parents.filter(|parent| parent.join("Cargo.toml").is_file());
            let manifests: Vec<_> = manifests.map(Path::to_owned).collect();
            packages.extend(manifests.first().cloned());
            for directory in manifests {
                self.add(directory.join("Cargo.toml"));
            }
            self.add(file);
        }
        packages
    }

    /// Adds what `earlier` has.
    pub(crate) fn extend(&mut self, earlier: &Self) {
        self.paths.extend(earlier.paths.iter().cloned());
        self.package_parents.extend(earlier.package_parents.iter().cloned());
        self.outputs.extend(earlier.outputs.iter().cloned());
    }

    /// Returns every file that exists now.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        for path in &self.paths {
            if path.is_dir() {
                self.walk(path, &mut files);
            } else if path.exists() {
                files.insert(path.clone());
            }
        }
        for parent in &self.package_parents {
            let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
            let manifests = entries.map(|entry| entry.path().join("Cargo.toml"));
            files.extend(manifests.filter(|manifest| !self.is_output(manifest) && manifest.is_file()));
        }
        files
    }

    /// Adds the files below `directory` that aren't hidden. Doesn't follow links to directories,
    /// which may form cycles.
    fn walk(&self, directory: &Path, files: &mut BTreeSet<PathBuf>) {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")) {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !self.outputs.contains(&path) => self.walk(&path, files),
                Ok(kind) if kind.is_dir() => {}
                Ok(_) if path.is_file() => _ = files.insert(path),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn is_output(&self, path: &Path) -> bool {
        self.outputs.iter().any(|output| path.starts_with(output))
    }
}

/// Returns the files in the first rule of a make file, as cargo writes it: `OUTPUT: FILE FILE…`,
/// with a backslash before each space of a name.
fn files_in(dep_info: &str) -> Vec<PathBuf> {
    let rule = dep_info.lines().next().unwrap_or_default();
    let Some((_, listed)) = rule.split_once(": ") else { return Vec::new() };
    let mut files = Vec::new();
    let mut file = String::new();
    let mut characters = listed.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&' ') => file.extend(characters.next()),
            ' ' => files.push(std::mem::take(&mut file)),
            other => file.push(other),
        }
    }
    files.push(file);
    files.into_iter().filter(|file| !file.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_lists_files_with_spaces() {
        let text = "/t/a b.wasm: /p/src/lib.rs /p/a\\ b/c.txt /p/d\\e.rs\n\n/p/src/lib.rs:\n";
        assert_eq!(files_in(text), ["/p/src/lib.rs", "/p/a b/c.txt", "/p/d\\e.rs"].map(PathBuf::from));
        for empty in ["", "/t/a.wasm:", "/t/a.wasm: ", "nonsense"] {
            assert!(files_in(empty).is_empty(), "{empty}");
        }
    }

    /// A directory named `target` is a source directory unless builds write it.
    #[test]
    fn only_the_directories_that_builds_write_are_left_out() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        for file in ["src/lib.rs", "src/target/mod.rs", "src/.swap", "out/x.rs", "new/Cargo.toml"] {
            std::fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            std::fs::write(at(file), "").unwrap();
        }
        let mut inputs = Inputs::new([at("out")]);
        inputs.add(at("src"));
        inputs.add(at("out/x.rs"));
        inputs.add(at("missing"));
        inputs.add_package_parent(home.path());
        let expected = ["new/Cargo.toml", "src/lib.rs", "src/target/mod.rs"].map(at);
        assert_eq!(inputs.files().into_iter().collect::<Vec<_>>(), expected);
    }
}
