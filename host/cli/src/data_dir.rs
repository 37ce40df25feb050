//! The default data directory, `.nebula`: in this directory, or in one above.
//!
//! Like a project, it is found from the directories inside.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::args::DATA_DIR;
use crate::project::locate;

/// Returns the data directory for serving the project that `project` is in. The default one is in
/// the project's directory if the current directory is inside.
pub(crate) fn to_serve(given: &Path, project: &Path) -> anyhow::Result<PathBuf> {
    let root = locate(project)?;
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let here = here.context("cannot find the current directory")?;
    let is_below = here != root && here.starts_with(&root);
    Ok(if given == Path::new(DATA_DIR) && is_below { root.join(DATA_DIR) } else { given.to_owned() })
}

/// Returns the data directory of a running server: the nearest that exists.
pub(crate) fn to_ask() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let above = here.ancestors().map(|directory| directory.join(DATA_DIR)).find(|path| path.is_dir());
    above.unwrap_or_else(|| PathBuf::from(DATA_DIR))
}
