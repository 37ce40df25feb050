//! The guest SDK: its sources in this binary, and the copies that projects have of them.
//!
//! ```text
//! PROJECT/nebula-sdk/vendored.toml     the version, and the digest of each file as it was written
//! PROJECT/nebula-sdk/…                 the sources
//! ```
//!
//! A project depends on its copy by path, so it builds wherever it is checked out, without a clone
//! or a release of the SDK. The copy is a cargo workspace of its own, which the project's workspace
//! excludes: cargo then neither tests it nor resolves its development dependencies with the
//! project.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nebula_runtime::id::Digest;
use serde::Deserialize;

use crate::report::{hinted, note};

/// The directory of the copy, in the root of a project.
pub(crate) const DIRECTORY: &str = "nebula-sdk";

/// The version of the sources in this binary.
pub(crate) const VERSION: &str = env!("NEBULA_SDK_VERSION");

/// The file that tells the version and the content of a copy.
const STAMP: &str = "vendored.toml";

/// A file of the SDK.
struct SdkFile {
    /// The path in the copy.
    path: &'static str,
    content: &'static str,
}

/// The SDK's own files.
const SOURCES: &[SdkFile] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// `cargo fmt --all` also formats dependencies by path. The copy has its own style.
const NOT_FORMATTED: SdkFile = SdkFile { path: "rustfmt.toml", content: "disable_all_formatting = true\n" };

/// Files that cargo writes if it runs in the copy.
const BUILT: [&str; 2] = ["Cargo.lock", "target"];

fn files() -> impl Iterator<Item = &'static SdkFile> {
    SOURCES.iter().chain([&NOT_FORMATTED])
}

/// The content of [`STAMP`].
#[derive(Debug, Deserialize)]
struct Stamp {
    version: String,
    /// The digest of each file that was written, by its path.
    files: BTreeMap<PathBuf, Digest>,
}

impl Stamp {
    /// Returns the stamp of this binary's sources.
    fn current() -> Self {
        let files = files().map(|file| (file.path.into(), Digest::of(file.content.as_bytes())));
        Self { version: VERSION.to_owned(), files: files.collect() }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# A copy of Nebula's guest SDK. `nebula sdk update` replaces it, and refuses if a file was edited.\n\
             version = {:?}\n\n[files]\n",
            self.version
        );
        for (path, digest) in &self.files {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{:?} = \"{digest}\"", path.display().to_string());
        }
        text
    }
}

/// A project's copy of the SDK.
#[derive(Debug)]
pub(crate) struct VendoredSdk {
    directory: PathBuf,
    stamp: Stamp,
}

/// The changes that an update made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SdkUpdate {
    /// The version before.
    pub(crate) from: String,
    pub(crate) added: usize,
    pub(crate) changed: usize,
    pub(crate) removed: usize,
}

