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

/// Standard output and standard error of one call, in the order written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallLog {
    /// The bytes kept, at most `log_bytes_max`.
    pub kept: Vec<u8>,
    /// Bytes dropped beyond the limit.
    pub dropped_bytes: u64,
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

    /// Returns the end of the log, at most 2 KiB.
    pub fn tail(&self) -> String {
        let from = self.kept.len().saturating_sub(TAIL_BYTES);
        String::from_utf8_lossy(&self.kept[from..]).into_owned()
    }
}

/// The destination of both output streams of a guest.
#[derive(Clone, Debug)]
pub(super) struct LogSink {
    bytes_max: u64,
    log: Arc<Mutex<CallLog>>,
}

impl LogSink {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, log: Arc::default() }
    }

    pub(super) fn snapshot(&self) -> CallLog {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn append(&self, bytes: &[u8]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let room = usize::try_from(self.bytes_max).unwrap_or(usize::MAX).saturating_sub(log.kept.len());
        let kept = bytes.len().min(room);
        log.kept.extend_from_slice(&bytes[..kept]);
        log.dropped_bytes += (bytes.len() - kept) as u64;
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
}
