//! A server process: pinned, gone when dropped, and gone when this process is.
//!
//! ```text
//! held (pinned, waits for a byte) --release--> starting --(says its addresses)--> server --drop--> gone
//! ```
//!
//! What has to happen in the child before the server runs is done by this program itself, started as
//! `exec-pinned`, which then becomes the server. It waits to be released, so that the moment of the
//! server's own exec is known.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Args as ClapArgs, ValueEnum};
use nebula_runtime::{CacheReport, Counts};
use rustix::process::{
    Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal, setpgid,
};

use crate::cores::{self, Cores};

/// From exec to listening; compiling the component may be part of it.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// From being told to stop to having stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// What `exec-pinned` says when it is ready to become the server.
const READY: &str = "ready";

/// Where a server says its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
    /// Where to say that it is ready
    #[arg(long)]
    says: Says,
    /// What to become
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Waits for a byte on standard input, then becomes the server, which ends when whoever started it does.
pub(crate) fn exec_pinned(pinned: &Pinned) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A group of its own: what the server starts goes with it.
    setpgid(None, None)?;
    cores::pin(&pinned.cores)?;
    let (program, arguments) = pinned.command.split_first().context("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    match pinned.says {
        Says::Stdout => println!("{READY}"),
        Says::Stderr => eprintln!("{READY}"),
    }
    // Unbuffered: what comes after this byte is the server's.
    let read = rustix::io::read(rustix::stdio::stdin(), &mut [0; 1])?;
    ensure!(read == 1, "nobody wants it any more");
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// A process, and what it says; killed with all that it started when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    shown: String,
    said: mpsc::Receiver<String>,
}

impl Process {
    /// Starts what will become `program` on the servers' cores, and waits until it is ready to.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn hold(program: &Command, says: Says, cores: &Cores) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("exec-pinned").args(["--says", if says == Says::Stdout { "stdout" } else { "stderr" }]);
        for core in &cores.server {
            command.args(["--core", &core.to_string()]);
        }
        command.arg("--").arg(program.get_program()).args(program.get_args());
        let shown = format!("{program:?}");
        match says {
            Says::Stdout => command.stdout(Stdio::piped()),
            Says::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child =
            command.stdin(Stdio::piped()).spawn().with_context(|| format!("cannot run {shown}"))?;
        let said = match says {
            Says::Stdout => child.stdout.take().map(lines),
            Says::Stderr => child.stderr.take().map(lines),
        };
        let process = Self { child, shown, said: said.context("its output was not captured")? };
        let ready = process.line()?;
        ensure!(ready == READY, "{} did not get ready: {ready}", process.shown);
        Ok(process)
    }

    /// Lets it become the program, and gives it `input`. The moment of it.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn release(&mut self, input: &[u8]) -> anyhow::Result<Instant> {
        let mut stdin = self.child.stdin.take().context("it was released before")?;
        let released = Instant::now();
        stdin.write_all(&[&[0], input].concat()).with_context(|| format!("{} is gone", self.shown))?;
        Ok(released)
    }

    fn line(&self) -> anyhow::Result<String> {
        let line = self.said.recv_timeout(START_TIMEOUT);
        line.with_context(|| format!("{} stays silent", self.shown))
    }

    /// The lines it says from now until it ends well.
    ///
    /// # Errors
    /// When it doesn't.
    pub(crate) fn output(mut self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            match self.said.recv_timeout(START_TIMEOUT) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => bail!("{} does not end", self.shown),
            }
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "{} failed: {status}", self.shown);
        Ok(lines)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it was waited for, its number may be somebody else's. Otherwise gone already is as good.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), self.pid()) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    /// The addresses it has said, in its order.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts `server` on the servers' cores and waits until it has said `count` addresses.
    ///
    /// # Errors
    /// When it ends or stays silent; what it said is in the error.
    pub(crate) fn start(server: &Command, says: Says, count: usize, cores: &Cores) -> anyhow::Result<Self> {
        Ok(Self::start_timed(server, says, count, cores)?.1)
    }

    /// Likewise; and the moment of its exec.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_timed(
        server: &Command,
        says: Says,
        count: usize,
        cores: &Cores,
    ) -> anyhow::Result<(Instant, Self)> {
        let mut process = Process::hold(server, says, cores)?;
        let begun = process.release(b"")?;
        let mut server = Self { process, addresses: Vec::new() };
        let mut said = String::new();
        while server.addresses.len() < count {
            let line = server.process.line().with_context(|| format!("it said:\n{said}"))?;
            server.addresses.extend(address(&line));
            said.push_str(&line);
            said.push('\n');
        }
        Ok((begun, server))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Tells it to stop and waits until it has, so that it leaves its files as it would.
    ///
    /// # Errors
    /// When it doesn't stop in time.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.process.pid().context("it has no process")?;
        kill_process(pid, Signal::TERM)?;
        let told = Instant::now();
        while self.process.child.try_wait()?.is_none() {
            ensure!(told.elapsed() < STOP_TIMEOUT, "{} does not stop", self.process.shown);
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Reads to the end, so that the server never waits for a reader.
fn lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
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

/// `nebula serve` over a data directory, as a command.
pub(crate) fn nebula_serve(nebula: &Path, data_dir: &Path) -> Command {
    let mut serve = nebula_remembering(nebula, data_dir);
    // What is measured is running functions.
    serve.args(["--cache-bytes-max", "0"]);
    serve
}

/// `nebula serve` that remembers results, as it does unless told otherwise.
pub(crate) fn nebula_remembering(nebula: &Path, data_dir: &Path) -> Command {
    let mut serve = Command::new(nebula);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir"]);
    serve.arg(data_dir);
    serve
}

/// `nebula serve` with functions deployed; its data directory goes with it.
pub(crate) struct Nebula {
    /// The process; its first address is the data plane's.
    pub(crate) server: Server,
    /// Of it, and of what talks to it.
    program: PathBuf,
    data_dir: tempfile::TempDir,
}

/// A function to deploy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deploy<'a> {
    pub(crate) name: &'static str,
    pub(crate) component: &'a Path,
    /// Limits, as `nebula deploy` takes them.
    pub(crate) limits: &'static [&'static str],
}

