//! Spin: the component of `wasmtime serve` under `spin up`, which has a fresh instance for each
//! request.

use crate::experiment::answer::Answer;
use crate::experiment::arm::{Arm, Caller, Setup};
use crate::experiment::http::HttpCaller;
use crate::experiment::relay;
use crate::peers;
use crate::server::{Server, StandardStream};

/// A running server and its application.
#[derive(Debug)]
pub(crate) struct Up {
    server: Server,
    caller: HttpCaller,
    /// Removed with the arm.
    _application: tempfile::TempDir,
}

impl Up {
    pub(crate) fn open(setup: Setup<'_>) -> anyhow::Result<Self> {
        let spin = setup.tools.spin()?;
        let component = setup.tools.wasmtime()?.component(setup.function);
        let (up, application) = peers::spin_up(&spin, &component)?;
        let server = Server::start(&up, StandardStream::Stdout, 1, setup.cores)?;
        let address = match setup.delay {
            Some(delay) => relay::start(server.addresses[0], delay)?,
            None => server.addresses[0],
        };
        let path = format!("/{}", setup.function.name());
        let caller = HttpCaller::connect(address, &path, setup.function.media_type(), setup.input)?;
        Ok(Self { server, caller, _application: application })
    }
}

impl Arm for Up {
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
        // Dropping the server kills it, with the process that it has started.
        drop(self.server);
        Ok(())
    }
}
