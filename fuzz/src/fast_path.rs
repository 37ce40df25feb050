//! The cached fast path: a connection gets the same responses with and without it.
//!
//! An input is the bytes that a client sends. `PART_END` ends a part: the client sends the next
//! part once the server has nothing left to do. `FILL` and a number n stand for n KiB of the letter
//! `x`, so that a short input can send a long request.
//!
//! The clock is virtual: it advances when every task of the event loop waits, so timeouts take no
//! time. It doesn't wait for other threads, so inputs avoid calls that run on them: long JSON, and
//! receipts, which are never cached anyway.

use std::future::Future;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use nebula_http::fuzzing::DataThread;
use nebula_runtime::limits::{HostLimits, Limits};
use nebula_runtime::{Codegen, Compiler, Followers, Runtime, RuntimeConfig, Settings, Shard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Ends a part of the input.
const PART_END: u8 = 0xff;

/// Starts a fill; the next byte is the number of KiB.
const FILL: u8 = 0xfe;

/// The most bytes that an input sends; the rest is cut off. Longer JSON would be parsed on another
/// thread.
const SENT_BYTES_MAX: usize = 60 * 1024;

/// The number of connections with the fast path. The first lets it count a request, the second lets
/// it cache the response, and the other two get the cached response.
const FAST_CONNECTIONS: usize = 4;

/// The most connections without the fast path before two in a row must get equal responses.
const SETTLING_CONNECTIONS: usize = 8;

/// The number of consecutive attempts that must show a difference, because a busy machine may delay
/// a call for too long.
const ATTEMPTS: usize = 3;

/// The virtual time after the last part. The fast path waits less for the rest of a request.
const AFTER_LAST_PART: Duration = Duration::from_secs(3);

/// The real time that the client waits after a part for a call that moved from the fast lane to
/// another thread.
const CALL_PATIENCE: Duration = Duration::from_millis(2);

/// The virtual time to wait for the responses, longer than any timeout of the server.
const PATIENCE: Duration = Duration::from_secs(600);

/// The deployed functions. Their components are those of the unit tests.
const FUNCTIONS: [(&str, &str); 4] = [
    ("same", include_str!("../../host/http/src/fast_path/tests/same.wat")),
    ("text", include_str!("../../host/http/src/fast_path/tests/text.wat")),
    ("long", include_str!("../../host/http/src/fast_path/tests/long.wat")),
    ("sees", include_str!("../../host/http/src/fast_path/tests/http_form.wat")),
];

/// The headers that differ between equal responses.
const VARYING: [&[u8]; 5] = [b"age:", b"date:", b"nebula-receipt:", b"server-timing:", b"x-request-id:"];

thread_local! {
    static SERVER: Server = Server::start();
}

/// Panics if a connection with the fast path gets other responses than one without.
pub fn run(data: &[u8]) {
    SERVER.with(|server| server.compare(data));
}

struct Server {
    executor: tokio::runtime::Runtime,
    runtime: Runtime,
    thread: DataThread,
    _data_dir: tempfile::TempDir,
}

/// The bytes that a client received, without [`VARYING`] headers.
type Responses = Vec<u8>;

impl Server {
    #[expect(clippy::expect_used, reason = "a fuzz target fails by panicking")]
    fn start() -> Self {
        let executor = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("an event loop");
        let data_dir = tempfile::tempdir().expect("a temporary directory");
        let runtime = Runtime::open(RuntimeConfig {
            data_dir: data_dir.path().to_owned(),
            compiler: Compiler::InProcess(Codegen::Baseline),
            // Long enough that no call misses its deadline on a busy machine.
            limits: Limits { deadline_ms: NonZeroU64::MIN.saturating_add(60_000), ..Limits::default() },
            host_limits: HostLimits { cache_disk_bytes_max: 0, ..HostLimits::default() },
            signer: None,
            verify_share: 0.0,
            alarm: |_| {},
        })
        .expect("an empty data directory");
        let thread = executor.block_on(async {
            for (name, text) in FUNCTIONS {
                let component = wat::parse_str(text).expect("valid text").into();
                let name = name.parse().expect("a valid name");
                let deploy = runtime.deploy(name, component, Settings::default(), Followers::MustFit);
                deploy.await.expect("a valid component");
            }
            DataThread::new(Shard::new(runtime.clone()).expect("a shard"))
        });
        Self { executor, runtime, thread, _data_dir: data_dir }
    }

    fn compare(&self, data: &[u8]) {
        let parts = parts(data);
        for attempt in 1.. {
            match self.difference(&parts) {
                None => return,
                Some((expected, found)) if attempt == ATTEMPTS => {
                    let [expected, found] =
                        [&expected, &found].map(|responses| String::from_utf8_lossy(responses));
                    assert_eq!(found, expected, "the fast path gives another response than hyper");
                }
                Some(_) => {}
            }
        }
    }

    /// Returns the responses without and with the fast path if they differ. Returns `None` if those
    /// without it vary by themselves.
    fn difference(&self, parts: &[Vec<u8>]) -> Option<(Responses, Responses)> {
        // Earlier inputs must not affect this one.
        self.runtime.clear_cache().ok()?;
        self.executor.block_on(async {
            let expected = self.settled(parts).await?;
            for _ in 0..FAST_CONNECTIONS {
                let found = self.converse(parts, true).await;
                if found != expected {
                    return (self.converse(parts, false).await == expected).then_some((expected, found));
                }
            }
            None
        })
    }

    /// Returns the responses without the fast path once two connections in a row get the same ones.
    /// The first connections compute the results that later ones get from the cache.
    async fn settled(&self, parts: &[Vec<u8>]) -> Option<Responses> {
        let mut last = self.converse(parts, false).await;
        for _ in 0..SETTLING_CONNECTIONS {
            let next = self.converse(parts, false).await;
            if next == last {
                return Some(next);
            }
            last = next;
        }
        None
    }

    /// Waits until the event loop has nothing left to do and calls on other threads have ended. A
    /// request with an incomplete body looks like such a call, so this gives up after
    /// [`CALL_PATIENCE`].
    async fn wait_for_calls(&self) {
        let started = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        while self.thread.requests_in_flight() > 0 && started.elapsed() < CALL_PATIENCE {
            // The clock stands still while a blocking task runs.
            let _ = tokio::task::spawn_blocking(|| std::thread::sleep(CALL_PATIENCE / 16)).await;
        }
    }

    /// Sends the parts over a new connection, and returns the responses.
    async fn converse(&self, parts: &[Vec<u8>], cached_fast_path: bool) -> Responses {
        let (mut reader, mut writer) = tokio::io::split(self.thread.connect(cached_fast_path).await);
        let receive = async {
            let mut responses = Vec::new();
            // A broken pipe ends the responses like the end of the stream.
            let _ = reader.read_to_end(&mut responses).await;
            responses
        };
        let send = async {
            for part in parts {
                // The server may close the connection or stop reading.
                if !matches!(within(AFTER_LAST_PART, writer.write_all(part)).await, Some(Ok(()))) {
                    break;
                }
                self.wait_for_calls().await;
            }
            tokio::time::sleep(AFTER_LAST_PART).await;
            let _ = writer.shutdown().await;
        };
        let (responses, ()) = tokio::join!(within(PATIENCE, receive), send);
        without_varying(&responses.unwrap_or_else(|| b"the server doesn't close the connection".to_vec()))
    }
}

async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, future).await.ok()
}

