//! The log of a call: the text that a guest prints, bounded and separate from the answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes of a log that an error quotes.
const TAIL_BYTES: usize = 2048;

/// Maximum number of bytes that a guest may pass in one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// The most changes between the streams that a log keeps. Further output counts as that of the
/// last stream: a guest that alternates between single bytes mustn't take more memory than its log.
const RUNS_MAX: usize = 1024;

/// A stream on which a guest prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Standard output and standard error of one call, in the order written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallLog {
    /// The bytes kept, at most `log_bytes_max`.
    pub kept: Vec<u8>,
    /// Bytes dropped beyond the limit.
    pub dropped_bytes: u64,
    /// The streams of `kept`, in order.
    runs: Vec<Run>,
}

/// Bytes in a row that were written to one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    stream: LogStream,
    /// The end of the bytes in the log.
    end: usize,
}

impl CallLog {
    /// Returns whether the guest printed nothing.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.dropped_bytes == 0
    }

    /// Returns the kept bytes as text, with invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        if self.dropped_bytes > 0 {
            text.push_str(&format!("\n[{} more bytes dropped]", self.dropped_bytes));
        }
        text
    }

    /// Returns the kept bytes of one stream as text, with invalid UTF-8 replaced.
    pub fn text_of(&self, stream: LogStream) -> String {
        let mut bytes = Vec::new();
        let mut begin = 0;
        for run in &self.runs {
            if run.stream == stream {
                bytes.extend_from_slice(&self.kept[begin..run.end]);
            }
            begin = run.end;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn append(&mut self, stream: LogStream, bytes: &[u8], bytes_max: u64) {
        let room = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_sub(self.kept.len());
        let kept = bytes.len().min(room);
        self.dropped_bytes += (bytes.len() - kept) as u64;
        if kept == 0 {
            return;
        }
        self.kept.extend_from_slice(&bytes[..kept]);
        let end = self.kept.len();
        let is_full = self.runs.len() == RUNS_MAX;
        match self.runs.last_mut() {
            Some(last) if last.stream == stream || is_full => last.end = end,
            Some(_) | None => self.runs.push(Run { stream, end }),
        }
    }

    /// Returns the end of the log, at most 2 KiB.
    pub fn tail(&self) -> String {
        let from = self.kept.len().saturating_sub(TAIL_BYTES);
        String::from_utf8_lossy(&self.kept[from..]).into_owned()
    }
}

/// The destination of an output stream of a guest. Both streams share the log.
#[derive(Clone, Debug)]
pub(super) struct LogSink {
    stream: LogStream,
    bytes_max: u64,
    log: Arc<Mutex<CallLog>>,
}

impl LogSink {
    /// Creates the sink of standard output.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { stream: LogStream::Stdout, bytes_max, log: Arc::default() }
    }

    /// Returns the sink of another stream with the same log.
    pub(super) fn of(&self, stream: LogStream) -> Self {
        Self { stream, ..self.clone() }
    }

    pub(super) fn snapshot(&self) -> CallLog {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn append(&self, bytes: &[u8]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.append(self.stream, bytes, self.bytes_max);
    }
}

impl IsTerminal for LogSink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogSink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LogSink {
    async fn ready(&mut self) {}
}

impl OutputStream for LogSink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for LogSink {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_keeps_its_beginning_and_counts_the_rest() {
        let sink = LogSink::new(4);
        sink.append(b"abc");
        sink.append(b"def");
        let log = sink.snapshot();
        assert_eq!((log.kept.as_slice(), log.dropped_bytes), (&b"abcd"[..], 2));
        assert!(log.text().ends_with("[2 more bytes dropped]"));
    }

    #[test]
    fn log_tells_its_streams_apart() {
        let out = LogSink::new(64);
        let err = out.of(LogStream::Stderr);
        // A character may be cut by output of the other stream.
        for (sink, bytes) in [(&out, "a\n"), (&out, "b"), (&err, "x"), (&out, "\n"), (&err, ""), (&err, "y")]
        {
            sink.append(bytes.as_bytes());
        }
        out.append(&"ä".as_bytes()[..1]);
        err.append(b"z");
        out.append(&"ä".as_bytes()[1..]);
        let log = out.snapshot();
        assert_eq!(log.text_of(LogStream::Stdout), "a\nb\nä");
        assert_eq!(log.text_of(LogStream::Stderr), "xyz");
        assert_eq!(log.kept.len(), 9);
    }

    #[test]
    fn alternating_streams_take_bounded_memory() {
        let out = LogSink::new(1 << 20);
        let err = out.of(LogStream::Stderr);
        for _ in 0..4 * RUNS_MAX {
            out.append(b"o");
            err.append(b"e");
        }
        let log = out.snapshot();
        assert_eq!(log.runs.len(), RUNS_MAX);
        let [out, err] = [LogStream::Stdout, LogStream::Stderr].map(|stream| log.text_of(stream));
        assert_eq!(out.len() + err.len(), log.kept.len());
    }
}
