//! Who is measured beside whom: the servers, and what each is asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;

use crate::cores::Cores;
use crate::load::Exchange;
use crate::prepare;
use crate::server::{Deploy, Nebula, Says, Server};

/// What `wasmtime serve` is told to be at its best for a fresh instance per request: memories and tables
/// stay resident, only dirtied pages are reset, and slots are enough for every connection. (It answers
/// 500 without `concurrency-support`, so that stays on.)
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

/// The first row: what the others are held against.
pub(crate) const BASE: &str = "hyper alone";

/// Nebula's own first row.
pub(crate) const NEBULA_TYPED: &str = "nebula, typed, fresh instance";

/// The same function, of which the answer is remembered: every request asks for the same.
pub(crate) const NEBULA_REMEMBERED: &str = "nebula, typed, remembered";

/// Which peers there are.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Options {
    /// Only the rows whose name has this in it, beside hyper alone
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// A `spin` binary to measure too; it serves the same wasi:http component
    #[arg(long)]
    pub(crate) spin: Option<PathBuf>,
}

/// A row to be: a server and the path of its echo.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    path: &'static str,
    server: usize,
}

impl Peer {
    /// What it is asked for, and must answer.
    pub(crate) fn echo(&self, body: &[u8]) -> Exchange {
        Exchange::echo(self.path, body)
    }
}

/// The servers, and who among them is measured.
pub(crate) struct Peers {
    servers: Vec<Running>,
    pub(crate) peers: Vec<Peer>,
}

/// A server with whatever has to live as long as it.
enum Running {
    Alone(Server),
    Nebula(Nebula),
    Spin { server: Server, _manifest: tempfile::TempDir },
}

/// Whatever has to be built or installed before servers can start.
pub(crate) struct Programs {
    pub(crate) nebula: PathBuf,
    pub(crate) wasmtime: PathBuf,
    pub(crate) echo: PathBuf,
    pub(crate) hello_http: PathBuf,
}

impl Programs {
    /// Builds and installs.
    ///
    /// # Errors
    /// When cargo fails.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        let nebula = prepare::nebula()?;
        let wasmtime = prepare::wasmtime()?;
        let [echo, hello_http] = prepare::functions(["echo", "hello-http"])?;
        Ok(Self { nebula, wasmtime, echo, hello_http })
    }

    /// `hyper-alone` of this program.
    ///
    /// # Errors
    /// When this program can't tell where it is.
    pub(crate) fn hyper(&self) -> anyhow::Result<Command> {
        let mut hyper = Command::new(std::env::current_exe()?);
        hyper.arg("hyper-alone");
        Ok(hyper)
    }

    /// `wasmtime serve` of a component.
    pub(crate) fn wasmtime_serve(&self, flags: &[&str], component: &Path) -> Command {
        let mut serve = Command::new(&self.wasmtime);
        serve.args(["serve", "--addr", "127.0.0.1:0", "-Scli"]).args(flags).arg(component);
        serve
    }
}

impl Peers {
    /// Starts every server that `options` ask for.
    ///
    /// # Errors
    /// When one doesn't start.
    pub(crate) fn start(programs: &Programs, options: &Options, cores: &Cores) -> anyhow::Result<Self> {
        let mut peers = Self { servers: Vec::new(), peers: Vec::new() };
        let wanted = |name: &str| {
            name == BASE || options.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
        };
        let hyper = Server::start(&programs.hyper()?, Says::Stdout, 1, cores)?;
        peers.add(Running::Alone(hyper), &[(BASE, "/echo")]);
        let nebula = [(NEBULA_TYPED, "/f/echo"), ("nebula, wasi:http, fresh instance", "/f/hello-http/echo")];
        let nebula: Vec<_> = nebula.into_iter().filter(|(name, _)| wanted(name)).collect();
        let functions = [
            Deploy { name: "echo", component: &programs.echo, limits: &[] },
            Deploy { name: "hello-http", component: &programs.hello_http, limits: &[] },
        ];
        if !nebula.is_empty() {
            peers.add(Running::Nebula(Nebula::start(&programs.nebula, &functions, cores)?), &nebula);
        }
        let remembered =
            [(NEBULA_REMEMBERED, "/f/echo"), ("nebula, wasi:http, remembered", "/f/hello-http/echo")];
        let remembered: Vec<_> = remembered.into_iter().filter(|(name, _)| wanted(name)).collect();
        if !remembered.is_empty() {
            let server = Nebula::start_remembering(&programs.nebula, &functions, None, cores)?;
            peers.add(Running::Nebula(server), &remembered);
        }
        let reuse = |count: &'static str| [&WASMTIME_BEST[..], &[count]].concat();
        let serves = [
            ("wasmtime serve, default (fresh)", Vec::new()),
            ("wasmtime serve, best flags, fresh instance", reuse("--max-instance-reuse-count=1")),
            ("wasmtime serve, best flags, instances reused", reuse("--max-instance-reuse-count=1000")),
        ];
        for (name, flags) in serves {
            if wanted(name) {
                let serve = programs.wasmtime_serve(&flags, &programs.hello_http);
                peers.add(Running::Alone(Server::start(&serve, Says::Stderr, 1, cores)?), &[(name, "/echo")]);
            }
        }
        if let Some(spin) = &options.spin
            && wanted(SPIN)
        {
            let (serve, _manifest) = spin_up(spin, &programs.hello_http)?;
            let server = Server::start(&serve, Says::Stdout, 1, cores)?;
            peers.add(Running::Spin { server, _manifest }, &[(SPIN, "/echo")]);
        }
        Ok(peers)
    }

    fn add(&mut self, server: Running, peers: &[(&'static str, &'static str)]) {
        let index = self.servers.len();
        self.servers.push(server);
        self.peers.extend(peers.iter().map(|&(name, path)| Peer { name, path, server: index }));
    }

    /// The server that is asked for `peer`.
    pub(crate) fn server(&self, peer: &Peer) -> &Server {
        match &self.servers[peer.server] {
            Running::Alone(server) | Running::Spin { server, .. } => server,
            Running::Nebula(nebula) => &nebula.server,
        }
    }
}

/// Spin's row.
pub(crate) const SPIN: &str = "spin up (fresh)";

/// `spin up` of a component, and its manifest, which has to live as long.
///
/// # Errors
/// When the manifest can't be written.
pub(crate) fn spin_up(spin: &Path, component: &Path) -> anyhow::Result<(Command, tempfile::TempDir)> {
    ensure!(spin.is_file(), "there is no `{}`", spin.display());
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
