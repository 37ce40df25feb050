//! Receipts, which anyone can send as tokens.

use std::sync::LazyLock;

use nebula_runtime::receipt::{Signed, Verifier};

/// The private key of this verifier wasn't kept, so no input can have a valid signature.
#[expect(clippy::unwrap_used, reason = "a constant")]
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let pem = "-----BEGIN PUBLIC KEY-----\n\
               MCowBQYDK2VwAyEA/u+c+wFYHmpMZPZwHlaAbgnZMz/+hYYAAMw/ZzlJJHE=\n\
               -----END PUBLIC KEY-----\n";
    Verifier::from_pem(pem).unwrap()
});

/// Panics if a parsed token changes when it is written again, or if an unsigned or foreign token is
/// verified.
#[expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(signed) = Signed::parse(text) else { return };
    let written = signed.unchecked().to_token(None);
    let again = Signed::parse(&written).unwrap();
    assert_eq!(again.unchecked().to_token(None), written);
    assert!(signed.verify(&VERIFIER).is_err());
}
