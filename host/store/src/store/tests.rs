//! The store in memory, and on directories where that matters: after a restart, a crash or damage.

use std::collections::HashSet;
use std::fs;

use nebula_model::caching::Caching;
use nebula_model::configuration::Configuration;
use nebula_model::limits::LimitOverrides;

use super::*;
use crate::blobs::BlobError;
use crate::testing::{description, disagreement, pipeline_version, version};

pub(super) fn new_version(content: &[u8]) -> NewVersion {
    NewVersion {
        digest: Digest::of(content),
        size_bytes: content.len() as u64,
        limits: LimitOverrides::default(),
        cache: Caching::default(),
        config: Configuration::default(),
        project: None,
        cors: None,
        routes: Vec::new(),
        hosts: Vec::new(),
        pipeline: None,
        linked: Vec::new(),
        description: description(),
    }
}

pub(super) fn publish(store: &Store, name: &str, content: &[u8]) -> VersionRecord {
    try_publish(store, name, content).unwrap()
}

pub(super) fn try_publish(store: &Store, name: &str, content: &[u8]) -> Result<VersionRecord, StoreError> {
    let name = name.parse().unwrap();
    let new = Publication { name: &name, content: content.into(), version: new_version(content) };
    store.publish(store.applied(), &[new], &[]).map(|mut published| published.remove(0))
}

pub(super) fn resolve(store: &Store, reference: &str) -> Result<VersionRecord, ResolveError> {
    store.resolve(&reference.parse().unwrap())
}

fn open(directory: &tempfile::TempDir) -> Store {
    Store::open(directory.path()).unwrap()
}

#[test]
fn a_published_version_survives_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let first = publish(&open(&directory), "f", b"one");
    let store = open(&directory);
    assert_eq!(resolve(&store, "f").unwrap(), first);
    assert_eq!(store.read_component(&first.digest).unwrap(), b"one");
}

/// Killing a server that only answers calls can't damage the database.
#[test]
fn reading_does_not_write_to_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let published = publish(&open(&directory), "f", b"one");
    let bytes = || fs::read(directory.path().join("registry.redb")).unwrap();
    let before = bytes();
    let store = open(&directory);
    assert_eq!(resolve(&store, "f").unwrap(), published);
    store.collect_garbage("now", HashSet::new).unwrap();
    assert!(bytes() == before);
    // The first change reopens the database, and later lookups see the change.
    let second = publish(&store, "f", b"two");
    assert_eq!(resolve(&store, "f").unwrap(), second);
    assert!(bytes() != before);
}

/// A server that is killed while it writes leaves a file that the next start repairs, once.
#[test]
fn a_repaired_database_is_not_repaired_again() {
    let as_killed = |from: &Path| {
        let to = tempfile::tempdir().unwrap();
        for file in ["FORMAT", "key", "registry.redb"] {
            fs::copy(from.join(file), to.path().join(file)).unwrap();
        }
        to
    };
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let published = publish(&store, "f", b"one");
    let killed = as_killed(directory.path());
    let repaired = open(&killed);
    assert_eq!(resolve(&repaired, "f").unwrap(), published);
    let again = as_killed(killed.path());
    let bytes = || fs::read(again.path().join("registry.redb")).unwrap();
    let before = bytes();
    assert_eq!(resolve(&open(&again), "f").unwrap(), published);
    assert!(bytes() == before);
}

#[test]
fn the_same_content_is_the_same_version_and_no_change() {
    let store = Store::in_memory();
    let first = publish(&store, "f", b"one");
    let applied = store.applied();
    assert_eq!(publish(&store, "f", b"one"), first);
    assert_eq!(store.applied(), applied);
    assert_eq!(publish(&store, "f", b"two").version.to_string(), "v2");
}

#[test]
fn a_prospect_is_the_version_that_publishing_gives() {
    let store = Store::in_memory();
    let name = "f".parse().unwrap();
    for content in [b"one", b"two", b"two"] {
        let prospect = store.prospect(&name, &new_version(content)).unwrap();
        let published = publish(&store, "f", content);
        assert_eq!((prospect.version, prospect.digest), (published.version, published.digest));
    }
}

/// One of them is published under its name twice.
#[test]
fn several_versions_are_published_in_one_change() {
    let store = Store::in_memory();
    let names = ["f", "g", "f", "f"].map(|name| name.parse().unwrap());
    let contents: [&[u8]; 4] = [b"one", b"two", b"three", b"three"];
    let new: Vec<_> = names
        .iter()
        .zip(contents)
        .map(|(name, content)| Publication { name, content: content.into(), version: new_version(content) })
        .collect();
    let published = store.publish(store.applied(), &new, &[]).unwrap();
    assert_eq!(store.applied().number(), 1);
    let versions: Vec<_> = published.iter().map(|record| record.version.number()).collect();
    assert_eq!(versions, [1, 1, 2, 2]);
    assert_eq!(resolve(&store, "f").unwrap(), published[3]);
}

