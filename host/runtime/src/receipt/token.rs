//! The encoding of a receipt: a JSON Web Signature in compact serialisation (RFC 7515 §7.1), signed
//! with Ed25519 (RFC 8037).
//!
//! ```text
//! base64url(header) . base64url(receipt, JSON) . base64url(signature)
//! ```
//!
//! Any JOSE library can check a token. If the host has no key, the algorithm is `none` and the
//! signature is empty (RFC 7518 §3.6): such a token is an unauthenticated statement.
//!
//! Keys have the formats of OpenSSL: a private key is PKCS#8 in PEM as `openssl genpkey -algorithm
//! ed25519` writes it, a public key is PEM as `openssl pkey -pubout` writes it.
//!
//! Invariant: a receipt counts as signed only after its signature was checked with a key that the
//! reader has from another source. The algorithm and key id in the token decide nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{FORMAT, Receipt};

/// The type of the token (RFC 7515 §4.1.9).
const TYPE: &str = "nebula-receipt";

const SIGNED: &str = "EdDSA";
const UNSIGNED: &str = "none";

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text isn't an Ed25519 private key.
    #[error("not an Ed25519 private key in PEM (PKCS#8): {0}")]
    Private(String),
    /// The text isn't an Ed25519 public key.
    #[error("not an Ed25519 public key in PEM: {0}")]
    Public(String),
}

/// Why a token isn't a valid receipt.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The token isn't a receipt.
    #[error("not a receipt: {0}")]
    NotAReceipt(String),
    /// Another release wrote the receipt.
    #[error("this receipt has format {found}, and this release reads {FORMAT}")]
    OtherFormat {
        /// The format in the token.
        found: u64,
    },
    /// The receipt isn't signed.
    #[error("the receipt is not signed")]
    Unsigned,
    /// The receipt wasn't signed with this key, or was changed since.
    #[error("the signature is not this key's, or the receipt has been changed{}", said_by.as_ref().map(|said| format!(" (it says that it was signed by `{said}`, and the key is `{key_id}`)")).unwrap_or_default())]
    BadSignature {
        /// The key id in the token, if it isn't this key's.
        said_by: Option<String>,
        /// The id of the key.
        key_id: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// Extensions that a reader must understand (RFC 7515 §4.1.11). None are supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

/// Signs receipts.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    key_id: String,
}

impl std::fmt::Debug for Signer {
    /// Omits the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Checks the signatures of receipts.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: VerifyingKey,
    key_id: String,
}

/// A parsed token. Its signature hasn't been checked.
#[derive(Clone, Debug)]
pub struct Signed {
    receipt: Receipt,
    header: String,
    payload: String,
    signature: Vec<u8>,
    is_signed: bool,
    said_by: Option<String>,
}

impl Signer {
    /// Creates a signer from a private key in PEM.
    ///
    /// # Errors
    /// [`KeyError::Private`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key =
            SigningKey::from_pkcs8_pem(pem.trim()).map_err(|error| KeyError::Private(error.to_string()))?;
        let key_id = key_id(&key.verifying_key());
        Ok(Self { key, key_id })
    }

    /// Returns the RFC 7638 thumbprint of its public key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

impl Verifier {
    /// Creates a verifier from a public key in PEM.
    ///
    /// # Errors
    /// [`KeyError::Public`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_public_key_pem(pem.trim())
            .map_err(|error| KeyError::Public(error.to_string()))?;
        Ok(Self { key_id: key_id(&key), key })
    }

    /// Returns the RFC 7638 thumbprint of the key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

/// Returns the thumbprint of a key (RFC 8037 §2, RFC 7638 §3): the hash of the required members of
/// an octet key pair, in order, without white space.
fn key_id(key: &VerifyingKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk))
}

impl Receipt {
    /// Returns the token of the receipt, signed if there is a key: visible ASCII, about a thousand
    /// bytes.
    pub fn to_token(&self, signer: Option<&Signer>) -> String {
        let header = Header {
            alg: if signer.is_some() { SIGNED } else { UNSIGNED }.to_owned(),
            typ: TYPE.to_owned(),
            kid: signer.map(|signer| signer.key_id.clone()),
            crit: None,
        };
        let mut token = encoded(&header);
        token.push('.');
        token.push_str(&encoded(self));
        let signature = signer.map(|signer| signer.key.sign(token.as_bytes()).to_bytes());
        token.push('.');
        if let Some(signature) = signature {
            token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        }
        token
    }
}

