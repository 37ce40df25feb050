//! One caller with one connection, who waits for each answer: where the load of `load` would be too much.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::load::{Answer, Exchange};

/// How long an answer may take: eight long calls on one core are through by then.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection, kept alive.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: TcpStream,
}

impl Caller {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the answer is wrong or doesn't come.
    pub(crate) fn ask(&mut self, exchange: &Exchange) -> anyhow::Result<()> {
        self.stream.write_all(&exchange.request).context("cannot send")?;
        let mut answer = Answer::with_room(exchange.expected.len());
        loop {
            let read = self.stream.read(answer.room()).context("cannot receive")?;
            ensure!(read > 0, "the server closed the connection");
            if answer.advance(read, &exchange.expected)? {
                return Ok(());
            }
        }
    }
}