fn imported(name: &str, numbers: &[u32], current: u32) -> ImportedFunction {
    let versions = numbers.iter().map(|number| version(name, *number)).collect();
    ImportedFunction { current: Version::new(current).unwrap(), versions }
}

/// Stores the components of versions.
fn store_components(store: &Store, functions: &[ImportedFunction]) {
    for record in functions.iter().flat_map(|function| &function.versions) {
        let content = format!("{}@{}", record.name, record.version);
        store.put_component(&record.digest, content.as_bytes()).unwrap();
    }
}

#[test]
fn imported_functions_keep_their_numbers_and_survive_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut functions = vec![imported("f", &[2, 5], 2), imported("g", &[1], 1)];
    let mut pipeline = pipeline_version("p", 3);
    let content = pipeline.pipeline.as_ref().unwrap().content();
    pipeline.digest = Digest::of(&content);
    {
        let store = open(&directory);
        store_components(&store, &functions);
        functions.push(ImportedFunction { current: pipeline.version, versions: vec![pipeline.clone()] });
        store.import(store.applied(), &functions).unwrap();
        assert_eq!(store.applied().number(), 1, "one change");
    }
    let store = open(&directory);
    assert_eq!(resolve(&store, "f").unwrap(), version("f", 2));
    assert_eq!(resolve(&store, "f@v5").unwrap(), version("f", 5));
    assert_eq!(resolve(&store, "p").unwrap(), pipeline);
    assert_eq!(store.pipelines().unwrap(), [pipeline.name.clone()]);
    assert_eq!(store.read_component(&pipeline.digest).unwrap(), content);
    assert_eq!(publish(&store, "f", b"next").version, Version::new(6).unwrap());
}

/// No version replaces the one with the last number.
#[test]
fn numbers_run_out() {
    let store = Store::in_memory();
    let functions = [imported("f", &[u32::MAX - 1], u32::MAX - 1)];
    store_components(&store, &functions);
    store.import(store.applied(), &functions).unwrap();
    let last = publish(&store, "f", b"last");
    assert_eq!(last.version.number(), u32::MAX);
    let refused = try_publish(&store, "f", b"another");
    assert!(matches!(&refused, Err(StoreError::LastVersion { latest, .. }) if *latest == last.version));
    let prospect = store.prospect(&last.name, &new_version(b"another"));
    assert!(matches!(prospect, Err(StoreError::LastVersion { .. })));
    assert_eq!(resolve(&store, "f").unwrap(), last);
    assert_eq!(publish(&store, "f", b"last"), last);
    publish(&store, "g", b"another");
}

#[test]
fn an_import_without_its_components_or_at_another_base_changes_nothing() {
    let store = Store::in_memory();
    let functions = [imported("f", &[1], 1), imported("g", &[1, 2], 2)];
    store_components(&store, &functions[..1]);
    assert!(store.import(store.applied(), &functions).unwrap_err().is_absence());
    assert!(store.list().unwrap().is_empty());
    store_components(&store, &functions);
    let base = store.applied();
    publish(&store, "other", b"other");
    assert!(store.import(base, &functions).unwrap_err().is_conflict());
    assert_eq!(store.list().unwrap().len(), 1);
    store.import(store.applied(), &functions).unwrap();
    assert_eq!(store.list().unwrap().len(), 3);
}

#[test]
fn rollback_keeps_the_later_versions() {
    let store = Store::in_memory();
    let name = "f".parse().unwrap();
    let first = publish(&store, "f", b"one");
    publish(&store, "f", b"two");
    let earlier = store.earlier(&name, None).unwrap();
    assert_eq!(earlier, first);
    store.roll_back(store.applied(), &earlier, &[]).unwrap();
    assert_eq!(resolve(&store, "f").unwrap(), first);
    assert_eq!(resolve(&store, "f@v2").unwrap().digest, Digest::of(b"two"));
    assert!(matches!(store.earlier(&name, None), Err(ResolveError::NoEarlierVersion { .. })));
    // The next deploy doesn't reuse a number.
    assert_eq!(publish(&store, "f", b"three").version.to_string(), "v3");
}

#[test]
fn a_digest_resolves_to_its_latest_version() {
    let store = Store::in_memory();
    for content in [b"one", b"two", b"one"] {
        publish(&store, "f", content);
    }
    let reference = format!("f@{}", Digest::of(b"one"));
    assert_eq!(resolve(&store, &reference).unwrap().version.to_string(), "v3");
}

