//! One request and its complete answer over a connection that stays open.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use httparse::Status;

use super::answer::Answer;
use super::arm::Caller;

/// The longest time to wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// The most headers of an answer.
const HEADERS_MAX: usize = 32;

/// A connection and the request that it sends.
#[derive(Debug)]
pub(crate) struct HttpCaller {
    stream: TcpStream,
    request: Vec<u8>,
    received: Vec<u8>,
}

/// The parts of a head that matter here.
struct Head {
    /// The length of the head in bytes.
    len: usize,
    status: u16,
    /// The length of the body, or `None` if it comes in chunks.
    content_length: Option<usize>,
    server_timing: String,
    cache_status: String,
}

impl HttpCaller {
    /// Connects, and prepares a request `POST path` with `input`.
    ///
    /// # Errors
    /// Returns an error if the connection fails.
    pub(crate) fn connect(
        address: SocketAddr,
        path: &str,
        media_type: &str,
        input: &[u8],
    ) -> anyhow::Result<Self> {
        let stream = open(address)?;
        Ok(Self { stream, request: request(path, media_type, input), received: Vec::new() })
    }

    /// Prepares another request for the same connection.
    pub(crate) fn prepare(&mut self, path: &str, media_type: &str, input: &[u8]) {
        self.request = request(path, media_type, input);
    }

    /// Opens more connections to the same server, for the same request.
    ///
    /// # Errors
    /// Returns an error if a connection fails.
    pub(crate) fn others(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        (0..count).map(|_| Ok(Box::new(self.other()?) as Box<dyn Caller>)).collect()
    }

    /// Opens another connection to the same server, for the same request.
    ///
    /// # Errors
    /// Returns an error if the connection fails.
    pub(crate) fn other(&self) -> anyhow::Result<Self> {
        let stream = open(self.stream.peer_addr()?)?;
        Ok(Self { stream, request: self.request.clone(), received: Vec::new() })
    }

    /// Sends the request.
    ///
    /// # Errors
    /// Returns an error if the connection is broken.
    pub(crate) fn send(&mut self) -> anyhow::Result<()> {
        self.received.clear();
        self.stream.write_all(&self.request).context("cannot send")
    }

    /// Receives the complete answer.
    ///
    /// # Errors
    /// Returns an error if the answer isn't a 200, is malformed or takes too long.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Answer> {
        let head = loop {
            self.receive_some()?;
            if let Some(head) = parse_head(&self.received)? {
                break head;
            }
        };
        let body = match head.content_length {
            Some(length) => {
                while self.received.len() < head.len + length {
                    self.receive_some()?;
                }
                self.received[head.len..head.len + length].to_vec()
            }
            None => loop {
                if let Some(body) = parse_chunks(&self.received[head.len..])? {
                    break body;
                }
                self.receive_some()?;
            },
        };
        ensure!(head.status == 200, "status {}: {}", head.status, String::from_utf8_lossy(&body));
        Ok(Answer {
            body,
            start: timing(&head.server_timing, "start"),
            run: timing(&head.server_timing, "run").context("the answer doesn't tell the function's time")?,
            is_cached: head.cache_status.contains("hit"),
        })
    }

    /// Sends the request and receives the complete answer.
    ///
    /// # Errors
    /// Returns the errors of both.
    pub(crate) fn call(&mut self) -> anyhow::Result<Answer> {
        self.send()?;
        self.receive()
    }

    fn receive_some(&mut self) -> anyhow::Result<()> {
        let filled = self.received.len();
        self.received.resize(filled + 64 * 1024, 0);
        let read = self.stream.read(&mut self.received[filled..]).context("cannot receive")?;
        self.received.truncate(filled + read);
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}

impl Caller for HttpCaller {
    fn call(&mut self) -> anyhow::Result<Answer> {
        HttpCaller::call(self)
    }
}

fn open(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// Renders `POST path` with `input`.
fn request(path: &str, media_type: &str, input: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\naccept: */*\r\n\
         content-length: {}\r\n\r\n",
        input.len()
    );
    [head.as_bytes(), input].concat()
}

/// Parses the head of an answer, or returns `None` if it is incomplete.
fn parse_head(received: &[u8]) -> anyhow::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Status::Complete(len) = response.parse(received)? else { return Ok(None) };
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).into_owned())
    };
    let content_length = match value("content-length") {
        Some(length) => Some(length.parse().context("invalid content-length")?),
        None if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) => {
            None
        }
        None => bail!("the answer is neither chunked nor has a `content-length`"),
    };
    Ok(Some(Head {
        len,
        status: response.code.unwrap_or_default(),
        content_length,
        server_timing: value("server-timing").unwrap_or_default(),
        cache_status: value("cache-status").unwrap_or_default(),
    }))
}

/// Joins the chunks of a body, or returns `None` if it is incomplete.
fn parse_chunks(mut wire: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(wire).map_err(|_| anyhow::anyhow!("invalid chunk size"))?;
        let Status::Complete((mark, size)) = size else { return Ok(None) };
        let size = usize::try_from(size)?;
        let Some(chunk) = wire.get(mark..mark + size) else { return Ok(None) };
        let Some(rest) = wire.get(mark + size + 2..) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        wire = rest;
    }
}

/// Finds a duration in the value of `Server-Timing`, which is in milliseconds.
fn timing(header: &str, name: &str) -> Option<Duration> {
    header.split(',').find_map(|entry| {
        let (found, duration) = entry.trim().split_once(";dur=")?;
        let ms: f64 = duration.split(';').next()?.parse().ok()?;
        (found == name).then(|| Duration::from_secs_f64(ms.max(0.0) / 1e3))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_complete_at_its_end() {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer-Timing: queue;dur=0.1, run;dur=1.5\r\n\r\nabc";
        let parsed = parse_head(head).unwrap().unwrap();
        assert_eq!((parsed.len, parsed.content_length), (head.len() - 3, Some(3)));
        assert_eq!(timing(&parsed.server_timing, "run"), Some(Duration::from_micros(1500)));
        assert_eq!(timing(&parsed.server_timing, "start"), None);
        for len in 0..head.len() - 3 {
            assert!(parse_head(&head[..len]).unwrap().is_none(), "{len}");
        }
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_are_complete_at_the_last_byte() {
        let wire = b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
        for len in 0..wire.len() {
            assert_eq!(parse_chunks(&wire[..len]).unwrap(), None, "{len}");
        }
        assert_eq!(parse_chunks(wire).unwrap().unwrap(), b"abc");
        assert!(parse_chunks(b"x\r\n").is_err());
    }
}
