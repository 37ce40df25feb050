//! The `nebula` binary, and commands run until they exit.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Returns the path of the `nebula` binary: `NEBULA_TEST_BINARY`, which `cargo xtask test` sets, or
/// the binary built once per test process with the profile of the tests.
///
/// The build covers the whole workspace: Cargo then selects the features that the tests were built
/// with and compiles no dependency twice.
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

/// A command that has exited, and the assertions on it.
pub struct CommandRun {
    /// The arguments, for messages and transcripts.
    arguments: String,
    output: Output,
}

impl fmt::Debug for CommandRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.transcript())
    }
}

impl CommandRun {
    /// Replaces the arguments that messages and transcripts show.
    pub(crate) fn shown_as(self, arguments: &[&str]) -> Self {
        Self { arguments: arguments.join(" "), ..self }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.output.status.code(), Some(code), "{self:?}");
        self
    }

    /// Returns stdout as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Returns stdout as bytes.
    pub fn stdout_bytes(&self) -> &[u8] {
        &self.output.stdout
    }

    /// Returns stderr as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Parses stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{self:?}"))
    }

    /// Asserts the whole of stdout.
    #[track_caller]
    pub fn says(self, stdout: &str) -> Self {
        assert_eq!(self.stdout(), stdout, "{self:?}");
        self
    }

    /// Asserts that stderr contains `part`.
    #[track_caller]
    pub fn explains(self, part: &str) -> Self {
        assert!(self.stderr().contains(part), "no `{part}` on stderr:\n{self:?}");
        self
    }

    /// Renders the command line, the exit code, stdout and stderr, for a snapshot.
    pub fn transcript(&self) -> String {
        let code = self.output.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
        let mut text = format!("$ nebula {}\nexit {code}\n", self.arguments);
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
pub fn nebula<A: AsRef<str>>(arguments: &[A]) -> CommandRun {
    nebula_in(Path::new("/"), arguments, &[])
}

/// Runs `nebula arguments…` in a directory, with environment variables.
#[track_caller]
pub fn nebula_in<A: AsRef<str>>(directory: &Path, arguments: &[A], variables: &[(&str, &str)]) -> CommandRun {
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    let output = command()
        .args(&arguments)
        .current_dir(directory)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    CommandRun { arguments: arguments.join(" "), output }
}

/// Runs `cargo arguments…` in a directory, with environment variables.
#[track_caller]
pub fn cargo_in(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> CommandRun {
    let output = clean(Command::new("cargo"))
        .args(arguments)
        .current_dir(directory)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    CommandRun { arguments: format!("(cargo) {}", arguments.join(" ")), output }
}

/// Prepares a run of the binary, without arguments.
pub fn command() -> Command {
    clean(Command::new(binary()))
}

/// Removes the variables that the developer's shell, or the cargo that runs the tests, has set.
pub(crate) fn clean(mut command: Command) -> Command {
    const REMOVED_PREFIXES: [&str; 6] = ["NEBULA_", "CARGO_", "RUSTC", "RUSTFLAGS", "RUST_", "CLICOLOR"];
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if REMOVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && name != "CARGO_HOME" {
            command.env_remove(&*name);
        }
    }
    // Tests don't see the developer's saved servers.
    command.env("NO_COLOR", "1").env("XDG_CONFIG_HOME", "/nonexistent");
    // Tests of other things don't wait for the notice.
    command.env("NEBULA_NOTICE_SECONDS", "0");
    command
}
