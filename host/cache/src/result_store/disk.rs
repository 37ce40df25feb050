//! Results in a file: results that took long to compute survive a restart.
//!
//! ```text
//! keep --(queue)--> writer thread, one transaction for all results that are waiting
//! find <----------- on a thread that may block
//! ```
//!
//! `results.redb` in the data directory holds [`RESULTS`], their [`ORDER`] of arrival, and the
//! totals of each of the [`COMPONENTS`]. A stored record is its number in [`ORDER`], 8 bytes,
//! little-endian, and then the bytes of [`record`](super::record). Eviction is in order of arrival,
//! except that a result requested since then moves to the end (FIFO-reinsertion, as in SIEVE and
//! S3-FIFO).
//!
//! Invariants:
//! * A failing disk costs only the results that it should store. An unusable file is recreated,
//!   also one that crashes the processes that write to it (`mark`).
//! * All records together take at most the configured bytes, and the write queue is bounded.
//! * If nothing was ever stored, no file is opened.

mod mark;

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nebula_model::id::Digest;
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};
use tracing::warn;

use self::mark::Mark;
use super::{RecordSeal, Removal, ResultStore, ResultStoreError};
use crate::key::Key;
use crate::result::{CachedResult, FailureBytes};
use crate::usage::Usage;

/// The target of events about the data directory.
const STORE: &str = "nebula::store";

/// Maps a key to its numbered record.
const RESULTS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("results");

/// Maps a record's number to its key, bytes and component. The lowest number is evicted first.
const ORDER: TableDefinition<'_, u64, ([u8; 32], u64, [u8; 32])> = TableDefinition::new("order");

/// Maps a component to its entries and bytes.
const COMPONENTS: TableDefinition<'_, [u8; 32], (u64, u64)> = TableDefinition::new("components");

/// Limit on the results waiting to be written, bytes; further results are dropped.
const QUEUE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Maximum number of results written in one transaction.
const BATCH_RESULTS_MAX: usize = 64;

/// Length of a record's number, bytes.
const NUMBER_BYTES: usize = 8;

/// Overhead of a record in the tables, bytes.
const ENTRY_BYTES: u64 = 256;

/// Size of redb's cache, bytes. It is small because the kernel caches the whole file anyway.
const CACHE_BYTES: usize = 1024 * 1024;

/// Maximum number of records reinserted for each one written.
const REINSERTIONS_MAX: usize = 8;

/// Maximum number of keys in `requested`; beyond it the set is cleared. They take some 3 MB.
const REQUESTED_MAX: usize = 64 * 1024;

/// An error of redb, boxed because redb's errors are large.
struct Failure(Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

impl Failure {
    /// Returns whether the file is still intact: there was no room, or it is being closed.
    fn is_transient(&self) -> bool {
        if let redb::Error::Io(error) = &*self.0 {
            // redb reports a file that isn't a database by these kinds.
            return !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
        }
        matches!(*self.0, redb::Error::PreviousIo | redb::Error::DatabaseAlreadyOpen)
    }
}

/// Results in a file. Dropping it writes the results that are waiting.
pub struct DiskResults<E> {
    shared: Arc<Shared>,
    writer: Mutex<Option<Writer<E>>>,
}

struct Writer<E> {
    queue: Sender<Command<E>>,
    thread: JoinHandle<()>,
}

enum Command<E> {
    Keep(Key, Arc<CachedResult<E>>),
    /// Removes results, and then tells whether it could.
    Remove(Removal, SyncSender<bool>),
    /// Signals when all earlier commands are done.
    Flush(SyncSender<bool>),
}

struct Shared {
    path: PathBuf,
    mark: Mark,
    bytes_max: u64,
    seal: RecordSeal,
    queued_bytes: AtomicU64,
    /// The database while it is in use. The lock is held while the file is opened, which takes a
    /// while.
    database: Mutex<Option<Arc<Database>>>,
    /// Serving threads read this, so its lock is never held while waiting for the disk.
    index: Mutex<Index>,
}

/// State of the file that is available without reading it.
#[derive(Default)]
struct Index {
    /// The usage of each component; `None` until the file is read.
    components: Option<HashMap<Digest, Usage>>,
    /// Keys found since their records were written or reinserted.
    requested: HashSet<Key>,
}

impl<E: FailureBytes + Send + Sync + 'static> DiskResults<E> {
    /// Creates a store of at most `bytes_max` in `directory`; 0 turns it off. Reads nothing yet.
    pub fn new(directory: &Path, bytes_max: u64, seal: RecordSeal) -> Self {
        let path = directory.join("results.redb");
        // Without a file the content is known to be empty.
        let components = (bytes_max == 0 || !path.exists()).then(HashMap::new);
        let shared = Shared {
            mark: Mark::beside(&path),
            path,
            bytes_max,
            seal,
            queued_bytes: AtomicU64::new(0),
            database: Mutex::default(),
            index: Mutex::new(Index { components, ..Index::default() }),
        };
        Self { shared: Arc::new(shared), writer: Mutex::default() }
    }

    fn lock_writer(&self) -> MutexGuard<'_, Option<Writer<E>>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command to the writer, which the first command starts. Returns whether it was sent.
    fn send(&self, command: Command<E>) -> bool {
        let mut writer = self.lock_writer();
        if writer.is_none() {
            let (queue, commands) = channel();
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new()
                .name("nebula-results".to_owned())
                .spawn(move || shared.write(&commands));
            *writer = thread.ok().map(|thread| Writer { queue, thread });
        }
        writer.as_ref().is_some_and(|writer| writer.queue.send(command).is_ok())
    }

    /// Sends a command that tells its outcome, and waits for that.
    fn send_and_wait(
        &self,
        command: impl FnOnce(SyncSender<bool>) -> Command<E>,
        deadline: Instant,
    ) -> Result<(), ResultStoreError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ResultStoreError::DeadlineExceeded);
        }
        let (done, wait) = sync_channel(1);
        if !self.send(command(done)) {
            return Err(ResultStoreError::Failed);
        }
        match wait.recv_timeout(left) {
            Ok(true) => Ok(()),
            Ok(false) | Err(RecvTimeoutError::Disconnected) => Err(ResultStoreError::Failed),
            Err(RecvTimeoutError::Timeout) => Err(ResultStoreError::DeadlineExceeded),
        }
    }
}

