use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;

use http::Request;

use super::*;
use crate::address::PlaneUrl;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-status: nebula; hit\r\n\r\nok";

/// Starts a server that calls `answer` for each request, with the number of requests before it. It
/// takes connections until `answer` breaks the connection off, and serves one at a time for each
/// thread.
fn server(
    answer: impl Fn(usize, &mut TcpStream) -> ControlFlow<()> + Clone + Send + 'static,
    connections: usize,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            std::thread::spawn(move || {
                let mut request = [0; 1024];
                for count in 0.. {
                    match stream.read(&mut request) {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                    if answer(count, &mut stream).is_break() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn answers(stream: &mut TcpStream) -> ControlFlow<()> {
    match stream.write_all(ANSWER) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

fn plan(rate: f64, connections: usize, window_ms: u64) -> Plan {
    Plan {
        rate: Rate::nearest(rate),
        arrivals: Arrivals::Constant,
        connections,
        warm_up: Duration::from_millis(200),
        window: Duration::from_millis(window_ms),
        timeout: Duration::from_secs(30),
        grace: Duration::from_secs(30),
    }
}

/// Counts the calls of an observer.
#[derive(Default)]
struct Watch {
    begun: usize,
    ticks: usize,
}

impl Observer for Watch {
    fn begin(&mut self) {
        self.begun += 1;
    }

    fn tick(&mut self, _: Duration, _: &Tally) {
        self.ticks += 1;
    }
}

fn run_against(address: SocketAddr, plan: Plan) -> Run {
    let plane = PlaneUrl::from(address);
    let request = Request::get(format!("{plane}/f/f"));
    let target = Arc::new(Target::new(&plane, request, None, None).unwrap());
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut watch = Watch::default();
    let ran = executor
        .block_on(async { run(&target, plan, &mut Interrupt::catch().unwrap(), &mut watch).await.unwrap() });
    assert_eq!(watch.begun, 1);
    assert!(watch.ticks > 0);
    ran
}

/// A client that waits for each answer would have one slow request among 250. The 100 that were due
/// during the stall have waited for it, too.
#[test]
fn a_stall_of_one_second_is_seen_by_all_requests_that_were_due_in_it() {
    let stalls = |count, stream: &mut TcpStream| {
        if count == 100 {
            std::thread::sleep(Duration::from_secs(1));
        }
        answers(stream)
    };
    let Run { tally, stop, measured, .. } = run_against(server(stalls, 1), plan(100.0, 1, 2500));
    assert_eq!((tally.requests(), tally.answers(), stop), (250, 250, None));
    assert!(measured >= Duration::from_millis(2500));
    assert!(tally.latencies.percentile(99.0) >= Duration::from_millis(900), "{tally:?}");
    // Half of them waited for at least half a second.
    let late = tally.latencies.counted().filter(|counted| counted.latency >= Duration::from_millis(500));
    assert!(late.map(|counted| counted.requests).sum::<u64>() >= 45);
    assert!(tally.queued >= 90, "{}", tally.queued);
}

#[test]
fn answers_are_counted_by_what_they_are() {
    let mixed = |count: usize, stream: &mut TcpStream| {
        let problem = r#"{"type":"urn:nebula:problem:overloaded"}"#;
        let _ = match count % 4 {
            0 | 1 => stream.write_all(ANSWER),
            2 => stream.write_all(
                b"HTTP/1.1 422 Own\r\nnebula-function: f@v1\r\ncontent-length: 0\r\ncache-status: nebula; fwd=miss\r\n\r\n",
            ),
            _ => write!(
                stream,
                "HTTP/1.1 503 Busy\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{problem}",
                problem.len()
            ),
        };
        ControlFlow::Continue(())
    };
    let ran = run_against(server(mixed, 1), plan(100.0, 1, 1000));
    let tally = ran.tally;
    assert_eq!(tally.requests(), 100);
    assert_eq!((tally.values, tally.own_errors), (50, 25));
    assert_eq!(tally.failures, [("overloaded".into(), 25)].into());
    assert_eq!((tally.sources.hits, tally.sources.runs), (50, 25));
    assert_eq!(tally.statuses, [(200, 50), (422, 25)].into());
}

#[test]
fn closed_connections_are_opened_again() {
    let once = |_, stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        ControlFlow::Break(())
    };
    let Run { tally, .. } = run_against(server(once, usize::MAX), plan(50.0, 2, 1000));
    assert_eq!((tally.requests(), tally.answers(), tally.failures()), (50, 50, 0));
}

#[test]
fn requests_without_an_answer_count_with_the_time_that_they_waited() {
    let never = |_, _: &mut TcpStream| ControlFlow::Continue(());
    let briefly = Duration::from_millis(300);
    let late = Plan { grace: briefly, ..plan(50.0, 2, 1000) };
    let tally = run_against(server(never, usize::MAX), late).tally;
    assert_eq!((tally.requests(), tally.unanswered), (50, 50));
    assert!(tally.latencies.max() >= Duration::from_millis(1200) && tally.latencies.len() == 50);

    let timed_out = Plan { timeout: briefly, ..plan(10.0, 20, 1000) };
    let tally = run_against(server(never, usize::MAX), timed_out).tally;
    assert_eq!(tally.failures, [("timeout".into(), 10)].into());
    assert!(tally.latencies.percentile(1.0) >= briefly);
}

#[test]
fn a_server_that_ends_ends_the_load() {
    let ends = |count, stream: &mut TcpStream| match count {
        30 => ControlFlow::Break(()),
        _ => answers(stream),
    };
    let started = Instant::now();
    let Run { tally, stop, .. } = run_against(server(ends, 1), plan(50.0, 1, 600_000));
    assert_eq!(stop, Some(Stop::ServerGone));
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(tally.answers() >= 20 && tally.failures() > 1, "{tally:?}");
    assert!(tally.failures.contains_key("no-connection"));
}
