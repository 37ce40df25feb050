mod crashes;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nebula_model::limits::MIB;
use tempfile::TempDir;

use super::*;
use crate::testing::result_store::{Fixture, soon};
use crate::testing::{BYTES_MAX, CachedResult, ENGINE, Failed, Results, body, cached, component, key};

const COST: Duration = Duration::from_secs(1);

type Disk = DiskResults<Failed>;

fn seal() -> RecordSeal {
    RecordSeal::new([7; 32], ENGINE)
}

fn open(directory: &TempDir) -> Disk {
    Disk::new(directory.path(), MIB, seal())
}

/// Creates a directory with `count` results of different lengths, written to disk.
fn filled(count: u64) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let disk = open(&directory);
    for index in 0..count {
        disk.keep(key(index), cached(index as usize, COST));
    }
    drop(disk);
    directory
}

fn found(disk: &Disk, index: u64) -> bool {
    let found = disk.find(&key(index), soon());
    if let Some(found) = &found {
        assert_eq!(body(found).len() as u64, index, "a wrong answer");
    }
    found.is_some()
}

#[test]
fn results_survive_a_restart() {
    let directory = filled(10);
    let disk = open(&directory);
    assert!(disk.may_contain(&component()));
    assert!((0..10).all(|index| found(&disk, index)));
    assert!(!found(&disk, 10));
    assert_eq!(disk.usage()[&component()].entries, 10);
    // After the first read the components are in memory.
    assert!(!disk.may_contain(&Digest::of(b"another")));
    // A closed file is reopened by the next use.
    disk.rest();
    assert!(found(&disk, 3));
    // Results sealed with another key are rejected.
    drop(disk);
    assert!(!found(&Disk::new(directory.path(), MIB, RecordSeal::new([8; 32], ENGINE)), 3));
}

#[test]
fn empty_cache_creates_no_file() {
    let directory = filled(0);
    let disk = open(&directory);
    assert!(!disk.may_contain(&component()));
    disk.remove(Removal::All, soon()).unwrap();
    let off = Disk::new(directory.path(), 0, seal());
    off.keep(key(1), cached(1, COST));
    drop(off);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// The file is a directory, which no process can remove as a file, whatever its user may do.
#[test]
fn removals_and_writes_that_fail_say_so() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("results.redb/in the way")).unwrap();
    let disk = open(&directory);
    assert_eq!(disk.remove(Removal::All, soon()), Err(ResultStoreError::Failed));
    disk.keep(key(1), cached(1, COST));
    assert_eq!(disk.flush(soon()), Err(ResultStoreError::Failed));
    assert_eq!(disk.flush(soon()), Ok(()), "no other write has failed");
}

#[test]
fn oldest_result_is_evicted_first_unless_requested() {
    let directory = tempfile::tempdir().unwrap();
    let disk = open(&directory);
    let write = |range: std::ops::Range<u64>| {
        for index in range {
            disk.keep(key(index), cached(20_000 + index as usize, COST));
        }
        disk.flush(soon()).unwrap();
    };
    let is_there = |index: u64| disk.find(&key(index), soon()).is_some();
    write(0..40);
    assert!(is_there(0) && is_there(39));
    write(40..70);
    assert!(is_there(0), "it was asked for");
    assert!(!is_there(1) && is_there(69));
    let Usage { entries, bytes } = disk.usage()[&component()];
    assert!(bytes <= MIB && entries >= 40, "{entries} entries, {bytes} bytes");
    // Free pages are reused: the file doesn't grow with the data that has passed through it.
    let length = || std::fs::metadata(directory.path().join("results.redb")).unwrap().len();
    let before = length();
    // The free space in between depends on how many results each transaction wrote.
    (10..20).for_each(|hundred| write(hundred * 100..(hundred + 1) * 100));
    assert!(length() <= before.max(8 * MIB), "{before} bytes, then {}", length());
}

#[test]
fn invalid_file_is_recreated() {
    for content in [&b""[..], b"not a database", &[0; 100_000]] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("results.redb"), content).unwrap();
        let disk = open(&directory);
        assert!(!found(&disk, 1));
        disk.keep(key(1), cached(1, COST));
        drop(disk);
        assert!(found(&open(&directory), 1));
    }
}

/// After any damage to the file, a lookup returns the right result or nothing.
#[test]
fn damage_is_a_miss() {
    let whole = std::fs::read(filled(20).path().join("results.redb")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("results.redb");
    let check = || {
        let disk = open(&directory);
        (0..20).filter(|index| found(&disk, *index)).count()
    };
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut missed = 0;
    for index in 0..64 {
        std::fs::write(&path, &whole).unwrap();
        let at = used / 64 * index + index % 7;
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[!whole[at]; 16], at as u64).unwrap();
        missed += 20 - check();
    }
    assert!(missed > 0, "nothing was damaged");
    for eighths in 0..8 {
        std::fs::write(&path, &whole[..whole.len() / 8 * eighths]).unwrap();
        check();
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(check(), 20);
}

/// A damaged file may crash its writers every time they try.
#[test]
fn file_that_crashed_processes_is_recreated() {
    let mark = |directory: &TempDir| directory.path().join("results.writing");
    let directory = filled(3);
    assert!(!mark(&directory).exists(), "it wrote, and didn't die");
    // A single process may have been killed by chance.
    std::fs::write(mark(&directory), ".").unwrap();
    let disk = open(&directory);
    disk.keep(key(10), cached(10, COST));
    disk.flush(soon()).unwrap();
    assert!(found(&disk, 0) && found(&disk, 10) && !mark(&directory).exists());
    drop(disk);
    std::fs::write(mark(&directory), "..").unwrap();
    let disk = open(&directory);
    assert!(!found(&disk, 0) && !found(&disk, 10));
    disk.keep(key(12), cached(12, COST));
    disk.flush(soon()).unwrap();
    assert!(found(&disk, 12) && !mark(&directory).exists());
    drop(disk);
    // A process that only reads doesn't change the count of deaths.
    std::fs::write(mark(&directory), ".").unwrap();
    let disk = open(&directory);
    assert!(found(&disk, 12));
    drop(disk);
    assert_eq!(std::fs::read(mark(&directory)).unwrap(), b".");
}

/// The store in a directory of its own.
struct InFile {
    directory: TempDir,
    store: Results,
}

impl InFile {
    fn open(directory: TempDir) -> Self {
        let store = Arc::new(open(&directory));
        Self { directory, store }
    }
}

impl Fixture for InFile {
    fn new() -> Self {
        assert_eq!(BYTES_MAX, MIB);
        Self::open(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> Results {
        Arc::clone(&self.store)
    }

    fn change_records(self, change: impl Fn(&mut Vec<u8>)) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let database = Builder::new().open(directory.path().join("results.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut results = transaction.open_table(RESULTS).unwrap();
            let changed = |found: &[u8]| {
                let mut record = found[NUMBER_BYTES..].to_vec();
                change(&mut record);
                [&found[..NUMBER_BYTES], &record].concat()
            };
            let mut records = Vec::new();
            for entry in results.iter().unwrap() {
                let (key, found) = entry.unwrap();
                records.push((key.value(), changed(found.value())));
            }
            for (key, record) in records {
                results.insert(key, record.as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
        drop(database);
        Self::open(directory)
    }

    fn restart(self) -> Option<Self> {
        let Self { directory, store } = self;
        drop(store);
        Some(Self::open(directory))
    }
}

crate::result_store_conformance!(InFile);
