//! The load: keep-alive connections, each with at most one request in flight, with every answer
//! checked.
//!
//! It runs one thread per core and waits with `epoll`. Requests are serialised in advance or, if
//! each must be unique, by patching a copy. A request costs two system calls and a parse, so that
//! the servers reach their limit first. The utilisation of the load is measured, too.
//!
//! The load never sleeps: it polls `epoll` continuously. Over the loopback, a server that answers a
//! sleeping load has to wake the load's core itself; between machines the network card does that.
//! Only servers too slow to keep the load busy would pay for this, and would look even slower.
//!
//! Invariant: a request's latency counts from the moment it was due, and every request that was due
//! inside the window counts. A late answer makes the requests behind it late, not absent.
//!
//! `pace` decides when requests are due, `mix` which request is next, `answer` checks the answers.

mod answer;
mod exchange;
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

pub(crate) use self::answer::AnswerReader;
pub(crate) use self::exchange::{Bodies, Exchange};
pub(crate) use self::mix::Mix;
use self::mix::RequestSequence;
use self::pace::DueTimes;
pub(crate) use self::pace::{Pace, uniform};
use crate::cores;
use crate::stats::ns;

/// The longest time to wait for an answer, and for outstanding answers after the end of the window.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The time in which answers count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The end of the warm-up.
    pub(crate) start: Instant,
    /// The end of the window, when the load stops sending.
    pub(crate) end: Instant,
}

/// The connections, the pace and the window of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) window: Window,
}

/// The result of a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LoadReport {
    /// The latencies of the requests in the window: in a closed loop those answered in it, in an
    /// open loop those due in it.
    pub(crate) latencies_ns: Vec<u64>,
    /// The requests of an open loop that weren't answered in time. Their latency until then is
    /// among the others.
    pub(crate) unanswered: usize,
    /// The time in the window in which the load had nothing to do, summed over its threads.
    pub(crate) idle: Duration,
}

/// Sends requests from `cores` until the window ends.
///
/// # Errors
/// Returns an error at the first wrong answer, and if the server closes a connection.
pub(crate) fn run(
    address: SocketAddr,
    mix: Mix<'_>,
    plan: Plan,
    cores: &[usize],
) -> anyhow::Result<LoadReport> {
    thread::scope(|scope| {
        // Every thread has at least one connection.
        let count = cores.len().min(plan.connections);
        let threads: Vec<_> = cores[..count]
            .iter()
            .enumerate()
            .map(|(index, core)| {
                let share = plan.connections / count + usize::from(index < plan.connections % count);
                scope.spawn(move || {
                    cores::pin(&[*core])?;
                    let due = DueTimes::new(plan.pace, index, count, plan.window.end);
                    let requests = RequestSequence::new(mix, index);
                    run_thread(address, Plan { connections: share, ..plan }, due, requests)
                })
            })
            .collect();
        let mut all = LoadReport::default();
        for thread in threads {
            let report = thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))?;
            let LoadReport { mut latencies_ns, unanswered, idle } = report?;
            all.latencies_ns.append(&mut latencies_ns);
            all.unanswered += unanswered;
            all.idle += idle;
        }
        Ok(all)
    })
}

fn run_thread(
    address: SocketAddr,
    plan: Plan,
    mut due: DueTimes,
    mut requests: RequestSequence<'_>,
) -> anyhow::Result<LoadReport> {
    let Plan { connections, pace, window } = plan;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut open = (0..connections)
        .map(|index| Connection::open(address, requests.mix().any(), &epoll, index as u64))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut free: VecDeque<usize> = (0..connections).collect();
    let mut report = LoadReport { latencies_ns: Vec::with_capacity(1 << 20), ..LoadReport::default() };
    let mut ready = Vec::with_capacity(connections);
    let (mut idle_since, mut last_answer) = (None, Instant::now());
    loop {
        let mut busy = false;
        // Use the connection that has been free the longest, so that all connections, and thereby
        // all threads of the server, get their share.
        while let Some(&index) = free.front() {
            let Some(at) = due.take() else { break };
            free.pop_front();
            open[index].due = at;
            open[index].send(requests.next(), &epoll)?;
            busy = true;
        }
        ready.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), Some(&Timespec::default()))?;
        let now = Instant::now();
        let over = match pace {
            Pace::Closed => now >= window.end,
            Pace::Open { .. } => {
                due.is_over(now) && free.len() == connections || now >= window.end + ANSWER_TIMEOUT
            }
        };
        if over {
            break;
        }
        if ready.is_empty() && !busy {
            idle_since.get_or_insert(now);
            let waiting = free.len() < connections;
            let timed_out = waiting && now - last_answer >= ANSWER_TIMEOUT;
            ensure!(!timed_out, "no answer within {} s", ANSWER_TIMEOUT.as_secs());
            if !waiting {
                last_answer = now;
            }
            continue;
        }
        if let Some(since) = idle_since.take() {
            report.idle += now.min(window.end).saturating_duration_since(window.start.max(since));
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
                report.latencies_ns.push(ns(last_answer - due));
            }
            free.push_back(index);
        }
    }
    if matches!(pace, Pace::Open { .. }) {
        let now = Instant::now();
        let in_flight = (0..connections).filter(|index| !free.contains(index)).map(|index| open[index].due);
        // Requests that were due and never sent are unanswered, too.
        let unsent = std::iter::from_fn(|| due.take());
        for due in in_flight.chain(unsent).filter(|due| *due >= window.start) {
            report.latencies_ns.push(ns(now - due));
            report.unanswered += 1;
        }
    }
    Ok(report)
}

