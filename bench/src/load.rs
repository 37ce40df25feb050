//! The load: keep-alive connections, each with one request in flight, every answer checked.
//!
//! One thread a core, readiness by `epoll`, requests serialised beforehand: an answer costs two system
//! calls and a parse, so that the servers are the ones to run out of processor. How busy the load was
//! is measured too.
//!
//! The load never sleeps: it asks `epoll` again at once. Over the loopback a server that answers a
//! sleeping load pays for waking its core, which between machines a network card does. Only servers too slow
//! to keep the load busy would pay, so they would look slower still.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::event::{Timespec, epoll};

use crate::cores;

/// The longest answer that is taken, bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most headers an answer may have.
const HEADERS_MAX: usize = 32;

/// What is asked for, and the body that must come back.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    request: Vec<u8>,
    expected: Vec<u8>,
}

impl Exchange {
    /// `POST path` with `body`, which must come back.
    pub(crate) fn echo(path: &str, body: &[u8]) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/octet-stream\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        Self { request: [head.as_bytes(), body].concat(), expected: body.to_vec() }
    }
}

/// When answers count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Before it the server warms up.
    pub(crate) start: Instant,
    /// At it the load stops.
    pub(crate) end: Instant,
}

/// What came of asking.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// The latency of every answer inside the window, nanoseconds.
    pub(crate) latencies_ns: Vec<u32>,
    /// How long the load's threads had nothing to do inside the window, in sum.
    pub(crate) idle: Duration,
}

/// Asks over `connections` connections from `cores` until the window ends.
///
/// # Errors
/// At the first wrong answer, and when the server breaks off.
pub(crate) fn run(
    address: SocketAddr,
    exchange: &Exchange,
    connections: usize,
    cores: &[usize],
    window: Window,
) -> anyhow::Result<Asked> {
    thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(index, core)| {
                // As even as it goes.
                let share = connections / cores.len() + usize::from(index < connections % cores.len());
                scope.spawn(move || {
                    cores::pin(&[*core])?;
                    ask(address, exchange, share, window)
                })
            })
            .collect();
        let mut all = Asked::default();
        for thread in threads {
            let asked = thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))?;
            let Asked { mut latencies_ns, idle } = asked?;
            all.latencies_ns.append(&mut latencies_ns);
            all.idle += idle;
        }
        Ok(all)
    })
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    answer: Vec<u8>,
    filled: usize,
}

fn ask(
    address: SocketAddr,
    exchange: &Exchange,
    connections: usize,
    window: Window,
) -> anyhow::Result<Asked> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut open = Vec::with_capacity(connections);
    for index in 0..connections {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        let mut connection =
            Connection { stream, sent: Instant::now(), answer: vec![0; ANSWER_BYTES_MAX], filled: 0 };
        connection.send(exchange)?;
        open.push(connection);
    }
    let mut asked = Asked { latencies_ns: Vec::with_capacity(1 << 20), idle: Duration::ZERO };
    let mut ready = Vec::with_capacity(connections.max(1));
    let mut idle_since = None;
    loop {
        ready.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), Some(&Timespec::default()))?;
        let now = Instant::now();
        if now >= window.end {
            return Ok(asked);
        }
        if ready.is_empty() {
            let idle = now - *idle_since.get_or_insert(now);
            ensure!(connections == 0 || idle < PATIENCE, "no answer within {} s", PATIENCE.as_secs());
            continue;
        }
        if let Some(since) = idle_since.take() {
            asked.idle += now.saturating_duration_since(window.start.max(since));
        }
        for event in &ready {
            let connection = &mut open[event.data.u64() as usize];
            if !connection.receive(exchange)? {
                continue;
            }
            let now = Instant::now();
            if now >= window.start {
                let latency = (now - connection.sent).as_nanos();
                asked.latencies_ns.push(u32::try_from(latency).unwrap_or(u32::MAX));
            }
            connection.sent = now;
            connection.send(exchange)?;
        }
    }
}

impl Connection {
    fn send(&mut self, exchange: &Exchange) -> anyhow::Result<()> {
        // One small request on a connection that has nothing else under way: it fits.
        let written = self.stream.write(&exchange.request).context("cannot send")?;
        ensure!(written == exchange.request.len(), "the request did not fit the socket's buffer");
        Ok(())
    }

