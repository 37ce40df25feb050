//! Finding the project that a directory belongs to.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::report::hinted;

/// The files of which a project's directory has at least one.
const MARKERS: [&str; 2] = ["Cargo.toml", "nebula.toml"];

/// Returns the project at `path`: the nearest directory, itself or above, with a `Cargo.toml` or a
/// `nebula.toml`.
///
/// # Errors
/// If the path doesn't exist or no such directory is found.
pub(crate) fn locate(path: &Path) -> anyhow::Result<PathBuf> {
    let given = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
    let is_project = |directory: &&Path| MARKERS.iter().any(|marker| directory.join(marker).is_file());
    match given.ancestors().find(is_project) {
        Some(directory) => Ok(directory.to_owned()),
        None => {
            let hint = "`nebula new NAME` creates a function; or give the directory of one";
            let message = format!("there is no `Cargo.toml` in `{}` or above", given.display());
            Err(hinted(message, hint).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_project_is_found_from_a_subdirectory() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        for directory in ["p/a/src/deep", "p/pipelines/x/sample", "q"] {
            std::fs::create_dir_all(home.join(directory)).unwrap();
        }
        std::fs::write(home.join("p/nebula.toml"), "").unwrap();
        std::fs::write(home.join("p/a/Cargo.toml"), "").unwrap();
        for (from, found) in
            [("p", "p"), ("p/a", "p/a"), ("p/a/src/deep", "p/a"), ("p/pipelines/x/sample", "p")]
        {
            assert_eq!(locate(&home.join(from)).unwrap(), home.join(found), "{from}");
        }
        assert!(locate(&home.join("nowhere")).is_err());
    }
}