struct Connection<'a> {
    stream: TcpStream,
    /// The current or the last exchange.
    exchange: Cow<'a, Exchange>,
    token: u64,
    /// The moment at which the request was due.
    due: Instant,
    /// The number of bytes of the request that were written.
    sent: usize,
    answer: AnswerReader,
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
        let (answer, sent) = (AnswerReader::new(exchange.expected.len()), exchange.request.len());
        let exchange = Cow::Borrowed(exchange);
        Ok(Self { stream, exchange, token, due: Instant::now(), sent, answer })
    }

    /// Starts to write a request.
    fn send(&mut self, exchange: Cow<'a, Exchange>, epoll: &OwnedFd) -> anyhow::Result<()> {
        (self.exchange, self.sent) = (exchange, 0);
        self.write()?;
        if self.sent < self.exchange.request.len() {
            self.wait_for(epoll, epoll::EventFlags::IN | epoll::EventFlags::OUT)?;
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

    fn wait_for(&self, epoll: &OwnedFd, flags: epoll::EventFlags) -> anyhow::Result<()> {
        Ok(epoll::modify(epoll, &self.stream, epoll::EventData::new_u64(self.token), flags)?)
    }

    /// Continues to write the request and to read the answer, and returns whether the answer is
    /// complete.
    fn proceed(&mut self, epoll: &OwnedFd) -> anyhow::Result<bool> {
        let len = self.exchange.request.len();
        if self.sent < len {
            self.write()?;
            if self.sent == len {
                self.wait_for(epoll, epoll::EventFlags::IN)?;
            }
        }
        let read = match self.stream.read(self.answer.buffer()) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("cannot receive"),
        };
        let complete = self.answer.advance(read, &self.exchange.expected)?;
        ensure!(!complete || self.sent == len, "the server answered before the request was complete");
        Ok(complete)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::hyper_alone::{self, HttpProtocol};

    /// Runs a load of echoes over three connections for 100 ms.
    /// The time of a measurement. A busy machine answers in it, too.
    const BRIEFLY: Duration = Duration::from_secs(1);

    fn run_briefly(address: SocketAddr, body: &[u8], pace: Pace) -> anyhow::Result<LoadReport> {
        run_mix_briefly(address, (&Exchange::echo("/echo", body)).into(), pace)
    }

    fn run_mix_briefly(address: SocketAddr, mix: Mix<'_>, pace: Pace) -> anyhow::Result<LoadReport> {
        let start = Instant::now();
        let window = Window { start, end: start + BRIEFLY };
        let cores = cores::Cores::available()?.load;
        run(address, mix, Plan { connections: 3, pace, window }, &cores)
    }

    fn hyper() -> SocketAddr {
        let listener = hyper_alone::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(|| hyper_alone::serve(listener, HttpProtocol::default()));
        address
    }

    #[test]
    fn an_echo_is_measured() {
        assert!(!run_briefly(hyper(), b"abc", Pace::Closed).unwrap().latencies_ns.is_empty());
    }

    /// The body takes many writes and reads, in both directions at once.
    #[test]
    fn a_large_echo_is_measured() {
        let body = vec![7; 1 << 20];
        let report = run_briefly(hyper(), &body, Pace::Open { requests_per_s: 50.0 }).unwrap();
        assert!(!report.latencies_ns.is_empty());
        assert_eq!(report.unanswered, 0);
    }

    #[test]
    fn answers_to_generated_requests_are_checked() {
        let hot = [Exchange::echo("/echo", &[0; 8])];
        let right = |number: u64| Exchange::echo("/echo", &(number + 1).to_le_bytes());
        let wrong = |number| Exchange { expected: vec![0; 8], ..right(number) };
        let run = |make: mix::MakeExchange<'_>| {
            let mix = Mix::Duplicates { share: 0.5, hot: &hot, make };
            run_mix_briefly(hyper(), mix, Pace::Closed)
        };
        assert!(!run(&right).unwrap().latencies_ns.is_empty());
        let error = format!("{:#}", run(&wrong).unwrap_err());
        assert!(error.contains("another body"), "{error}");
    }

    #[test]
    fn an_open_loop_sends_at_its_rate() {
        let report = run_briefly(hyper(), b"abc", Pace::Open { requests_per_s: 1000.0 }).unwrap();
        assert!((200..2000).contains(&report.latencies_ns.len()), "{}", report.latencies_ns.len());
        assert_eq!(report.unanswered, 0);
    }

    /// The server answers one request at a time, in 20 ms, while 1,000 are due each second. Most
    /// answers are late, and all are counted.
    #[test]
    fn latency_counts_from_the_moment_a_request_was_due() {
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
        let report = run_briefly(address, b"abc", Pace::Open { requests_per_s: 1000.0 }).unwrap();
        assert!(report.latencies_ns.len() > 50, "{}", report.latencies_ns.len());
        let worst = report.latencies_ns.iter().max().unwrap();
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
                // Keep the connection open until the load closes it.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let error = format!("{:#}", run_briefly(address, b"abc", Pace::Closed).unwrap_err());
        assert!(error.contains("another body") && error.contains("xyz"), "{error}");
    }
}
