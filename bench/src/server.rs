//! Server processes: pinned to cores, killed when dropped and when this process ends.
//!
//! ```text
//! held (pinned, waits for a byte) --release--> starting --(prints its addresses)--> server --drop--> killed
//! ```
//!
//! The child starts as `exec-pinned` of this program, which pins itself and then becomes the
//! server. It waits to be released before that, so that the moment of the server's exec is known.

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
use crate::prepare;

/// The longest time from exec to listening, in which a server may compile the component.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest time from SIGTERM to the exit.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The line that `exec-pinned` prints when it is ready to become the server.
const READY: &str = "ready";

/// The stream on which a server prints its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StandardStream {
    Stdout,
    Stderr,
}

/// The arguments of `exec-pinned`.
#[derive(Debug, ClapArgs)]
pub(crate) struct PinnedCommand {
    /// Core to run on; may be repeated
    #[arg(long = "core")]
    cores: Vec<usize>,
    /// Stream on which to report that it is ready
    #[arg(long)]
    stream: StandardStream,
    /// Command to become
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Waits for a byte on standard input, then becomes the server, which is killed when its parent
/// process ends.
pub(crate) fn exec_pinned(pinned: &PinnedCommand) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A separate process group lets `Process` kill the server together with its descendants.
    setpgid(None, None)?;
    cores::pin(&pinned.cores)?;
    let (program, arguments) = pinned.command.split_first().context("the command is missing")?;
    let mut command = Command::new(program);
    command.args(arguments);
    match pinned.stream {
        StandardStream::Stdout => println!("{READY}"),
        StandardStream::Stderr => eprintln!("{READY}"),
    }
    // Read without a buffer: the bytes after this one belong to the server.
    let read = rustix::io::read(rustix::stdio::stdin(), &mut [0; 1])?;
    ensure!(read == 1, "standard input was closed before the release");
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// A process and its output. Dropping it kills the process and its descendants.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The command line, for messages.
    command_line: String,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts `exec-pinned` on the servers' cores and waits until it is ready to become `program`.
    ///
    /// # Errors
    /// Returns an error if it can't be started.
    pub(crate) fn hold(program: &Command, stream: StandardStream, cores: &Cores) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = match stream {
            StandardStream::Stdout => "stdout",
            StandardStream::Stderr => "stderr",
        };
        command.arg("exec-pinned").args(["--stream", name]);
        for core in &cores.server {
            command.args(["--core", &core.to_string()]);
        }
        command.arg("--").arg(program.get_program()).args(program.get_args());
        pass_variables(program, &mut command);
        let command_line = format!("{program:?}");
        match stream {
            StandardStream::Stdout => command.stdout(Stdio::piped()),
            StandardStream::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child =
            command.stdin(Stdio::piped()).spawn().with_context(|| format!("cannot run {command_line}"))?;
        let lines = match stream {
            StandardStream::Stdout => child.stdout.take().map(collect_lines),
            StandardStream::Stderr => child.stderr.take().map(collect_lines),
        };
        let process = Self { child, command_line, lines: lines.context("the output was not captured")? };
        let ready = process.line()?;
        ensure!(ready == READY, "{} is not ready: {ready}", process.command_line);
        Ok(process)
    }

    /// Lets the process become the program, writes `input` to its standard input, and returns the
    /// moment of the release.
    ///
    /// # Errors
    /// Returns an error if the process has ended.
    pub(crate) fn release(&mut self, input: &[u8]) -> anyhow::Result<Instant> {
        let mut stdin = self.child.stdin.take().context("the process was released before")?;
        let released = Instant::now();
        stdin
            .write_all(&[&[0], input].concat())
            .with_context(|| format!("{} has ended", self.command_line))?;
        Ok(released)
    }

    fn line(&self) -> anyhow::Result<String> {
        let line = self.lines.recv_timeout(START_TIMEOUT);
        line.with_context(|| format!("{} prints nothing", self.command_line))
    }

    /// Collects the lines that the process prints until it exits successfully.
    ///
    /// # Errors
    /// Returns an error if the process fails or doesn't exit.
    pub(crate) fn output(mut self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(START_TIMEOUT) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => bail!("{} does not exit", self.command_line),
            }
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "{} failed: {status}", self.command_line);
        Ok(lines)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After a wait the id may belong to another process, so only a running child is killed.
        // Errors mean that it has ended meanwhile.
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
    /// The addresses that the server has printed, in their order.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A running server and the moment of its exec.
