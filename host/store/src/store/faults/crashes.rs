//! A process that is killed, or a machine that loses power, at any point of writing the catalog.
//!
//! Every operation on the file is recorded. From the record the file is rebuilt as a crash after
//! each operation leaves it: after a kill with all operations, after a loss of power with those
//! before the last sync and any part of the later ones.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::*;

/// A loss of power keeps or loses whole pages of this many bytes.
const PAGE_BYTES: usize = 4096;

/// Losses of power at each point, each with other pages lost.
const LOSSES: u8 = 2;

#[derive(Clone, Debug)]
enum Operation {
    Resize(usize),
    Write(usize, Vec<u8>),
    Sync,
}

#[derive(Clone, Debug, Default)]
struct Image(Vec<u8>);

impl Image {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Resize(length) => self.0.resize(*length, 0),
            Operation::Write(at, data) => self.write(*at, data),
            Operation::Sync => {}
        }
    }

    fn write(&mut self, at: usize, data: &[u8]) {
        if self.0.len() < at + data.len() {
            self.0.resize(at + data.len(), 0);
        }
        self.0[at..][..data.len()].copy_from_slice(data);
    }
}

/// A disk in memory, with the operations that it was given.
#[derive(Clone, Debug)]
struct RecordingDisk(Arc<Mutex<(Image, Vec<Operation>)>>);

impl RecordingDisk {
    fn record(&self, operation: Operation) {
        let (image, operations) = &mut *self.0.lock().unwrap();
        image.apply(&operation);
        operations.push(operation);
    }

    fn operations(&self) -> Vec<Operation> {
        self.0.lock().unwrap().1.clone()
    }
}

impl StorageBackend for RecordingDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().0.0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let length = out.len();
        out.copy_from_slice(&self.0.lock().unwrap().0.0[offset as usize..][..length]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.record(Operation::Resize(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.record(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.record(Operation::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}

/// Returns the file after a kill: the kernel still writes what it was given.
fn killed(start: &Image, operations: &[Operation]) -> Image {
    let mut image = start.clone();
    operations.iter().for_each(|operation| image.apply(operation));
    image
}

/// Returns the file after a loss of power. Which pages are lost follows from `loss`.
fn powered_off(start: &Image, operations: &[Operation], loss: u8) -> Image {
    let synced = operations.iter().rposition(|operation| matches!(operation, Operation::Sync));
    let (synced, later) = operations.split_at(synced.map_or(0, |last| last + 1));
    let mut image = killed(start, synced);
    let mut coins =
        blake3::Hasher::new().update(&[loss]).update(&operations.len().to_le_bytes()).finalize_xof();
    let mut is_lost = || {
        let mut coin = [0];
        coins.fill(&mut coin);
        coin[0] & 1 == 0
    };
    for operation in later {
        match operation {
            Operation::Write(at, data) => {
                for (page, data) in data.chunks(PAGE_BYTES).enumerate() {
                    if !is_lost() {
                        image.write(at + page * PAGE_BYTES, data);
                    }
                }
            }
            Operation::Resize(_) | Operation::Sync => {
                if !is_lost() {
                    image.apply(operation);
                }
            }
        }
    }
    image
}

/// Changes names on a recording disk, then opens the store as every possible crash leaves it. It
/// has all acknowledged changes and at most one more, has an unbroken log, and accepts changes.
fn crash_everywhere(prepare: impl Fn(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let first = resolve(&Store::open(directory.path()).unwrap(), "double").unwrap().version.number();
    let start = Image(std::fs::read(RedbCatalog::file(directory.path())).unwrap());
    let disk = RecordingDisk(Arc::new(Mutex::new((start.clone(), Vec::new()))));
    let opened = Arc::new(Directory::open(directory.path()).unwrap());
    let catalog = RedbCatalog::with_backend(Arc::clone(&opened), disk.clone()).unwrap();
    let blobs = FileBlobs::open(Arc::clone(&opened)).unwrap();
    let store = Store::new(Arc::new(catalog), Arc::new(blobs), opened.secret().clone());
    drop(opened);
    // The first acknowledged version, and the number of operations when each was acknowledged.
    let mut acknowledged = vec![(0, first)];
    for content in [b"three", b"four!", b"five!"] {
        let version = publish(&store, "double", content).version.number();
        acknowledged.push((disk.operations().len(), version));
    }
    drop(store);

    let operations = disk.operations();
    assert!(operations.len() > 10, "{} operations are too few for a test", operations.len());
    for end in 0..=operations.len() {
        let operations = &operations[..end];
        let losses = (0..LOSSES).map(|loss| powered_off(&start, operations, loss));
        for (index, image) in [killed(&start, operations)].into_iter().chain(losses).enumerate() {
            let crashed = tempfile::tempdir().unwrap();
            for file in ["FORMAT", "key"] {
                std::fs::copy(directory.path().join(file), crashed.path().join(file)).unwrap();
            }
            std::fs::write(RedbCatalog::file(crashed.path()), image.0).unwrap();
            let store = Store::open(crashed.path()).unwrap();
            let (before, after) = {
                let done = acknowledged.iter().rposition(|(at, _)| *at <= end).unwrap();
                (acknowledged[done].1, acknowledged.get(done + 1).map(|(_, version)| *version))
            };
            let found = resolve(&store, "double").unwrap().version.number();
            assert!(found == before || Some(found) == after, "{found} after {end} operations");
            verify_chain_if_begun(&store);
            // Once at each point, because it waits for the real disk.
            if index == 0 {
                publish(&store, "double", b"another");
                verify_chain(&store);
            }
        }
    }
}

#[test]
fn a_crash_at_any_point_keeps_acknowledged_changes_and_the_chain() {
    crash_everywhere(|path| {
        publish(&Store::open(path).unwrap(), "double", b"one");
    });
}

#[test]
fn a_crash_at_any_point_of_the_migration_leaves_the_names() {
    crash_everywhere(|path| crate::store::tests::copy_data("registry-1", path));
}
