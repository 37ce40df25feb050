//! The conformance suite on a directory, and damage to its log.

use std::path::Path;

use redb::Database as RedbDatabase;

use super::*;
use crate::testing::catalog::Fixture;
use crate::testing::version;

struct InDirectory {
    catalog: Arc<RedbCatalog>,
    directory: tempfile::TempDir,
}

fn open(path: &Path) -> RedbCatalog {
    RedbCatalog::open(Arc::new(Directory::open(path).unwrap())).unwrap()
}

impl Fixture for InDirectory {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { catalog: Arc::new(open(directory.path())), directory }
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    fn restart(self) -> Option<Self> {
        let Self { catalog, directory } = self;
        // The lock goes with the last reference.
        Arc::into_inner(catalog).unwrap();
        Some(Self { catalog: Arc::new(open(directory.path())), directory })
    }
}

crate::catalog_conformance!(InDirectory);

fn soon() -> Instant {
    Instant::now() + std::time::Duration::from_secs(60)
}

fn publish(name: &str, number: u32) -> Change {
    Change::Publish(Box::new(version(name, number)))
}

/// Returns a directory with a log of three records, of which `change` changes the table.
fn with_changed_log(change: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let catalog = open(directory.path());
    for number in 1..=3 {
        catalog.append(catalog.applied(), &[publish("f", number)], soon()).unwrap();
    }
    drop(catalog);
    let database = RedbDatabase::open(RedbCatalog::file(directory.path())).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(LOG).unwrap());
    transaction.commit().unwrap();
    directory
}

fn bytes_of(log: &redb::Table<'_, u64, &'static [u8]>, number: u64) -> Vec<u8> {
    log.get(number).unwrap().unwrap().value().to_vec()
}

fn damage_of<T: std::fmt::Debug>(outcome: Result<T, CatalogError>) -> (u64, LogDamage) {
    match outcome {
        Err(CatalogError::Log { sequence, source }) => (sequence.number(), source),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_altered_record_is_reported_and_the_view_still_answers() {
    let directory = with_changed_log(|log| {
        let mut bytes = bytes_of(log, 2);
        bytes[60] ^= 1;
        log.insert(2, bytes.as_slice()).unwrap();
    });
    let catalog = open(directory.path());
    let (sequence, damage) = damage_of(catalog.follow(Sequence::START, soon()));
    assert!(matches!((sequence, damage), (2, LogDamage::Record(RecordError::WrongMac))));
    assert_eq!(catalog.current(&"f".parse().unwrap()).unwrap(), Some(version("f", 3)));
}

#[test]
fn nothing_is_appended_to_a_damaged_last_record() {
    let directory = with_changed_log(|log| {
        let bytes = bytes_of(log, 3);
        log.insert(3, &bytes[..bytes.len() - 1]).unwrap();
    });
    let catalog = open(directory.path());
    let refused = catalog.append(catalog.applied(), &[publish("f", 4)], soon());
    assert!(matches!(refused, Err(AppendError::Catalog(CatalogError::Log { .. }))), "{refused:?}");
    assert_eq!(catalog.current(&"f".parse().unwrap()).unwrap(), Some(version("f", 3)));
}

#[test]
fn a_removed_record_is_reported() {
    let directory = with_changed_log(|log| drop(log.remove(2).unwrap()));
    let (sequence, damage) = damage_of(open(directory.path()).follow(Sequence::START, soon()));
    assert!(matches!((sequence, damage), (2, LogDamage::Missing)));
}

/// Both records are authentic, but the log has one twice.
#[test]
fn a_record_at_another_place_is_reported() {
    let directory = with_changed_log(|log| {
        let bytes = bytes_of(log, 1);
        log.insert(2, bytes.as_slice()).unwrap();
    });
    let (sequence, damage) = damage_of(open(directory.path()).follow(Sequence::START, soon()));
    assert!(matches!((sequence, damage), (2, LogDamage::BrokenChain)));
}

/// Without the key older records can't be checked, and names can still be changed.
#[test]
fn the_chain_continues_after_the_key_was_lost() {
    let directory = with_changed_log(|_| {});
    std::fs::remove_file(directory.path().join("key")).unwrap();
    let catalog = open(directory.path());
    let (sequence, damage) = damage_of(catalog.follow(Sequence::START, soon()));
    assert!(matches!((sequence, damage), (1, LogDamage::Record(RecordError::OtherKey))));
    let fourth = catalog.append(Sequence::new(3), &[publish("f", 4)], soon()).unwrap();
    assert_eq!(catalog.follow(Sequence::new(3), soon()).unwrap()[0].sequence(), fourth);
}

#[test]
fn an_append_waits_for_its_turn_until_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = open(directory.path());
    let turn = catalog.turn.take(soon()).unwrap();
    let deadline = Instant::now() + std::time::Duration::from_millis(20);
    let refused = catalog.append(Sequence::START, &[publish("f", 1)], deadline);
    assert!(matches!(refused, Err(AppendError::DeadlineExceeded)));
    assert!(deadline <= Instant::now());
    drop(turn);
    catalog.append(Sequence::START, &[publish("f", 1)], soon()).unwrap();
}

#[test]
fn a_long_log_is_followed_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = open(directory.path());
    for number in 0..3 {
        let content = vec![number; FOLLOW_BYTES / 2 + 1];
        let change = Change::Unknown(RawChange { kind: 60_000, content });
        catalog.append(catalog.applied(), &[change], soon()).unwrap();
    }
    assert_eq!(catalog.follow(Sequence::START, soon()).unwrap().len(), 2);
    assert_eq!(catalog.follow(Sequence::new(2), soon()).unwrap().len(), 1);
}
