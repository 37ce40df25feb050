//! One caller with one connection that waits for each answer, for measurements where `load` would
//! be too much.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::load::{AnswerReader, Exchange};

/// The longest time to wait for an answer; eight long calls on one core take less.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A keep-alive connection.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: TcpStream,
}

impl Caller {
    /// Connects to a server.
    ///
    /// # Errors
    /// Returns an error if the connection fails.
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { stream })
    }

    /// Sends a request, waits for the answer and checks it.
    ///
    /// # Errors
    /// Returns an error if the answer is wrong or takes too long.
    pub(crate) fn call(&mut self, exchange: &Exchange) -> anyhow::Result<()> {
        self.stream.write_all(&exchange.request).context("cannot send")?;
        let mut answer = AnswerReader::new(exchange.expected.len());
        loop {
            let read = self.stream.read(answer.buffer()).context("cannot receive")?;
            ensure!(read > 0, "the server closed the connection");
            if answer.advance(read, &exchange.expected)? {
                return Ok(());
            }
        }
    }
}
