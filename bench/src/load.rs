//! The load: keep-alive connections, each with at most one request in flight, every answer checked.
//!
//! One thread a core, readiness by `epoll`, requests serialised beforehand or, where none may come twice, by
//! changing a copy: an answer costs two system calls and a parse, so that the servers are the ones to run out of
//! processor. How busy the load was is measured too.
//!
//! The load never sleeps: it asks `epoll` again at once. Over the loopback a server that answers a
//! sleeping load pays for waking its core, which between machines a network card does. Only servers too slow
//! to keep the load busy would pay, so they would look slower still.
//!
//! Invariant: a request's latency counts from the moment it was due, and every request that was due inside
//! the window counts: an answer that is late makes those behind it late, not absent.

mod answer;
mod mix;
mod pace;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::event::{Timespec, epoll};

pub(crate) use self::answer::Answer;
use self::mix::Draws;
pub(crate) use self::mix::Mix;
use self::pace::Due;
pub(crate) use self::pace::Pace;
use crate::cores;
use crate::stats::ns;

/// How long an answer may take, and what was due when the window ended may go on.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for, and the body that must come back.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) expected: Vec<u8>,
}

impl Exchange {
    /// `POST path` with `body`, which must come back.
    pub(crate) fn echo(path: &str, body: &[u8]) -> Self {
        Self::post(path, "application/octet-stream", body, body)
    }

    /// `POST path` with `body`, for which `expected` must come back.
    pub(crate) fn post(path: &str, media_type: &str, body: &[u8], expected: &[u8]) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        Self { request: [head.as_bytes(), body].concat(), expected: expected.to_vec() }
    }
}

/// When answers count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Before it the server warms up.
    pub(crate) start: Instant,
    /// At it the load stops asking.
    pub(crate) end: Instant,
}

/// How to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Over how many connections.
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) window: Window,
}

/// What came of asking.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// Of every request inside the window, nanoseconds: in a closed loop of those answered inside it, in an
    /// open one of those due inside it.
    pub(crate) latencies_ns: Vec<u64>,
    /// Of an open loop's requests, those without an answer when patience ended; their latency until then
    /// is among the others.
    pub(crate) unanswered: usize,
    /// How long the load's threads had nothing to do inside the window, in sum.
    pub(crate) idle: Duration,
}

/// Asks from `cores` until the window ends.
///
/// # Errors
/// At the first wrong answer, and when the server breaks off.
pub(crate) fn run(address: SocketAddr, mix: Mix<'_>, plan: Plan, cores: &[usize]) -> anyhow::Result<Asked> {
    thread::scope(|scope| {
        // No more threads than connections: each has one at least.
        let count = cores.len().min(plan.connections);
        let threads: Vec<_> = cores[..count]
            .iter()
            .enumerate()
            .map(|(index, core)| {
                // As even as it goes.
                let share = plan.connections / count + usize::from(index < plan.connections % count);
                scope.spawn(move || {
                    cores::pin(&[*core])?;
                    let due = Due::new(plan.pace, index, count, plan.window.end);
                    ask(address, mix, Plan { connections: share, ..plan }, due, Draws::new(mix, index))
                })
            })
            .collect();
        let mut all = Asked::default();
        for thread in threads {
            let asked = thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))?;
            let Asked { mut latencies_ns, unanswered, idle } = asked?;
            all.latencies_ns.append(&mut latencies_ns);
            all.unanswered += unanswered;
            all.idle += idle;
        }
        Ok(all)
    })
}

