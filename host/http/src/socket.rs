//! A connection's socket. What is short goes out in one piece.
//!
//! hyper writes an answer's head and its body as two pieces. The kernel takes longer to be told of two than this does to
//! put short ones together (`writev` against `send`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Pieces of so many bytes together are put into one.
const TOGETHER_BYTES_MAX: usize = 2048;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connected {
    stream: TcpStream,
    /// Where pieces are put together, kept for the next time.
    together: Vec<u8>,
}

impl Connected {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, together: Vec::new() }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl AsyncRead for Connected {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connected {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, together } = self.get_mut();
        match gather(pieces, together) {
            true => Pin::new(stream).poll_write(context, together),
            false => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

/// Puts all pieces into `together`, one after the other, if they are short.
fn gather(pieces: &[IoSlice<'_>], together: &mut Vec<u8>) -> bool {
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    let are_short = bytes <= TOGETHER_BYTES_MAX;
    if are_short {
        together.clear();
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
        assert_eq!(gathered(&[b"head", &[0; TOGETHER_BYTES_MAX]]), None);
    }
}
