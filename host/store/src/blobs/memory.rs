//! Blobs in memory, for tests: the plainest implementation of the contract.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nebula_model::id::Digest;

use super::{BlobError, Blobs, Collected, Compiled, CompiledId, CompiledKey};
use crate::directory::Secret;

/// Blobs in memory. They are gone with the value.
pub struct MemoryBlobs {
    key: CompiledKey,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    components: HashMap<Digest, Vec<u8>>,
    /// By compatibility and digest: the code, with its MAC.
    compiled: HashMap<(String, Digest), Vec<u8>>,
}

impl MemoryBlobs {
    /// Returns no blobs.
    pub fn new(secret: &Secret) -> Self {
        Self { key: CompiledKey::new(secret), state: Mutex::default() }
    }

    fn state(&self, deadline: Instant) -> Result<MutexGuard<'_, State>, BlobError> {
        if deadline <= Instant::now() {
            return Err(BlobError::DeadlineExceeded);
        }
        Ok(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(id: CompiledId<'_>) -> (String, Digest) {
    (id.compatibility.to_owned(), *id.digest)
}

impl Blobs for MemoryBlobs {
    fn put_component(&self, digest: &Digest, content: &[u8], deadline: Instant) -> Result<(), BlobError> {
        self.state(deadline)?.components.insert(*digest, content.to_vec());
        Ok(())
    }

    fn component(&self, digest: &Digest, deadline: Instant) -> Result<Vec<u8>, BlobError> {
        match self.state(deadline)?.components.get(digest) {
            Some(content) if Digest::of(content) == *digest => Ok(content.clone()),
            Some(_) => Err(BlobError::Damaged { digest: *digest }),
            None => Err(BlobError::Missing { digest: *digest }),
        }
    }

    fn put_compiled(&self, id: CompiledId<'_>, code: &[u8], deadline: Instant) -> Result<(), BlobError> {
        let sealed = [code, &self.key.seal(id, code)].concat();
        self.state(deadline)?.compiled.insert(key(id), sealed);
        Ok(())
    }

    fn compiled(&self, id: CompiledId<'_>, deadline: Instant) -> Result<Option<Compiled>, BlobError> {
        let Some(sealed) = self.state(deadline)?.compiled.get(&key(id)).cloned() else { return Ok(None) };
        let opened = self.key.open(id, sealed.as_slice(), sealed.len() as u64);
        opened.map_err(|error| BlobError::Failed {
            action: "copy compiled code".to_owned(),
            source: error.into(),
        })
    }

    fn collect(&self, kept: &HashSet<Digest>, compatibility: &str) -> Result<Collected, BlobError> {
        let mut collected = Collected::default();
        let mut keep = |is_kept: bool, blob: &[u8]| {
            if !is_kept {
                collected.blobs += 1;
                collected.bytes += blob.len() as u64;
            }
            is_kept
        };
        let mut state = self.lock();
        state.components.retain(|digest, blob| keep(kept.contains(digest), blob));
        state.compiled.retain(|(of, digest), blob| keep(of == compatibility && kept.contains(digest), blob));
        Ok(collected)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::blobs::Fixture;

    struct InMemory(Arc<MemoryBlobs>);

    impl Fixture for InMemory {
        fn new() -> Self {
            Self(Arc::new(MemoryBlobs::new(&Secret::new([1; 32]))))
        }

        fn blobs(&self) -> Arc<dyn Blobs> {
            Arc::clone(&self.0) as Arc<dyn Blobs>
        }

        fn change_component(&self, digest: &Digest, change: impl FnOnce(&mut Vec<u8>)) {
            change(self.0.lock().components.get_mut(digest).unwrap());
        }

        fn change_compiled(&self, id: CompiledId<'_>, change: impl FnOnce(&mut Vec<u8>)) {
            change(self.0.lock().compiled.get_mut(&key(id)).unwrap());
        }

        fn restart(self) -> Option<Self> {
            None
        }
    }

    crate::blobs_conformance!(InMemory);
}
