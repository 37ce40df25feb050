//! The peers that are measured side by side: their servers and their requests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;

use crate::cores::Cores;
use crate::load::Exchange;
use crate::prepare;
use crate::server::{Deploy, Nebula, Server, StandardStream};

/// The best flags of `wasmtime serve` for a fresh instance per request: memories and tables stay
/// resident, only dirty pages are reset, and there are slots for every connection. (Without
/// `concurrency-support` it answers 500, so that stays on.)
pub(crate) const WASMTIME_BEST: [&str; 11] = [
    "-Opooling-allocator=y",
    "-Opooling-memory-keep-resident=1048576",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=65536",
    "-Opooling-max-unused-warm-slots=1000",
    "-Opooling-pagemap-scan=auto",
    "-Opooling-total-component-instances=1000",
    "-Opooling-total-core-instances=8000",
    "-Opooling-total-memories=2000",
    "-Opooling-total-tables=8000",
    "-Oopt-level=2",
];

/// The name of the first row, with which the others are compared.
pub(crate) const BASE: &str = "hyper alone";

/// The name of Nebula's first row.
pub(crate) const NEBULA_TYPED: &str = "nebula, typed, fresh instance";

/// The name of the row of the same function answered from the cache, as every request is the same.
pub(crate) const NEBULA_REMEMBERED: &str = "nebula, typed, remembered";

/// The choice of peers.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Options {
    /// Measure only hyper alone and the rows whose name contains this
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// Path of a `spin` binary to measure; it serves the same wasi:http component
    #[arg(long)]
    pub(crate) spin: Option<PathBuf>,
}

/// A row of the results: a server and the path of its echo.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    path: &'static str,
    server: usize,
}

/// The name of a row and the path of its echo.
#[derive(Clone, Copy, Debug)]
struct Echo {
    name: &'static str,
    path: &'static str,
}

impl Peer {
    /// Makes the exchange that the peer is measured with.
    pub(crate) fn echo(&self, body: &[u8]) -> Exchange {
        Exchange::echo(self.path, body)
    }
}

/// The running servers and the peers that they serve.
pub(crate) struct Peers {
    servers: Vec<RunningServer>,
    pub(crate) peers: Vec<Peer>,
}

/// A running server and the resources that it needs until it stops.
enum RunningServer {
    Plain(Server),
    Nebula(Nebula),
    Spin { server: Server, _manifest: tempfile::TempDir },
}

/// The programs and components that servers need.
pub(crate) struct Programs {
    pub(crate) nebula: PathBuf,
    pub(crate) wasmtime: PathBuf,
    pub(crate) echo: PathBuf,
    pub(crate) hello_http: PathBuf,
}

impl Programs {
    /// Builds and installs the programs and components.
    ///
    /// # Errors
    /// Returns an error if cargo fails.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        let nebula = prepare::nebula()?;
        let wasmtime = prepare::wasmtime()?;
        let [echo, hello_http] = prepare::functions(["echo", "hello-http"])?;
        Ok(Self { nebula, wasmtime, echo, hello_http })
    }

    /// Prepares `hyper-alone` of this program.
    ///
    /// # Errors
    /// Returns an error if the path of this program is unknown.
    pub(crate) fn hyper(&self) -> anyhow::Result<Command> {
        let mut hyper = Command::new(std::env::current_exe()?);
        hyper.arg("hyper-alone");
        Ok(hyper)
    }

    /// Prepares `wasmtime serve` of a component.
    pub(crate) fn wasmtime_serve(&self, flags: &[&str], component: &Path) -> Command {
        let mut serve = Command::new(&self.wasmtime);
        serve.args(["serve", "--addr", "127.0.0.1:0", "-Scli"]).args(flags).arg(component);
        serve
    }
}

