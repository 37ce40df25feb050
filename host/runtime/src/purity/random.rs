//! Randomness as a function of the function and its input.
//!
//! The stream is BLAKE3 in extendable-output mode over a domain-separated hash of (component
//! digest, input). The same call on any machine draws the same numbers; another input draws others.
//! The input is hashed only if the guest asks for a number.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use rand_core::TryRng;
use wasmtime::component::Val;

/// Domain separation, as BLAKE3's key derivation wants it: unique and fixed.
const CONTEXT: &str = "nebula 2026-11 deterministic random stream of a call";

/// What the numbers of one call are drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    digest: [u8; 32],
    input: SeedInput,
}

/// A call's input, in a form that equal inputs share.
#[derive(Clone, Debug)]
pub(crate) enum SeedInput {
    /// Bytes, in parts.
    Parts(Vec<Bytes>),
    /// Values. Their text is canonical: the decoder has put fields and flags in the type's order.
    Values(Arc<[Val]>),
}

impl Seed {
    pub(crate) fn new(digest: [u8; 32], input: SeedInput) -> Self {
        Self { digest, input }
    }

    /// An independent stream for each `purpose`.
    pub(super) fn stream(self: &Arc<Self>, purpose: &'static str) -> SeededStream {
        SeededStream { state: State::Unused { seed: Arc::clone(self), purpose } }
    }

    fn reader(&self, purpose: &str) -> blake3::OutputReader {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.digest);
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(purpose.as_bytes());
        match &self.input {
            SeedInput::Parts(parts) => parts.iter().for_each(|bytes| part(bytes)),
            SeedInput::Values(values) => part(format!("{values:?}").as_bytes()),
        }
        hasher.finalize_xof()
    }
}

/// One stream of numbers.
pub(super) struct SeededStream {
    state: State,
}

enum State {
    Unused { seed: Arc<Seed>, purpose: &'static str },
    Reading(Box<blake3::OutputReader>),
}

impl SeededStream {
    fn fill(&mut self, out: &mut [u8]) {
        if let State::Unused { seed, purpose } = &self.state {
            self.state = State::Reading(Box::new(seed.reader(purpose)));
        }
        if let State::Reading(reader) = &mut self.state {
            reader.fill(out);
        }
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

    fn draw(digest: u8, input: &[&'static str], purpose: &'static str) -> u64 {
        let input = input.iter().map(|part| Bytes::from_static(part.as_bytes())).collect();
        let seed = Arc::new(Seed::new([digest; 32], SeedInput::Parts(input)));
        seed.stream(purpose).try_next_u64().unwrap()
    }

    #[test]
    fn equal_calls_draw_equal_numbers() {
        assert_eq!(draw(1, &["a"], "secure"), draw(1, &["a"], "secure"));
    }

    #[test]
    fn any_difference_changes_the_stream() {
        let base = draw(1, &["ab", "c"], "secure");
        assert_ne!(base, draw(2, &["ab", "c"], "secure"));
        assert_ne!(base, draw(1, &["a", "bc"], "secure"));
        assert_ne!(base, draw(1, &["ab", "c"], "insecure"));
    }
}
