//! `nebula serve`: runs both planes over one data directory until a signal stops it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use listenfd::ListenFd;
use nebula_http::{Access, AccessError, BindError, Listen, Readiness, ServeConfig, Server};
use nebula_runtime::limits::Limits;
use nebula_runtime::receipt::Signer;
use nebula_runtime::tokens::OpenTokensError;
use nebula_runtime::{Compiler, Cors, Disagreement, OpenError, Runtime, RuntimeConfig, RuntimeError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::address::Address;
use crate::args::{Serve, Switch};
use crate::logging::{CallEvents, ServerLog};
use crate::port::PortHolder;
use crate::report::{hinted, text};
use crate::traces::Traces;

/// The target of events about the server as a whole.
const SERVER: &str = "nebula::server";

/// The mode bits for writing by the group and others.
const OTHERS_WRITE: u32 = 0o022;
/// All mode bits of the group and others.
const OTHERS: u32 = 0o077;

/// The time from listening to the collection of unneeded files.
const GARBAGE_AFTER: Duration = Duration::from_secs(1);

pub(crate) fn run(serve: &Serve) -> anyhow::Result<()> {
    let log = ServerLog::start(&serve.log, CallEvents::Logged)?;
    let traces = Traces::start()?;
    let (runtime, mut server) = open(serve)?;
    log.observe(&mut server);
    traces.observe(&mut server);
    let addresses = Addresses::of(&server);
    let outcome = run_until_stopped(server, Duration::from_secs(serve.notice_seconds), || {
        addresses.print(None)?;
        addresses.log(serve);
        collect_garbage(runtime)
    });
    traces.stop();
    outcome
}

/// Deletes unneeded files, a little later: looking at every file would delay the first calls.
pub(super) fn collect_garbage(runtime: Runtime) -> anyhow::Result<()> {
    let collect = move || {
        std::thread::sleep(GARBAGE_AFTER);
        if let Err(error) = runtime.collect_garbage() {
            warn!(target: SERVER, error = error.to_string(), "cannot delete unneeded files");
        }
    };
    std::thread::Builder::new().name("nebula-garbage".to_owned()).spawn(collect)?;
    Ok(())
}

/// Opens the data directory and binds the addresses.
pub(super) fn open(serve: &Serve) -> anyhow::Result<(Runtime, Server)> {
    let threads = serve.threads.or_else(|| std::thread::available_parallelism().ok());
    let threads = threads.map_or(1, std::num::NonZero::get);
    raise_file_limit();
    // This path leads to the running program even if its file has been replaced or removed.
    let program = "/proc/self/exe".into();
    let runtime = Runtime::open(RuntimeConfig {
        data_dir: serve.data_dir.clone(),
        compiler: Compiler::Child { program, arguments: vec!["compile-component".to_owned()] },
        limits: Limits::default(),
        host_limits: serve.host_limits(),
        verify_share: serve.verify_share,
        alarm,
        signer: serve.receipt_key.as_deref().map(signer).transpose()?,
    })
    .map_err(|error| cannot_open(serve, error))?;
    // systemd passes sockets, sd_listen_fds(3): the data plane's, then the control plane's.
    let mut handed_over = ListenFd::from_env();
    let bind = |address: &Address| {
        let resolved = address.resolve().with_context(|| format!("cannot find the address `{address}`"));
        resolved.map(Listen::Address)
    };
    let mut listen = |index, address: &Address| match handed_over.take_tcp_listener(index) {
        Ok(Some(listener)) => Ok(Listen::Inherited(listener)),
        Ok(None) => bind(address),
        Err(error) => Err(anyhow::Error::new(error).context("an inherited socket is not a TCP listener")),
    };
    warn_if_others_have_access(&serve.data_dir);
    let server = Server::bind(
        ServeConfig {
            listen: listen(0, &serve.listen)?,
            control: listen(1, &serve.control)?,
            metrics: serve.metrics.as_ref().map(bind).transpose()?,
            metrics_functions_max: serve.metrics_functions_max,
            rustc: env!("NEBULA_RUSTC_VERSION"),
            public_url: serve.public_url.as_ref().map(ToString::to_string),
            access: Access::open(&serve.data_dir).map_err(cannot_use_tokens)?,
            console_hosts: serve.console_host.clone(),
            threads,
            drain: Duration::from_secs(serve.drain_seconds),
            exit_after_idle: serve.exit_after_idle_seconds.map(|idle| Duration::from_secs(idle.get())),
            cached_fast_path: serve.cached_fast_path == Switch::On,
            compress: serve.compress == Switch::On,
            cors: (!serve.cors_origin.is_empty())
                .then(|| Cors { origins: serve.cors_origin.clone(), max_age_s: None }),
            openapi: serve.openapi == Switch::On,
            experiment: serve.experiment.clone(),
        },
        runtime.clone(),
    )
    .map_err(|error| {
        let message = error.to_string();
        match error {
            BindError::Address { address, source } => {
                let hint = bind_hint(address, &source);
                anyhow::Error::new(source).context(hinted(message, hint))
            }
            BindError::Inherited(source) => anyhow::Error::new(source).context(message),
        }
    })?;
    Ok((runtime, server))
}

/// Returns the hint for an address that can't be listened on.
fn bind_hint(address: SocketAddr, error: &io::Error) -> String {
    if error.kind() != ErrorKind::AddrInUse {
        return "give addresses of this machine with `--listen`, `--control` and `--metrics`".to_owned();
    }
    let holder = PortHolder::of(address).map(|holder| holder.to_string());
    let holder = holder.unwrap_or_else(|| "another process".to_owned());
    format!(
        "{holder} listens there: stop it, or take free ports with \
         `--listen 127.0.0.1:0 --control 127.0.0.1:0`"
    )
}

/// Raises the number of files that may be open as far as this process may. Connections need them,
/// and so does each component on each thread that has it loaded; the usual soft limit of 1,024 is
/// for programs that use `select`.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // With fewer the server works, until they are used up.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Logs that a recomputed answer differs from the cached one.
fn alarm(disagreement: &Disagreement) {
    let Disagreement { function, component, input, cached, computed, engines, .. } = disagreement;
    let name = function.split('@').next().unwrap_or(function);
    error!(
        target: "nebula::verify",
        function = name, %component, %input,
        "ALARM: `{function}` ({component}) has the cached answer {cached} to the input {input}, but recomputed it \
         answered {computed}; engines: {} and {}. Its results are dropped, and none is cached until \
         `nebula cache {name} --clear`; hint: `nebula verify {name} INPUT` runs it on differently compiled code",
        engines[0], engines[1]
    );
}

/// Reads the key that signs receipts. To change it, restart the server.
fn signer(path: &Path) -> anyhow::Result<Signer> {
    let pem = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the signing key `{}`", path.display()))?;
    Signer::from_pem(&pem).map_err(|error| {
        let hint = "`openssl genpkey -algorithm ed25519 -out FILE` creates one";
        hinted(format!("`{}`: {error}", path.display()), hint).into()
    })
}

/// Warns if other users may access the data directory. Nebula creates it for its user alone, but
/// keeps the mode of an existing one.
fn warn_if_others_have_access(data_dir: &Path) {
    // Opening the directory has reported other errors.
    let Ok(metadata) = std::fs::metadata(data_dir) else { return };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        let shown = data_dir.display();
        let may = match mode & OTHERS_WRITE {
            0 => "read the deployed functions in",
            _ => "take over this host, because they may write to",
        };
        warn!(target: SERVER, "others may {may} `{shown}` (mode {mode:04o}); hint: `chmod 700 {shown}`");
    }
}