fn encoded(part: &impl Serialize) -> String {
    #[expect(clippy::expect_used, reason = "strings and numbers: there is nothing to refuse")]
    let json = serde_json::to_vec(part).expect("a receipt serializes");
    URL_SAFE_NO_PAD.encode(json)
}

impl Signed {
    /// Parses a token.
    ///
    /// # Errors
    /// [`TokenError`]. The signature isn't checked yet.
    pub fn parse(token: &str) -> Result<Self, TokenError> {
        let wrong = |why: String| TokenError::NotAReceipt(why);
        let parts: Vec<&str> = token.trim().split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(wrong("it isn't three parts with points between them".to_owned()));
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|error| wrong(error.to_string()));
        let json = |bytes: &[u8]| {
            serde_json::from_slice::<serde_json::Value>(bytes).map_err(|error| wrong(error.to_string()))
        };
        let Header { alg, typ, kid, crit } =
            serde_json::from_value(json(&decode(header)?)?).map_err(|error| wrong(error.to_string()))?;
        if typ != TYPE {
            return Err(wrong(format!("its type is `{typ}`")));
        }
        if crit.is_some() {
            return Err(wrong("it has extensions that aren't known here".to_owned()));
        }
        let is_signed = match alg.as_str() {
            SIGNED => true,
            UNSIGNED => false,
            _ => return Err(wrong(format!("its algorithm is `{alg}`"))),
        };
        let content = json(&decode(payload)?)?;
        // Checked first: the other members of another format have an unknown meaning.
        match content.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(found) => return Err(TokenError::OtherFormat { found }),
            None => return Err(wrong("it has no `format`".to_owned())),
        }
        Ok(Self {
            receipt: serde_json::from_value(content).map_err(|error| wrong(error.to_string()))?,
            header: header.to_owned(),
            payload: payload.to_owned(),
            signature: decode(signature)?,
            is_signed,
            said_by: kid,
        })
    }

    /// Returns the receipt without checking its signature.
    pub fn unchecked(&self) -> &Receipt {
        &self.receipt
    }

    /// Returns the receipt if it was signed with `verifier`'s key.
    ///
    /// # Errors
    /// [`TokenError::Unsigned`], [`TokenError::BadSignature`].
    pub fn verify(&self, verifier: &Verifier) -> Result<&Receipt, TokenError> {
        if !self.is_signed {
            return Err(TokenError::Unsigned);
        }
        let bad = || TokenError::BadSignature {
            said_by: self.said_by.clone().filter(|said| *said != verifier.key_id),
            key_id: verifier.key_id.clone(),
        };
        let signature = Signature::from_slice(&self.signature).map_err(|_| bad())?;
        let signed = format!("{}.{}", self.header, self.payload);
        // Strict: rejects keys of small order and malleable signatures.
        verifier.key.verify_strict(signed.as_bytes(), &signature).map_err(|_| bad())?;
        Ok(&self.receipt)
    }
}

#[cfg(test)]
mod tests {
    use nebula_model::form::Form;
    use nebula_model::id::Digest;
    use nebula_model::request::Prefer;
    use proptest::prelude::*;

    use super::*;
    use crate::receipt::{ContentReceipt, InputKind, InputReceipt, LimitsReceipt, OutputReceipt};

    /// A key pair of `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIBSFpc70zIIGfZrYJbHz41n2PMx5auztKoh90/qIAZNN\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAH2ozifr5xia8J/xKkhxeIJ0NbY2+uByQ513CaGQ//to=\n\
        -----END PUBLIC KEY-----\n";

    fn receipt() -> Receipt {
        Receipt {
            format: FORMAT,
            function: "one@v1".to_owned(),
            component: Digest::of(b"component"),
            form: Form::Typed,
            input: InputReceipt {
                kind: InputKind::Payload,
                media_type: Some("text/plain".to_owned()),
                digest: Digest::of(b"input"),
                bytes: 5,
                kept: true,
            },
            prefer: Prefer::AsSent,
            limits: LimitsReceipt { memory_bytes_max: 1, input_bytes_max: 2, output_bytes_max: 3 },
            config: Some(Digest::of(b"config")),
            semantics: 1,
            engine: "nebula/0 wasmtime/0 (x)".to_owned(),
            output: OutputReceipt::Value(ContentReceipt {
                media_type: "text/plain".to_owned(),
                digest: Digest::of(b"output"),
                bytes: 6,
            }),
            issued_at_unix_s: 1_795_478_400,
        }
    }

