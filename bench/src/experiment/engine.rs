//! Podman with a storage of its own, which has one image: the root of a container.
//!
//! Podman has no daemon, so that everything that a call causes is in the control group of its arm.
//! Docker's daemon serves calls of all clients and is in none. The storage is in memory if there is
//! room, because the engine waits for the disk in each call otherwise, and no other arm does.
//! It lies in a directory of the run, which removes what a killed engine leaves there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use rustix::fs::statvfs;

use super::packages;

/// The free space that the image and its layers need there.
const MEMORY_BYTES_MIN: u64 = 2 << 30;

/// The name of the image.
pub(crate) const IMAGE: &str = "nebula-experiment";

/// An engine with the image. Dropping it removes both.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) program: PathBuf,
    storage: tempfile::TempDir,
    is_in_memory: bool,
}

impl Engine {
    /// Imports `root` as an image. `memory` is a directory in memory, if there is one.
    ///
    /// # Errors
    /// Returns an error with what the engine says if it can't.
    pub(crate) fn prepare(program: PathBuf, root: &Path, memory: &Path) -> anyhow::Result<Self> {
        let has_room = statvfs(memory).is_ok_and(|free| free.f_bavail * free.f_frsize >= MEMORY_BYTES_MIN);
        let storage = if has_room { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let engine = Self { program, storage: storage?, is_in_memory: has_room };
        let mut tar = Command::new("tar");
        tar.args(["--create", "--numeric-owner", "--directory"]).arg(root).arg(".");
        let mut tar = tar.stdout(Stdio::piped()).spawn().context("cannot run `tar`")?;
        let archive = tar.stdout.take().context("the archive was not captured")?;
        let mut import = engine.command();
        let imported = import.args(["import", "--quiet", "-", IMAGE]).stdin(archive).output();
        let packed = tar.wait()?;
        let imported = imported.with_context(|| format!("cannot run {import:?}"))?;
        let said = String::from_utf8_lossy(&imported.stderr).trim().to_owned();
        ensure!(imported.status.success(), "`podman import` failed: {said}");
        ensure!(packed.success(), "cannot pack `{}`", root.display());
        Ok(engine)
    }

    /// Prepares a command of the engine.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (option, directory) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.storage.path().join(directory));
        }
        // systemd would have to create the groups, which lie below that of the arm.
        command.args(["--cgroup-manager", "cgroupfs"]);
        command
    }

    /// Describes the engine.
    pub(crate) fn description(&self) -> String {
        let version = packages::first_line(Command::new(&self.program).arg("--version"));
        let driver =
            packages::first_line(self.command().args(["info", "--format", "{{.Store.GraphDriverName}}"]));
        let known = |found: Option<String>| found.unwrap_or_else(|| "unknown".to_owned());
        let place = if self.is_in_memory { "in memory" } else { "on the disk, for which it waits" };
        format!("{}, storage {place}, driver {}", known(version), known(driver))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Errors mean that nothing was imported. The directory is removed afterwards.
        for arguments in [["rm", "--all", "--force"], ["rmi", "--all", "--force"]] {
            let mut remove = self.command();
            let _ = remove.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}
