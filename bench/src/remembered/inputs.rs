//! Any number of inputs of `functions/sha256`, each with its digest.
//!
//! The load generates them while it sends. They differ in their last bytes only, so their common
//! part is hashed once: generating an input of any length takes a copy and one or two blocks of
//! SHA-256.

use sha2::{Digest, Sha256};

use crate::load::{Bodies, Exchange};
use crate::prepare;

/// The length of the number at the end of an input.
const NUMBER_BYTES: usize = size_of::<u64>();

/// Inputs of one length.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    /// A request without the number at its end.
    request: Vec<u8>,
    /// The state of the hash before the number.
    hashed: Sha256,
}

impl Inputs {
    /// Creates inputs of this length, or of the length of the number if that is longer.
    pub(super) fn new(bytes: usize) -> Self {
        let body = prepare::body(bytes.max(NUMBER_BYTES));
        let bodies = Bodies { request: &body, expected: b"" };
        let Exchange { mut request, .. } = Exchange::post("/f/sha256", "application/octet-stream", bodies);
        request.truncate(request.len() - NUMBER_BYTES);
        let hashed = Sha256::new_with_prefix(&body[..body.len() - NUMBER_BYTES]);
        Self { request, hashed }
    }

    /// Returns the exchange with this number.
    pub(super) fn exchange(&self, number: u64) -> Exchange {
        let number = number.to_le_bytes();
        let digest = self.hashed.clone().chain_update(number).finalize();
        Exchange { request: [&self.request[..], &number].concat(), expected: format!("{digest:x}").into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_answer_is_the_digest_of_the_body() {
        for bytes in [1, 8, 63, 64, 65, 4096] {
            for number in [0, 1, u64::MAX] {
                let Exchange { request, expected } = Inputs::new(bytes).exchange(number);
                let request = request.as_slice();
                let head = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
                let body = &request[head..];
                assert_eq!(body.len(), bytes.max(8));
                assert!(body.ends_with(&number.to_le_bytes()));
                let length = format!("content-length: {}\r\n", body.len());
                assert!(String::from_utf8_lossy(&request[..head]).contains(&length));
                let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(String::from_utf8(expected).unwrap(), digest);
            }
        }
    }
}
