//! A container that is started for a call, waits for the next ones, and is ended.

use super::arms::container::Bundle;
use super::clock::Work;
use super::http::HttpCaller;
use crate::server::{Server, StandardStream};

/// A container that runs, and a connection to its program.
pub(crate) struct KeptContainer {
    server: Server,
    pub(crate) caller: HttpCaller,
}

impl KeptContainer {
    /// Starts a container. Its program answers calls over HTTP.
    ///
    /// # Errors
    /// Returns an error if it doesn't start.
    pub(crate) fn start(work: Work<'_>, bundle: &Bundle) -> anyhow::Result<Self> {
        let server = Server::start(&bundle.run(), StandardStream::Stdout, 1, work.cores)?;
        let caller = HttpCaller::connect(server.addresses[0], "/", work.function.media_type(), work.input)?;
        Ok(Self { server, caller })
    }

    /// Returns the runtime's process, of which the container's is a child.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Ends the container.
    pub(crate) fn end(self, bundle: &Bundle) {
        // The container first: without it, the runtime's process ends.
        bundle.delete();
        drop(self.server);
    }
}
