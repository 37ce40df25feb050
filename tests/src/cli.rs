//! The binary, and its commands run to their end.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The `nebula` binary: that of `NEBULA_TEST_BINARY`, as `cargo xtask test` sets it, or built once a
/// test process with the profile of the tests.
///
/// Built for the whole workspace, so that features are chosen as for the tests themselves and
/// nothing is compiled twice.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("NEBULA_TEST_BINARY") {
            return binary.into();
        }
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .args(["build", "--quiet", "--workspace", "--bin", "nebula"])
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit());
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        let output = command.output().expect("cargo runs");
        assert!(output.status.success(), "the binary doesn't build");
        let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .expect("cargo names the executable")
    })
}

/// A command that has ended.
pub struct Ran {
    asked: String,
    output: Output,
}

impl fmt::Debug for Ran {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.transcript())
    }
}

impl Ran {
    /// The same, said as a test said it.
    pub(crate) fn asked_as(self, arguments: &[&str]) -> Self {
        Self { asked: arguments.join(" "), ..self }
    }

    /// Expects an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.output.status.code(), Some(code), "{self:?}");
        self
    }

    /// What it wrote to stdout, as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it wrote to stdout, as bytes.
    pub fn stdout_bytes(&self) -> &[u8] {
        &self.output.stdout
    }

    /// What it wrote to stderr.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// What it wrote to stdout, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{self:?}"))
    }

    /// Expects all of stdout.
    #[track_caller]
    pub fn says(self, stdout: &str) -> Self {
        assert_eq!(self.stdout(), stdout, "{self:?}");
        self
    }

    /// Expects `part` on stderr.
    #[track_caller]
    pub fn explains(self, part: &str) -> Self {
        assert!(self.stderr().contains(part), "no `{part}` on stderr:\n{self:?}");
        self
    }

    /// All that it did, for a snapshot: exit code, stdout and stderr.
    pub fn transcript(&self) -> String {
        let code = self.output.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
        let mut text = format!("$ nebula {}\nexit {code}\n", self.asked);
        for (name, content) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            if !content.is_empty() {
                text.push_str(&format!("--- {name}\n{}\n", content.trim_end()));
            }
        }
        text
    }
}

/// Runs `nebula arguments…`.
#[track_caller]
pub fn nebula<A: AsRef<str>>(arguments: &[A]) -> Ran {
    nebula_in(Path::new("/"), arguments, &[])
}

/// Runs `nebula arguments…` in a directory, with variables set.
#[track_caller]
pub fn nebula_in<A: AsRef<str>>(directory: &Path, arguments: &[A], variables: &[(&str, &str)]) -> Ran {
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    let output = command()
        .args(&arguments)
        .current_dir(directory)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    Ran { asked: arguments.join(" "), output }
}

/// Runs `cargo arguments…` in a directory, with variables set.
#[track_caller]
pub fn cargo_in(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = clean(Command::new("cargo"))
        .args(arguments)
        .current_dir(directory)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    Ran { asked: format!("(cargo) {}", arguments.join(" ")), output }
}

/// The binary, ready for arguments.
pub(crate) fn command() -> Command {
    clean(Command::new(binary()))
}

/// A command without what the developer's shell, or the cargo that runs the tests, says to it.
fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let told = ["NEBULA_", "CARGO_", "RUSTC", "RUSTFLAGS", "RUST_", "CLICOLOR"];
        if told.iter().any(|prefix| name.starts_with(prefix)) && name != "CARGO_HOME" {
            command.env_remove(&*name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}