fn ask(
    address: SocketAddr,
    mix: Mix<'_>,
    plan: Plan,
    mut due: Due,
    mut draws: Draws<'_>,
) -> anyhow::Result<Asked> {
    let Plan { connections, pace, window } = plan;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut open = (0..connections)
        .map(|index| Connection::open(address, mix.any(), &epoll, index as u64))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut free: VecDeque<usize> = (0..connections).collect();
    let mut asked = Asked { latencies_ns: Vec::with_capacity(1 << 20), ..Asked::default() };
    let mut ready = Vec::with_capacity(connections);
    let (mut idle_since, mut last_answer) = (None, Instant::now());
    loop {
        let mut busy = false;
        // The one that was free longest: all connections, and so all the server's threads, get their share.
        while let Some(&index) = free.front() {
            let Some(at) = due.take() else { break };
            free.pop_front();
            open[index].due = at;
            open[index].send(draws.draw(), &epoll)?;
            busy = true;
        }
        ready.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), Some(&Timespec::default()))?;
        let now = Instant::now();
        let over = match pace {
            Pace::Closed => now >= window.end,
            Pace::Open { .. } => {
                due.is_over(now) && free.len() == connections || now >= window.end + PATIENCE
            }
        };
        if over {
            break;
        }
        if ready.is_empty() && !busy {
            idle_since.get_or_insert(now);
            let waiting = free.len() < connections;
            ensure!(!waiting || now - last_answer < PATIENCE, "no answer within {} s", PATIENCE.as_secs());
            if !waiting {
                last_answer = now;
            }
            continue;
        }
        if let Some(since) = idle_since.take() {
            asked.idle += now.min(window.end).saturating_duration_since(window.start.max(since));
        }
        for event in &ready {
            let index = event.data.u64() as usize;
            if !open[index].proceed(&epoll)? {
                continue;
            }
            last_answer = Instant::now();
            let due = open[index].due;
            let counts = match pace {
                Pace::Closed => last_answer >= window.start,
                Pace::Open { .. } => due >= window.start,
            };
            if counts {
                asked.latencies_ns.push(ns(last_answer - due));
            }
            free.push_back(index);
        }
    }
    if matches!(pace, Pace::Open { .. }) {
        let now = Instant::now();
        let in_flight = (0..connections).filter(|index| !free.contains(index)).map(|index| open[index].due);
        // Those that are due and were never asked are unanswered too.
        let unasked = std::iter::from_fn(|| due.take());
        for due in in_flight.chain(unasked).filter(|due| *due >= window.start) {
            asked.latencies_ns.push(ns(now - due));
            asked.unanswered += 1;
        }
    }
    Ok(asked)
}

struct Connection<'a> {
    stream: TcpStream,
    /// What it asks for, or asked for last.
    exchange: Cow<'a, Exchange>,
    token: u64,
    /// When its request was due.
    due: Instant,
    /// How much of the request is on its way.
    sent: usize,
    answer: Answer,
}

