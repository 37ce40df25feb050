//! What the visitors of one document share: why it ended early, and what its values may still take.

use std::cell::{Cell, RefCell};

use serde::de;
use wasmtime::component::Val;

use super::DecodeError;
use crate::text::{excerpt, wit_excerpt};
use crate::types::Type;

/// Host memory that the values of any document may take, bytes.
const DECODED_BYTES_BASE: usize = 16 * 1024 * 1024;

/// And for each byte of the document, bytes. A value takes 40 bytes and the shortest takes two in
/// JSON (`1,`), with room for a list to grow; a byte in base64 takes 30.
const DECODED_BYTES_PER_INPUT_BYTE: usize = 32;

/// What the allocator keeps beside each allocation, about.
const ALLOCATION_BYTES: usize = 16;

/// How many values a list makes room for at first.
const ITEMS_MIN: usize = 4;

/// The state of decoding one document.
pub(super) struct Trace {
    stopped: RefCell<Option<Stopped>>,
    bytes_left: Cell<usize>,
    bytes_max: usize,
}

/// Where decoding ended.
struct Stopped {
    /// Innermost first.
    steps: Vec<String>,
    why: Why,
}

enum Why {
    Mismatch { expected: String, found: String },
    TooLarge,
}

impl Trace {
    /// For a document of `input_bytes`.
    pub(super) fn new(input_bytes: usize) -> Self {
        let bytes_max =
            input_bytes.saturating_mul(DECODED_BYTES_PER_INPUT_BYTE).saturating_add(DECODED_BYTES_BASE);
        Self { stopped: RefCell::new(None), bytes_left: Cell::new(bytes_max), bytes_max }
    }

    /// For a document whose values may take whatever they do.
    pub(super) fn unbounded() -> Self {
        Self { stopped: RefCell::new(None), bytes_left: Cell::new(usize::MAX), bytes_max: usize::MAX }
    }

    /// Records that something else was expected here.
    pub(super) fn mismatch<E: de::Error>(&self, expected: String, found: &str) -> E {
        self.stop(|| Why::Mismatch { expected, found: excerpt(found) })
    }

    /// As [`mismatch`](Self::mismatch), for a value of `ty`.
    pub(super) fn wrong<E: de::Error>(&self, ty: &Type, found: &str) -> E {
        self.stop(|| Why::Mismatch { expected: wit_excerpt(ty), found: excerpt(found) })
    }

    fn stop<E: de::Error>(&self, why: impl FnOnce() -> Why) -> E {
        self.stopped.borrow_mut().get_or_insert_with(|| Stopped { steps: Vec::new(), why: why() });
        E::custom("stopped")
    }

    /// Turns serde's own complaint about the kind of a value into a mismatch; a syntax error keeps
    /// its position.
    pub(super) fn typed<E: de::Error>(&self, error: E, expected: impl FnOnce() -> String, found: &str) -> E {
        let unexplained = self.stopped.borrow().is_none();
        if unexplained && error.to_string().starts_with("invalid type") {
            return self.mismatch(expected(), found);
        }
        error
    }

    /// Adds a step to the pointer of an error on its way out.
    pub(super) fn at<E>(&self, step: impl FnOnce() -> String) -> impl FnOnce(E) -> E {
        move |error| {
            if let Some(stopped) = self.stopped.borrow_mut().as_mut() {
                stopped.steps.push(excerpt(&step()));
            }
            error
        }
    }

    /// Takes `bytes` from what the document's values may take, before they are allocated.
    pub(super) fn hold<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.bytes_left.get().checked_sub(bytes) {
            Some(left) => {
                self.bytes_left.set(left);
                Ok(())
            }
            None => Err(self.stop(|| Why::TooLarge)),
        }
    }

    /// A copy of `text` on the heap.
    pub(super) fn string<E: de::Error>(&self, text: &str) -> Result<String, E> {
        self.hold(text.len() + ALLOCATION_BYTES)?;
        Ok(text.to_owned())
    }

    /// A value on the heap.
    pub(super) fn boxed<E: de::Error>(&self, val: Val) -> Result<Box<Val>, E> {
        self.hold(size_of::<Val>() + ALLOCATION_BYTES)?;
        Ok(Box::new(val))
    }

    /// An empty vector with room for just `len` items.
    pub(super) fn vec<T, E: de::Error>(&self, len: usize) -> Result<Vec<T>, E> {
        self.hold(len.saturating_mul(size_of::<T>()).saturating_add(ALLOCATION_BYTES))?;
        Ok(Vec::with_capacity(len))
    }

    /// Appends to a vector, which grows by half, so that no more than that is held for nothing.
    pub(super) fn push<T, E: de::Error>(&self, items: &mut Vec<T>, item: T) -> Result<(), E> {
        if items.len() == items.capacity() {
            let more = (items.len() / 2).max(ITEMS_MIN);
            self.hold(more.saturating_mul(size_of::<T>()).saturating_add(ALLOCATION_BYTES))?;
            items.reserve_exact(more);
        }
        items.push(item);
        Ok(())
    }

    /// What stopped the document, unless it wasn't one.
    pub(super) fn into_error(self) -> Option<DecodeError> {
        let Stopped { steps, why } = self.stopped.into_inner()?;
        let mut at = String::new();
        for step in steps.iter().rev() {
            at.push('/');
            at.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        Some(match why {
            Why::Mismatch { expected, found } => DecodeError::Mismatch { at, expected, found },
            Why::TooLarge => DecodeError::TooLarge { at, bytes_max: self.bytes_max },
        })
    }
}