fn cannot_open(serve: &Serve, error: RuntimeError) -> anyhow::Error {
    let message = format!("cannot open the data directory `{}`", serve.data_dir.display());
    let hint = match &error {
        RuntimeError::DataDir(OpenError::Locked { .. }) => {
            "stop the other server, or give this one a directory of its own with `--data-dir`"
        }
        RuntimeError::DataDir(_) => "give one that this user may write to with `--data-dir`",
        RuntimeError::Store(_) => "restore it from a copy, or start a new one with `--data-dir`",
        RuntimeError::Engine(_) => {
            "the pools of instances need address space: raise `ulimit -v`, or lower `--instances-max` and `--calls-max`"
        }
    };
    anyhow::Error::new(error).context(hinted(message, hint))
}

fn cannot_use_tokens(error: AccessError) -> anyhow::Error {
    let error = match error {
        AccessError::BuiltIn(error) => return error.into(),
        AccessError::Named(error) => error,
    };
    let message = error.to_string();
    let (cause, hint) = match error {
        OpenTokensError::Unreadable { source, .. } => {
            (anyhow::Error::new(source), "this user has to be able to read the file")
        }
        OpenTokensError::Damaged { reason, .. } => (
            anyhow::Error::new(reason),
            "restore the file from a copy; or delete it, which revokes all named tokens, and create them again",
        ),
    };
    cause.context(hinted(message, hint))
}

