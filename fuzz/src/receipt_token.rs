//! Receipts, which come from anywhere as tokens.

use std::sync::LazyLock;

use nebula_runtime::receipt::{Signed, Verifier};

/// Its private key is not kept, so that no input is signed with it.
#[expect(clippy::unwrap_used, reason = "a constant")]
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let pem = "-----BEGIN PUBLIC KEY-----\n\
               MCowBQYDK2VwAyEA/u+c+wFYHmpMZPZwHlaAbgnZMz/+hYYAAMw/ZzlJJHE=\n\
               -----END PUBLIC KEY-----\n";
    Verifier::from_pem(pem).unwrap()
});

/// A token that is read says the same when it is written again, and no token is verified without its key.
#[expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(signed) = Signed::parse(text) else { return };
    let written = signed.unchecked().to_token(None);
    let again = Signed::parse(&written).unwrap();
    assert_eq!(again.unchecked().to_token(None), written);
    assert!(signed.verify(&VERIFIER).is_err());
}