pub(crate) struct StartedServer {
    pub(crate) server: Server,
    pub(crate) exec_at: Instant,
}

impl Server {
    /// Starts `server` on the servers' cores and waits until it has printed `count` addresses.
    ///
    /// # Errors
    /// Returns an error with the output if the server exits or prints too few addresses.
    pub(crate) fn start(
        server: &Command,
        stream: StandardStream,
        count: usize,
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        Ok(Self::start_timed(server, stream, count, cores)?.server)
    }

    /// Starts a server like [`Self::start`] and returns the moment of its exec, too.
    ///
    /// # Errors
    /// Returns the errors of [`Self::start`].
    pub(crate) fn start_timed(
        server: &Command,
        stream: StandardStream,
        count: usize,
        cores: &Cores,
    ) -> anyhow::Result<StartedServer> {
        let mut process = Process::hold(server, stream, cores)?;
        let exec_at = process.release(b"")?;
        let mut server = Self { process, addresses: Vec::new() };
        let mut output = String::new();
        while server.addresses.len() < count {
            let line = server.process.line().with_context(|| format!("output so far:\n{output}"))?;
            server.addresses.extend(address(&line));
            output.push_str(&line);
            output.push('\n');
        }
        Ok(StartedServer { server, exec_at })
    }

    /// Returns the id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Sends SIGTERM and waits for the exit, so that the server closes its files properly.
    ///
    /// # Errors
    /// Returns an error if the server doesn't exit in time.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.process.pid().context("the server has no process")?;
        kill_process(pid, Signal::TERM)?;
        let signalled_at = Instant::now();
        while self.process.child.try_wait()?.is_none() {
            ensure!(signalled_at.elapsed() < STOP_TIMEOUT, "{} does not stop", self.process.command_line);
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Collects the lines of an output on a thread that reads to the end, so that the server never
/// blocks on a full pipe.
fn collect_lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // The receiver is dropped once the server has started.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Gives a command the environment variables of another.
pub(crate) fn pass_variables(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
}

/// Finds the address in a line that ends in `http://address` or `http://address/`.
fn address(line: &str) -> Option<SocketAddr> {
    line.rsplit_once("http://")?.1.trim().trim_end_matches('/').parse().ok()
}

/// Prepares `nebula serve` on a data directory without a cache, so that every call runs.
pub(crate) fn nebula_serve(nebula: &Path, data_dir: &Path) -> Command {
    let mut serve = nebula_serve_with_cache(nebula, data_dir);
    serve.args(["--cache-bytes-max", "0"]);
    serve
}

/// Prepares `nebula serve` on a data directory with a cache of the default size.
pub(crate) fn nebula_serve_with_cache(nebula: &Path, data_dir: &Path) -> Command {
    let mut serve = Command::new(nebula);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir"]);
    serve.arg(data_dir);
    // No load balancer waits for it to stop.
    serve.args(["--notice-seconds", "0"]);
    // The bench's own output stays readable.
    serve.env("NEBULA_LOG", "warn");
    serve
}

/// Traces a share of the requests to a server. Its collector is a port that refuses connections, so that
/// no other process takes part.
pub(crate) fn trace(serve: &mut Command, share: &str) {
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    serve.env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
    serve.env("OTEL_TRACES_SAMPLER_ARG", share);
    // An export that fails ends before the next measurement.
    serve.env("OTEL_BSP_EXPORT_TIMEOUT", "1000");
}

/// A running `nebula serve` with deployed functions. Dropping it removes its data directory.
pub(crate) struct Nebula {
    /// The server; its first address is that of the data plane.
    pub(crate) server: Server,
    /// The path of the `nebula` binary.
    program: PathBuf,
    data_dir: tempfile::TempDir,
}

/// A function to deploy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deploy<'a> {
    pub(crate) name: &'static str,
    pub(crate) component: &'a Path,
    /// Options of `nebula deploy` that set limits.
    pub(crate) limits: &'static [&'static str],
}

