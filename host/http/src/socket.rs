//! A connection's socket, as hyper reads and writes it.
//!
//! ```text
//! bytes --(at rest, and known)--> the answer that is known (`exchange`, `rendered`)
//!      \-(else)--> hyper --> its answer
//! ```
//!
//! Over a network a request comes in parts. Of one that may be known the first wait for the others, but not for long: until
//! then hyper could do nothing with them but wait too.
//!
//! Invariants:
//! * What was begun to be written here is written to its end before anything else.
//! * What has come is hyper's when the rest doesn't come, and when the connection is to end.

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

/// The longest request, head and body, that is answered from what is known, bytes. It is on the stack while it is looked at.
pub(crate) const KNOWN_BYTES_MAX: usize = 72 * 1024;

/// How long the first part of a request waits for the others. Between parts that aren't lost there is less.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

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
    patience: Pin<Box<Sleep>>,
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
}

impl Known {
    /// What these bytes are, which came at rest. Where they are a request that is known its answer is in `answer` after that.
    fn begin(&self, bytes: &[u8], may_be_known: bool, answer: &mut Outgoing) -> Begun {
        // That the connection ends is hyper's to say.
        let begun = self.exchange.begin(bytes, may_be_known && !self.requests.are_ending(), answer);
        if begun == Begun::Known {
            // It counts as a sign of life.
            drop(self.requests.begin());
        }
        begun
    }
}

impl Connected {
    pub(crate) fn new(stream: TcpStream, known: Option<Known>) -> Self {
        Self { stream, part: None, unread: Bytes::new(), outgoing: Outgoing::default(), known }
    }

    /// Reads at rest. True if hyper has what was read; else there is an answer to send, or more to read.
    ///
    /// hyper may have little room, and what is known is known by all of a request.
    #[inline(never)]
    fn poll_begin(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let mut room = [const { MaybeUninit::uninit() }; KNOWN_BYTES_MAX];
        let mut came = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut came))?;
        Poll::Ready(Ok(self.begin(came.filled(), true, buffer)))
    }

    /// Reads what is missing of a request; else as [`poll_begin`](Self::poll_begin).
    fn poll_complete(
        &mut self,
        mut part: Part,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
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
                    let is_ending = self.known.as_ref().is_none_or(|known| known.requests.are_ending());
                    if is_ending || part.patience.as_mut().poll(context).is_ready() {
                        break false;
                    }
                    self.part = Some(part);
                    return Poll::Pending;
                }
            }
        };
        Poll::Ready(Ok(self.begin(&part.bytes, is_whole, buffer)))
    }

    /// True if hyper has these bytes, which came at rest.
    fn begin(&mut self, bytes: &[u8], may_be_known: bool, buffer: &mut ReadBuf<'_>) -> bool {
        let begun = self.known.as_ref().map(|known| known.begin(bytes, may_be_known, &mut self.outgoing));
        match begun {
            Some(Begun::Known) => false,
            Some(Begun::Part { whole }) => {
                let mut kept = Vec::with_capacity(whole);
                kept.extend_from_slice(bytes);
                let patience = Box::pin(tokio::time::sleep(PATIENCE));
                self.part = Some(Part { bytes: kept, whole, patience });
                false
            }
            Some(Begun::Unknown) | None => {
                let (first, rest) = bytes.split_at(bytes.len().min(buffer.remaining()));
                buffer.put_slice(first);
                self.unread = Bytes::copy_from_slice(rest);
                true
            }
        }
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
                let fit = this.unread.len().min(buffer.remaining());
                buffer.put_slice(&this.unread.split_to(fit));
                return Poll::Ready(Ok(()));
            }
            match &this.known {
                None => return Pin::new(&mut this.stream).poll_read(context, buffer),
                Some(known) if known.exchange.is_at_rest() => {
                    let is_hypers = match this.part.take() {
                        Some(part) => ready!(this.poll_complete(part, context, buffer))?,
                        None => ready!(this.poll_begin(context, buffer))?,
                    };
                    if is_hypers {
                        return Poll::Ready(Ok(()));
                    }
                }
                Some(known) => {
                    let before = buffer.filled().len();
                    ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
                    known.exchange.take(&buffer.filled()[before..]);
                    return Poll::Ready(Ok(()));
                }
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
