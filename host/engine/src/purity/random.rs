//! Randomness as a function of the component and its input.
//!
//! The stream is BLAKE3 in extendable-output mode over a domain-separated hash of (component
//! digest, input). The same call draws the same numbers on any machine; another input draws others.
//! The input is hashed only if the guest requests a number.
//!
//! An instance may be created before its input exists. Numbers drawn during start-up depend on the
//! digest alone, even if the input is already available. So preparing an instance early makes no
//! difference.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rand_core::TryRng;
use wasmtime::component::Val;

/// Domain separation, as BLAKE3's key derivation requires: unique and fixed.
const CONTEXT: &str = "nebula 2026-11 deterministic random stream of a call";

/// The seed of one call's random numbers.
#[derive(Debug)]
pub(crate) struct Seed {
    digest: [u8; 32],
    /// Empty while the instance starts up.
    input: OnceLock<SeedInput>,
}

/// A call's input, in a form shared by equal inputs.
#[derive(Clone, Debug)]
pub enum SeedInput {
    /// One `string` or `list<u8>`.
    Bytes(Bytes),
    /// A payload: its media type and content.
    Payload(Bytes, Bytes),
    /// A request: its method, target and content.
    Http(http::Method, http::Uri, Bytes),
    /// Values. Their text is canonical: the decoder puts fields and flags in the type's order.
    Values(Arc<[Val]>),
}

impl Seed {
    pub(crate) fn new(digest: [u8; 32]) -> Self {
        Self { digest, input: OnceLock::new() }
    }

    /// Begins the call with its `input` and restarts the streams.
    pub(super) fn begin(&self, input: SeedInput) {
        // A sandbox serves one call, so this is set once.
        let _ = self.input.set(input);
    }

    /// Returns an independent stream for `purpose`.
    pub(super) fn stream(self: &Arc<Self>, purpose: &'static str) -> SeededStream {
        SeededStream { seed: Arc::clone(self), purpose, reader: None }
    }

    fn reader(&self, purpose: &str) -> blake3::OutputReader {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.digest);
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(purpose.as_bytes());
        match self.input.get() {
            None => {}
            Some(SeedInput::Bytes(bytes)) => part(bytes),
            Some(SeedInput::Payload(media_type, body)) => {
                part(media_type);
                part(body);
            }
            Some(SeedInput::Http(method, target, body)) => {
                part(format!("{method} {target}").as_bytes());
                part(body);
            }
            // A single `string` or `list<u8>` is its bytes in every encoding.
            Some(SeedInput::Values(values)) => match &**values {
                [Val::String(text)] => part(text.as_bytes()),
                [Val::List(items)] if items.iter().all(|item| matches!(item, Val::U8(_))) => {
                    let byte = |item: &Val| if let Val::U8(byte) = item { Some(*byte) } else { None };
                    part(&items.iter().filter_map(byte).collect::<Vec<_>>());
                }
                values => part(format!("{values:?}").as_bytes()),
            },
        }
        hasher.finalize_xof()
    }
}

/// One stream of random numbers.
pub(super) struct SeededStream {
    seed: Arc<Seed>,
    purpose: &'static str,
    /// Created at the first number, and again after the call begins.
    reader: Option<Reader>,
}

struct Reader {
    begun: bool,
    output: Box<blake3::OutputReader>,
}

impl SeededStream {
    fn fill(&mut self, out: &mut [u8]) {
        let begun = self.seed.input.get().is_some();
        let current = self.reader.take().filter(|reader| reader.begun == begun);
        let reader = self.reader.insert(
            current.unwrap_or_else(|| Reader { begun, output: Box::new(self.seed.reader(self.purpose)) }),
        );
        reader.output.fill(out);
    }
}

impl TryRng for SeededStream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.fill(&mut word);
        Ok(u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.fill(&mut word);
        Ok(u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.fill(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw_from(digest: u8, input: SeedInput, purpose: &'static str) -> u64 {
        let seed = Arc::new(Seed::new([digest; 32]));
        seed.begin(input);
        seed.stream(purpose).try_next_u64().unwrap()
    }

    fn draw(digest: u8, input: &'static str, purpose: &'static str) -> u64 {
        draw_from(digest, SeedInput::Bytes(Bytes::from_static(input.as_bytes())), purpose)
    }

    #[test]
    fn equal_calls_draw_equal_numbers() {
        assert_eq!(draw(1, "a", "secure"), draw(1, "a", "secure"));
    }

    #[test]
    fn encoding_of_the_input_makes_no_difference() {
        let from_values = |value: Val| draw_from(1, SeedInput::Values([value].into()), "secure");
        assert_eq!(from_values(Val::String("ab".to_owned())), draw(1, "ab", "secure"));
        assert_eq!(from_values(Val::List(vec![Val::U8(b'a'), Val::U8(b'b')])), draw(1, "ab", "secure"));
        assert_eq!(from_values(Val::List(Vec::new())), draw(1, "", "secure"));
        assert_ne!(from_values(Val::U8(b'a')), draw(1, "a", "secure"));
    }

    #[test]
    fn numbers_drawn_during_start_up_do_not_affect_the_call() {
        let seed = Arc::new(Seed::new([1; 32]));
        let mut stream = seed.stream("secure");
        let before = stream.try_next_u64().unwrap();
        seed.begin(SeedInput::Bytes(Bytes::from_static(b"a")));
        assert_eq!(stream.try_next_u64().unwrap(), draw(1, "a", "secure"));
        assert_ne!(before, draw(1, "a", "secure"));
    }

    #[test]
    fn any_difference_changes_the_stream() {
        let draw = |digest, media_type: &'static str, body: &'static str, purpose| {
            let [media_type, body] = [media_type, body].map(|text| Bytes::from_static(text.as_bytes()));
            draw_from(digest, SeedInput::Payload(media_type, body), purpose)
        };
        let base = draw(1, "ab", "c", "secure");
        assert_ne!(base, draw(2, "ab", "c", "secure"));
        assert_ne!(base, draw(1, "a", "bc", "secure"));
        assert_ne!(base, draw(1, "ab", "c", "insecure"));
    }
}