impl<'a> Connection<'a> {
    fn open(
        address: SocketAddr,
        exchange: &'a Exchange,
        epoll: &OwnedFd,
        token: u64,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(epoll, &stream, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        let (answer, sent) = (Answer::with_room(exchange.expected.len()), exchange.request.len());
        let exchange = Cow::Borrowed(exchange);
        Ok(Self { stream, exchange, token, due: Instant::now(), sent, answer })
    }

    /// Begins the request.
    fn send(&mut self, exchange: Cow<'a, Exchange>, epoll: &OwnedFd) -> anyhow::Result<()> {
        (self.exchange, self.sent) = (exchange, 0);
        self.write()?;
        if self.sent < self.exchange.request.len() {
            self.listen_to(epoll, epoll::EventFlags::IN | epoll::EventFlags::OUT)?;
        }
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        match self.stream.write(&self.exchange.request[self.sent..]) {
            Ok(written) => self.sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("cannot send"),
        }
        Ok(())
    }

    fn listen_to(&self, epoll: &OwnedFd, flags: epoll::EventFlags) -> anyhow::Result<()> {
        Ok(epoll::modify(epoll, &self.stream, epoll::EventData::new_u64(self.token), flags)?)
    }

    /// Goes on with the request and the answer. Whether the answer is whole now.
    fn proceed(&mut self, epoll: &OwnedFd) -> anyhow::Result<bool> {
        let len = self.exchange.request.len();
        if self.sent < len {
            self.write()?;
            if self.sent == len {
                self.listen_to(epoll, epoll::EventFlags::IN)?;
            }
        }
        let read = match self.stream.read(self.answer.room()) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("cannot receive"),
        };
        let whole = self.answer.advance(read, &self.exchange.expected)?;
        ensure!(!whole || self.sent == len, "answered before all was asked");
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::hyper_alone::{self, Speaks};

    /// Asks for `body` over three connections for a moment.
    fn ask_briefly(address: SocketAddr, body: &[u8], pace: Pace) -> anyhow::Result<Asked> {
        ask_mix_briefly(address, (&Exchange::echo("/echo", body)).into(), pace)
    }

    fn ask_mix_briefly(address: SocketAddr, mix: Mix<'_>, pace: Pace) -> anyhow::Result<Asked> {
        let start = Instant::now();
        let window = Window { start, end: start + Duration::from_millis(100) };
        let cores = cores::Cores::available()?.load;
        run(address, mix, Plan { connections: 3, pace, window }, &cores)
    }

    fn hyper() -> SocketAddr {
        let listener = hyper_alone::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(|| hyper_alone::serve(listener, Speaks::default()));
        address
    }

    #[test]
    fn an_echo_is_measured() {
        assert!(!ask_briefly(hyper(), b"abc", Pace::Closed).unwrap().latencies_ns.is_empty());
    }

    /// It goes through many writes and reads, both ways at once.
    #[test]
    fn a_large_echo_is_measured() {
        let body = vec![7; 1 << 20];
        let asked = ask_briefly(hyper(), &body, Pace::Open { requests_per_s: 50.0 }).unwrap();
        assert!(!asked.latencies_ns.is_empty());
        assert_eq!(asked.unanswered, 0);
    }

    #[test]
    fn what_is_made_up_is_checked_as_all_is() {
        let hot = [Exchange::echo("/echo", &[0; 8])];
        let right = |number: u64| Exchange::echo("/echo", &(number + 1).to_le_bytes());
        let wrong = |number| Exchange { expected: vec![0; 8], ..right(number) };
        let ask = |make: mix::Make<'_>| {
            let mix = Mix::Duplicates { share: 0.5, hot: &hot, make };
            ask_mix_briefly(hyper(), mix, Pace::Closed)
        };
        assert!(!ask(&right).unwrap().latencies_ns.is_empty());
        let error = format!("{:#}", ask(&wrong).unwrap_err());
        assert!(error.contains("another body"), "{error}");
    }

    #[test]
    fn an_open_loop_asks_at_its_rate() {
        let asked = ask_briefly(hyper(), b"abc", Pace::Open { requests_per_s: 1000.0 }).unwrap();
        assert!((20..200).contains(&asked.latencies_ns.len()), "{}", asked.latencies_ns.len());
        assert_eq!(asked.unanswered, 0);
    }

    /// One request at a time, 20 ms each, 1,000 due a second: those behind are late, and all are there.
    #[test]
    fn latency_counts_from_when_a_request_was_due() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut streams: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
            loop {
                for stream in &mut streams {
                    if stream.read(&mut [0; 1024]).unwrap_or(0) == 0 {
                        return;
                    }
                    thread::sleep(Duration::from_millis(20));
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc");
                }
            }
        });
        let asked = ask_briefly(address, b"abc", Pace::Open { requests_per_s: 1000.0 }).unwrap();
        assert!(asked.latencies_ns.len() > 50, "{}", asked.latencies_ns.len());
        let worst = asked.latencies_ns.iter().max().unwrap();
        assert!(*worst > 1_000_000_000, "{worst}");
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
        let error = format!("{:#}", ask_briefly(address, b"abc", Pace::Closed).unwrap_err());
        assert!(error.contains("another body") && error.contains("xyz"), "{error}");
    }
}
