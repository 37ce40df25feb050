//! The compressed contents of cached results that one serving thread has sent, to send them again
//! without compressing them again.
//!
//! The cached fast path keeps whole responses of HTTP/1.1 up to 64 KiB. This table serves longer
//! ones and HTTP/2.
//!
//! Invariants:
//! * An entry is what its content compresses to: it is found by the hash of the content and the
//!   coding, so it never becomes stale.
//! * Only contents of cached results enter: a result that comes once takes no memory here.
//! * The table takes at most [`TABLE_BYTES_MAX`]. It is emptied when the thread unloads its
//!   functions.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use nebula_runtime::Shard;
use quick_cache::unsync::Cache;
use quick_cache::{DefaultHashBuilder, Weighter};

use crate::coding::Coding;

/// The memory that the contents of one thread may take, bytes.
const TABLE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The overhead of an entry, about, bytes.
const ENTRY_BYTES: u64 = 160;

/// The number of entries that a new table has room for. It grows.
const ENTRIES_AT_FIRST: usize = 16;

/// The compressed contents of one serving thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CompressedContents(Arc<Inner>);

struct Inner {
    shard: Shard,
    /// Made by the first content.
    table: OnceLock<Mutex<Table>>,
}

struct Table {
    entries: Cache<ContentKey, Bytes, BytesWeighter>,
    /// The value of [`Shard::route_drops`] when the table was made.
    unload_count: u64,
}

/// The content and its coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContentKey {
    /// The BLAKE3 hash of the content.
    pub(crate) hash: [u8; 32],
    pub(crate) coding: Coding,
}

#[derive(Clone)]
struct BytesWeighter;

impl Weighter<ContentKey, Bytes> for BytesWeighter {
    fn weight(&self, _: &ContentKey, coded: &Bytes) -> u64 {
        coded.len() as u64 + ENTRY_BYTES
    }
}

impl CompressedContents {
    pub(crate) fn new(shard: Shard) -> Self {
        Self(Arc::new(Inner { shard, table: OnceLock::new() }))
    }

    /// Returns the compressed content.
    pub(crate) fn get(&self, key: &ContentKey) -> Option<Bytes> {
        lock(self.0.table.get()?).entries.get(key).cloned()
    }

    /// Keeps a compressed content, unless it takes too much of the table.
    pub(crate) fn insert(&self, key: ContentKey, coded: &Bytes) {
        let table = self.0.table.get_or_init(|| Mutex::new(Table::new(self.0.shard.route_drops())));
        lock(table).entries.insert(key, coded.clone());
    }

    /// Empties the table if the thread has unloaded its functions since it was made. Call it before
    /// the thread sleeps.
    pub(crate) fn tidy(&self) {
        let Some(table) = self.0.table.get() else { return };
        let (mut table, unload_count) = (lock(table), self.0.shard.route_drops());
        if table.unload_count != unload_count {
            *table = Table::new(unload_count);
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    fn new(unload_count: u64) -> Self {
        let hashes = DefaultHashBuilder::default();
        let entries =
            Cache::with(ENTRIES_AT_FIRST, TABLE_BYTES_MAX, BytesWeighter, hashes, Default::default());
        Self { entries, unload_count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded() {
        let mut table = Table::new(0);
        let key = |number: u8| ContentKey { hash: [number; 32], coding: Coding::Gzip };
        for number in 0..100 {
            table.entries.insert(key(number), vec![number; 100 * 1024].into());
            assert!(table.entries.weight() <= TABLE_BYTES_MAX);
        }
        let kept = (0..100).filter(|number| table.entries.get(&key(*number)).is_some()).count();
        assert!(kept > 20, "{kept} of 100 are kept");
        // One that doesn't fit isn't kept, and evicts no other.
        table.entries.insert(key(200), vec![0; 5 * 1024 * 1024].into());
        assert!(table.entries.get(&key(200)).is_none());
        assert!(table.entries.weight() <= TABLE_BYTES_MAX);
    }
}
