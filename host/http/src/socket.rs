//! A connection's socket, as hyper reads and writes it.
//!
//! ```text
//! bytes --(at rest, and known)--> the answer that is known (`exchange`, `rendered`)
//!      \-(else)--> hyper --> its answer
//! ```
//!
//! Invariant: what was begun to be written here is written to its end before anything else.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connections::Requests;
use crate::exchange::Exchange;

/// A connection.
pub(crate) struct Connected {
    stream: TcpStream,
    /// An answer that is known.
    outgoing: Outgoing,
    known: Option<Known>,
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
    /// Whether this is a request that is known; its answer is in `answer` then.
    fn answers(&self, bytes: &[u8], answer: &mut Outgoing) -> bool {
        // That the connection ends is hyper's to say.
        let is_known = self.exchange.take(bytes, !self.requests.are_ending(), answer);
        if is_known {
            // It counts as a sign of life.
            drop(self.requests.begin());
        }
        is_known
    }
}

impl Connected {
    pub(crate) fn new(stream: TcpStream, known: Option<Known>) -> Self {
        Self { stream, outgoing: Outgoing::default(), known }
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
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let Some(known) = &this.known else { return Poll::Ready(Ok(())) };
            let bytes = &buffer.filled()[before..];
            if !known.answers(bytes, &mut this.outgoing) {
                return Poll::Ready(Ok(()));
            }
            buffer.set_filled(before);
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
