//! A change that names components by their digest, such as the deploy of a project.
//!
//! ```text
//! change --(the server lacks components)--> upload them --> change
//! ```

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use indicatif::ProgressBar;
use nebula_runtime::id::{Digest, FunctionName};

use crate::client::{ChangeReply, Client};

/// The most attempts at a change: a component may be deleted between its upload and the change.
const ATTEMPTS_MAX: u32 = 3;

/// Sends a change, and uploads the components that the server asks for. `names` returns the
/// functions that have a component.
pub(super) fn with_uploads<T>(
    client: &Client<'_>,
    change: impl Fn() -> anyhow::Result<ChangeReply<T>>,
    component: impl Fn(&Digest) -> anyhow::Result<Bytes>,
    names: impl Fn(&Digest) -> Vec<FunctionName>,
) -> anyhow::Result<T> {
    for _ in 0..ATTEMPTS_MAX {
        let missing = match change()? {
            ChangeReply::Done(report) => return Ok(report),
            ChangeReply::Missing(missing) => missing,
        };
        for (index, digest) in missing.iter().enumerate() {
            let component =
                component(digest).with_context(|| format!("the server asks for the component {digest}"))?;
            let names: Vec<_> = names(digest).iter().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            let progress = spinner(format!("compiling {names} ({} of {})", index + 1, missing.len()));
            let uploaded = client.upload(digest, &component);
            progress.finish_and_clear();
            uploaded.with_context(|| format!("cannot upload {names}"))?;
        }
    }
    anyhow::bail!("the server doesn't keep the components that were uploaded")
}

/// Shows a message while something takes long.
pub(super) fn spinner(message: String) -> ProgressBar {
    let progress = ProgressBar::new_spinner().with_message(message);
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}
