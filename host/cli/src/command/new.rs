//! `nebula new` and `nebula add`: create a function, ready to build, test and deploy.
//!
//! ```text
//! no workspace above:  a project of its own, whose root is the function
//! inside a workspace:  a member of it, with the same SDK and the same settings of the build
//! ```
//!
//! The workspace of a project whose `nebula.toml` keeps the functions elsewhere isn't joined.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nebula_runtime::id::FunctionName;

use crate::args::{Add, New, Template};
use crate::failure::Failure;
use crate::project::functions_of;
use crate::report::{hinted, line, note};
use crate::sdk::{self, VendoredSdk, write_new};
use crate::template::{self, TemplateFile};
use crate::workspace::Workspace;

/// The directory of the functions in a new workspace.
const FUNCTIONS: &str = "functions";

/// A dependency that the workspace defines.
const INHERITED: &str = "{ workspace = true }";

pub(crate) fn run(new: &New) -> anyhow::Result<()> {
    let name = name_of(&new.path)?;
    let directory = resolved(&new.path)?;
    refuse_content(&new.path)?;
    let workspace = workspace_around(&directory)?;
    match (new.template, workspace) {
        (Template::Workspace, Some(workspace)) => {
            let message = format!("`{}` is already a workspace", workspace.root.display());
            Err(hinted(message, format!("`nebula add {name}` adds a function to it")).into())
        }
        (Template::Workspace, None) => {
            let first = template::FIRST_FUNCTION;
            write_new(&directory.join("Cargo.toml"), template::ROOT_MANIFEST)?;
            write(&directory, [&template::ROOT_IGNORES].into_iter().chain(template::WORKSPACE), first, "")?;
            let mut root = Workspace::at(&directory)?.context("the new workspace is a root")?;
            root.add_members_of(FUNCTIONS)?;
            let function = Function {
                name: first,
                directory: &directory.join(FUNCTIONS).join(first),
                template: new.template,
                sdk: new.sdk.as_deref(),
            };
            join(root, &function)?;
            note(format!("created the workspace `{name}` with the function `{first}`; next:"));
            line(format!("cd {} && nebula up", new.path.display()))
        }
        (template, Some(workspace)) => add_to(workspace, &name, &directory, template, new.sdk.as_deref()),
        (template, None) => {
            let function =
                Function { name: name.as_str(), directory: &directory, template, sdk: new.sdk.as_deref() };
            create_project(&function)?;
            note(format!("created the function `{name}`; next:"));
            line(format!("cd {} && nebula up", new.path.display()))
        }
    }
}

/// Adds a function to the project that the current directory lies in.
pub(crate) fn add(add: &Add) -> anyhow::Result<()> {
    let name = name_of(Path::new(&add.name))?;
    let here = std::env::current_dir().context("cannot find the current directory")?;
    let Some(workspace) = project_above(&here)? else {
        let hint = "`nebula new NAME` creates a project; run `nebula add` inside it";
        return Err(hinted("there is no project here or above to add a function to", hint).into());
    };
    if matches!(add.template, Template::Workspace) {
        let hint = "`nebula new NAME --template workspace` creates one elsewhere";
        return Err(Failure::usage("a workspace can't be added to a project", hint).into());
    }
    let directory = workspace.directory_of_functions().join(name.as_str());
    refuse_content(&directory)?;
    add_to(workspace, &name, &directory, add.template, add.sdk.as_deref())
}

/// Finds the workspace that a new function joins.
fn workspace_around(directory: &Path) -> anyhow::Result<Option<Workspace>> {
    let Some(workspace) = Workspace::above(directory)? else { return Ok(None) };
    match functions_of(&workspace.root)? {
        Some(functions) if !directory.starts_with(&functions) => {
            note(format!(
                "not joining `{}`, whose functions are in `{}`; `nebula add` adds one there",
                workspace.root.display(),
                functions.display()
            ));
            Ok(None)
        }
        Some(_) | None => Ok(Some(workspace)),
    }
}

/// Finds the workspace of the project that a directory lies in: the nearest root, or the one that
/// the nearest `nebula.toml` names.
fn project_above(directory: &Path) -> anyhow::Result<Option<Workspace>> {
    for directory in directory.ancestors() {
        if let Some(functions) = functions_of(directory)? {
            return Workspace::containing(&functions);
        }
        if let Some(workspace) = Workspace::at(directory)? {
            return Ok(Some(workspace));
        }
    }
    Ok(None)
}

/// A function to create.
struct Function<'a> {
    name: &'a str,
    directory: &'a Path,
    template: Template,
    /// The given directory of the SDK.
    sdk: Option<&'a Path>,
}

impl Function<'_> {
    fn write(&self, ignores: &'static TemplateFile, sdk: &str) -> anyhow::Result<()> {
        let files = [ignores].into_iter().chain(template::function(self.template));
        write(self.directory, files, self.name, sdk)
    }

    /// Returns whether the function depends on the SDK.
    fn has_sdk(&self) -> bool {
        !matches!(self.template, Template::Http)
    }
}