/// The addresses of both planes and of the metrics.
pub(super) struct Addresses {
    pub(super) data: SocketAddr,
    control: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Addresses {
    pub(super) fn of(server: &Server) -> Self {
        Self {
            data: server.data_address(),
            control: server.control_address(),
            metrics: server.metrics_address(),
        }
    }

    /// Prints the addresses to stdout. The one of the console signs in with `sign_in_code`, if there is
    /// one.
    pub(super) fn print(&self, sign_in_code: Option<&str>) -> anyhow::Result<()> {
        let mut lines = format!("calls    http://{}\ncontrol  http://{}\n", self.data, self.control);
        lines.push_str(&format!("console  {}\n", console_url(self.control, sign_in_code)));
        if let Some(metrics) = self.metrics {
            lines.push_str(&format!("metrics  http://{metrics}/metrics\n"));
        }
        text(lines)
    }

    /// Logs that the server serves.
    pub(super) fn log(&self, serve: &Serve) {
        let data_dir = serve.data_dir.display().to_string();
        let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
        info!(target: SERVER, version, pid, data_dir, calls = %self.data, control = %self.control, "serving");
    }
}

/// Returns the URL at which a browser on this machine finds the console. It signs in with the code. No
/// server gets the code in a URL, because a browser keeps the fragment to itself.
fn console_url(control: SocketAddr, sign_in_code: Option<&str>) -> String {
    let ip = match control.ip() {
        own if !own.is_unspecified() => own,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let fragment = sign_in_code.map(|code| format!("#/sign-in/{code}")).unwrap_or_default();
    format!("http://{}/{fragment}", SocketAddr::new(ip, control.port()))
}

/// Serves until SIGINT, or until `notice` after SIGTERM; another signal ends the notice. Calls
/// `started` on its event loop once it serves and catches these signals; an error of `started`
/// stops the server.
pub(super) fn run_until_stopped(
    server: Server,
    notice: Duration,
    started: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut outcome, readiness) = (Ok(()), server.readiness());
    let stop = async { outcome = stopped(&readiness, notice, started).await };
    server.run(stop).context("the server failed")?;
    info!(target: SERVER, "stopped");
    outcome
}

async fn stopped(
    readiness: &Readiness,
    notice: Duration,
    started: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let catch = |kind| signal(kind).context("cannot catch signals");
    let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    // A server outlives the terminal that started it. There is nothing to reload.
    let _hang_up = catch(SignalKind::hangup())?;
    started()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {
            readiness.stop();
            if !notice.is_zero() {
                let seconds = notice.as_secs();
                info!(
                    target: SERVER,
                    "stopping in {seconds} s, and at once after another signal: `/readyz` answers 503"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(notice) => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
    }
    info!(target: SERVER, "stopping: requests in flight are answered first");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_the_console_leads_to_this_machine() {
        for (control, code, url) in [
            ("127.0.0.1:8081", None, "http://127.0.0.1:8081/"),
            ("127.0.0.1:8081", Some("c0de"), "http://127.0.0.1:8081/#/sign-in/c0de"),
            ("0.0.0.0:81", None, "http://127.0.0.1:81/"),
            ("[::]:81", None, "http://[::1]:81/"),
            ("192.168.1.2:81", None, "http://192.168.1.2:81/"),
        ] {
            assert_eq!(console_url(control.parse().unwrap(), code), url, "{control}");
        }
    }
}
