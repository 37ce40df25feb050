//! Programs of the system's packages.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::prepare;

/// Finds a program, or installs the package of Debian that has it.
///
/// # Errors
/// Returns an error that names the package if the program isn't there and can't be installed.
pub(crate) fn program(name: &str, package: &str, install: bool) -> anyhow::Result<PathBuf> {
    if let Some(program) = find(name) {
        return Ok(program);
    }
    let hint = format!("`{name}` isn't installed; Debian and Ubuntu have it in the package `{package}`");
    ensure!(install && can_install(), hint.clone());
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--yes", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive");
    prepare::run(apt.stdout(Stdio::null()))?;
    find(name).context(hint)
}

/// Finds a program in the path, or among those for the administrator.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Returns whether this process may install packages.
pub(crate) fn can_install() -> bool {
    rustix::process::geteuid().is_root() && prepare::is_installed("apt-get")
}

/// Returns the first line that a program prints with these arguments.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