    fn signer() -> Signer {
        Signer::from_pem(PRIVATE).unwrap()
    }

    fn verifier() -> Verifier {
        Verifier::from_pem(PUBLIC).unwrap()
    }

    #[test]
    fn a_receipt_signed_with_the_private_key_verifies_with_the_public_key() {
        assert_eq!(signer().key_id(), verifier().key_id());
        let token = receipt().to_token(Some(&signer()));
        let signed = Signed::parse(&format!("{token}\n")).unwrap();
        assert_eq!(*signed.verify(&verifier()).unwrap(), receipt());
    }

    #[test]
    fn an_unsigned_receipt_is_parsed_but_never_verifies() {
        let token = receipt().to_token(None);
        let signed = Signed::parse(&token).unwrap();
        assert_eq!(*signed.unchecked(), receipt());
        assert!(matches!(signed.verify(&verifier()), Err(TokenError::Unsigned)));
    }

    /// A forged token combines the parts of two tokens.
    #[test]
    fn every_change_of_a_signed_receipt_is_detected() {
        let token = receipt().to_token(Some(&signer()));
        let other = Receipt { semantics: 2, ..receipt() };
        let unsigned = other.to_token(None);
        let other = other.to_token(Some(&signer()));
        let part = |token: &str, index: usize| token.split('.').nth(index).unwrap().to_owned();
        let forgeries = [
            [part(&token, 0), part(&other, 1), part(&token, 2)],
            [part(&token, 0), part(&token, 1), part(&other, 2)],
            [part(&token, 0), part(&token, 1), String::new()],
            // The header says `none`, although the signature is a real one.
            [part(&unsigned, 0), part(&token, 1), part(&token, 2)],
        ];
        for forged in forgeries {
            let signed = Signed::parse(&forged.join(".")).unwrap();
            assert!(signed.verify(&verifier()).is_err(), "{forged:?}");
        }
        // Flips bits of the signature, except in its last character, which has spare bits.
        for index in (token.rfind('.').unwrap() + 1)..token.len() - 1 {
            let mut forged = token.clone().into_bytes();
            forged[index] = if forged[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(Signed::parse(&forged).unwrap().verify(&verifier()).is_err(), "{index}");
        }
    }

    #[test]
    fn a_signature_of_another_key_reports_both_keys() {
        let mut secret = [7; 32];
        secret[0] = 1;
        let key = SigningKey::from_bytes(&secret);
        let other = Signer { key_id: key_id(&key.verifying_key()), key };
        let signed = Signed::parse(&receipt().to_token(Some(&other))).unwrap();
        let error = signed.verify(&verifier()).unwrap_err().to_string();
        assert!(error.contains(other.key_id()) && error.contains(verifier().key_id()), "{error}");
    }

    #[test]
    fn other_formats_and_types_are_reported() {
        let other = Receipt { format: 2, ..receipt() }.to_token(None);
        assert!(matches!(Signed::parse(&other), Err(TokenError::OtherFormat { found: 2 })));
        for (header, why) in [
            (serde_json::json!({"alg": "EdDSA", "typ": "JWT"}), "`JWT`"),
            (serde_json::json!({"alg": "HS256", "typ": TYPE}), "`HS256`"),
            (serde_json::json!({"alg": "EdDSA", "typ": TYPE, "crit": ["b64"], "b64": false}), "extensions"),
        ] {
            let token = format!("{}.{}.", encoded(&header), encoded(&receipt()));
            let error = Signed::parse(&token).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn invalid_keys_are_reported() {
        assert!(matches!(Signer::from_pem(PUBLIC), Err(KeyError::Private(_))));
        assert!(matches!(Verifier::from_pem(PRIVATE), Err(KeyError::Public(_))));
        assert!(matches!(Verifier::from_pem("x"), Err(KeyError::Public(_))));
    }

    /// RFC 8037, appendix A.3.
    #[test]
    fn key_id_matches_the_example_of_the_rfc() {
        let x: [u8; 32] = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
            .unwrap()
            .try_into()
            .unwrap();
        let key = VerifyingKey::from_bytes(&x).unwrap();
        assert_eq!(key_id(&key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    proptest! {
        #[test]
        fn any_text_is_a_receipt_or_an_error(text: String, parts: [Vec<u8>; 3]) {
            let _ = Signed::parse(&text);
            let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            if let Ok(signed) = Signed::parse(&token) {
                prop_assert!(signed.verify(&verifier()).is_err());
            }
        }
    }
}
