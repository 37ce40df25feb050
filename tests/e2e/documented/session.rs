//! A reader's terminals: bash in a directory of its own, and servers on free ports.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nebula_tests::{FUNCTIONS, command};
use rustix::process::{Pid, Signal, kill_process_group};

use super::output;

/// The ports in the documents, those of a first server and those of one beside it. A session uses
/// free ones instead.
const PORTS: [[&str; 2]; 2] = [["8080", "8081"], ["9080", "9081"]];

/// The longest time that a command takes, a first build included.
const COMMAND_MAX: Duration = Duration::from_secs(600);

/// Bash code in front of every command: the directory in which the next command runs.
const PRELUDE: &str = "set -eo pipefail\ncd() { builtin cd \"$@\" && pwd > \"$SESSION_DIRECTORY\"; }\n";

/// A data directory with all functions and pipelines of this repository.
pub(super) struct Functions {
    data_dir: tempfile::TempDir,
}

impl Functions {
    /// Deploys the repository's project as the README does, from the components that the build of
    /// the tests has left.
    pub(super) fn deploy(repository: &Path) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let home = data_dir.path().join("home");
        let mut session = Session::at(home, repository.to_owned());
        let here = data_dir.path().join("data").display().to_string();
        session.serve_with("nebula up --no-watch", &[("NEBULA_DATA_DIR", &here)]).unwrap();
        Self { data_dir }
    }

    /// Copies the data directory to another path.
    fn copy_to(&self, path: &Path) {
        let copied = Command::new("cp").arg("-r").arg(self.data_dir.path().join("data")).arg(path).status();
        assert!(copied.unwrap().success());
    }
}

pub(super) struct Session {
    /// The directory of the session, with a home for the configuration of its commands.
    home: PathBuf,
    /// The directory in which the next command runs.
    here: PathBuf,
    repository: PathBuf,
    /// Used instead of the ports in the documents.
    ports: BTreeMap<&'static str, String>,
    servers: Vec<Server>,
}