impl VendoredSdk {
    /// Opens the copy in the root of a project; `None` if it has none.
    ///
    /// # Errors
    /// The directory is something else, or the stamp is damaged.
    pub(crate) fn in_project(root: &Path) -> anyhow::Result<Option<Self>> {
        let directory = root.join(DIRECTORY);
        let path = directory.join(STAMP);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(_) if !directory.exists() => return Ok(None),
            Err(error) => {
                let message = format!("`{}` is not a copy of the SDK", directory.display());
                let hint = format!("Nebula keeps the SDK there, with a file `{STAMP}`: rename the directory");
                return Err(anyhow::Error::new(error).context(hinted(message, hint)));
            }
        };
        let stamp = toml::from_str(&text).map_err(|error| {
            let hint = format!("remove `{}` and run `nebula sdk update` again", directory.display());
            anyhow::Error::new(error).context(hinted(format!("cannot use `{}`", path.display()), hint))
        })?;
        Ok(Some(Self { directory, stamp }))
    }

    /// Writes a copy into the root of a project that has none.
    pub(crate) fn create(root: &Path) -> anyhow::Result<()> {
        write_copy(&root.join(DIRECTORY))
    }

    /// Returns the directory of the copy.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Replaces the copy by this binary's sources, unless it has them already.
    ///
    /// # Errors
    /// Without `force`, the copy has local edits or is newer. Nothing is changed then.
    pub(crate) fn update(&self, force: bool) -> anyhow::Result<Option<SdkUpdate>> {
        let (before, after) = (&self.stamp.files, Stamp::current().files);
        let edited = self.edited()?;
        if edited.is_empty() && *before == after && self.stamp.version == VERSION {
            return Ok(None);
        }
        if !force {
            self.refuse_loss(&edited)?;
        }
        // A copy that is interrupted leaves the earlier one in place.
        let root = self.directory.parent().unwrap_or(Path::new("."));
        let scratch = tempfile::Builder::new().prefix(".nebula-sdk-").tempdir_in(root);
        let scratch =
            scratch.with_context(|| format!("cannot create a directory in `{}`", root.display()))?;
        let replacement = scratch.path().join("new");
        write_copy(&replacement)?;
        let old = scratch.path().join("old");
        let cannot = || format!("cannot replace `{}`", self.directory.display());
        std::fs::rename(&self.directory, &old).with_context(cannot)?;
        if let Err(error) = std::fs::rename(&replacement, &self.directory) {
            if std::fs::rename(&old, &self.directory).is_err() {
                let kept = scratch.keep();
                note(format!("the earlier copy is in `{}`", kept.join("old").display()));
            }
            return Err(error).with_context(cannot);
        }
        Ok(Some(SdkUpdate {
            from: self.stamp.version.clone(),
            added: after.keys().filter(|path| !before.contains_key(*path)).count(),
            changed: after
                .iter()
                .filter(|(path, digest)| {
                    before.get(*path).is_some_and(|old| old != *digest || edited.contains(path))
                })
                .count(),
            removed: before.keys().filter(|path| !after.contains_key(*path)).count(),
        }))
    }

    /// Refuses an update that would lose local edits or go back to an earlier version.
    fn refuse_loss(&self, edited: &[PathBuf]) -> anyhow::Result<()> {
        let force = "`nebula sdk update --force` replaces it anyway";
        if let Some(first) = edited.first() {
            let others = match edited.len() - 1 {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            let message = format!(
                "the SDK in `{}` has local edits: `{}`{others}",
                self.directory.display(),
                first.display()
            );
            return Err(hinted(message, force).into());
        }
        if number(&self.stamp.version) > number(VERSION) {
            let message = format!(
                "the SDK in `{}` is version {}, newer than the {VERSION} of this `nebula`",
                self.directory.display(),
                self.stamp.version
            );
            return Err(hinted(message, format!("update `nebula`; {force}")).into());
        }
        Ok(())
    }

    /// Returns the files that were changed, added or removed since the copy was written.
    fn edited(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = BTreeMap::new();
        digest_files(&self.directory, Path::new(""), &mut found)
            .with_context(|| format!("cannot read `{}`", self.directory.display()))?;
        let written = &self.stamp.files;
        let absent = written.keys().filter(|path| !found.contains_key(*path));
        let other = found.iter().filter(|(path, digest)| written.get(*path) != Some(digest));
        let mut edited: Vec<_> = absent.chain(other.map(|(path, _)| path)).cloned().collect();
        edited.sort();
        Ok(edited)
    }
}

/// Writes this binary's sources to a new directory, the stamp last.
fn write_copy(directory: &Path) -> anyhow::Result<()> {
    for SdkFile { path, content } in files() {
        write_new(&directory.join(path), content)?;
    }
    write_new(&directory.join(STAMP), &Stamp::current().text())
}

/// Writes a file and creates its directory.
pub(crate) fn write_new(path: &Path, content: &str) -> anyhow::Result<()> {
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, content))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Collects the digests of the files below `base/inside`, without the stamp and cargo's output.
fn digest_files(base: &Path, inside: &Path, found: &mut BTreeMap<PathBuf, Digest>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(base.join(inside))? {
        let entry = entry?;
        let path = inside.join(entry.file_name());
        if path == Path::new(STAMP) || BUILT.iter().any(|built| path == Path::new(built)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            digest_files(base, &path, found)?;
        } else {
            found.insert(path.clone(), Digest::of(&std::fs::read(base.join(&path))?));
        }
    }
    Ok(())
}

