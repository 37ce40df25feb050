//! wasmtime's command line: a process per call, and its server. Both run the native program's source
//! compiled to Wasm, and Wasm compiled before.

use std::process::Command;

use crate::experiment::arm::Setup;
use crate::experiment::arms::native::ProcessPerCall;
use crate::experiment::arms::over_http::OverHttp;
use crate::experiment::tools::Tools;
use crate::experiment::workload::Function;
use crate::peers::WASMTIME_BEST;
use crate::server::{Server, StandardStream};

/// Opens `wasmtime run` for each call.
pub(crate) fn open_run(setup: Setup<'_>) -> anyhow::Result<ProcessPerCall> {
    let wasmtime = setup.tools.wasmtime()?;
    let mut command = Command::new(&wasmtime.program);
    command
        .args(["run", "--allow-precompiled"])
        .arg(wasmtime.call(setup.function))
        .arg(setup.function.name());
    command.args(setup.delay.map(|delay| delay.as_millis().to_string()));
    Ok(ProcessPerCall::of(command, setup.input))
}

/// Opens `wasmtime serve` with a fresh instance for each request.
pub(crate) fn open_serve(setup: Setup<'_>) -> anyhow::Result<OverHttp<()>> {
    let serve = serve(setup.tools, setup.function)?;
    let server = Server::start(&serve, StandardStream::Stderr, 1, setup.cores)?;
    OverHttp::connect(setup, &path(setup.function), server, ())
}

/// Prepares `wasmtime serve` of one function, with its best flags and a fresh instance for each
/// request.
///
/// # Errors
/// Returns an error if wasmtime is missing.
pub(crate) fn serve(tools: &Tools, function: Function) -> anyhow::Result<Command> {
    let wasmtime = tools.wasmtime()?;
    let mut serve = Command::new(&wasmtime.program);
    serve.args(["serve", "--addr", "127.0.0.1:0", "-Scli", "--allow-precompiled"]).args(WASMTIME_BEST);
    serve.arg("--max-instance-reuse-count=1").arg(wasmtime.http(function));
    Ok(serve)
}

/// Returns the path at which the function answers.
pub(crate) fn path(function: Function) -> String {
    format!("/{}", function.name())
}