    /// Whether the answer is whole now.
    fn receive(&mut self, exchange: &Exchange) -> anyhow::Result<bool> {
        match self.stream.read(&mut self.answer[self.filled..]) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("cannot receive"),
        }
        let answer = &self.answer[..self.filled];
        match parse(answer, &exchange.expected) {
            Ok(Some(len)) if len == self.filled => {
                self.filled = 0;
                Ok(true)
            }
            Ok(None) if self.filled < ANSWER_BYTES_MAX => Ok(false),
            Ok(_) => bail!("more was answered than asked for:\n{}", String::from_utf8_lossy(answer)),
            Err(error) => Err(error.context(format!("wrong answer:\n{}", String::from_utf8_lossy(answer)))),
        }
    }
}

/// The length of the answer, if it is whole.
///
/// # Errors
/// Unless it is a 200 with the `expected` body.
fn parse(answer: &[u8], expected: &[u8]) -> anyhow::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_len) = head.parse(answer)? else { return Ok(None) };
    ensure!(head.code == Some(200), "status {:?}", head.code);
    let header = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let rest = &answer[head_len..];
    if header("transfer-encoding").is_some_and(|header| header.value.eq_ignore_ascii_case(b"chunked")) {
        let Some((body, len)) = dechunk(rest)? else { return Ok(None) };
        ensure!(body == expected, "another body");
        return Ok(Some(head_len + len));
    }
    let length = header("content-length").context("neither `content-length` nor chunked")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    ensure!(length == expected.len(), "another length");
    let Some(body) = rest.get(..length) else { return Ok(None) };
    ensure!(body == expected, "another body");
    Ok(Some(head_len + length))
}

/// The content of a chunked body without trailers, and its length on the wire; `None` if it isn't whole.
fn dechunk(wire: &[u8]) -> anyhow::Result<Option<(Vec<u8>, usize)>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let size = httparse::parse_chunk_size(&wire[at..]).map_err(|_| anyhow::anyhow!("a bad chunk"))?;
        let httparse::Status::Complete((line_len, size)) = size else { return Ok(None) };
        let from = at + line_len;
        let to = from + usize::try_from(size)?;
        let Some(end) = wire.get(to..to + 2) else { return Ok(None) };
        ensure!(end == b"\r\n", "a bad end of a chunk");
        body.extend_from_slice(&wire[from..to]);
        at = to + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::hyper_alone;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";

    #[test]
    fn an_answer_is_whole_at_its_last_byte() {
        for answer in [PLAIN, CHUNKED] {
            for len in 0..answer.len() {
                assert_eq!(parse(&answer[..len], b"abc").unwrap(), None, "{len}");
            }
            assert_eq!(parse(answer, b"abc").unwrap(), Some(answer.len()));
        }
    }

    #[test]
    fn wrong_answers_are_errors() {
        for answer in [PLAIN, CHUNKED] {
            assert!(parse(answer, b"abd").is_err());
        }
        assert!(parse(PLAIN, b"ab").is_err());
        assert!(parse(b"HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nabc", b"abc").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n", b"").is_err());
        assert!(parse(b"nonsense", b"abc").is_err());
    }

    /// Asks for `body` over three connections for a moment.
    fn ask_briefly(address: SocketAddr) -> anyhow::Result<Asked> {
        let start = Instant::now();
        let window = Window { start, end: start + Duration::from_millis(50) };
        let cores = cores::Cores::available()?.load;
        run(address, &Exchange::echo("/echo", b"abc"), 3, &cores, window)
    }

    #[test]
    fn an_echo_is_measured() {
        let listener = hyper_alone::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(|| hyper_alone::serve(listener));
        assert!(!ask_briefly(address).unwrap().latencies_ns.is_empty());
    }

    #[test]
    fn a_wrong_answer_ends_the_run() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nxyz").unwrap();
                // Stays open until the load gives up.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let error = format!("{:#}", ask_briefly(address).unwrap_err());
        assert!(error.contains("another body") && error.contains("xyz"), "{error}");
    }
}