impl<E: FailureBytes + Send + Sync + 'static> ResultStore<E> for DiskResults<E> {
    fn may_contain(&self, component: &Digest) -> bool {
        let index = self.shared.index();
        index.components.as_ref().is_none_or(|components| components.contains_key(component))
    }

    fn find(&self, key: &Key, deadline: Instant) -> Option<CachedResult<E>> {
        if deadline <= Instant::now() {
            return None;
        }
        let found = self.shared.guarded(|database| {
            let results = database.begin_read()?.open_table(RESULTS)?;
            let found = results.get(key.bytes())?;
            Ok(found.and_then(|found| self.shared.seal.open(key, found.value().get(NUMBER_BYTES..)?)))
        });
        let found = found.flatten();
        if found.is_some() {
            let requested = &mut self.shared.index().requested;
            if requested.len() >= REQUESTED_MAX {
                requested.clear();
            }
            requested.insert(*key);
        }
        found
    }

    fn keep(&self, key: Key, cached: Arc<CachedResult<E>>) {
        let bytes = cached.bytes();
        if self.shared.bytes_max == 0 || bytes > self.shared.bytes_max / 8 {
            return;
        }
        let queued = &self.shared.queued_bytes;
        if queued.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX
            || !self.send(Command::Keep(key, cached))
        {
            queued.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn remove(&self, which: Removal, deadline: Instant) -> Result<(), ResultStoreError> {
        // Nothing was ever stored, so there is nothing to wait for.
        if self.shared.index().components.as_ref().is_some_and(HashMap::is_empty)
            && self.lock_writer().is_none()
        {
            return Ok(());
        }
        self.send_and_wait(|done| Command::Remove(which, done), deadline)
    }

    fn flush(&self, deadline: Instant) -> Result<(), ResultStoreError> {
        if self.lock_writer().is_none() {
            return Ok(());
        }
        self.send_and_wait(Command::Flush, deadline)
    }

    fn rest(&self) {
        let mut database = self.shared.database();
        // A database in use is closed at the next rest, because the file can't be opened twice.
        if database.as_ref().is_some_and(|database| Arc::strong_count(database) == 1) {
            self.shared.close(&mut database);
        }
    }

    fn usage(&self) -> HashMap<Digest, Usage> {
        let is_read = self.shared.index().components.is_some();
        if !is_read {
            self.shared.guarded(|_| Ok(()));
        }
        self.shared.index().components.clone().unwrap_or_default()
    }

    fn bytes_max(&self) -> u64 {
        self.shared.bytes_max
    }
}

impl<E> Drop for DiskResults<E> {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(Writer { queue, thread }) = writer.take() {
            drop(queue);
            // The thread catches its panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut database = self.database().take();
        self.close(&mut database);
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation on the open database. Any failure, including a panic of redb's on a
    /// damaged file, returns `None` and, unless the failure is transient, recreates the file.
    fn guarded<T>(&self, operation: impl FnOnce(&Database) -> Result<T, Failure>) -> Option<T> {
        let run = || {
            let database = self.open()?;
            operation(&database)
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(failure)) if failure.is_transient() => self.close(&mut self.database()),
            Ok(Err(_)) | Err(_) => {
                warn!(target: STORE, "the file of cached results is damaged; an empty one replaces it");
                // Holding the lock keeps other threads from opening the file.
                let mut database = self.database();
                // Remove the file first: closing it writes to it and may crash the process.
                self.recreate();
                self.close(&mut database);
            }
        }
        None
    }

    /// Closes the database. redb writes when it closes a file, and panics if that is damaged.
    fn close(&self, database: &mut Option<Arc<Database>>) {
        let Some(database) = database.take() else { return };
        let _writing = self.mark.begin();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            self.recreate();
        }
    }

    /// Removes the file, and returns whether it is gone. The next use creates another.
    fn recreate(&self) -> bool {
        let is_gone = match std::fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if is_gone {
            self.mark.clear();
        }
        *self.index() = Index { components: is_gone.then(HashMap::new), ..Index::default() };
        is_gone
    }

    fn open(&self) -> Result<Arc<Database>, Failure> {
        let mut slot = self.database();
        if let Some(database) = &*slot {
            return Ok(Arc::clone(database));
        }
        if self.mark.is_deadly() {
            warn!(target: STORE, "processes died while writing cached results; an empty file replaces them");
            self.recreate();
        }
        let _writing = self.mark.begin();
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(&self.path)?;
        let components = match database.begin_read()?.open_table(COMPONENTS) {
            Ok(table) => usage(&table)?,
            Err(TableError::TableDoesNotExist(_)) => {
                let transaction = database.begin_write()?;
                Tables::open(&transaction)?;
                transaction.commit()?;
                HashMap::new()
            }
            Err(error) => return Err(error.into()),
        };
        self.index().components = Some(components);
        let database = Arc::new(database);
        *slot = Some(Arc::clone(&database));
        Ok(database)
    }

    /// Runs the writer thread until all senders are dropped.
    fn write<E: FailureBytes>(&self, commands: &Receiver<Command<E>>) {
        // A write has failed since the last flush.
        let mut has_failed = false;
        while let Ok(first) = commands.recv() {
            let (mut keep, mut next) = (Vec::new(), Some(first));
            while let Some(Command::Keep(key, cached)) = next {
                keep.push((key, cached));
                next = if keep.len() < BATCH_RESULTS_MAX { commands.try_recv().ok() } else { None };
            }
            if !keep.is_empty() {
                has_failed |= self.guarded(|database| self.keep_all(database, &keep)).is_none();
                let bytes = keep.iter().map(|(_, cached)| cached.bytes()).sum();
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            let (done, succeeded) = match next {
                Some(Command::Remove(which, done)) => (done, self.remove(&which)),
                Some(Command::Flush(done)) => (done, !std::mem::take(&mut has_failed)),
                Some(Command::Keep(..)) | None => continue,
            };
            // The caller may have gone.
            let _ = done.send(succeeded);
        }
    }

    /// Removes results, and returns whether they are gone.
    fn remove(&self, which: &Removal) -> bool {
        let removed = self.guarded(|database| self.change(database, |tables| tables.remove_all(which)));
        removed.is_some() || {
            // Removing results needs disk space too. If there isn't any, delete the whole file.
            let mut database = self.database();
            let is_gone = self.recreate();
            self.close(&mut database);
            is_gone
        }
    }

    fn keep_all<E: FailureBytes>(
        &self,
        database: &Database,
        keep: &[(Key, Arc<CachedResult<E>>)],
    ) -> Result<(), Failure> {
        self.change(database, |tables| {
            for (key, cached) in keep {
                tables.put(key, cached, &self.seal)?;
            }
            let mut bytes: u64 = usage(&tables.components)?.values().map(|usage| usage.bytes).sum();
            let mut reinsertions = keep.len() * REINSERTIONS_MAX;
            while bytes > self.bytes_max {
                let was_requested = |key: &Key| reinsertions > 0 && self.index().requested.remove(key);
                match tables.evict_first(was_requested)? {
                    Eviction::Evicted { bytes: freed } => bytes = bytes.saturating_sub(freed),
                    Eviction::Reinserted => reinsertions -= 1,
                    Eviction::Empty => break,
                }
            }
            Ok(())
        })
    }

    fn change(
        &self,
        database: &Database,
        change: impl FnOnce(&mut Tables<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let writing = self.mark.begin();
        let mut transaction = database.begin_write()?;
        // After a kill the file opens quickly, because it records which pages are free.
        transaction.set_quick_repair(true);
        let components = {
            let mut tables = Tables::open(&transaction)?;
            change(&mut tables)?;
            usage(&tables.components)?
        };
        transaction.commit()?;
        writing.succeeds();
        self.index().components = Some(components);
        Ok(())
    }
}

fn usage(table: &impl ReadableTable<[u8; 32], (u64, u64)>) -> Result<HashMap<Digest, Usage>, Failure> {
    let mut usages = HashMap::new();
    for entry in table.iter()? {
        let (component, usage) = entry?;
        let (entries, bytes) = usage.value();
        usages.insert(Digest::from_bytes(component.value()), Usage { entries, bytes });
    }
    Ok(usages)
}

/// The outcome of one eviction step.
enum Eviction {
    /// The oldest record was evicted and freed this many bytes.
    Evicted { bytes: u64 },
    /// The oldest record was requested, and is the newest now.
    Reinserted,
    /// The store has no record.
    Empty,
}

/// The tables in one write transaction.
struct Tables<'a> {
    results: Table<'a, [u8; 32], &'static [u8]>,
    order: Table<'a, u64, ([u8; 32], u64, [u8; 32])>,
    components: Table<'a, [u8; 32], (u64, u64)>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, Failure> {
        Ok(Self {
            results: transaction.open_table(RESULTS)?,
            order: transaction.open_table(ORDER)?,
            components: transaction.open_table(COMPONENTS)?,
        })
    }

    fn put<E>(&mut self, key: &Key, cached: &CachedResult<E>, seal: &RecordSeal) -> Result<(), Failure> {
        let number = self.order.last()?.map_or(0, |(number, _)| number.value() + 1);
        let Some(record) = seal.seal(key, cached) else { return Ok(()) };
        let record = numbered(number, &record);
        let replaced = self.results.get(key.bytes())?.and_then(|found| number_of(found.value()));
        if let Some(number) = replaced {
            self.remove(number)?;
        }
        let bytes = record.len() as u64 + ENTRY_BYTES;
        let component = cached.component();
        self.results.insert(key.bytes(), record.as_slice())?;
        self.order.insert(number, (*key.bytes(), bytes, *component.bytes()))?;
        let (entries, sum) = self.of(component.bytes())?;
        self.components.insert(component.bytes(), (entries + 1, sum + bytes))?;
        Ok(())
    }

    fn of(&self, component: &[u8; 32]) -> Result<(u64, u64), Failure> {
        Ok(self.components.get(component)?.map_or((0, 0), |sums| sums.value()))
    }

    /// Removes the record with this number.
    fn remove(&mut self, number: u64) -> Result<(), Failure> {
        let Some((key, bytes, component)) = self.order.remove(number)?.map(|entry| entry.value()) else {
            return Ok(());
        };
        self.results.remove(key)?;
        let (entries, sum) = self.of(&component)?;
        if entries <= 1 {
            self.components.remove(component)?;
        } else {
            self.components.insert(component, (entries - 1, sum.saturating_sub(bytes)))?;
        }
        Ok(())
    }

    /// Evicts the oldest record, or reinserts it if it was requested.
    fn evict_first(&mut self, mut was_requested: impl FnMut(&Key) -> bool) -> Result<Eviction, Failure> {
        let Some((number, (key, bytes, component))) =
            self.order.first()?.map(|(number, entry)| (number.value(), entry.value()))
        else {
            return Ok(Eviction::Empty);
        };
        if !was_requested(&Key::from_bytes(key)) {
            self.remove(number)?;
            return Ok(Eviction::Evicted { bytes });
        }
        let next = self.order.last()?.map_or(number, |(last, _)| last.value()) + 1;
        let record = self.results.get(key)?;
        let record = record.and_then(|found| Some(numbered(next, found.value().get(NUMBER_BYTES..)?)));
        self.order.remove(number)?;
        if let Some(record) = record {
            self.results.insert(key, record.as_slice())?;
            self.order.insert(next, (key, bytes, component))?;
        }
        Ok(Eviction::Reinserted)
    }

    fn remove_all(&mut self, which: &Removal) -> Result<(), Failure> {
        let components = match which {
            Removal::Components(components) => components,
            Removal::All => {
                // Also removes records without a number, because the tables of a damaged file may
                // disagree.
                self.results.retain(|_, _| false)?;
                self.order.retain(|_, _| false)?;
                self.components.retain(|_, _| false)?;
                return Ok(());
            }
        };
        let mut numbers = Vec::new();
        for entry in self.order.iter()? {
            let (number, entry) = entry?;
            let component = Digest::from_bytes(entry.value().2);
            if components.contains(&component) {
                numbers.push(number.value());
            }
        }
        numbers.into_iter().try_for_each(|number| self.remove(number))
    }
}

/// Returns a record with its number in front.
fn numbered(number: u64, record: &[u8]) -> Vec<u8> {
    [&number.to_le_bytes()[..], record].concat()
}

/// Returns the number of a numbered record.
fn number_of(record: &[u8]) -> Option<u64> {
    record.first_chunk().map(|number| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests;
