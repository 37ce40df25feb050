//! Guests that misbehave, or are special in another way; each is an example of this package.
//!
//! They lie in directories named after the modules of the end-to-end tests: `faults/panics.rs` here is
//! what the test `faults::panics` calls. A guest without such a test doesn't compile there.
//! They are written with bare bindings, not with the SDK: what they do wrong is theirs alone.
