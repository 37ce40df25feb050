//! A catalog in memory, for tests: the plainest implementation of the contract.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nebula_model::disagreement::Disagreement;
use nebula_model::id::{Digest, FunctionName, Version};
use nebula_model::record::VersionRecord;

use super::progress::Progress;
use super::record::NO_RECORD;
use super::{AppendError, Catalog, CatalogError, Change, LogKey, LogRecord, RawChange, Sequence};

/// A catalog in memory. It is gone with the value.
pub struct MemoryCatalog {
    key: LogKey,
    state: Mutex<State>,
    progress: Progress,
}

#[derive(Default)]
struct State {
    log: Vec<LogRecord>,
    view: View,
}

#[derive(Default)]
struct View {
    functions: BTreeMap<FunctionName, Versions>,
    pipelines: BTreeSet<FunctionName>,
    importers: BTreeSet<FunctionName>,
    routed: BTreeSet<FunctionName>,
    disagreements: HashMap<Digest, Disagreement>,
}

struct Versions {
    current: Version,
    records: BTreeMap<Version, VersionRecord>,
}

impl MemoryCatalog {
    /// Returns an empty catalog.
    pub fn new(key: LogKey) -> Self {
        Self { key, state: Mutex::default(), progress: Progress::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Publish(record) => {
                let (name, version) = (record.name.clone(), record.version);
                if record.pipeline.is_some() {
                    self.pipelines.insert(name.clone());
                }
                if !record.linked.is_empty() {
                    self.importers.insert(name.clone());
                }
                if !record.routes.is_empty() {
                    self.routed.insert(name.clone());
                }
                let versions = self
                    .functions
                    .entry(name)
                    .or_insert_with(|| Versions { current: version, records: BTreeMap::new() });
                versions.current = version;
                versions.records.insert(version, *record);
            }
            Change::SetCurrent { name, version } => {
                if let Some(versions) = self.functions.get_mut(&name)
                    && versions.records.contains_key(&version)
                {
                    versions.current = version;
                }
            }
            Change::Remove(name) => {
                self.functions.remove(&name);
                self.pipelines.remove(&name);
                self.importers.remove(&name);
                self.routed.remove(&name);
            }
            Change::Distrust(disagreement) => {
                self.disagreements.insert(disagreement.component, disagreement);
            }
            Change::Trust(component) => {
                self.disagreements.remove(&component);
            }
            Change::Unknown(_) => {}
        }
    }
}

impl Catalog for MemoryCatalog {
    fn applied(&self) -> Sequence {
        self.progress.applied()
    }

    fn last(&self, _: Instant) -> Result<Sequence, CatalogError> {
        Ok(self.applied())
    }

    fn append(&self, base: Sequence, changes: &[Change], deadline: Instant) -> Result<Sequence, AppendError> {
        let mut state = self.state();
        if deadline <= Instant::now() {
            return Err(AppendError::DeadlineExceeded);
        }
        let (last, previous) = match state.log.last() {
            Some(record) => (record.sequence(), record.hash()),
            None => (Sequence::START, NO_RECORD),
        };
        if last != base {
            return Err(AppendError::Conflict { last });
        }
        let raw = changes.iter().map(RawChange::from).collect();
        let record = LogRecord::seal(&self.key, last.next(), previous, raw)?;
        let sequence = record.sequence();
        state.log.push(record);
        for change in changes {
            state.view.apply(change.clone());
        }
        self.progress.advance(sequence);
        Ok(sequence)
    }

    fn follow(&self, from: Sequence, deadline: Instant) -> Result<Vec<LogRecord>, CatalogError> {
        self.progress.wait_past(from, deadline);
        Ok(self.state().log.iter().filter(|record| record.sequence() > from).cloned().collect())
    }

    fn current(&self, name: &FunctionName) -> Result<Option<VersionRecord>, CatalogError> {
        let state = self.state();
        let versions = state.view.functions.get(name);
        Ok(versions.and_then(|versions| versions.records.get(&versions.current)).cloned())
    }

    fn version(&self, name: &FunctionName, version: Version) -> Result<Option<VersionRecord>, CatalogError> {
        let state = self.state();
        let versions = state.view.functions.get(name);
        Ok(versions.and_then(|versions| versions.records.get(&version)).cloned())
    }

    fn latest(&self, name: &FunctionName) -> Result<Option<Version>, CatalogError> {
        let state = self.state();
        let versions = state.view.functions.get(name);
        Ok(versions.and_then(|versions| versions.records.keys().next_back()).copied())
    }

    fn versions(&self, name: &FunctionName) -> Result<Vec<VersionRecord>, CatalogError> {
        let state = self.state();
        let versions = state.view.functions.get(name);
        Ok(versions.map(|versions| versions.records.values().cloned().collect()).unwrap_or_default())
    }

    fn list(&self) -> Result<Vec<VersionRecord>, CatalogError> {
        let state = self.state();
        let current = |versions: &Versions| versions.records.get(&versions.current).cloned();
        Ok(state.view.functions.values().filter_map(current).collect())
    }

    fn names(&self, prefix: &str, count: usize) -> Result<Vec<FunctionName>, CatalogError> {
        let state = self.state();
        let names = state.view.functions.keys().filter(|name| name.as_str().starts_with(prefix));
        Ok(names.take(count).cloned().collect())
    }

    fn pipelines(&self) -> Result<Vec<FunctionName>, CatalogError> {
        Ok(self.state().view.pipelines.iter().cloned().collect())
    }

    fn importers(&self) -> Result<Vec<FunctionName>, CatalogError> {
        Ok(self.state().view.importers.iter().cloned().collect())
    }

    fn routed(&self) -> Result<Vec<FunctionName>, CatalogError> {
        Ok(self.state().view.routed.iter().cloned().collect())
    }

    fn disagreements(&self) -> Result<HashMap<Digest, Disagreement>, CatalogError> {
        Ok(self.state().view.disagreements.clone())
    }

    fn digests(&self) -> Result<HashSet<Digest>, CatalogError> {
        let state = self.state();
        let records = state.view.functions.values().flat_map(|versions| versions.records.values());
        Ok(records.map(|record| record.digest).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::directory::Secret;
    use crate::testing::catalog::Fixture;

    struct InMemory(Arc<MemoryCatalog>);

    impl Fixture for InMemory {
        fn new() -> Self {
            Self(Arc::new(MemoryCatalog::new(LogKey::new(&Secret::new([1; 32])))))
        }

        fn catalog(&self) -> Arc<dyn Catalog> {
            Arc::clone(&self.0) as Arc<dyn Catalog>
        }

        fn restart(self) -> Option<Self> {
            None
        }
    }

    crate::catalog_conformance!(InMemory);
}
