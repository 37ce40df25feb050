//! `sha256`: the SHA-256 digest of the input (FIPS 180-4) in hexadecimal.

use sha2::{Digest, Sha256};

/// Returns the digest of `input` in lowercase hexadecimal.
#[nebula_sdk::function]
pub fn handle(input: Vec<u8>) -> String {
    Sha256::digest(&input).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn digests_match_the_examples_of_the_standard() {
        assert_eq!(
            handle(b"abc".to_vec()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(handle(Vec::new()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
