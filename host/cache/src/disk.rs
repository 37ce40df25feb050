//! The disk tier: results that took long to compute survive a restart.
//!
//! ```text
//! keep --(queue)--> writer thread, one transaction for all results that are waiting
//! find <----------- on a thread that may block
//! ```
//!
//! `results.redb` in the data directory holds [`RESULTS`], their [`ORDER`] of arrival, and the
//! totals of each of the [`COMPONENTS`]. Eviction is in order of arrival, except that a result
//! requested since then moves to the end (FIFO-reinsertion, as in SIEVE and S3-FIFO).
//!
//! Invariants:
//! * A lookup returns the stored result or nothing: every record is authenticated together with its
//!   key (`record`).
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
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nebula_model::id::Digest;
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};

use self::mark::Mark;
use super::{FailureBytes, Remembered, record};
use crate::key::Key;

/// Maps a key to its record.
const RESULTS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("results");

/// Maps a record's number to its key, bytes and component. The lowest number is evicted first.
const ORDER: TableDefinition<'_, u64, ([u8; 32], u64, [u8; 32])> = TableDefinition::new("order");

/// Maps a component to its entries and bytes.
const COMPONENTS: TableDefinition<'_, [u8; 32], (u64, u64)> = TableDefinition::new("components");

/// Limit on the results waiting to be written, bytes; further results are dropped.
const QUEUE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Maximum number of results written in one transaction.
const BATCH: usize = 64;

/// Overhead of a record in the tables, bytes.
const ENTRY_BYTES: u64 = 256;

/// Size of redb's cache, bytes. It is small because the kernel caches the whole file anyway.
const CACHE_BYTES: usize = 1024 * 1024;

/// Maximum number of records reinserted for each one written.
const TURNS_MAX: usize = 8;

/// Maximum number of keys in `asked`; beyond it the set is cleared. They take some 3 MB.
const ASKED_MAX: usize = 64 * 1024;

