//! Failing disks. A disk that fails after a number of operations tears the write at which it fails.
//! `crashes` has kills and losses of power.

mod crashes;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI64, Ordering};

use nebula_model::id::Digest;
use redb::StorageBackend;

use super::*;
use crate::catalog::LogRecord;
use crate::store::tests::{publish, resolve, try_publish};

#[derive(Debug)]
struct FailingDisk {
    file: File,
    operations_left: AtomicI64,
}

impl FailingDisk {
    fn open(path: &Path, operations: i64) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        Self { file, operations_left: AtomicI64::new(operations) }
    }

    fn step(&self) -> io::Result<()> {
        match self.operations_left.fetch_sub(1, Ordering::Relaxed) {
            1.. => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::StorageFull)),
        }
    }
}

impl StorageBackend for FailingDisk {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.step()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.step()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        if let Err(error) = self.step() {
            self.file.write_all_at(&data[..data.len() / 2], offset)?;
            return Err(error);
        }
        self.file.write_all_at(data, offset)
    }
}

/// Opens the store in `path` on a disk that fails after `operations`.
fn open_on_failing_disk(path: &Path, operations: i64) -> Result<Store, StoreError> {
    let directory = Arc::new(Directory::open(path).unwrap());
    let disk = FailingDisk::open(&RedbCatalog::file(path), operations);
    let catalog = RedbCatalog::with_backend(Arc::clone(&directory), disk)?;
    let blobs = FileBlobs::open(Arc::clone(&directory)).unwrap();
    Ok(Store::new(Arc::new(catalog), Arc::new(blobs), directory.secret().clone()))
}

/// Follows the whole log, which checks every record, and compares what it adds up to with the view.
fn verify_chain(store: &Store) {
    let soon = || Instant::now() + APPEND_WAIT_MAX;
    let last = store.catalog.last(soon()).unwrap();
    assert_eq!(store.applied(), last);
    let replayed = MemoryCatalog::new(LogKey::new(&Secret::new([0; 32])));
    let mut at = Sequence::START;
    while at < last {
        for record in store.catalog.follow(at, soon()).unwrap() {
            at = record.sequence();
            replayed.append(replayed.applied(), &record.changes().unwrap(), soon()).unwrap();
        }
    }
    assert_eq!(replayed.list().unwrap(), store.list().unwrap());
    assert_eq!(replayed.digests().unwrap(), store.catalog.digests().unwrap());
    assert_eq!(replayed.disagreements().unwrap(), store.disagreements().unwrap());
    let log: Vec<LogRecord> = replayed.follow(Sequence::START, Instant::now()).unwrap();
    assert_eq!(log.len() as u64, last.number());
}

/// Publishes a second version on a disk that fails at its n-th operation, for every n until it
/// succeeds. After each failure the store opens with the old version or the new one, whole, and
/// with the new one if it was acknowledged. The log is unbroken and has the same changes as the
/// view.
fn fail_everywhere(prepare: impl Fn(&Path)) {
    let mut failures = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let first = resolve(&Store::open(directory.path()).unwrap(), "double").unwrap();
        let outcome = open_on_failing_disk(directory.path(), failures).and_then(|store| {
            let outcome = try_publish(&store, "double", b"two");
            if outcome.is_err() {
                // The disk has room again, and the store needs no restart to notice.
                let current = resolve(&store, "double").unwrap();
                assert!(current == first || current.digest == Digest::of(b"two"));
                store.read_component(&current.digest).unwrap();
                verify_chain_if_begun(&store);
            }
            outcome
        });
        let store = Store::open(directory.path()).unwrap();
        let current = resolve(&store, "double").unwrap();
        store.read_component(&current.digest).unwrap();
        verify_chain_if_begun(&store);
        match outcome {
            Ok(second) => {
                assert_eq!(current, second);
                verify_chain(&store);
                break;
            }
            Err(error) => {
                assert!(error.kind() == StoreErrorKind::OutOfSpace, "{error:?}");
                assert!(current == first || current.digest == Digest::of(b"two"));
            }
        }
        // The store accepts changes again.
        assert_eq!(publish(&store, "double", b"three").digest, Digest::of(b"three"));
        verify_chain(&store);
        failures += 1;
    }
    assert!(failures > 3, "the disk failed only {failures} times, so the test shows nothing");
}

/// A directory of format 1 has names without a log until its first change.
fn verify_chain_if_begun(store: &Store) {
    if store.applied() != Sequence::START {
        verify_chain(store);
    }
}

#[test]
fn a_failing_disk_loses_no_acknowledged_version_and_keeps_the_chain() {
    fail_everywhere(|path| {
        publish(&Store::open(path).unwrap(), "double", b"one");
    });
}

#[test]
fn a_failing_disk_leaves_a_directory_of_format_1_migrated_or_as_it_was() {
    fail_everywhere(|path| crate::store::tests::copy_data("registry-1", path));
}
