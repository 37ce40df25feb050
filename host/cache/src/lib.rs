//! The cache of results: keys, the memory tier, executions in flight, and a store of results behind
//! them.
//!
//! ```text
//! request bytes --> Key --> Cache (memory) --> Flights (being computed) --> ResultStore (disk, …)
//! ```
//!
//! Invariant: a cached result equals the result of running the function again. Results that depend
//! on load or on the machine are never cached.
//!
//! This crate handles bytes and digests and doesn't depend on wasmtime's engine or on HTTP servers.

mod flight;
mod key;
mod memory;
mod report;
mod result;
pub mod result_store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod usage;

pub use self::flight::{FlightOutcome, FlightRole, Flights, Lead, Waiter};
pub use self::key::{FunctionKey, Key, SEMANTICS};
pub use self::memory::{Cache, Spelling};
pub use self::report::{CacheReport, Counts, FunctionCacheReport, LoadedReport};
pub use self::result::{CachedResult, EXPENSIVE_FROM, FailureBytes};
pub use self::result_store::{DiskResults, ResultStore, ResultStoreError};
pub use self::usage::Usage;