#[test]
fn references_that_do_not_resolve_say_why() {
    let store = Store::in_memory();
    publish(&store, "f", b"one");
    let error = |reference: &str| resolve(&store, reference).unwrap_err().to_string();
    assert_eq!(error("g"), "there is no function `g`");
    assert_eq!(error("g@v1"), "there is no function `g`");
    assert_eq!(error("f@v2"), "`f` has no version `v2`; its current one is v1");
}

#[test]
fn two_stores_on_one_catalog_both_succeed() {
    const ROUNDS: u32 = 10;
    let first = Store::in_memory();
    let second = Store::new(Arc::clone(&first.catalog), Arc::clone(&first.blobs), first.secret.clone());
    let stores = [first, second];
    std::thread::scope(|scope| {
        for (store, name) in stores.iter().zip(["f", "g"]) {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    retry_conflicts(|| try_publish(store, name, &round.to_le_bytes())).unwrap();
                }
            });
        }
    });
    for name in ["f", "g"] {
        assert_eq!(resolve(&stores[0], name).unwrap().version.number(), ROUNDS);
    }
}

#[test]
fn collecting_garbage_deletes_the_blobs_of_removed_functions() {
    let store = Store::in_memory();
    let (kept, gone) = (publish(&store, "a", b"kept"), publish(&store, "b", b"gone"));
    for digest in [&kept.digest, &gone.digest] {
        store.store_compiled(digest, "now", b"code").unwrap();
    }
    store.store_compiled(&kept.digest, "before", b"code").unwrap();
    assert!(store.remove(store.applied(), &"b".parse().unwrap()).unwrap());
    assert!(!store.remove(store.applied(), &"b".parse().unwrap()).unwrap());
    let collected = store.collect_garbage("now", HashSet::new).unwrap();
    assert_eq!(collected.blobs, 1 + 1 + 1);
    assert!(store.open_compiled(&kept.digest, "now").unwrap().is_some());
    assert!(store.read_component(&gone.digest).unwrap_err().is_absence());
    assert!(matches!(resolve(&store, "b"), Err(ResolveError::UnknownFunction { .. })));
}

#[test]
fn a_component_in_use_is_not_garbage() {
    let store = Store::in_memory();
    let digest = publish(&store, "f", b"one").digest;
    store.store_compiled(&digest, "now", b"code").unwrap();
    assert!(store.remove(store.applied(), &"f".parse().unwrap()).unwrap());
    assert_eq!(store.collect_garbage("now", || HashSet::from([digest])).unwrap(), Collected::default());
    assert!(store.open_compiled(&digest, "now").unwrap().is_some());
    assert_eq!(store.collect_garbage("now", HashSet::new).unwrap().blobs, 2);
}

#[test]
fn only_a_distrusted_component_is_trusted_again_with_a_change() {
    let store = Store::in_memory();
    let components = HashSet::from([Digest::of(b"one"), Digest::of(b"two")]);
    store.trust(&components).unwrap();
    assert_eq!(store.applied(), Sequence::START);
    store.distrust(&disagreement(Digest::of(b"one"))).unwrap();
    assert_eq!(store.disagreements().unwrap().len(), 1);
    store.trust(&components).unwrap();
    assert!(store.disagreements().unwrap().is_empty());
    assert_eq!(store.applied().number(), 2);
}

#[test]
fn a_crash_before_the_change_leaves_only_garbage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let kept = publish(&store, "f", b"one");
    // A crash can leave a temporary file, and a component that was stored and never named.
    fs::write(directory.path().join("components/.tmp-x"), b"ha").unwrap();
    fs::write(directory.path().join("components").join(Digest::of(b"two").hex()), b"two").unwrap();
    drop(store);
    let store = open(&directory);
    assert_eq!(resolve(&store, "f").unwrap(), kept);
    assert_eq!(store.collect_garbage("now", HashSet::new).unwrap(), Collected { blobs: 2, bytes: 5 });
    assert_eq!(store.read_component(&kept.digest).unwrap(), b"one");
}

#[test]
fn a_damaged_component_is_reported_and_repaired_by_a_deploy() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let digest = publish(&store, "f", b"one").digest;
    fs::write(directory.path().join("components").join(digest.hex()), b"0ne").unwrap();
    assert!(matches!(store.read_component(&digest), Err(StoreError::Blob(BlobError::Damaged { .. }))));
    publish(&store, "f", b"one");
    assert_eq!(store.read_component(&digest).unwrap(), b"one");
}