/// A server that a document started. Dropping it ends the process and those that it started.
struct Server {
    child: Child,
    /// The index of its ports in [`PORTS`], or their number if it took any free ones.
    ports: usize,
    output: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Polls a condition until it gives a value, for [`COMMAND_MAX`] at most.
fn poll<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    while started.elapsed() < COMMAND_MAX {
        if let Some(found) = check() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Kills a process with its group.
fn end(child: &mut Child) {
    // All of them may have ended already.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// A command that has ended.
pub(super) struct Ran {
    command: String,
    status: ExitStatus,
    /// What it wrote to stdout and stderr.
    output: String,
}

impl Ran {
    pub(super) fn succeeds(&self) -> Result<(), String> {
        let Self { command, status, output } = self;
        if status.success() { Ok(()) } else { Err(format!("`{command}`: {status}\n{output}")) }
    }

    /// Compares the output with the documented one. A command whose documented output has an error
    /// must fail, any other succeed.
    pub(super) fn prints(&self, documented: &str) -> Result<(), String> {
        if !documented.starts_with("error:") {
            self.succeeds()?;
        } else if self.status.success() {
            return Err(format!("`{}` succeeded", self.command));
        }
        if output::fits(documented, &self.output) {
            return Ok(());
        }
        Err(format!("`{}` printed\n{}\ninstead of\n{documented}", self.command, self.output))
    }
}

impl Session {
    /// Prepares a directory for the commands of a document, at the same path in every run of one
    /// clone: cargo then reuses earlier builds.
    pub(super) fn new(repository: &Path, document: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        repository.hash(&mut hasher);
        let name = document.to_lowercase().replace(['/', '.'], "-");
        let home = std::env::temp_dir().join(format!("nebula-{name}-{:x}", hasher.finish()));
        let _ = std::fs::remove_dir_all(&home);
        let here = home.join("here");
        std::fs::create_dir_all(&here).unwrap();
        Self::at(home, repository.to_owned()).with_files(here)
    }

    fn at(home: PathBuf, repository: PathBuf) -> Self {
        std::fs::create_dir_all(home.join("bin")).unwrap();
        std::os::unix::fs::symlink(nebula_tests::binary(), home.join("bin/nebula")).unwrap();
        // On a terminal curl shows no progress for an output that it prints.
        std::fs::write(home.join(".curlrc"), "silent\nshow-error\n").unwrap();
        // All are bound before one is released, so they differ.
        let free: Vec<_> =
            PORTS.iter().flatten().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = PORTS.iter().flatten().zip(&free);
        let ports = ports.map(|(port, free)| (*port, free.local_addr().unwrap().port().to_string()));
        Self { here: repository.clone(), ports: ports.collect(), home, repository, servers: Vec::new() }
    }

    /// Moves to a directory with the files that documents name: the component of each function.
    /// They differ from the deployed ones by an empty section, as an edited function would.
    fn with_files(mut self, here: PathBuf) -> Self {
        for function in FUNCTIONS {
            let component = std::fs::read(function.component).unwrap();
            let section = b"\0\x05\x04next";
            let name = Path::new(function.component).file_name().unwrap();
            std::fs::write(here.join(name), [&component[..], section].concat()).unwrap();
        }
        self.here = here;
        self
    }

    /// Starts a server with the repository's functions on the first ports.
    pub(super) fn serve_functions(&mut self, functions: &Functions) {
        functions.copy_to(&self.here.join(".nebula"));
        self.serve_with("nebula serve", &[]).unwrap();
    }

    /// Runs a command to its end.
    pub(super) fn run(&mut self, command: &str) -> Result<Ran, String> {
        let output = self.home.join("output");
        let mut child = self.spawn(command, &output, &[]);
        let Some(status) = poll(|| child.try_wait().unwrap()) else {
            end(&mut child);
            return Err(format!("`{command}` doesn't end:\n{}", self.shown(&output)));
        };
        if let Ok(here) = std::fs::read_to_string(self.home.join("directory")) {
            self.here = PathBuf::from(here.trim_end());
        }
        Ok(Ran { command: command.to_owned(), status, output: self.shown(&output) })
    }

    /// Runs commands of which the last is a server, in a terminal of their own, until it serves. It
    /// replaces a server that the document started on the same ports.
    pub(super) fn serve(&mut self, command: &str, functions: &Functions) -> Result<(), String> {
        // The README runs the binary by cargo, from the clone.
        if let Some(arguments) = command.strip_prefix("cargo run --release --locked --") {
            let here = std::mem::replace(&mut self.here, self.repository.clone());
            let data_dir = here.join(".nebula");
            functions.copy_to(&data_dir);
            let variables = [("NEBULA_DATA_DIR", &*data_dir.display().to_string())];
            let served = self.serve_with(&format!("nebula {}", arguments.trim()), &variables);
            self.here = here;
            return served;
        }
        self.serve_with(command, &[])
    }

    fn serve_with(&mut self, command: &str, variables: &[(&str, &str)]) -> Result<(), String> {
        let named = |ports: &[&str; 2]| ports.iter().any(|port| command.contains(&format!(":{port}")));
        let takes_free_ones = command.contains(":0 ");
        let ports = PORTS.iter().rposition(named).unwrap_or(if takes_free_ones { PORTS.len() } else { 0 });
        self.servers.retain(|server| server.ports != ports);
        let output = self.home.join(format!("server-{ports}"));
        let child = self.spawn(command, &output, variables);
        self.servers.push(Server { child, ports, output: output.clone() });
        let server = self.servers.last_mut().unwrap();
        let serves = poll(|| {
            let ended = server.child.try_wait().unwrap().is_some();
            let printed = std::fs::read_to_string(&output).unwrap();
            let serves = printed.lines().any(|line| line.starts_with("control"));
            (serves || ended).then_some(serves)
        });
        // The directory is one of the other terminal.
        let _ = std::fs::remove_file(self.home.join("directory"));
        match serves {
            Some(true) => Ok(()),
            Some(false) | None => Err(format!("`{command}` doesn't serve:\n{}", self.shown(&output))),
        }
    }

    /// Waits until the last server has printed what the document shows.
    pub(super) fn server_prints(&self, documented: &str) -> Result<(), String> {
        let output = &self.servers.last().unwrap().output;
        let printed = || output::begins(documented, &self.shown(output)).then_some(());
        poll(printed)
            .ok_or_else(|| format!("the server printed\n{}\ninstead of\n{documented}", self.shown(output)))
    }

    /// Starts a command in a process group of its own. Both of its outputs go to one file.
    fn spawn(&self, text: &str, output: &Path, variables: &[(&str, &str)]) -> Child {
        let mut text = text.to_owned();
        for (documented, used) in &self.ports {
            text = text.replace(&format!(":{documented}"), &format!(":{used}"));
        }
        let output = File::create(output).unwrap();
        let path = std::env::var("PATH").unwrap();
        // The variables of a run of the binary, for bash.
        let clean = command();
        let mut bash = Command::new("bash");
        for (name, value) in clean.get_envs() {
            match value {
                Some(value) => bash.env(name, value),
                None => bash.env_remove(name),
            };
        }
        bash.arg("-c").arg(format!("{PRELUDE}{text}")).current_dir(&self.here);
        bash.env("PATH", format!("{}:{path}", self.home.join("bin").display()))
            .env("CURL_HOME", &self.home)
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .env("SESSION_DIRECTORY", self.home.join("directory"))
            .env("REPOSITORY", &self.repository)
            .env("CARGO_TARGET_DIR", self.target())
            .env("NEBULA_LISTEN", format!("127.0.0.1:{}", self.ports["8080"]))
            .env("NEBULA_CONTROL", format!("127.0.0.1:{}", self.ports["8081"]))
            .env("NEBULA_SERVER", format!("127.0.0.1:{}", self.ports["8081"]))
            .envs(variables.iter().copied());
        bash.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        bash.spawn().unwrap()
    }

    /// Returns the directory of cargo's builds. The build of the tests has built the repository's
    /// functions already.
    fn target(&self) -> PathBuf {
        if self.here == self.repository {
            let component = Path::new(FUNCTIONS[0].component);
            return component.ancestors().nth(3).unwrap().to_owned();
        }
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("documented")
    }

    /// Reads output, with the ports that the documents have.
    fn shown(&self, output: &Path) -> String {
        // The lines of a head end in CR LF.
        let mut text = String::from_utf8_lossy(&std::fs::read(output).unwrap()).replace("\r\n", "\n");
        for (documented, used) in &self.ports {
            text = text.replace(&format!(":{used}"), &format!(":{documented}"));
        }
        text
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.servers.clear();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}
