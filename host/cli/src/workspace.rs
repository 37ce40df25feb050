//! The cargo workspace that a new function joins: its root manifest, read and edited in place.
//!
//! Edits keep the comments and the order of the manifest.

use std::path::{Path, PathBuf};

use anyhow::Context;
use glob::{MatchOptions, Pattern};
use toml_edit::{Array, DocumentMut, InlineTable, Item, RawString, Table, Value};

use crate::report::hinted;

/// The name of the SDK's package, and the key of the dependency on it.
const SDK: &str = "nebula-sdk";

/// The end of a pattern that matches every package in a directory.
const ALL_INSIDE: &str = "/*";

/// The root of a cargo workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The directory of the root manifest.
    pub(crate) root: PathBuf,
    manifest: DocumentMut,
    is_changed: bool,
}

impl Workspace {
    /// Finds the workspace that a package in `directory` belongs to, as cargo does: the nearest
    /// root in a directory above, unless that excludes `directory`.
    ///
    /// # Errors
    /// A manifest above can't be read.
    pub(crate) fn above(directory: &Path) -> anyhow::Result<Option<Self>> {
        for root in directory.ancestors().skip(1) {
            let Some(workspace) = Self::at(root)? else { continue };
            let excluded = |path: &str| directory.starts_with(root.join(path));
            let is_excluded = workspace.list("exclude").any(excluded);
            return Ok((!is_excluded).then_some(workspace));
        }
        Ok(None)
    }

    /// Finds the workspace that a directory lies in.
    ///
    /// # Errors
    /// A manifest can't be read.
    pub(crate) fn containing(directory: &Path) -> anyhow::Result<Option<Self>> {
        // Any path inside does.
        Self::above(&directory.join("function"))
    }

