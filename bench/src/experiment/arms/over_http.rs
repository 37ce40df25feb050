//! An arm whose server runs already and is called over HTTP.

use crate::experiment::answer::Answer;
use crate::experiment::arm::{Arm, Caller, Setup};
use crate::experiment::http::HttpCaller;
use crate::experiment::relay;
use crate::server::Server;

/// A server, a connection to it, and what it needs while it runs, such as a directory.
///
/// The fields are dropped in their order: the connection, what the server needs, and the server,
/// which is killed if it still runs.
#[derive(Debug)]
pub(crate) struct OverHttp<N> {
    caller: HttpCaller,
    _needs: N,
    _server: Server,
}

impl<N> OverHttp<N> {
    /// Connects to a server, through a relay that adds the delay of the setup if it has one.
    pub(crate) fn connect(setup: Setup<'_>, path: &str, server: Server, needs: N) -> anyhow::Result<Self> {
        let address = match setup.delay {
            Some(delay) => relay::start(server.addresses[0], delay)?,
            None => server.addresses[0],
        };
        let caller = HttpCaller::connect(address, path, setup.function.media_type(), setup.input)?;
        Ok(Self { caller, _needs: needs, _server: server })
    }
}

impl<N> Arm for OverHttp<N> {
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
        Ok(())
    }
}