/// Splits an input into the parts that the client sends.
fn parts(data: &[u8]) -> Vec<Vec<u8>> {
    let data = without_receipts(data);
    let (mut parts, mut left) = (vec![Vec::new()], SENT_BYTES_MAX);
    let mut bytes = data.iter();
    while let (Some(&byte), 1..) = (bytes.next(), left) {
        match (byte, parts.last_mut()) {
            (PART_END, _) | (_, None) => parts.push(Vec::new()),
            (FILL, Some(part)) => {
                let count = usize::from(bytes.next().copied().unwrap_or(0)) * 1024;
                part.resize(part.len() + count.min(left), b'x');
                left -= count.min(left);
            }
            (byte, Some(part)) => {
                part.push(byte);
                left -= 1;
            }
        }
    }
    parts
}

/// Changes every `receipt` to `_eceipt`, so that no request asks for a receipt.
fn without_receipts(data: &[u8]) -> Vec<u8> {
    const RECEIPT: &[u8] = b"receipt";
    let mut data = data.to_vec();
    for at in 0..data.len().saturating_sub(RECEIPT.len() - 1) {
        if data[at..at + RECEIPT.len()].eq_ignore_ascii_case(RECEIPT) {
            data[at] = b'_';
        }
    }
    data
}

/// Removes the lines of [`VARYING`] headers.
fn without_varying(responses: &[u8]) -> Responses {
    let is_stable = |line: &&[u8]| !VARYING.iter().any(|name| line.starts_with(name));
    responses.split_inclusive(|byte| *byte == b'\n').filter(is_stable).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_split_into_parts() {
        let x = b"x".repeat(2048);
        assert_eq!(parts(b"a\xffb\xfe\x02c"), [b"a".to_vec(), [b"b", &x[..], b"c"].concat()]);
        assert_eq!(parts(b"\xfe"), [b""]);
        assert_eq!(parts(b"prefer: Receipt"), [b"prefer: _eceipt"]);
        assert_eq!(parts(&b"\xfe\xff".repeat(9)).concat().len(), SENT_BYTES_MAX);
    }

    #[test]
    fn varying_headers_are_removed() {
        assert_eq!(without_varying(b"a: 1\r\nage: 2\r\n\r\ndate: 3\n4"), b"a: 1\r\n\r\n4");
    }

    /// The comparison would prove nothing if every response came from hyper.
    #[test]
    fn repeated_requests_take_the_fast_path() {
        let request = "GET /f/same?n=1 HTTP/1.1\r\nhost: a\r\n\r\n";
        SERVER.with(|server| {
            let before = server.thread.requests_parsed();
            let data: Vec<u8> = [request.as_bytes(); 8].join(&PART_END);
            server.compare(&data);
            let parsed = server.thread.requests_parsed() - before;
            let fast = 8 * FAST_CONNECTIONS;
            assert!(parsed < 8 * 3 + fast / 2, "hyper parsed {parsed} requests; {fast} were sent with the fast path on");
        });
    }
}
