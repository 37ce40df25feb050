//! A response on its way to the socket.

use std::io::IoSlice;

use bytes::Bytes;

/// The bytes of a cached response that aren't written yet.
#[derive(Default)]
pub(super) struct PendingWrite {
    /// The next response reuses this memory.
    head: Vec<u8>,
    body: Bytes,
    /// The bytes of head and body left to write.
    left: usize,
}

impl PendingWrite {
    /// Starts a response: `write` appends its head and returns its body.
    pub(super) fn start(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Bytes) {
        self.head.clear();
        self.body = write(&mut self.head);
        self.left = self.head.len() + self.body.len();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Returns the rest of the head and of the body.
    pub(super) fn pieces(&self) -> [IoSlice<'_>; 2] {
        let head_left = self.left.saturating_sub(self.body.len());
        let body_left = self.left - head_left;
        let head = &self.head[self.head.len() - head_left..];
        [head, &self.body[self.body.len() - body_left..]].map(IoSlice::new)
    }

    /// Removes the first `bytes` bytes of the pieces, which have been written.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.left -= bytes;
        if self.left == 0 {
            self.body = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(pending: &mut PendingWrite, body: &'static [u8]) {
        pending.start(|head| {
            head.extend_from_slice(b"head ");
            Bytes::from_static(body)
        });
    }

    fn rest(pending: &PendingWrite) -> Vec<u8> {
        pending.pieces().map(|piece| piece.to_vec()).concat()
    }

    #[test]
    fn writes_of_any_size_send_the_whole_response() {
        let mut pending = PendingWrite::default();
        for step in 1..12 {
            start(&mut pending, b"body");
            let mut written = Vec::new();
            while !pending.is_empty() {
                let rest = rest(&pending);
                let bytes = step.min(rest.len());
                written.extend_from_slice(&rest[..bytes]);
                pending.advance(bytes);
            }
            assert_eq!(written, b"head body");
            assert!(pending.body.is_empty());
        }
        start(&mut pending, b"");
        assert_eq!(rest(&pending), b"head ");
    }
}