    /// Reads the workspace whose root is this directory; `None` if it isn't a root.
    ///
    /// # Errors
    /// The manifest can't be read.
    pub(crate) fn at(root: &Path) -> anyhow::Result<Option<Self>> {
        let path = root.join("Cargo.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        };
        let manifest: DocumentMut =
            text.parse().with_context(|| format!("cannot use `{}`", path.display()))?;
        let is_root = manifest.get("workspace").is_some_and(Item::is_table_like);
        Ok(is_root.then(|| Self { root: root.to_owned(), manifest, is_changed: false }))
    }

    /// Returns where `nebula add` creates functions: in the directory whose packages are all
    /// members, if there is one, otherwise in the root.
    pub(crate) fn directory_of_functions(&self) -> PathBuf {
        let folder = self.list("members").find_map(|member| member.strip_suffix(ALL_INSIDE));
        folder.map_or_else(|| self.root.clone(), |folder| self.root.join(folder))
    }

    /// Adds a package to the members, unless a pattern among them already matches it.
    ///
    /// # Errors
    /// The manifest's `members` isn't a list.
    pub(crate) fn add_member(&mut self, directory: &Path) -> anyhow::Result<()> {
        let inside = directory.strip_prefix(&self.root).unwrap_or(directory);
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        let matches = |member: &str| {
            let pattern = Pattern::new(member.trim_start_matches("./").trim_end_matches('/'));
            pattern.is_ok_and(|pattern| pattern.matches_path_with(inside, options))
        };
        if self.list("members").any(matches) {
            return Ok(());
        }
        self.push("members", &inside.display().to_string())
    }

    /// Makes every package in a directory a member.
    ///
    /// # Errors
    /// The manifest's `members` isn't a list.
    pub(crate) fn add_members_of(&mut self, directory: &str) -> anyhow::Result<()> {
        self.push("members", &format!("{directory}{ALL_INSIDE}"))
    }

    /// Excludes a directory, so that a path dependency in it doesn't become a member.
    ///
    /// # Errors
    /// The manifest's `exclude` isn't a list.
    pub(crate) fn exclude(&mut self, directory: &str) -> anyhow::Result<()> {
        if self.list("exclude").any(|excluded| excluded.trim_end_matches('/') == directory) {
            return Ok(());
        }
        self.push("exclude", directory)
    }

    /// Returns whether members can inherit a dependency on the SDK.
    pub(crate) fn has_sdk(&self) -> bool {
        self.sdk().is_some()
    }

    /// Returns whether the SDK that members inherit is the copy in `directory` of the root.
    pub(crate) fn has_sdk_in(&self, directory: &str) -> bool {
        let path = self.sdk().and_then(|sdk| sdk.get("path")).and_then(Item::as_str);
        path.is_some_and(|path| path.trim_start_matches("./").trim_end_matches('/') == directory)
    }

    fn sdk(&self) -> Option<&Item> {
        self.manifest.get("workspace")?.get("dependencies")?.get(SDK)
    }

    /// Adds the SDK at `path` to the dependencies that members can inherit.
    ///
    /// # Errors
    /// The manifest's `workspace.dependencies` isn't a table.
    pub(crate) fn add_sdk(&mut self, path: &str) -> anyhow::Result<()> {
        let invalid = self.invalid("workspace.dependencies", "a table");
        let dependencies = self.workspace()?.entry("dependencies").or_insert_with(|| {
            // Written as `[workspace.dependencies]`.
            Item::Table(Table::new())
        });
        let dependencies = dependencies.as_table_like_mut().ok_or(invalid)?;
        let sdk = InlineTable::from_iter([("path", path)]);
        dependencies.insert(SDK, Item::Value(Value::InlineTable(sdk)));
        self.is_changed = true;
        Ok(())
    }

    /// Returns whether the workspace says how its releases are built.
    pub(crate) fn has_release_profile(&self) -> bool {
        self.manifest.get("profile").is_some_and(|profiles| profiles.get("release").is_some())
    }

    /// Writes the manifest if it was changed; returns whether it was.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn save(&self) -> anyhow::Result<bool> {
        if self.is_changed {
            let path = self.root.join("Cargo.toml");
            std::fs::write(&path, self.manifest.to_string())
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(self.is_changed)
    }

    /// Returns the strings of a list in `[workspace]`.
    fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        let list = self.manifest.get("workspace").and_then(|workspace| workspace.get(key));
        list.and_then(Item::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// Appends to a list in `[workspace]`.
    fn push(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        let invalid = self.invalid(&format!("workspace.{key}"), "a list");
        let list = self.workspace()?.entry(key).or_insert_with(|| Item::Value(Value::Array(Array::new())));
        let list = list.as_array_mut().ok_or(invalid)?;
        match indentation(list) {
            // A list with one item on each line stays one.
            Some(indentation) => {
                // A comment on the last line stays there.
                let mut comment = list.trailing().as_str().unwrap_or_default().trim_end().to_owned();
                if let Some(last) = list.iter_mut().last() {
                    let suffix = last.decor().suffix().and_then(RawString::as_str).unwrap_or_default();
                    comment = format!("{}{comment}", suffix.trim_end());
                    last.decor_mut().set_suffix("");
                }
                list.push_formatted(Value::from(value).decorated(format!("{comment}\n{indentation}"), ""));
                list.set_trailing("\n");
                list.set_trailing_comma(true);
            }
            None => list.push(value),
        }
        self.is_changed = true;
        Ok(())
    }

    fn workspace(&mut self) -> anyhow::Result<&mut dyn toml_edit::TableLike> {
        let invalid = self.invalid("workspace", "a table");
        self.manifest.get_mut("workspace").and_then(Item::as_table_like_mut).ok_or(invalid)
    }

    fn invalid(&self, key: &str, expected: &str) -> anyhow::Error {
        let path = self.root.join("Cargo.toml");
        hinted(
            format!("`{key}` in `{}` is not {expected}", path.display()),
            "cargo's reference describes `[workspace]`",
        )
        .into()
    }
}

/// Returns the indentation of the items if the last one begins a line.
fn indentation(list: &Array) -> Option<String> {
    let prefix = list.iter().last()?.decor().prefix()?.as_str()?;
    Some(prefix.rsplit_once('\n')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(manifest: &str) -> Workspace {
        Workspace { root: "/w".into(), manifest: manifest.parse().unwrap(), is_changed: false }
    }

    /// The edited manifest after `nebula new /w/a/b`.
    fn joined(manifest: &str) -> String {
        let mut workspace = workspace(manifest);
        workspace.add_member(Path::new("/w/a/b")).unwrap();
        workspace.manifest.to_string()
    }

    #[test]
    fn a_member_is_added_where_no_pattern_matches_it() {
        for (before, after) in [
            ("[workspace]\n", "[workspace]\nmembers = [\"a/b\"]\n"),
            ("[workspace]\nmembers = [\"x\"]\n", "[workspace]\nmembers = [\"x\", \"a/b\"]\n"),
            // Comments and lines stay.
            (
                "# Mine.\n[workspace] # here\nmembers = [\n    \"x\", # first\n]\nexclude = []\n",
                "# Mine.\n[workspace] # here\nmembers = [\n    \"x\", # first\n    \"a/b\",\n]\nexclude = []\n",
            ),
            (
                "[workspace]\nmembers = [\n  \"x\",\n  # second\n  \"y\" # last\n]\n",
                "[workspace]\nmembers = [\n  \"x\",\n  # second\n  \"y\", # last\n  \"a/b\",\n]\n",
            ),
            ("[workspace]\nmembers = [\"*\"]\n", "[workspace]\nmembers = [\"*\", \"a/b\"]\n"),
        ] {
            assert_eq!(joined(before), after);
        }
        for unchanged in ["a/*", "*/*", "a/b", "./a/b/", "**", "a/?"] {
            let manifest = format!("[workspace]\nmembers = [\"{unchanged}\"]\n");
            assert_eq!(joined(&manifest), manifest);
        }
    }

    #[test]
    fn the_sdk_is_added_once() {
        let mut workspace = workspace("[workspace]\nmembers = []\n\n[profile.release]\nlto = true\n");
        assert!(!workspace.has_sdk() && workspace.has_release_profile());
        workspace.add_sdk("nebula-sdk").unwrap();
        workspace.exclude("nebula-sdk").unwrap();
        workspace.exclude("nebula-sdk").unwrap();
        assert!(workspace.has_sdk() && workspace.has_sdk_in("nebula-sdk") && !workspace.has_sdk_in("sdk"));
        let text = workspace.manifest.to_string();
        assert!(
            text.contains("[workspace.dependencies]\nnebula-sdk = { path = \"nebula-sdk\" }\n"),
            "{text}"
        );
        assert_eq!(text.matches("exclude = [\"nebula-sdk\"]").count(), 1, "{text}");
        assert!(text.parse::<DocumentMut>().is_ok());
    }

    #[test]
    fn functions_are_added_where_all_packages_are_members() {
        for (members, directory) in
            [("[]", "/w"), ("[\"a\"]", "/w"), ("[\"a\", \"functions/*\"]", "/w/functions")]
        {
            let workspace = workspace(&format!("[workspace]\nmembers = {members}\n"));
            assert_eq!(workspace.directory_of_functions(), Path::new(directory));
        }
    }

    #[test]
    fn the_nearest_root_above_is_joined() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| crate::sdk::write_new(&home.path().join(path), text).unwrap();
        let above = |path: &str| {
            let found = Workspace::above(&home.path().join(path)).unwrap();
            found.map(|found| found.root.strip_prefix(home.path()).unwrap().display().to_string())
        };
        write("w/Cargo.toml", "[workspace]\nexclude = [\"out\"]\n");
        write("w/package/Cargo.toml", "[package]\nname = \"p\"\n");
        write("w/inner/Cargo.toml", "[package]\nname = \"i\"\n\n[workspace]\n");
        assert_eq!(above("other/f"), None);
        assert_eq!(above("w"), None, "a directory isn't above itself");
        assert_eq!(above("w/f").as_deref(), Some("w"));
        assert_eq!(above("w/package/f").as_deref(), Some("w"));
        assert_eq!(above("w/inner/f").as_deref(), Some("w/inner"));
        assert_eq!(above("w/out/f"), None);
        write("w/inner/Cargo.toml", "[workspace");
        assert!(Workspace::above(&home.path().join("w/inner/f")).is_err());
    }
}
