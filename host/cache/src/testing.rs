//! Tests that every implementation of [`ResultStore`](crate::ResultStore) passes, and what they are
//! made of.
//!
//! Another crate enables the feature `testing`, implements the fixture for its implementation and
//! runs the suite:
//!
//! ```ignore
//! struct Nats(/* a server of its own */);
//! impl nebula_cache::testing::result_store::Fixture for Nats { /* … */ }
//! nebula_cache::result_store_conformance!(Nats);
//! ```

pub mod result_store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nebula_codec::{Flat, Input};
use nebula_model::answer::{Answer, Content};
use nebula_model::caching::Caching;
use nebula_model::configuration::Configuration;
use nebula_model::form::Form;
use nebula_model::id::Digest;
use nebula_model::limits::{Limits, MIB};

use crate::key::{FunctionKey, Key};
use crate::result::FailureBytes;
use crate::result_store::ResultStore;

/// The engine named in the tests' results.
pub const ENGINE: &str = "nebula/test";

/// The bytes that a store under test may take.
pub const BYTES_MAX: u64 = MIB;

/// The failure that the tests cache.
#[derive(Debug)]
pub struct Failed;

impl FailureBytes for Failed {
    fn bytes(&self) -> usize {
        0
    }
}

/// The store under test.
pub type Results = Arc<dyn ResultStore<Failed>>;

/// A cached result of the tests.
pub type CachedResult = crate::result::CachedResult<Failed>;

/// Returns the component that computed the tests' results.
pub fn component() -> Digest {
    Digest::of(b"component")
}

/// Returns the key of call `index`.
pub fn key(index: u64) -> Key {
    let input = Input::Flat(Flat::Bytes, index.to_le_bytes().to_vec().into());
    FunctionKey::new(
        &component(),
        Form::Typed,
        &Limits::default(),
        &Caching::default(),
        &Configuration::default(),
    )
    .of(&input, true)
}

/// Returns a result of [`component`] whose body has this many bytes.
pub fn cached(bytes: usize, cost: Duration) -> Arc<CachedResult> {
    cached_of(component(), bytes, cost)
}

/// Returns a result of a component, whose body has this many bytes.
pub fn cached_of(component: Digest, bytes: usize, cost: Duration) -> Arc<CachedResult> {
    let content = Content { media_type: "text/plain".into(), body: Bytes::from(vec![b'x'; bytes]) };
    Arc::new(CachedResult::new(Ok(Answer::Value(content)), component, cost, ENGINE.into()))
}

/// Returns the body of a result that is an answer.
///
/// # Panics
/// Panics if the result is a failure.
pub fn body(cached: &CachedResult) -> &Bytes {
    match &cached.result {
        Ok(answer) => answer.body(),
        Err(_) => panic!("the result is a failure"),
    }
}
