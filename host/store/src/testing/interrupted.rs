//! A catalog that another host changes at the worst moment: just before an append.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, Version};
use nebula_model::record::VersionRecord;

use crate::catalog::{
    AppendError, Catalog, CatalogError, Change, LogKey, LogRecord, MemoryCatalog, Sequence,
};
use crate::directory::Secret;

/// A catalog in memory whose next appends are preceded by those of another host.
pub struct InterruptedCatalog {
    catalog: MemoryCatalog,
    /// One list of changes before each of the next appends.
    interruptions: Mutex<VecDeque<Vec<Change>>>,
}

impl InterruptedCatalog {
    /// Returns an empty catalog.
    pub fn new() -> Arc<Self> {
        let catalog = MemoryCatalog::new(LogKey::new(&Secret::new([1; 32])));
        Arc::new(Self { catalog, interruptions: Mutex::default() })
    }

    /// Appends these changes, one list before each of the next appends.
    pub fn interrupt(&self, interruptions: Vec<Vec<Change>>) {
        *self.interruptions.lock().unwrap_or_else(PoisonError::into_inner) = interruptions.into();
    }
}

impl Catalog for InterruptedCatalog {
    fn applied(&self) -> Sequence {
        self.catalog.applied()
    }

    fn last(&self, deadline: Instant) -> Result<Sequence, CatalogError> {
        self.catalog.last(deadline)
    }

    fn append(&self, base: Sequence, changes: &[Change], deadline: Instant) -> Result<Sequence, AppendError> {
        let interruption = self.interruptions.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(interruption) = interruption {
            self.catalog.append(self.catalog.applied(), &interruption, deadline)?;
        }
        self.catalog.append(base, changes, deadline)
    }

    fn follow(&self, from: Sequence, deadline: Instant) -> Result<Vec<LogRecord>, CatalogError> {
        self.catalog.follow(from, deadline)
    }

    fn current(&self, name: &FunctionName) -> Result<Option<VersionRecord>, CatalogError> {
        self.catalog.current(name)
    }

    fn version(&self, name: &FunctionName, version: Version) -> Result<Option<VersionRecord>, CatalogError> {
        self.catalog.version(name, version)
    }

    fn latest(&self, name: &FunctionName) -> Result<Option<Version>, CatalogError> {
        self.catalog.latest(name)
    }

    fn versions(&self, name: &FunctionName) -> Result<Vec<VersionRecord>, CatalogError> {
        self.catalog.versions(name)
    }

    fn list(&self) -> Result<Vec<VersionRecord>, CatalogError> {
        self.catalog.list()
    }

    fn names(&self, prefix: &str, count: usize) -> Result<Vec<FunctionName>, CatalogError> {
        self.catalog.names(prefix, count)
    }

    fn pipelines(&self) -> Result<Vec<FunctionName>, CatalogError> {
        self.catalog.pipelines()
    }

    fn importers(&self) -> Result<Vec<FunctionName>, CatalogError> {
        self.catalog.importers()
    }

    fn routed(&self) -> Result<Vec<FunctionName>, CatalogError> {
        self.catalog.routed()
    }

    fn disagreements(&self) -> Result<HashMap<Digest, Disagreement>, CatalogError> {
        self.catalog.disagreements()
    }

    fn digests(&self) -> Result<HashSet<Digest>, CatalogError> {
        self.catalog.digests()
    }
}
