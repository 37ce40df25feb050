//! State that the visitors of one document share: the reason for an early end, the memory budget,
//! and how numbers are read.

use std::cell::{Cell, RefCell};

use serde::de;
use wasmtime::component::Val;

use super::error::DecodeError;
use crate::text::{excerpt, wit_excerpt};
use crate::types::Type;

/// Host memory that the values of any document may use, bytes.
const DECODED_BYTES_BASE: usize = 16 * 1024 * 1024;

/// Further host memory for each byte of the document, bytes. A value takes 40 bytes, and the
/// shortest takes two in JSON (`1,`), with spare capacity for a growing list; a byte in base64
/// takes 30.
const DECODED_BYTES_PER_INPUT_BYTE: usize = 32;

/// Approximate overhead of an allocation, bytes.
const ALLOCATION_BYTES: usize = 16;

/// Returns the memory that the values of a document of `input_bytes` may use, bytes.
pub(super) fn decoded_bytes_max(input_bytes: usize) -> usize {
    input_bytes.saturating_mul(DECODED_BYTES_PER_INPUT_BYTE).saturating_add(DECODED_BYTES_BASE)
}

/// Initial capacity of a list, values.
const ITEMS_MIN: usize = 4;

/// The way in which numbers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// As 64-bit integers and doubles, which is faster. A number that needs its digits ends the
    /// reading.
    Parsed,
    /// By their digits, where the type is one of numbers.
    Digits,
}

/// The state of decoding one document.
pub(super) struct State {
    numbers: Numbers,
    failure: RefCell<Option<Failure>>,
    bytes_left: Cell<usize>,
    bytes_max: usize,
}

/// The first error of a document.
struct Failure {
    /// The steps of its pointer, innermost first.
    steps: Vec<String>,
    cause: Cause,
}

enum Cause {
    Mismatch {
        expected: String,
        found: String,
        hint: Option<String>,
    },
    TooLarge,
    /// A number needs its digits.
    NeedsDigits,
}

impl State {
    /// Creates the state for a document whose values may use `bytes_max` of memory.
    pub(super) fn new(bytes_max: usize, numbers: Numbers) -> Self {
        Self { numbers, failure: RefCell::new(None), bytes_left: Cell::new(bytes_max), bytes_max }
    }

    /// Returns whether numbers are read by their digits.
    pub(super) fn reads_digits(&self) -> bool {
        self.numbers == Numbers::Digits
    }

    /// Ends the reading of a document whose numbers were parsed: this one needs its digits.
    pub(super) fn need_digits<E: de::Error>(&self) -> E {
        self.fail(|| Cause::NeedsDigits)
    }

    /// Returns whether the reading ended because a number needs its digits.
    pub(super) fn needs_digits(&self) -> bool {
        matches!(&*self.failure.borrow(), Some(Failure { cause: Cause::NeedsDigits, .. }))
    }

    /// Records a mismatch: `expected` describes what should be here.
    pub(super) fn mismatch<E: de::Error>(&self, expected: String, found: &str, hint: Option<String>) -> E {
        self.fail(|| Cause::Mismatch { expected, found: excerpt(found), hint })
    }

    /// Records a mismatch: a value of `ty` should be here.
    pub(super) fn type_mismatch<E: de::Error>(&self, ty: &Type, found: &str, hint: Option<String>) -> E {
        self.fail(|| Cause::Mismatch { expected: wit_excerpt(ty), found: excerpt(found), hint })
    }

    fn fail<E: de::Error>(&self, cause: impl FnOnce() -> Cause) -> E {
        self.failure.borrow_mut().get_or_insert_with(|| Failure { steps: Vec::new(), cause: cause() });
        E::custom("decoding failed")
    }

    /// Adds a step to the pointer of an error on its way out.
    pub(super) fn at<E>(&self, step: impl FnOnce() -> String) -> impl FnOnce(E) -> E {
        move |error| {
            if let Some(failure) = self.failure.borrow_mut().as_mut() {
                failure.steps.push(excerpt(&step()));
            }
            error
        }
    }

    /// Takes `bytes` from the memory budget, before they are allocated.
    pub(super) fn reserve<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.bytes_left.get().checked_sub(bytes) {
            Some(left) => {
                self.bytes_left.set(left);
                Ok(())
            }
            None => Err(self.fail(|| Cause::TooLarge)),
        }
    }

    /// Copies `text` to the heap.
    pub(super) fn string<E: de::Error>(&self, text: &str) -> Result<String, E> {
        self.reserve(text.len() + ALLOCATION_BYTES)?;
        Ok(text.to_owned())
    }

    /// Moves a value to the heap.
    pub(super) fn boxed<E: de::Error>(&self, val: Val) -> Result<Box<Val>, E> {
        self.reserve(size_of::<Val>() + ALLOCATION_BYTES)?;
        Ok(Box::new(val))
    }

    /// Creates an empty vector with capacity for exactly `len` items.
    pub(super) fn vec<T, E: de::Error>(&self, len: usize) -> Result<Vec<T>, E> {
        self.reserve(len.saturating_mul(size_of::<T>()).saturating_add(ALLOCATION_BYTES))?;
        Ok(Vec::with_capacity(len))
    }

    /// Appends to a vector. It grows by half, which bounds its unused capacity.
    pub(super) fn push<T, E: de::Error>(&self, items: &mut Vec<T>, item: T) -> Result<(), E> {
        if items.len() == items.capacity() {
            let more = (items.len() / 2).max(ITEMS_MIN);
            self.reserve(more.saturating_mul(size_of::<T>()).saturating_add(ALLOCATION_BYTES))?;
            items.reserve_exact(more);
        }
        items.push(item);
        Ok(())
    }

    /// Returns the recorded error, or `None` if the document isn't JSON.
    pub(super) fn into_error(self) -> Option<DecodeError> {
        let Failure { steps, cause } = self.failure.into_inner()?;
        let mut at = String::new();
        for step in steps.iter().rev() {
            at.push('/');
            at.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        Some(match cause {
            Cause::Mismatch { expected, found, hint } => DecodeError::Mismatch { at, expected, found, hint },
            Cause::TooLarge => DecodeError::TooLarge { at, bytes_max: self.bytes_max },
            // The document is read again before this can show.
            Cause::NeedsDigits => return None,
        })
    }
}
