//! `nebula doctor`: checks what the other commands need: the toolchain, the ports, the data
//! directory and the server.
//!
//! It changes nothing, except that it listens on each port for a moment.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{Access, FlockOperation, access, flock};
use serde::Serialize;

use crate::address::Address;
use crate::args::{DATA_DIR, Doctor};
use crate::client::Client;
use crate::failure::FailureKind;
use crate::project::{Builder, has_target};
use crate::report::{self, json, line};

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// It is as it should be.
    Ok,
    /// Something is missing that only some commands need.
    Optional,
    /// Commands that need it fail.
    Failed,
}

/// A check with its outcome.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), hint: None }
    }

    fn optional(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Optional, found: found.into(), hint: Some(hint.into()) }
    }

    fn failed(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, found: found.into(), hint: Some(hint.into()) }
    }
}

pub(crate) fn run(doctor: &Doctor) -> anyhow::Result<ExitCode> {
    let data_dir = doctor.remote.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR));
    let checks = [
        cargo(),
        target(),
        cargo_component(),
        port("port for calls", &doctor.listen),
        port("port for deploys", &doctor.control),
        data_directory(data_dir),
        server(doctor),
    ];
    if doctor.remote.json {
        json(&checks)?;
    } else {
        checks.iter().try_for_each(print)?;
    }
    let failed = checks.iter().any(|check| check.verdict == Verdict::Failed);
    Ok(if failed { FailureKind::Failed.into() } else { ExitCode::SUCCESS })
}

fn print(Check { name, verdict, found, hint }: &Check) -> anyhow::Result<()> {
    let verdict = match verdict {
        Verdict::Ok => "ok",
        Verdict::Optional => "-",
        Verdict::Failed => "FAILED",
    };
    line(format!("{verdict:6}  {name:16}  {found}"))?;
    match hint {
        Some(hint) => report::text(format!("{:6}  {:16}  hint: {hint}\n", "", "")),
        None => Ok(()),
    }
}

/// Returns the first line that a program prints about its version; `None` if it can't run.
fn version(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn cargo() -> Check {
    match (version("cargo", &["--version"]), version("rustc", &["--version"])) {
        (Some(cargo), Some(rustc)) => Check::ok("toolchain", format!("{cargo}, {rustc}")),
        _ => Check::failed("toolchain", "cargo doesn't run", "install Rust with rustup: https://rustup.rs"),
    }
}

fn target() -> Check {
    let target = Builder::Cargo.target();
    let add = format!("`rustup target add {target}`");
    match has_target(Path::new("."), target) {
        Ok(true) => Check::ok("target", target),
        Ok(false) if version("rustup", &["--version"]).is_some() => Check::optional(
            "target",
            format!("{target} isn't installed"),
            format!("`nebula build` installs it, as does {add}"),
        ),
        Ok(false) | Err(_) => Check::failed("target", format!("{target} isn't installed"), add),
    }
}

fn cargo_component() -> Check {
    match version("cargo", &["component", "--version"]) {
        Some(version) => Check::ok("cargo-component", version),
        None => Check::optional(
            "cargo-component",
            "isn't installed",
            "only `--cargo-component` needs it: `cargo install --locked cargo-component`",
        ),
    }
}

fn port(name: &'static str, address: &Address) -> Check {
    let bound = address.resolve().and_then(TcpListener::bind);
    match bound {
        Ok(_) => Check::ok(name, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && answers(address) => {
            Check::ok(name, format!("a Nebula server listens on {address}"))
        }
        Err(error) => {
            let hint = "stop the program that has it, or let `--listen` and `--control` name others; port 0 takes a free one";
            Check::failed(name, format!("cannot listen on {address}: {error}"), hint)
        }
    }
}

/// Returns whether a server answers at this address.
fn answers(address: &Address) -> bool {
    let config =
        ureq::Agent::config_builder().timeout_global(Some(std::time::Duration::from_secs(2))).build();
    let health = ureq::Agent::from(config).get(format!("http://{address}/healthz")).call();
    health.is_ok_and(|mut response| response.body_mut().read_to_string().is_ok_and(|body| body == "ok\n"))
}

fn data_directory(path: &Path) -> Check {
    let name = "data directory";
    let shown = path.display();
    let writable = |path: &Path| access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_ok();
    let hint = "give a directory that this user may write to with `--data-dir`";
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            Check::failed(name, format!("`{shown}` is not a directory"), hint)
        }
        Ok(_) if !writable(path) => {
            Check::failed(name, format!("this user may not write to `{shown}`"), hint)
        }
        Ok(_) => match holder(path) {
            Some(pid) => Check::ok(name, format!("`{shown}`, in use by process {pid}")),
            None => Check::ok(name, format!("`{shown}`")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let existing = path.ancestors().skip(1).find_map(|parent| {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                parent.exists().then_some(parent)
            });
            match existing {
                Some(parent) if writable(parent) => {
                    Check::ok(name, format!("`{shown}` is created at the first start"))
                }
                _ => Check::failed(name, format!("this user may not create `{shown}`"), hint),
            }
        }
        Err(error) => Check::failed(name, format!("`{shown}`: {error}"), hint),
    }
}

/// Returns the process that has the data directory open.
fn holder(path: &Path) -> Option<String> {
    let lock = path.join("lock");
    let file = File::open(&lock).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Some(std::fs::read_to_string(lock).ok()?.trim().to_owned()),
        // Closing the file releases the lock.
        Ok(()) | Err(_) => None,
    }
}

fn server(doctor: &Doctor) -> Check {
    let client = Client::new(&doctor.remote);
    match client.told_calls_url() {
        Ok(url) => Check::ok("server", format!("accepts the token; its data plane is {url}")),
        Err(error) => {
            let found: Vec<_> = error.chain().map(ToString::to_string).collect();
            let found = found.join(": ");
            let hint = report::hint(&error).unwrap_or_default().to_owned();
            // Without `--server` none has to run.
            match doctor.remote.server {
                None if report::kind(&error) != FailureKind::Refused => {
                    Check::optional("server", found, hint)
                }
                _ => Check::failed("server", found, hint),
            }
        }
    }
}