mod formats {
    //! Directories that other releases have made. `tests/data` has one of each format.

    use super::*;

    const VIEW: [&str; 3] = ["chain v1", "double v1", "sum v1"];

    fn list(store: &Store) -> Vec<String> {
        store.list().unwrap().iter().map(|record| format!("{} {}", record.name, record.version)).collect()
    }

    /// Checks that the store has exactly what the directories in `tests/data` were made with.
    fn check_content(store: &Store) {
        assert_eq!(list(store), VIEW);
        let names = |names: Vec<FunctionName>| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(store.pipelines().unwrap()), ["chain"]);
        assert_eq!(names(store.importers().unwrap()), ["sum"]);
        let second = resolve(store, "double@v2").unwrap();
        assert_eq!(second.limits.deadline_ms.unwrap().get(), 500);
        assert_eq!(store.disagreements().unwrap().into_keys().collect::<Vec<_>>(), [second.digest]);
        for digest in store.catalog.digests().unwrap() {
            store.read_component(&digest).unwrap();
        }
        assert!(matches!(resolve(store, "gone"), Err(ResolveError::UnknownFunction { .. })));
    }

    fn format(directory: &tempfile::TempDir) -> String {
        fs::read_to_string(directory.path().join("FORMAT")).unwrap()
    }

    fn copy_of(name: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        copy_data(name, directory.path());
        directory
    }

    #[test]
    fn a_directory_of_format_1_is_read_as_it_is() {
        let directory = copy_of("registry-1");
        let before = fs::read(directory.path().join("registry.redb")).unwrap();
        let store = open(&directory);
        check_content(&store);
        assert_eq!(store.applied(), Sequence::START);
        drop(store);
        assert_eq!(format(&directory), "nebula registry 1\n");
        assert!(fs::read(directory.path().join("registry.redb")).unwrap() == before);
    }

    #[test]
    fn the_first_change_migrates_a_directory_of_format_1() {
        let directory = copy_of("registry-1");
        let store = open(&directory);
        let published = publish(&store, "new", b"one");
        assert_eq!(format(&directory), "nebula registry 2\n");
        assert!(store.remove(store.applied(), &"new".parse().unwrap()).unwrap());
        check_content(&store);
        drop(store);
        let store = open(&directory);
        check_content(&store);
        let soon = Instant::now() + APPEND_WAIT_MAX;
        let log = store.catalog.follow(Sequence::START, soon).unwrap();
        assert_eq!(log.len(), 3, "the names before, the publication, the removal");
        let snapshot = log[0].changes().unwrap();
        assert!(matches!(snapshot.last(), Some(Change::Distrust(_))));
        assert_eq!(log[1].changes().unwrap(), [Change::Publish(Box::new(published))]);
    }

    /// The process ended between the two steps of the migration.
    #[test]
    fn a_migration_that_was_interrupted_is_completed_by_the_next_change() {
        let directory = copy_of("registry-1");
        fs::write(directory.path().join("FORMAT"), "nebula registry 2\n").unwrap();
        let store = open(&directory);
        check_content(&store);
        store.distrust(&disagreement(Digest::of(b"one"))).unwrap();
        assert_eq!(store.applied().number(), 2);
    }

    #[test]
    fn a_directory_of_format_2_opens_with_its_log() {
        let directory = copy_of("registry-2");
        let store = open(&directory);
        check_content(&store);
        let soon = Instant::now() + APPEND_WAIT_MAX;
        let log = store.catalog.follow(Sequence::START, soon).unwrap();
        assert_eq!(log.last().unwrap().sequence(), store.applied());
        assert_eq!(publish(&store, "double", b"three").version.to_string(), "v3");
    }

    #[test]
    fn a_newer_format_is_refused_with_both_formats_in_the_message() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("FORMAT"), "nebula registry 9\n").unwrap();
        let Err(error) = Store::open(directory.path()) else { panic!("the format should be refused") };
        let expected = "has the format `nebula registry 9`, and this release reads \
                        `nebula registry 1` and `nebula registry 2`";
        assert!(error.to_string().ends_with(expected), "{error}");
    }

    #[test]
    fn a_second_process_is_refused_with_the_pid_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(&directory);
        match Store::open(directory.path()) {
            Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            _ => panic!("the second open should be refused"),
        }
    }
}

/// Copies a directory of `tests/data`.
pub(super) fn copy_data(name: &str, to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name);
    for file in ["FORMAT", "key", "registry.redb"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    fs::create_dir(to.join("components")).unwrap();
    for entry in fs::read_dir(from.join("components")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("components").join(entry.file_name())).unwrap();
    }
}
