//! A server process: pinned, gone when dropped, and gone when this process is.
//!
//! What has to happen in the child before the server runs is done by this program itself, started as
//! `exec-pinned`, which then becomes the server.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::cores::{self, Cores};

/// From exec to listening; compiling the component may be part of it.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a server says its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// On standard output.
    Stdout,
    /// On standard error.
    Stderr,
}

/// What `exec-pinned` is told.
#[derive(Debug, ClapArgs)]
pub(crate) struct Pinned {
    /// Where to run
    #[arg(long = "core")]
    cores: Vec<usize>,
    /// What to become
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the server, which ends when whoever started it does.
pub(crate) fn exec_pinned(pinned: &Pinned) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    cores::pin(&pinned.cores)?;
    let (program, arguments) = pinned.command.split_first().context("there is no command")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The addresses it has said, in its order.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts `server` on the servers' cores and waits until it has said `count` addresses.
    ///
    /// # Errors
    /// When it ends or stays silent; what it said is in the error.
    pub(crate) fn start(server: &Command, says: Says, count: usize, cores: &Cores) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("exec-pinned");
        for core in &cores.server {
            command.args(["--core", &core.to_string()]);
        }
        command.arg("--").arg(server.get_program()).args(server.get_args());
        let shown = format!("{command:?}");
        match says {
            Says::Stdout => command.stdout(Stdio::piped()),
            Says::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot run {shown}"))?;
        let mut server = Self { child, addresses: Vec::new() };
        let lines = match says {
            Says::Stdout => server.child.stdout.take().map(lines),
            Says::Stderr => server.child.stderr.take().map(lines),
        };
        let lines = lines.context("its output was not captured")?;
        let mut said = String::new();
        while server.addresses.len() < count {
            let line = lines
                .recv_timeout(START_TIMEOUT)
                .with_context(|| format!("{shown} did not say where it listens; it said:\n{said}"))?;
            server.addresses.extend(address(&line));
            said.push_str(&line);
            said.push('\n');
        }
        Ok(server)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end, so that the server never waits for a reader.
fn lines(output: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens once the server has started.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The address in a line that ends in `http://address` or `http://address/`.
fn address(line: &str) -> Option<SocketAddr> {
    line.rsplit_once("http://")?.1.trim().trim_end_matches('/').parse().ok()
}

/// `nebula serve` with functions deployed; its data directory goes with it.
pub(crate) struct Nebula {
    /// The process; its first address is the data plane's.
    pub(crate) server: Server,
    _data_dir: tempfile::TempDir,
}

impl Nebula {
    /// Serves `functions`, each a name and a component.
    ///
    /// # Errors
    /// When it doesn't start, or a function isn't taken.
    pub(crate) fn start(
        nebula: &PathBuf,
        functions: &[(&str, &PathBuf)],
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let data_dir = tempfile::tempdir()?;
        let mut serve = Command::new(nebula);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir"]);
        let server = Server::start(serve.arg(data_dir.path()), Says::Stdout, 2, cores)?;
        for (name, component) in functions {
            let mut deploy = Command::new(nebula);
            deploy.arg("deploy").arg(component).args(["--name", name, "--data-dir"]).arg(data_dir.path());
            deploy.args(["--server", &format!("http://{}", server.addresses[1])]);
            let output = deploy.output().with_context(|| format!("cannot run {deploy:?}"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::ensure!(output.status.success(), "{deploy:?} failed:\n{said}");
        }
        Ok(Self { server, _data_dir: data_dir })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_servers_say() {
        let expected: SocketAddr = "127.0.0.1:80".parse().unwrap();
        for line in
            ["http://127.0.0.1:80", "calls    http://127.0.0.1:80", "Serving HTTP on http://127.0.0.1:80/"]
        {
            assert_eq!(address(line), Some(expected), "{line}");
        }
        assert_eq!(address("warning: http://example.com/"), None);
    }
}