/// Returns the numbers of a version, for comparison.
fn number(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(root: &Path) -> VendoredSdk {
        VendoredSdk::in_project(root).unwrap().unwrap()
    }

    fn stamped(root: &Path, edit: impl FnOnce(&mut Stamp)) {
        let VendoredSdk { directory, mut stamp } = copy(root);
        edit(&mut stamp);
        std::fs::write(directory.join(STAMP), stamp.text()).unwrap();
    }

    /// The manifest of each crate and all that it includes are there; tests and snapshots aren't.
    #[test]
    fn the_binary_carries_what_a_build_needs() {
        let paths: Vec<_> = files().map(|file| file.path).collect();
        for path in
            ["Cargo.toml", "src/lib.rs", "macros/Cargo.toml", "macros/src/lib.rs", "macros/wit/function.wit"]
        {
            assert!(paths.contains(&path), "{path}");
        }
        assert!(!paths.iter().any(|path| path.contains("snap") || path.contains("tests/")), "{paths:?}");
    }

    /// The project depends on the copy of the binary's own release.
    #[test]
    fn the_sdk_has_the_version_of_the_binary() {
        assert_eq!(VERSION, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn an_update_says_what_it_changed() {
        let root = tempfile::tempdir().unwrap();
        assert!(VendoredSdk::in_project(root.path()).unwrap().is_none());
        VendoredSdk::create(root.path()).unwrap();
        assert_eq!(copy(root.path()).update(false).unwrap(), None);
        // An earlier release: one file had another content, one is new, one is gone.
        let directory = copy(root.path()).directory;
        std::fs::write(directory.join("README.md"), "old").unwrap();
        std::fs::remove_file(directory.join("src/heap.rs")).unwrap();
        std::fs::write(directory.join("src/gone.rs"), "gone").unwrap();
        stamped(root.path(), |stamp| {
            stamp.version = "0.0.9".to_owned();
            stamp.files.insert("README.md".into(), Digest::of(b"old"));
            stamp.files.insert("src/gone.rs".into(), Digest::of(b"gone"));
            stamp.files.remove(Path::new("src/heap.rs"));
        });
        let update = copy(root.path()).update(false).unwrap();
        assert_eq!(update, Some(SdkUpdate { from: "0.0.9".into(), added: 1, changed: 1, removed: 1 }));
        assert!(!directory.join("src/gone.rs").exists());
        assert_eq!(copy(root.path()).update(false).unwrap(), None);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "scratch files remain");
    }

    #[test]
    fn local_edits_are_kept_unless_forced() {
        type Edit = fn(&Path);
        let edits: [(&str, Edit); 3] = [
            ("src/lib.rs", |sdk| std::fs::write(sdk.join("src/lib.rs"), "mine").unwrap()),
            ("src/mine.rs", |sdk| std::fs::write(sdk.join("src/mine.rs"), "mine").unwrap()),
            ("macros/src/raw.rs", |sdk| std::fs::remove_file(sdk.join("macros/src/raw.rs")).unwrap()),
        ];
        for (file, edit) in edits {
            let root = tempfile::tempdir().unwrap();
            VendoredSdk::create(root.path()).unwrap();
            edit(&root.path().join(DIRECTORY));
            let error = copy(root.path()).update(false).unwrap_err().to_string();
            assert!(error.contains("has local edits") && error.contains(file), "{error}");
            assert_eq!(copy(root.path()).edited().unwrap(), [PathBuf::from(file)]);
            assert!(copy(root.path()).update(true).unwrap().is_some());
            assert!(copy(root.path()).edited().unwrap().is_empty());
        }
    }

    /// Cargo's own files in the copy aren't edits.
    #[test]
    fn builds_in_the_copy_are_not_edits() {
        let root = tempfile::tempdir().unwrap();
        VendoredSdk::create(root.path()).unwrap();
        write_new(&root.path().join(DIRECTORY).join("target/debug/x"), "").unwrap();
        write_new(&root.path().join(DIRECTORY).join("Cargo.lock"), "").unwrap();
        assert_eq!(copy(root.path()).update(false).unwrap(), None);
    }

    #[test]
    fn a_newer_copy_is_kept_unless_forced() {
        let root = tempfile::tempdir().unwrap();
        VendoredSdk::create(root.path()).unwrap();
        stamped(root.path(), |stamp| stamp.version = "99.0.0".to_owned());
        let error = copy(root.path()).update(false).unwrap_err().to_string();
        assert!(error.contains("newer than the"), "{error}");
        assert!(copy(root.path()).update(true).unwrap().is_some());
        assert!(number("0.10.0") > number("0.9.1"));
    }

    #[test]
    fn another_directory_of_that_name_is_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(DIRECTORY)).unwrap();
        let error = VendoredSdk::in_project(root.path()).unwrap_err().to_string();
        assert!(error.contains("is not a copy of the SDK"), "{error}");
    }
}