/// An error of redb, boxed because redb's errors are large.
struct Failure(Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

impl Failure {
    /// Returns whether the file is still intact: there was no room, or it is being closed.
    fn may_pass(&self) -> bool {
        if let redb::Error::Io(error) = &*self.0 {
            // redb reports a file that isn't a database by these kinds.
            return !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
        }
        matches!(*self.0, redb::Error::PreviousIo | redb::Error::DatabaseAlreadyOpen)
    }
}

/// The disk tier. Dropping it writes the results that are waiting.
pub struct Disk<E> {
    shared: Arc<Shared>,
    writer: Mutex<Option<Writer<E>>>,
}

struct Writer<E> {
    queue: Sender<Command<E>>,
    thread: JoinHandle<()>,
}

enum Command<E> {
    Keep(Key, Arc<Remembered<E>>),
    /// Removes the results of these components, or all, and then signals.
    Forget(Option<HashSet<Digest>>, SyncSender<()>),
    /// Signals when all earlier commands are done.
    Flush(SyncSender<()>),
}

struct Shared {
    path: PathBuf,
    mark: Mark,
    bytes_max: u64,
    mac_key: [u8; 32],
    /// The engine of this process, which computed most records.
    engine: &'static str,
    queued_bytes: AtomicU64,
    /// The database while it is in use. The lock is held while the file is opened, which takes a
    /// while.
    database: Mutex<Option<Arc<Database>>>,
    /// Serving threads read this, so its lock is never held while waiting for the disk.
    known: Mutex<Known>,
}

/// State of the file that is available without reading it.
#[derive(Default)]
struct Known {
    /// `None` until the file is read.
    components: Option<Sums>,
    /// Keys found since their records were written or reinserted.
    asked: HashSet<Key>,
}

/// Entries and bytes of each component.
type Sums = HashMap<Digest, (u64, u64)>;

impl<E: FailureBytes + Send + Sync + 'static> Disk<E> {
    /// Creates a disk tier of at most `bytes_max` in `directory`; 0 turns it off. Reads nothing
    /// yet.
    pub fn new(directory: &Path, bytes_max: u64, mac_key: [u8; 32], engine: &'static str) -> Self {
        let path = directory.join("results.redb");
        // Without a file the content is known to be empty.
        let components = (bytes_max == 0 || !path.exists()).then(HashMap::new);
        let shared = Shared {
            mark: Mark::beside(&path),
            path,
            bytes_max,
            mac_key,
            engine,
            queued_bytes: AtomicU64::new(0),
            database: Mutex::default(),
            known: Mutex::new(Known { components, ..Known::default() }),
        };
        Self { shared: Arc::new(shared), writer: Mutex::default() }
    }

    /// Returns whether results of this component may be on disk. Doesn't read the disk.
    pub fn may_have(&self, component: &Digest) -> bool {
        let known = self.shared.known();
        known.components.as_ref().is_none_or(|components| components.contains_key(component))
    }

    /// Returns the result stored under `key`. Blocks on the disk.
    pub fn find(&self, key: &Key) -> Option<Remembered<E>> {
        let found = self.shared.guarded(|database| {
            let results = database.begin_read()?.open_table(RESULTS)?;
            let found = results.get(key.bytes())?;
            Ok(found
                .and_then(|found| record::read(&self.shared.mac_key, key, found.value(), self.shared.engine)))
        });
        let found = found.flatten();
        if found.is_some() {
            let asked = &mut self.shared.known().asked;
            if asked.len() >= ASKED_MAX {
                asked.clear();
            }
            asked.insert(*key);
        }
        found
    }

    /// Queues a result to be stored.
    pub fn keep(&self, key: Key, remembered: Arc<Remembered<E>>) {
        let bytes = remembered.bytes();
        if self.shared.bytes_max == 0 || bytes > self.shared.bytes_max / 8 {
            return;
        }
        let queued = &self.shared.queued_bytes;
        if queued.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX
            || !self.send(Command::Keep(key, remembered))
        {
            queued.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Removes the results of these components, or all. Blocks until done.
    pub fn forget(&self, components: Option<HashSet<Digest>>) {
        // Nothing was ever stored, so there is nothing to wait for.
        if self.shared.known().components.as_ref().is_some_and(HashMap::is_empty)
            && self.lock_writer().is_none()
        {
            return;
        }
        let (done, wait) = sync_channel(1);
        if self.send(Command::Forget(components, done)) {
            // If the writer has ended, there is nothing left to remove.
            let _ = wait.recv();
        }
    }

    /// Blocks until the queued results are written.
    pub fn flush(&self) {
        if self.lock_writer().is_none() {
            return;
        }
        let (done, wait) = sync_channel(1);
        if self.send(Command::Flush(done)) {
            // If the writer has ended, there is nothing left to write.
            let _ = wait.recv();
        }
    }

    /// Closes the file until the next use. Blocks on the disk.
    pub fn rest(&self) {
        let mut database = self.shared.database();
        // A database in use is closed at the next rest, because the file can't be opened twice.
        if database.as_ref().is_some_and(|database| Arc::strong_count(database) == 1) {
            self.shared.close(&mut database);
        }
    }

    /// Returns the entries and bytes of each component. Blocks on the disk if the file wasn't read
    /// yet.
    pub fn by_component(&self) -> Sums {
        let is_known = self.shared.known().components.is_some();
        if !is_known {
            self.shared.guarded(|_| Ok(()));
        }
        self.shared.known().components.clone().unwrap_or_default()
    }

    /// Returns the bytes that all records together may take.
    pub fn bytes_max(&self) -> u64 {
        self.shared.bytes_max
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
}

impl<E> Drop for Disk<E> {
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
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation on the open database. Any failure, including a panic of redb's on a
    /// damaged file, returns `None` and, unless the failure may pass, recreates the file.
    fn guarded<T>(&self, operation: impl FnOnce(&Database) -> Result<T, Failure>) -> Option<T> {
        let run = || {
            let database = self.open()?;
            operation(&database)
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(failure)) if failure.may_pass() => self.close(&mut self.database()),
            Ok(Err(_)) | Err(_) => {
                // Holding the lock keeps other threads from opening the file.
                let mut database = self.database();
                // Remove the file first: closing it writes to it and may crash the process.
                self.begin_anew();
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
            self.begin_anew();
        }
    }

    fn begin_anew(&self) {
        // A file that can't be removed can't be opened either, so the next use retries.
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {}
            Ok(()) | Err(_) => self.mark.clear(),
        }
        *self.known() = Known { components: Some(HashMap::new()), ..Known::default() };
    }

    fn open(&self) -> Result<Arc<Database>, Failure> {
        let mut slot = self.database();
        if let Some(database) = &*slot {
            return Ok(Arc::clone(database));
        }
        if self.mark.is_deadly() {
            self.begin_anew();
        }
        let _writing = self.mark.begin();
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(&self.path)?;
        let components = match database.begin_read()?.open_table(COMPONENTS) {
            Ok(table) => by_component(&table)?,
            Err(TableError::TableDoesNotExist(_)) => {
                let transaction = database.begin_write()?;
                Tables::open(&transaction)?;
                transaction.commit()?;
                HashMap::new()
            }
            Err(error) => return Err(error.into()),
        };
        self.known().components = Some(components);
        let database = Arc::new(database);
        *slot = Some(Arc::clone(&database));
        Ok(database)
    }

    /// Runs the writer thread until all senders are dropped.
    fn write<E: FailureBytes>(&self, commands: &Receiver<Command<E>>) {
        while let Ok(first) = commands.recv() {
            let (mut keep, mut next) = (Vec::new(), Some(first));
            while let Some(Command::Keep(key, remembered)) = next {
                keep.push((key, remembered));
                next = if keep.len() < BATCH { commands.try_recv().ok() } else { None };
            }
            if !keep.is_empty() {
                self.guarded(|database| self.keep_all(database, &keep));
                let bytes = keep.iter().map(|(_, remembered)| remembered.bytes()).sum();
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            let done = match next {
                Some(Command::Forget(components, done)) => {
                    if self.guarded(|database| self.forget_all(database, components.as_ref())).is_none() {
                        // Removing results needs disk space too. If there isn't any, delete the
                        // whole file.
                        let mut database = self.database();
                        self.begin_anew();
                        self.close(&mut database);
                    }
                    done
                }
                Some(Command::Flush(done)) => done,
                Some(Command::Keep(..)) | None => continue,
            };
            // The caller may have gone.
            let _ = done.send(());
        }
    }

    fn keep_all<E: FailureBytes>(
        &self,
        database: &Database,
        keep: &[(Key, Arc<Remembered<E>>)],
    ) -> Result<(), Failure> {
        self.change(database, |tables| {
            for (key, remembered) in keep {
                tables.put(key, remembered, &self.mac_key)?;
            }
            let mut bytes: u64 = by_component(&tables.components)?.values().map(|(_, bytes)| bytes).sum();
            let mut turns = keep.len() * TURNS_MAX;
            while bytes > self.bytes_max {
                let asked = |key: &Key| turns > 0 && self.known().asked.remove(key);
                match tables.first_goes(asked)? {
                    First::Gone(freed) => bytes = bytes.saturating_sub(freed),
                    First::Stays => turns -= 1,
                    First::Nothing => break,
                }
            }
            Ok(())
        })
    }

    fn forget_all(&self, database: &Database, components: Option<&HashSet<Digest>>) -> Result<(), Failure> {
        self.change(database, |tables| tables.forget(components))
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
            by_component(&tables.components)?
        };
        transaction.commit()?;
        writing.succeeds();
        self.known().components = Some(components);
        Ok(())
    }
}

fn by_component(table: &impl ReadableTable<[u8; 32], (u64, u64)>) -> Result<Sums, Failure> {
    let mut sums = HashMap::new();
    for entry in table.iter()? {
        let (component, of_it) = entry?;
        sums.insert(Digest::from_bytes(component.value()), of_it.value());
    }
    Ok(sums)
}

/// The outcome of one eviction step.
enum First {
    /// The record was evicted and freed this many bytes.
    Gone(u64),
    Stays,
    Nothing,
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

    fn put<E>(&mut self, key: &Key, remembered: &Remembered<E>, mac_key: &[u8; 32]) -> Result<(), Failure> {
        let number = self.order.last()?.map_or(0, |(number, _)| number.value() + 1);
        let Some(record) = record::write(mac_key, key, number, remembered) else { return Ok(()) };
        let replaced = self.results.get(key.bytes())?.and_then(|found| record::number(found.value()));
        if let Some(number) = replaced {
            self.remove(number)?;
        }
        let bytes = record.len() as u64 + ENTRY_BYTES;
        let component = remembered.component();
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
    fn first_goes(&mut self, mut asked: impl FnMut(&Key) -> bool) -> Result<First, Failure> {
        let Some((number, (key, bytes, component))) =
            self.order.first()?.map(|(number, entry)| (number.value(), entry.value()))
        else {
            return Ok(First::Nothing);
        };
        if !asked(&Key::from_bytes(key)) {
            self.remove(number)?;
            return Ok(First::Gone(bytes));
        }
        let last = self.order.last()?.map_or(number, |(last, _)| last.value());
        let record = self.results.get(key)?.map(|found| record::renumbered(found.value(), last + 1));
        self.order.remove(number)?;
        if let Some(record) = record {
            self.results.insert(key, record.as_slice())?;
            self.order.insert(last + 1, (key, bytes, component))?;
        }
        Ok(First::Stays)
    }

    fn forget(&mut self, components: Option<&HashSet<Digest>>) -> Result<(), Failure> {
        let Some(components) = components else {
            // Also removes records without a number, because the tables of a damaged file may
            // disagree.
            self.results.retain(|_, _| false)?;
            self.order.retain(|_, _| false)?;
            self.components.retain(|_, _| false)?;
            return Ok(());
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

#[cfg(test)]
mod tests;
