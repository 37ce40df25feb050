//! The cache's types, with [`CallError`] as the failure that may be cached instead of an answer.

use nebula_cache::FailureBytes;

use crate::error::CallError;

pub(crate) type Cache = nebula_cache::Cache<CallError>;
pub(crate) type Disk = nebula_cache::Disk<CallError>;
pub(crate) type Flights = nebula_cache::Flights<CallError>;
pub(crate) type Interest = nebula_cache::Interest<CallError>;
pub(crate) type Joined = nebula_cache::Joined<CallError>;
pub(crate) type Landed = nebula_cache::Landed<CallError>;
pub(crate) type Lead = nebula_cache::Lead<CallError>;
pub(crate) type Remembered = nebula_cache::Remembered<CallError>;

impl FailureBytes for CallError {
    fn bytes(&self) -> usize {
        self.text_bytes()
    }
}