/// Creates a function that is the root of its own workspace, so that others can join it.
fn create_project(function: &Function<'_>) -> anyhow::Result<()> {
    // Refused before anything is written.
    let given = function.sdk.map(given_sdk).transpose()?;
    function.write(&template::ROOT_IGNORES, INHERITED)?;
    let path = function.directory.join("Cargo.toml");
    let package =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    write_new(&path, &format!("{package}\n{}", template::ROOT_MANIFEST))?;
    if function.has_sdk() {
        let mut workspace = Workspace::at(function.directory)?.context("the new function is a root")?;
        provide_sdk(&mut workspace, given.as_deref())?;
        workspace.save()?;
    }
    Ok(())
}

/// Adds a function to a workspace and prints what to do next.
fn add_to(
    workspace: Workspace,
    name: &FunctionName,
    directory: &Path,
    template: Template,
    sdk: Option<&Path>,
) -> anyhow::Result<()> {
    let root = workspace.root.clone();
    let has_profile = workspace.has_release_profile();
    let function = Function { name: name.as_str(), directory, template, sdk };
    let is_edited = join(workspace, &function)?;
    let manifest = root.join("Cargo.toml");
    if is_edited {
        note(format!("added the function to `{}`", manifest.display()));
    }
    if !has_profile {
        note(format!(
            "`{}` has no `[profile.release]`: `lto`, `codegen-units` and `overflow-checks` matter to functions",
            manifest.display()
        ));
    }
    note(format!("created the function `{name}` in `{}`; next:", directory.display()));
    line(format!("cd {} && nebula up", root.display()))
}

/// Writes a function as a member of a workspace; returns whether the root manifest was edited.
///
/// The manifest is written last: if anything fails before, the workspace builds as before.
fn join(mut workspace: Workspace, function: &Function<'_>) -> anyhow::Result<bool> {
    let given = function.sdk.map(given_sdk).transpose()?;
    let mut sdk = INHERITED.to_owned();
    if function.has_sdk() {
        match given {
            // The other members keep their SDK.
            Some(path) if workspace.has_sdk() => sdk = format!("{{ path = {path:?} }}"),
            given => provide_sdk(&mut workspace, given.as_deref())?,
        }
    }
    workspace.add_member(function.directory)?;
    function.write(&template::MEMBER_IGNORES, &sdk)?;
    workspace.save()
}

/// Lets the members of a workspace inherit the SDK: a given one, or a copy of this binary's.
fn provide_sdk(workspace: &mut Workspace, given: Option<&str>) -> anyhow::Result<()> {
    if workspace.has_sdk() {
        return Ok(());
    }
    if let Some(path) = given {
        return workspace.add_sdk(path);
    }
    if VendoredSdk::in_project(&workspace.root)?.is_none() {
        VendoredSdk::create(&workspace.root)?;
    }
    workspace.exclude(sdk::DIRECTORY)?;
    workspace.add_sdk(sdk::DIRECTORY)
}

/// Returns the absolute path of the directory that `--sdk` names.
fn given_sdk(path: &Path) -> anyhow::Result<String> {
    let found = path.canonicalize().map_err(|error| {
        let hint = "`--sdk` is the directory `guest-sdk` of a clone";
        anyhow::Error::new(error).context(hinted(format!("cannot find `{}`", path.display()), hint))
    })?;
    Ok(found.display().to_string())
}

fn write<'a>(
    directory: &Path,
    files: impl Iterator<Item = &'a TemplateFile>,
    name: &str,
    sdk: &str,
) -> anyhow::Result<()> {
    for file in files {
        write_new(&directory.join(file.path), &file.content(name, sdk))?;
    }
    Ok(())
}

/// Refuses a path that is something else than a new or empty directory.
fn refuse_content(path: &Path) -> anyhow::Result<()> {
    if path.exists() && std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some()) {
        let message = format!("`{}` exists and is not an empty directory", path.display());
        return Err(hinted(message, "give the new function another name").into());
    }
    Ok(())
}

/// Returns the absolute path without links, although the end of it may not exist yet.
fn resolved(path: &Path) -> anyhow::Result<PathBuf> {
    let cannot = || format!("cannot find `{}`", path.display());
    let absolute = std::path::absolute(path).with_context(cannot)?;
    let existing = absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let rest = absolute.strip_prefix(existing).with_context(cannot)?;
    Ok(existing.canonicalize().with_context(cannot)?.join(rest))
}

/// Returns the directory's name if a function and a package can have it.
fn name_of(path: &Path) -> anyhow::Result<FunctionName> {
    let hint = "a name has up to 63 lowercase letters, digits and `-`, and begins with a letter";
    let text = path.file_name().unwrap_or_default().to_string_lossy();
    let name: FunctionName = text.parse().map_err(|error| {
        anyhow::Error::new(error).context(Failure::usage(format!("cannot name a function `{text}`"), hint))
    })?;
    if name.as_str().starts_with(|first: char| first.is_ascii_digit()) {
        let message = format!("cargo doesn't allow a package name that begins with a digit: `{name}`");
        return Err(Failure::usage(message, hint).into());
    }
    if name.as_str() == sdk::DIRECTORY {
        let message = format!("`{name}` is the directory of the SDK");
        return Err(Failure::usage(message, "choose another name").into());
    }
    Ok(name)
}