impl Peers {
    /// Starts every server that `options` select.
    ///
    /// # Errors
    /// Returns an error if a server doesn't start.
    pub(crate) fn start(programs: &Programs, options: &Options, cores: &Cores) -> anyhow::Result<Self> {
        let mut peers = Self { servers: Vec::new(), peers: Vec::new() };
        let selected = |name: &str| {
            name == BASE || options.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
        };
        let selected_of = |names: [&'static str; 2]| -> Vec<Echo> {
            let [typed, http] = names;
            let all =
                [Echo { name: typed, path: "/f/echo" }, Echo { name: http, path: "/f/hello-http/echo" }];
            all.into_iter().filter(|echo| selected(echo.name)).collect()
        };
        let hyper = Server::start(&programs.hyper()?, StandardStream::Stdout, 1, cores)?;
        peers.add(RunningServer::Plain(hyper), &[Echo { name: BASE, path: "/echo" }]);
        let fresh = selected_of([NEBULA_TYPED, "nebula, wasi:http, fresh instance"]);
        let functions = [
            Deploy { name: "echo", component: &programs.echo, limits: &[] },
            Deploy { name: "hello-http", component: &programs.hello_http, limits: &[] },
        ];
        if !fresh.is_empty() {
            let server = Nebula::start(&programs.nebula, &functions, cores)?;
            peers.add(RunningServer::Nebula(server), &fresh);
        }
        let cached = selected_of([NEBULA_REMEMBERED, "nebula, wasi:http, remembered"]);
        if !cached.is_empty() {
            let server = Nebula::start_with_cache(&programs.nebula, &functions, None, cores)?;
            peers.add(RunningServer::Nebula(server), &cached);
        }
        let reuse = |count: &'static str| [&WASMTIME_BEST[..], &[count]].concat();
        let serves = [
            ("wasmtime serve, default (fresh)", Vec::new()),
            ("wasmtime serve, best flags, fresh instance", reuse("--max-instance-reuse-count=1")),
            ("wasmtime serve, best flags, instances reused", reuse("--max-instance-reuse-count=1000")),
        ];
        for (name, flags) in serves {
            if selected(name) {
                let serve = programs.wasmtime_serve(&flags, &programs.hello_http);
                let server = Server::start(&serve, StandardStream::Stderr, 1, cores)?;
                peers.add(RunningServer::Plain(server), &[Echo { name, path: "/echo" }]);
            }
        }
        if let Some(spin) = &options.spin
            && selected(SPIN)
        {
            let (serve, _manifest) = spin_up(spin, &programs.hello_http)?;
            let server = Server::start(&serve, StandardStream::Stdout, 1, cores)?;
            peers.add(RunningServer::Spin { server, _manifest }, &[Echo { name: SPIN, path: "/echo" }]);
        }
        Ok(peers)
    }

    fn add(&mut self, server: RunningServer, echoes: &[Echo]) {
        let index = self.servers.len();
        self.servers.push(server);
        self.peers.extend(echoes.iter().map(|&Echo { name, path }| Peer { name, path, server: index }));
    }

    /// Returns the server of `peer`.
    pub(crate) fn server(&self, peer: &Peer) -> &Server {
        match &self.servers[peer.server] {
            RunningServer::Plain(server) | RunningServer::Spin { server, .. } => server,
            RunningServer::Nebula(nebula) => &nebula.server,
        }
    }
}

/// The name of Spin's row.
pub(crate) const SPIN: &str = "spin up (fresh)";

/// Prepares `spin up` of a component. Returns the command and the temporary directory of its
/// manifest, which the caller must keep until the server stops.
///
/// # Errors
/// Returns an error if the manifest can't be written.
pub(crate) fn spin_up(spin: &Path, component: &Path) -> anyhow::Result<(Command, tempfile::TempDir)> {
    ensure!(spin.is_file(), "`{}` is not a file", spin.display());
    let directory = tempfile::tempdir()?;
    std::fs::copy(component, directory.path().join("hello-http.wasm"))
        .context("cannot copy the component")?;
    let manifest = directory.path().join("spin.toml");
    std::fs::write(&manifest, SPIN_MANIFEST).context("cannot write the manifest")?;
    let mut up = Command::new(spin);
    up.args(["up", "--listen", "127.0.0.1:0", "--quiet", "--state-dir"]).arg(directory.path().join("state"));
    up.arg("--from").arg(manifest);
    Ok((up, directory))
}

const SPIN_MANIFEST: &str = r#"spin_manifest_version = 2

[application]
name = "hello-http"
version = "1.0.0"

[[trigger.http]]
route = "/..."
component = "hello-http"

[component.hello-http]
source = "hello-http.wasm"
"#;