impl Nebula {
    /// Starts a server of `functions` without a cache.
    ///
    /// # Errors
    /// Returns an error if the server doesn't start or refuses a function.
    pub(crate) fn start(nebula: &Path, functions: &[Deploy<'_>], cores: &Cores) -> anyhow::Result<Self> {
        Self::start_as(nebula_serve, nebula, functions, cores)
    }

    /// Starts a server of `functions` with a cache of `bytes_max`, or of the default size.
    ///
    /// # Errors
    /// Returns an error if the server doesn't start or refuses a function.
    pub(crate) fn start_with_cache(
        nebula: &Path,
        functions: &[Deploy<'_>],
        bytes_max: Option<u64>,
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let serve = |nebula: &Path, data_dir: &Path| {
            let mut serve = nebula_serve_with_cache(nebula, data_dir);
            if let Some(bytes_max) = bytes_max {
                serve.args(["--cache-bytes-max", &bytes_max.to_string()]);
            }
            serve
        };
        Self::start_as(serve, nebula, functions, cores)
    }

    /// Starts a server of `functions` with additional arguments of `nebula serve`.
    ///
    /// # Errors
    /// Returns an error if the server doesn't start or refuses a function.
    pub(crate) fn start_with(
        nebula: &Path,
        arguments: &[&str],
        functions: &[Deploy<'_>],
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let serve = |nebula: &Path, data_dir: &Path| {
            let mut serve = nebula_serve_with_cache(nebula, data_dir);
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
        let data_dir = prepare::data_dir()?;
        let server = Server::start(&serve(nebula, data_dir.path()), StandardStream::Stdout, 2, cores)?;
        let nebula = Self { server, program: nebula.to_owned(), data_dir };
        for Deploy { name, component, limits } in functions {
            nebula.deploy_with(name, component, limits)?;
        }
        Ok(nebula)
    }

    /// Stops the server and returns its data directory.
    ///
    /// # Errors
    /// Returns an error if the server doesn't stop.
    pub(crate) fn stop(self) -> anyhow::Result<tempfile::TempDir> {
        self.server.stop()?;
        Ok(self.data_dir)
    }

    /// Deploys a function.
    ///
    /// # Errors
    /// Returns an error if the server refuses it.
    pub(crate) fn deploy(&self, name: &str, component: &Path) -> anyhow::Result<()> {
        self.deploy_with(name, component, &[])
    }

    fn deploy_with(&self, name: &str, component: &Path, limits: &[&str]) -> anyhow::Result<()> {
        let mut deploy = Command::new(&self.program);
        deploy.arg("deploy").arg(component).args(["--name", name]).args(limits);
        self.run(deploy)?;
        Ok(())
    }

    /// Deploys a pipeline.
    ///
    /// # Errors
    /// Returns an error if the server refuses it.
    pub(crate) fn deploy_pipeline(&self, name: &str, description: &str) -> anyhow::Result<()> {
        self.deploy_pipeline_with(name, description, &[])
    }

    /// Deploys a pipeline with options of `nebula pipeline deploy` that set limits.
    ///
    /// # Errors
    /// Returns an error if the server refuses it.
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
        self.run(deploy)?;
        Ok(())
    }

    /// Returns the cache's counts of all calls since the start, summed over all functions.
    ///
    /// # Errors
    /// Returns an error if `nebula cache` fails.
    pub(crate) fn counts(&self) -> anyhow::Result<Counts> {
        let report = cache_report(&self.program, &self.server, self.data_dir.path())?;
        let mut counts = Counts::default();
        for function in report.functions {
            counts += function.counts;
        }
        Ok(counts)
    }

    fn run(&self, command: Command) -> anyhow::Result<Vec<u8>> {
        run(command, &self.server, self.data_dir.path())
    }
}

/// Returns the statistics of the cache and of the loaded code of a server.
///
/// # Errors
/// Returns an error if `nebula cache` fails.
pub(crate) fn cache_report(nebula: &Path, server: &Server, data_dir: &Path) -> anyhow::Result<CacheReport> {
    let mut cache = Command::new(nebula);
    cache.args(["cache", "--json"]);
    Ok(serde_json::from_slice(&run(cache, server, data_dir)?)?)
}

/// Runs a command of `nebula` that connects to a server, and returns its stdout.
fn run(mut command: Command, server: &Server, data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    command.arg("--data-dir").arg(data_dir);
    command.args(["--server", &format!("http://{}", server.addresses[1])]);
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed:\n{stderr}");
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_the_output_of_servers() {
        let expected: SocketAddr = "127.0.0.1:80".parse().unwrap();
        for line in
            ["http://127.0.0.1:80", "calls    http://127.0.0.1:80", "Serving HTTP on http://127.0.0.1:80/"]
        {
            assert_eq!(address(line), Some(expected), "{line}");
        }
        assert_eq!(address("warning: http://example.com/"), None);
    }
}
