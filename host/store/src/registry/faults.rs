//! A disk that fails after so many operations, as at a loss of power: the write it fails at is torn.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use redb::{Database, StorageBackend};

use super::*;
use crate::registry::tests::{publish, resolve, try_publish};

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

/// The registry in `directory`, on a disk that fails after `operations`.
fn open_on_failing_disk(directory: &Path, operations: i64) -> Result<Registry, StoreError> {
    let path = directory.join("registry.redb");
    let disk = FailingDisk::open(&path, operations);
    let database = Database::builder().create_with_backend(disk)?;
    Ok(Registry {
        store: Store::with_database(path, database),
        files: Files::open(directory).unwrap(),
        changing: std::sync::Mutex::default(),
        _lock: DirectoryLock::take(directory).unwrap(),
    })
}

/// Wherever the disk fails, the registry opens again and holds the old version or the new one, whole;
/// and the new one if its publication was acknowledged.
#[test]
fn a_failing_disk_loses_nothing_that_was_acknowledged() {
    let mut failures = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let first = publish(&Registry::open(directory.path()).unwrap(), "f", b"one");
        let outcome = open_on_failing_disk(directory.path(), failures).and_then(|registry| {
            let outcome = try_publish(&registry, "f", b"two");
            if outcome.is_err() {
                // The disk has room again, and the registry needs no restart to see it.
                let content = registry.read_component(&resolve(&registry, "f").unwrap().digest).unwrap();
                assert!(content == b"one" || content == b"two");
            }
            outcome
        });
        let registry = Registry::open(directory.path()).unwrap();
        let current = resolve(&registry, "f").unwrap();
        let content = registry.read_component(&current.digest).unwrap();
        match outcome {
            Ok(second) => {
                assert_eq!((current, content.as_slice()), (second, &b"two"[..]));
                break;
            }
            Err(error) => {
                assert!(error.is_out_of_space(), "{error:?}");
                assert!(current == first && content == b"one" || content == b"two");
            }
        }
        // It goes on from there.
        assert_eq!(publish(&registry, "f", b"three").digest, Digest::of(b"three"));
        failures += 1;
    }
    assert!(failures > 3, "the disk failed only {failures} times: the test tests nothing");
}
