//! The cache's types, with [`CallError`] as the failure that may be cached instead of an answer.

use nebula_cache::FailureBytes;

use crate::error::CallError;

pub(crate) type Cache = nebula_cache::Cache<CallError>;
pub(crate) type CachedResult = nebula_cache::CachedResult<CallError>;
pub(crate) type DiskResults = nebula_cache::DiskResults<CallError>;
pub(crate) type FlightOutcome = nebula_cache::FlightOutcome<CallError>;
pub(crate) type FlightRole = nebula_cache::FlightRole<CallError>;
pub(crate) type Flights = nebula_cache::Flights<CallError>;
pub(crate) type Lead = nebula_cache::Lead<CallError>;
pub(crate) type Waiter = nebula_cache::Waiter<CallError>;

/// The store of results behind the memory tier.
pub type ResultStore = dyn nebula_cache::ResultStore<CallError>;

impl FailureBytes for CallError {
    fn bytes(&self) -> usize {
        self.text_bytes()
    }
}