impl Nebula {
    /// Serves `functions`, and runs them for every request.
    ///
    /// # Errors
    /// When it doesn't start, or a function isn't taken.
    pub(crate) fn start(nebula: &Path, functions: &[Deploy<'_>], cores: &Cores) -> anyhow::Result<Self> {
        Self::start_as(nebula_serve, nebula, functions, cores)
    }

    /// Serves `functions`, and remembers their results in so many bytes, or as many as it does unless told otherwise.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn start_remembering(
        nebula: &Path,
        functions: &[Deploy<'_>],
        bytes_max: Option<u64>,
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let serve = |nebula: &Path, data_dir: &Path| {
            let mut serve = nebula_remembering(nebula, data_dir);
            if let Some(bytes_max) = bytes_max {
                serve.args(["--cache-bytes-max", &bytes_max.to_string()]);
            }
            serve
        };
        Self::start_as(serve, nebula, functions, cores)
    }

    /// Serves `functions` with further arguments of `nebula serve`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn start_with(
        nebula: &Path,
        arguments: &[&str],
        functions: &[Deploy<'_>],
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let serve = |nebula: &Path, data_dir: &Path| {
            let mut serve = nebula_remembering(nebula, data_dir);
            serve.args(arguments);
            serve
        };
        Self::start_as(serve, nebula, functions, cores)
    }

    fn start_as(
        serve: impl Fn(&Path, &Path) -> Command,
        nebula: &Path,
        functions: &[Deploy<'_>],
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let data_dir = tempfile::tempdir()?;
        let server = Server::start(&serve(nebula, data_dir.path()), Says::Stdout, 2, cores)?;
        let nebula = Self { server, program: nebula.to_owned(), data_dir };
        for Deploy { name, component, limits } in functions {
            nebula.deploy_with(name, component, limits)?;
        }
        Ok(nebula)
    }

    /// Deploys a function.
    ///
    /// # Errors
    /// When it isn't taken.
    pub(crate) fn deploy(&self, name: &str, component: &Path) -> anyhow::Result<()> {
        self.deploy_with(name, component, &[])
    }

    fn deploy_with(&self, name: &str, component: &Path, limits: &[&str]) -> anyhow::Result<()> {
        let mut deploy = Command::new(&self.program);
        deploy.arg("deploy").arg(component).args(["--name", name]).args(limits);
        self.ask(deploy)?;
        Ok(())
    }

    /// Deploys a pipeline.
    ///
    /// # Errors
    /// When it isn't taken.
    pub(crate) fn deploy_pipeline(&self, name: &str, description: &str) -> anyhow::Result<()> {
        self.deploy_pipeline_with(name, description, &[])
    }

    /// Likewise, with limits as `nebula pipeline deploy` takes them.
    ///
    /// # Errors
    /// As [`deploy_pipeline`](Self::deploy_pipeline).
    pub(crate) fn deploy_pipeline_with(
        &self,
        name: &str,
        description: &str,
        limits: &[&str],
    ) -> anyhow::Result<()> {
        let file = self.data_dir.path().join(format!("{name}.json"));
        std::fs::write(&file, description)?;
        let mut deploy = Command::new(&self.program);
        deploy.args(["pipeline", "deploy"]).arg(&file).args(limits);
        self.ask(deploy)?;
        Ok(())
    }

    /// How the calls since it started were answered, of all functions.
    ///
    /// # Errors
    /// When it doesn't say.
    pub(crate) fn counts(&self) -> anyhow::Result<Counts> {
        let mut cache = Command::new(&self.program);
        cache.args(["cache", "--json"]);
        let report: CacheReport = serde_json::from_slice(&self.ask(cache)?)?;
        let mut counts = Counts::default();
        for function in report.functions {
            counts += function.counts;
        }
        Ok(counts)
    }

    /// Runs a command of `nebula` that talks to the server. What it puts out.
    fn ask(&self, mut command: Command) -> anyhow::Result<Vec<u8>> {
        command.arg("--data-dir").arg(self.data_dir.path());
        command.args(["--server", &format!("http://{}", self.server.addresses[1])]);
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?} failed:\n{said}");
        Ok(output.stdout)
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
