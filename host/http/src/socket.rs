//! A connection's socket, as hyper reads and writes it.
//!
//! ```text
//! bytes --(at rest, and known)--> the answer that is known (`exchange`, `rendered`)
//!      \-(else)--> hyper --> its answer
//! ```
//!
//! hyper writes an answer's head and its body as two pieces. Short ones are put together: only what is written in one
//! piece can be told to be just the answer that was expected.
//!
//! Invariant: what was begun to be written here is written to its end before anything else.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connections::Requests;
use crate::exchange::Exchange;
use crate::rendered::ANSWER_BYTES_MAX;

/// A connection.
pub(crate) struct Connected {
    stream: TcpStream,
    /// Pieces put together, or an answer that is known. Kept for the next time.
    outgoing: Vec<u8>,
    /// What is left to be sent of an answer that is known: the end of `outgoing`.
    left: usize,
    known: Option<Known>,
}

/// How a connection answers what is known.
pub(crate) struct Known {
    pub(crate) exchange: Exchange,
    pub(crate) requests: Requests,
}

impl Known {
    /// Whether this is a request that is known; its answer is in `answer` then.
    fn answers(&self, bytes: &[u8], answer: &mut Vec<u8>) -> bool {
        // That the connection ends is hyper's to say.
        let is_known = self.exchange.read(bytes, !self.requests.are_ending(), answer);
        if is_known {
            // It counts as a sign of life.
            drop(self.requests.begin());
        }
        is_known
    }
}

impl Connected {
    pub(crate) fn new(stream: TcpStream, known: Option<Known>) -> Self {
        Self { stream, outgoing: Vec::new(), left: 0, known }
    }

    /// Sends what is left of an answer.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left > 0 {
            let rest = &self.outgoing[self.outgoing.len() - self.left..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.left -= sent,
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
            this.left = this.outgoing.len();
            buffer.set_filled(before);
        }
    }
}

impl AsyncWrite for Connected {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        let accepted = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        if let Some(known) = &this.known {
            known.exchange.written(bytes, accepted);
        }
        Poll::Ready(Ok(accepted))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        let accepted = match gather(pieces, &mut this.outgoing) {
            true => ready!(Pin::new(&mut this.stream).poll_write(context, &this.outgoing))?,
            false => ready!(Pin::new(&mut this.stream).poll_write_vectored(context, pieces))?,
        };
        if let Some(known) = &this.known {
            // Where they weren't put together the first has the head, if there is one.
            let begin = if this.outgoing.is_empty() {
                pieces.first().map_or(&[][..], |piece| piece)
            } else {
                &this.outgoing
            };
            known.exchange.written(begin, accepted);
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

/// Puts all pieces into `together`, one after the other, if they are short; else there is nothing in it.
fn gather(pieces: &[IoSlice<'_>], together: &mut Vec<u8>) -> bool {
    together.clear();
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    let are_short = bytes <= ANSWER_BYTES_MAX;
    if are_short {
        pieces.iter().for_each(|piece| together.extend_from_slice(piece));
    }
    are_short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_are_put_together() {
        let mut together = Vec::new();
        let mut gathered = |pieces: &[&[u8]]| {
            let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            gather(&pieces, &mut together).then(|| together.clone())
        };
        assert_eq!(gathered(&[b"head", b"", b"body"]).unwrap(), b"headbody");
        assert_eq!(gathered(&[b"next"]).unwrap(), b"next");
        assert_eq!(gathered(&[]).unwrap(), b"");
        assert_eq!(gathered(&[b"head", &[0; ANSWER_BYTES_MAX]]), None);
    }
}
