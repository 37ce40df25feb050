//! `nebula serve`: both planes over one data directory, until told to stop.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use listenfd::ListenFd;
use nebula_http::{BindError, Listen, ServeConfig, Server, Token};
use nebula_runtime::limits::{HostLimits, Limits};
use nebula_runtime::receipt::Signer;
use nebula_runtime::{Compiler, Disagreement, OpenError, Runtime, RuntimeConfig, RuntimeError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::{Serve, Switch};
use crate::report::{hinted, note};

/// Group and others may write; or do anything.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS: u32 = 0o077;

/// From listening to looking for files that nothing needs.
const GARBAGE_AFTER: Duration = Duration::from_secs(1);

pub(crate) fn run(serve: &Serve) -> anyhow::Result<()> {
    let (runtime, server) = open(serve)?;
    say_addresses(&server)?;
    collect_garbage(runtime)?;
    run_until_stopped(server)
}

/// After the first calls: looking at every file would hold up those that the server was started for.
pub(super) fn collect_garbage(runtime: Runtime) -> anyhow::Result<()> {
    let collect = move || {
        std::thread::sleep(GARBAGE_AFTER);
        if let Err(error) = runtime.collect_garbage() {
            note(format!("files that nothing needs are left where they are: {error}"));
        }
    };
    std::thread::Builder::new().name("nebula-garbage".to_owned()).spawn(collect)?;
    Ok(())
}

/// Opens the data directory and takes the addresses.
pub(super) fn open(serve: &Serve) -> anyhow::Result<(Runtime, Server)> {
    let threads = serve.threads.or_else(|| std::thread::available_parallelism().ok());
    let threads = threads.map_or(1, std::num::NonZero::get);
    raise_file_limit();
    // This program, also when its file has been replaced or removed since.
    let program = "/proc/self/exe".into();
    let runtime = Runtime::open(RuntimeConfig {
        data_dir: serve.data_dir.clone(),
        compiler: Compiler::Child { program, arguments: vec!["compile-component".to_owned()] },
        limits: Limits::default(),
        host_limits: HostLimits {
            calls_max: serve.calls_max.get(),
            queue_max: serve.queue_max,
            instances_max: serve.instances_max,
            loaded_bytes_max: serve.loaded_bytes_max,
            remembered_bytes_max: serve.cache_bytes_max,
            remembered_disk_bytes_max: serve.cache_disk_bytes_max,
            inputs_bytes_max: serve.inputs_bytes_max,
        },
        verify_share: serve.verify_share,
        alarm,
        signer: serve.receipt_key.as_deref().map(signer).transpose()?,
    })
    .map_err(|error| cannot_open(serve, error))?;
    // systemd's way of handing over sockets, sd_listen_fds(3): the data plane's, then the control plane's.
    let mut handed_over = ListenFd::from_env();
    let mut listen = |index, address| match handed_over.take_tcp_listener(index) {
        Ok(Some(listener)) => Ok(Listen::Inherited(listener)),
        Ok(None) => Ok(Listen::Address(address)),
        Err(error) => Err(error),
    };
    let taking = "a socket was handed over that is not a TCP listener";
    warn_of_others(&serve.data_dir);
    let server = Server::bind(
        ServeConfig {
            listen: listen(0, serve.listen).context(taking)?,
            control: listen(1, serve.control).context(taking)?,
            token: Token::read_or_make(&serve.data_dir)?,
            threads,
            drain: Duration::from_secs(serve.drain_seconds),
            exit_after_idle: serve.exit_after_idle_seconds.map(|idle| Duration::from_secs(idle.get())),
            cached_fast_path: serve.cached_fast_path == Switch::On,
        },
        runtime.clone(),
    )
    .map_err(|error| {
        let message = error.to_string();
        match error {
            BindError::Address { source, .. } => {
                let hint = "another server may have it: give another address, or port 0 for a free one";
                anyhow::Error::new(source).context(hinted(message, hint))
            }
            BindError::Inherited(source) => anyhow::Error::new(source).context(message),
        }
    })?;
    Ok((runtime, server))
}

/// Raises the number of files that may be open as far as this process may. Connections need them, and so does each
/// component on each thread that has it loaded; the usual soft limit of 1,024 is for programs that use `select`.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // With fewer the server works, until they are used up.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// What was remembered is wrong, or what was computed is.
fn alarm(disagreement: &Disagreement) {
    let Disagreement { function, component, input, remembered, computed, engines, .. } = disagreement;
    let name = function.split('@').next().unwrap_or(function);
    note(format!(
        "ALARM: `{function}` ({component}) was remembered to answer {remembered}, and computed again it answered {computed}, \
         to the input {input}; by {} and {}. Its results are forgotten, and nothing of it is remembered until \
         `nebula cache {name} --clear`; hint: `nebula verify {name} INPUT` runs it on differently compiled code",
        engines[0], engines[1]
    ));
}

/// Who signs receipts. Read once: another key takes a restart.
fn signer(path: &Path) -> anyhow::Result<Signer> {
    let pem = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the key that signs receipts, `{}`", path.display()))?;
    Signer::from_pem(&pem).map_err(|error| {
        let hint = "`openssl genpkey -algorithm ed25519 -out FILE` makes one";
        hinted(format!("`{}`: {error}", path.display()), hint).into()
    })
}

/// A data directory that Nebula makes is its user's alone; one that was there keeps its mode.
fn warn_of_others(data_dir: &Path) {
    // What can't be looked at has been said by whoever opened it.
    let Ok(metadata) = std::fs::metadata(data_dir) else { return };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        let shown = data_dir.display();
        let may = match mode & OTHERS_WRITE {
            0 => "read what is deployed in",
            _ => "own this host, for they may write to",
        };
        note(format!("warning: others may {may} `{shown}` (mode {mode:04o}); hint: `chmod 700 {shown}`"));
    }
}

fn cannot_open(serve: &Serve, error: RuntimeError) -> anyhow::Error {
    let message = format!("cannot open the data directory `{}`", serve.data_dir.display());
    let hint = match &error {
        RuntimeError::Registry(OpenError::Locked { .. }) => {
            "stop the other server, or give this one a directory of its own with `--data-dir`"
        }
        RuntimeError::Registry(_) => "give one that this user may write to with `--data-dir`",
        RuntimeError::Store(_) => "restore it from a copy, or begin a new one with `--data-dir`",
        RuntimeError::Engine(_) => {
            "the pools of instances need address space: raise `ulimit -v`, or lower `--instances-max` and `--calls-max`"
        }
    };
    anyhow::Error::new(error).context(hinted(message, hint))
}

/// Says on stdout where both planes are, now that they listen.
pub(super) fn say_addresses(server: &Server) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "calls    http://{}", server.data_address())?;
    writeln!(stdout, "control  http://{}", server.control_address())?;
    stdout.flush().context("cannot write to stdout")
}

/// Serves until SIGINT or SIGTERM.
pub(super) fn run_until_stopped(server: Server) -> anyhow::Result<()> {
    server
        .run(async {
            match stopped().await {
                Ok(()) => note("stopping: requests in flight are answered first"),
                Err(error) => note(format!("stopping: cannot listen to signals: {error}")),
            }
        })
        .context("the server failed")
}

async fn stopped() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
