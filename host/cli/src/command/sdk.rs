//! `nebula sdk`: the project's copy of the guest SDK.

use anyhow::Context;

use crate::args::{Sdk, SdkUpdateArgs};
use crate::report::{hinted, note};
use crate::sdk::{DIRECTORY, SdkUpdate, VERSION, VendoredSdk};
use crate::workspace::Workspace;

pub(crate) fn run(sdk: &Sdk) -> anyhow::Result<()> {
    match sdk {
        Sdk::Update(args) => update(args),
    }
}

fn update(args: &SdkUpdateArgs) -> anyhow::Result<()> {
    let given = args.path.canonicalize();
    let given = given.with_context(|| format!("cannot find `{}`", args.path.display()))?;
    let workspace = Workspace::containing(&given)?.filter(|workspace| workspace.has_sdk_in(DIRECTORY));
    let Some(workspace) = workspace else {
        let message = format!("no project at or above `{}` has a copy of the SDK", given.display());
        let hint = format!(
            "`nebula new` makes projects with one: `[workspace.dependencies]` has `nebula-sdk = {{ path = \
             \"{DIRECTORY}\" }}`"
        );
        return Err(hinted(message, hint).into());
    };
    let Some(copy) = VendoredSdk::in_project(&workspace.root)? else {
        VendoredSdk::create(&workspace.root)?;
        note(format!("created `{}`, version {VERSION}", workspace.root.join(DIRECTORY).display()));
        return Ok(());
    };
    let directory = copy.directory().display();
    match copy.update(args.force)? {
        None => note(format!("`{directory}` is up to date, version {VERSION}")),
        Some(SdkUpdate { from, added, changed, removed }) => {
            let versions = if from == VERSION { from } else { format!("{from} -> {VERSION}") };
            note(format!(
                "updated `{directory}`, version {versions}; files: {changed} changed, {added} added, \
                 {removed} removed"
            ));
        }
    }
    Ok(())
}
