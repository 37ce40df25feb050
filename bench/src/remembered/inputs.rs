//! As many inputs of `functions/sha256` as one asks for, each with its digest.
//!
//! They are made while they are asked for, so what they have in common is hashed once: they differ in their last
//! bytes, and making one takes a copy and a block or two of SHA-256, whatever its length.

use sha2::{Digest, Sha256};

use crate::load::Exchange;
use crate::prepare;

/// By which inputs differ.
const NUMBER_BYTES: usize = size_of::<u64>();

/// Inputs of one length.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    /// A request without the last bytes of its body.
    request: Vec<u8>,
    /// What is hashed of a body without its last bytes.
    hashed: Sha256,
}

impl Inputs {
    /// Of so many bytes, or as many as it takes to tell them apart.
    pub(super) fn new(bytes: usize) -> Self {
        let body = prepare::body(bytes.max(NUMBER_BYTES));
        let Exchange { mut request, .. } =
            Exchange::post("/f/sha256", "application/octet-stream", &body, b"");
        request.truncate(request.len() - NUMBER_BYTES);
        let hashed = Sha256::new_with_prefix(&body[..body.len() - NUMBER_BYTES]);
        Self { request, hashed }
    }

    /// The one of this number, and of no other.
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
    fn an_input_has_the_digest_of_its_body() {
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
