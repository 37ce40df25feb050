//! A connection's socket, as hyper reads and writes it.
//!
//! ```text
//! bytes --(at rest, and known)--> the answer that is known (`exchange`, `rendered`)
//!      \-(else)--> hyper --> its answer
//! ```
//!
//! Over a network a request comes in parts. Of one that may be known the first wait for the others, but not for long: no call
//! begins before its input is whole.
//!
//! Invariants:
//! * What was begun to be written here is written to its end before anything else.
//! * What has come is hyper's when the rest doesn't come, and when the connection is to end.
//! * What is held here of a connection is [`KNOWN_BYTES_MAX`] of a request that isn't longer, else less than [`AT_ONCE_BYTES_MAX`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::connections::Requests;
use crate::exchange::{Begun, Exchange};

/// The longest request, head and body, that is answered from what is known, bytes.
pub(crate) const KNOWN_BYTES_MAX: usize = 72 * 1024;

/// How much is read at rest before it is looked at, bytes. It is on the stack, and more than hyper has room for at first.
const AT_ONCE_BYTES_MAX: usize = 24 * 1024;

/// How long the first part of a request waits for the last: some round trips.
pub(crate) const PART_PATIENCE: Duration = Duration::from_secs(1);

/// A connection.
pub(crate) struct Connected {
    stream: TcpStream,
    /// Of a request that may be known.
    part: Option<Part>,
    /// What was read at rest beyond what hyper had room for; it has it next.
    unread: Bytes,
    /// An answer that is known.
    outgoing: Outgoing,
    known: Option<Known>,
}

/// The first part of a request, which hyper hasn't.
struct Part {
    bytes: Vec<u8>,
    /// How long the request is.
    whole: usize,
    /// Once it has to wait.
    patience: Option<Pin<Box<Sleep>>>,
}

/// An answer on its way.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// Kept for the next one's.
    head: Vec<u8>,
    body: Bytes,
    /// How much of both is to be sent yet.
    left: usize,
}

impl Outgoing {
    /// Begins anew.
    pub(crate) fn put(&mut self, head: &[&[u8]], body: Bytes) {
        self.head.clear();
        head.iter().for_each(|part| self.head.extend_from_slice(part));
        (self.left, self.body) = (self.head.len() + body.len(), body);
    }

    /// What is to be sent.
    fn pieces(&self) -> [IoSlice<'_>; 2] {
        let of_head = self.left.saturating_sub(self.body.len());
        let of_body = self.left - of_head;
        let head = &self.head[self.head.len() - of_head..];
        [head, &self.body[self.body.len() - of_body..]].map(IoSlice::new)
    }

    fn sent(&mut self, bytes: usize) {
        self.left -= bytes;
        if self.left == 0 {
            self.body = Bytes::new();
        }
    }
}

/// How a connection answers what is known.
pub(crate) struct Known {
    pub(crate) exchange: Exchange,
    pub(crate) requests: Requests,
    pub(crate) part_patience: Duration,
}

impl Connected {
    pub(crate) fn new(stream: TcpStream, known: Option<Known>) -> Self {
        Self { stream, part: None, unread: Bytes::new(), outgoing: Outgoing::default(), known }
    }

    /// Reads at rest. True if hyper has what was read; else there is an answer to send, or more to read.
    #[inline(never)]
    fn poll_first(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let mut room = [const { MaybeUninit::uninit() }; AT_ONCE_BYTES_MAX];
        let mut came = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut came))?;
        let came = came.filled();
        match self.begin(came, true) {
            Begun::Known => return Poll::Ready(Ok(false)),
            Begun::Part { whole } => {
                let mut bytes = Vec::with_capacity(whole);
                bytes.extend_from_slice(came);
                self.part = Some(Part { bytes, whole, patience: None });
                return Poll::Ready(Ok(false));
            }
            Begun::Unknown => {}
        }
        let (first, rest) = came.split_at(came.len().min(buffer.remaining()));
        buffer.put_slice(first);
        self.unread = Bytes::copy_from_slice(rest);
        Poll::Ready(Ok(true))
    }

    /// Reads what is missing of a request. After it there is an answer to send, or hyper is to have what has come.
    fn poll_rest(&mut self, mut part: Part, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_whole = loop {
            let missing = part.whole - part.bytes.len();
            if missing == 0 {
                break true;
            }
            let mut room = (&mut part.bytes).limit(missing);
            match pin!(self.stream.read_buf(&mut room)).poll(context)? {
                Poll::Ready(0) => break false,
                Poll::Ready(_) => {}
                Poll::Pending => {
                    let known = self.known.as_ref().filter(|known| !known.requests.are_ending());
                    let Some(known) = known else { break false };
                    let sleep = || Box::pin(tokio::time::sleep(known.part_patience));
                    if part.patience.get_or_insert_with(sleep).as_mut().poll(context).is_ready() {
                        break false;
                    }
                    self.part = Some(part);
                    return Poll::Pending;
                }
            }
        };
        if self.begin(&part.bytes, is_whole) != Begun::Known {
            self.unread = part.bytes.into();
        }
        Poll::Ready(Ok(()))
    }

    /// What these bytes are, which came at rest: all of a request, if it `may_be_known`. If it is its answer is outgoing.
    fn begin(&mut self, bytes: &[u8], may_be_known: bool) -> Begun {
        let Some(Known { exchange, requests, .. }) = &self.known else { return Begun::Unknown };
        // That the connection ends is hyper's to say.
        let begun = exchange.begin(bytes, may_be_known && !requests.are_ending(), &mut self.outgoing);
        if begun == Begun::Known {
            // It counts as a sign of life.
            drop(requests.begin());
        }
        begun
    }

    /// Sends what is left of an answer.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outgoing.left > 0 {
            match ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &self.outgoing.pieces()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.outgoing.sent(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connected {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.poll_send(context))?;
            if !this.unread.is_empty() {
                // `exchange` has counted it.
                let fit = this.unread.len().min(buffer.remaining());
                buffer.put_slice(&this.unread.split_to(fit));
                return Poll::Ready(Ok(()));
            }
            if let Some(part) = this.part.take() {
                ready!(this.poll_rest(part, context))?;
                continue;
            }
            let Some(known) = &this.known else {
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            };
            if known.exchange.is_at_rest() {
                if ready!(this.poll_first(context, buffer))? {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let before = buffer.filled().len();
                ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
                known.exchange.take(&buffer.filled()[before..]);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Connected {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        let accepted = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, pieces))?;
        if let Some(known) = &this.known {
            known.exchange.written(pieces, accepted);
        }
        Poll::Ready(Ok(accepted))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outgoing_is_sent_in_any_parts() {
        let joined = |outgoing: &Outgoing| outgoing.pieces().map(|piece| piece.to_vec()).concat();
        let mut outgoing = Outgoing::default();
        for step in 1..12 {
            outgoing.put(&[b"he", b"ad "], Bytes::from_static(b"body"));
            let mut sent = Vec::new();
            while outgoing.left > 0 {
                let pieces = joined(&outgoing);
                let bytes = step.min(pieces.len());
                sent.extend_from_slice(&pieces[..bytes]);
                outgoing.sent(bytes);
            }
            assert_eq!(sent, b"head body");
            assert!(outgoing.body.is_empty());
        }
        outgoing.put(&[b"head"], Bytes::new());
        assert_eq!(joined(&outgoing), b"head");
    }
}
