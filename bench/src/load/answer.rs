//! Reading one HTTP/1.1 answer: it is parsed and compared while it arrives.
//!
//! ```text
//! head -> length(n) | chunks -> complete
//! ```
//!
//! Every byte is examined once, whatever the size and the number of pieces, so that the load stays
//! cheaper than the servers.

use std::mem::MaybeUninit;

use anyhow::{Context, ensure};
use httparse::{ParserConfig, Status};

/// The most headers an answer may have.
const HEADERS_MAX: usize = 32;

/// The most bytes of an answer besides its body: the head and the framing of chunks.
const OVERHEAD_BYTES_MAX: usize = 16 * 1024;

/// Reads answers one after another.
#[derive(Debug)]
pub(crate) struct AnswerReader {
    bytes: Vec<u8>,
    filled: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The head is incomplete.
    Head,
    /// The body begins at `from` and has the expected length.
    Length { from: usize },
    /// The next chunk begins at `at`, and `matched` bytes of the expected body have arrived.
    Chunks { at: usize, matched: usize },
}

impl AnswerReader {
    /// Creates a reader for answers with a body of `expected` bytes.
    pub(crate) fn new(expected: usize) -> Self {
        let bytes = vec![0; expected + expected / 16 + OVERHEAD_BYTES_MAX];
        Self { bytes, filled: 0, state: State::Head }
    }

    /// Returns the buffer to read into next, which is never empty.
    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// Processes `read` more bytes in the buffer and returns whether the answer is complete. After
    /// a complete answer the reader is ready for the next one.
    ///
    /// # Errors
    /// Returns an error unless the answer is a 200 with the `expected` body and nothing after it.
    pub(crate) fn advance(&mut self, read: usize, expected: &[u8]) -> anyhow::Result<bool> {
        self.filled += read;
        let complete = self.parse(expected).with_context(|| {
            let shown = &self.bytes[..self.filled.min(OVERHEAD_BYTES_MAX)];
            format!("wrong answer:\n{}", String::from_utf8_lossy(shown))
        })?;
        if complete {
            (self.filled, self.state) = (0, State::Head);
        }
        Ok(complete)
    }

    fn parse(&mut self, expected: &[u8]) -> anyhow::Result<bool> {
        if matches!(self.state, State::Head) {
            let Some(state) = head(&self.bytes[..self.filled], expected.len())? else {
                return self.incomplete();
            };
            self.state = state;
        }
        let end = match self.state {
            State::Head => None,
            State::Length { from } => {
                let to = from + expected.len();
                let body = self.bytes[..self.filled].get(from..to);
                ensure!(body.is_none_or(|body| body == expected), "another body");
                body.map(|_| to)
            }
            State::Chunks { at, matched } => self.chunks(at, matched, expected)?,
        };
        match end {
            Some(end) => {
                ensure!(end == self.filled, "bytes follow the answer");
                Ok(true)
            }
            None => self.incomplete(),
        }
    }

    /// Compares the complete chunks and returns the end of the last one if it has arrived.
    fn chunks(
        &mut self,
        mut at: usize,
        mut matched: usize,
        expected: &[u8],
    ) -> anyhow::Result<Option<usize>> {
        loop {
            let wire = &self.bytes[..self.filled];
            let size = httparse::parse_chunk_size(&wire[at..]);
            let size = size.map_err(|_| anyhow::anyhow!("invalid chunk size"))?;
            let Status::Complete((mark_len, size)) = size else { break };
            let from = at + mark_len;
            let to = from + usize::try_from(size)?;
            let Some(end) = wire.get(to..to + 2) else { break };
            ensure!(end == b"\r\n", "invalid end of a chunk");
            let chunk = &wire[from..to];
            ensure!(expected[matched..].starts_with(chunk), "another body");
            (at, matched) = (to + 2, matched + chunk.len());
            if size == 0 {
                ensure!(matched == expected.len(), "another length");
                return Ok(Some(at));
            }
        }
        self.state = State::Chunks { at, matched };
        Ok(None)
    }

    fn incomplete(&self) -> anyhow::Result<bool> {
        ensure!(self.filled < self.bytes.len(), "the answer is too long");
        Ok(false)
    }
}

/// Returns the framing of the body if the head is complete.
fn head(answer: &[u8], expected: usize) -> anyhow::Result<Option<State>> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut head, answer, &mut headers)?;
    let Status::Complete(from) = parsed else { return Ok(None) };
    ensure!(head.code == Some(200), "status {:?}", head.code);
    let mut length = None;
    for header in &*head.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = Some(std::str::from_utf8(header.value)?.parse::<usize>()?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding")
            && header.value.eq_ignore_ascii_case(b"chunked")
        {
            return Ok(Some(State::Chunks { at: from, matched: 0 }));
        }
    }
    let length = length.context("the answer is neither chunked nor has a `content-length`")?;
    ensure!(length == expected, "another length");
    Ok(Some(State::Length { from }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";

    /// Reads an answer in pieces and returns whether it is complete after the last one.
    fn read(pieces: &[&[u8]], expected: &[u8]) -> anyhow::Result<bool> {
        let mut answer = AnswerReader::new(expected.len());
        let mut complete = false;
        for piece in pieces {
            answer.buffer()[..piece.len()].copy_from_slice(piece);
            complete = answer.advance(piece.len(), expected)?;
        }
        Ok(complete)
    }

    #[test]
    fn an_answer_is_complete_at_its_last_byte() {
        for answer in [PLAIN, CHUNKED] {
            for len in 0..answer.len() {
                let (first, rest) = answer.split_at(len);
                assert!(!read(&[first], b"abc").unwrap(), "{len}");
                assert!(read(&[first, rest], b"abc").unwrap(), "{len}");
            }
            assert!(read(&answer.chunks(1).collect::<Vec<_>>(), b"abc").unwrap());
            assert!(read(&[answer, answer], b"abc").unwrap(), "one after the other");
        }
    }

    #[test]
    fn wrong_answers_are_errors() {
        for answer in [PLAIN, CHUNKED] {
            for expected in [&b"abd"[..], b"ab", b"abcd"] {
                assert!(read(&[answer], expected).is_err());
            }
            assert!(
                read(&[answer, b"x"], b"abc").is_err() || read(&[&[answer, b"x"].concat()], b"abc").is_err()
            );
        }
        assert!(read(&[b"HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nabc"], b"abc").is_err());
        assert!(read(&[b"HTTP/1.1 200 OK\r\n\r\n"], b"").is_err());
        assert!(read(&[b"nonsense"], b"abc").is_err());
    }
}
