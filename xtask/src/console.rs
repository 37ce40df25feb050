//! Checks the console: its types, its unit tests, that `dist/` is what its sources build to, and the
//! page in Chromium, on the real binary.

use std::process::Command;

use crate::command::{cargo, root, run};
use crate::tools;

/// Checks the console with the packages of its lock file.
pub(crate) fn check() -> Result<(), String> {
    let web = root().join("host/console/web");
    let npm = |arguments: &[&str]| {
        let mut npm = tools::npm()?;
        npm.current_dir(&web).args(arguments);
        Ok::<_, String>(npm)
    };
    run(&mut npm(&["ci", "--no-audit", "--no-fund"])?)?;
    run(&mut npm(&["run", "check"])?)?;
    run(&mut npm(&["run", "unit"])?)?;
    run(&mut npm(&["run", "build", "--", "--check"])?)?;
    tools::chromium()?;
    // The tests deploy the guests, which the build script of the end-to-end tests builds.
    run(cargo(".").args(["build", "--workspace"]))?;
    let nebula = tools::nebula()?;
    let folder =
        nebula.ancestors().nth(2).ok_or_else(|| format!("`{}` is in no folder", nebula.display()))?;
    let mut browser: Command = npm(&["run", "browser"])?;
    browser.env("NEBULA_GUESTS", folder.join("guests/wasm32-wasip2/release"));
    run(browser.env("NEBULA_BINARY", &nebula))
}
