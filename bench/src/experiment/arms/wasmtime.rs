//! wasmtime's command line: a process per call, and its server. Both run the native program's source
//! compiled to Wasm, and Wasm compiled before.

use std::process::Command;

use crate::experiment::answer::Answer;
use crate::experiment::arm::{Arm, Caller, Setup};
use crate::experiment::arms::native::ProcessPerCall;
use crate::experiment::http::HttpCaller;
use crate::experiment::relay;
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

/// `wasmtime serve` with its best flags and a fresh instance for each request.
#[derive(Debug)]
pub(crate) struct Serve {
    server: Server,
    caller: HttpCaller,
}

impl Serve {
    pub(crate) fn open(setup: Setup<'_>) -> anyhow::Result<Self> {
        let wasmtime = setup.tools.wasmtime()?;
        let mut serve = Command::new(&wasmtime.program);
        serve.args(["serve", "--addr", "127.0.0.1:0", "-Scli", "--allow-precompiled"]).args(WASMTIME_BEST);
        serve.arg("--max-instance-reuse-count=1").arg(wasmtime.http(setup.function));
        let server = Server::start(&serve, StandardStream::Stderr, 1, setup.cores)?;
        let address = match setup.delay {
            Some(delay) => relay::start(server.addresses[0], delay)?,
            None => server.addresses[0],
        };
        let path = format!("/{}", setup.function.name());
        let caller = HttpCaller::connect(address, &path, setup.function.media_type(), setup.input)?;
        Ok(Self { server, caller })
    }
}

impl Arm for Serve {
    fn wake(&mut self) -> anyhow::Result<()> {
        self.caller.call()?;
        Ok(())
    }

    fn call(&mut self) -> anyhow::Result<Answer> {
        self.caller.call()
    }

    fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        self.caller.others(count)
    }

    fn dispose(self: Box<Self>) -> anyhow::Result<()> {
        // Dropping the server kills it: it has no files to close.
        drop(self.server);
        Ok(())
    }
}
