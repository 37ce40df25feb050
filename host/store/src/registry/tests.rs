//! The registry on real directories, with the failures a crash or a stranger can cause.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;

use nebula_model::form::Form;

use super::*;

pub(super) fn new_version(content: &[u8]) -> NewVersion {
    NewVersion {
        digest: Digest::of(content),
        size_bytes: content.len() as u64,
        limits: LimitOverrides::default(),
        remember: Remember::default(),
        pipeline: None,
        linked: Vec::new(),
        description: Description {
            form: Form::Typed,
            signature: "handle: func()".to_owned(),
            input_schema: None,
            output_schema: None,
            error_schema: None,
            imports: vec![],
            notes: vec![],
        },
    }
}

pub(super) fn publish(registry: &Registry, name: &str, content: &[u8]) -> VersionRecord {
    try_publish(registry, name, content).unwrap()
}

pub(super) fn try_publish(
    registry: &Registry,
    name: &str,
    content: &[u8],
) -> Result<VersionRecord, StoreError> {
    let name = name.parse().unwrap();
    let new = Publication { name: &name, content: content.into(), version: new_version(content) };
    registry.publish(&[new]).map(|mut published| published.remove(0))
}

pub(super) fn resolve(registry: &Registry, reference: &str) -> Result<VersionRecord, ResolveError> {
    registry.resolve(&reference.parse().unwrap())
}

#[test]
fn a_publish_survives_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let first = publish(&Registry::open(directory.path()).unwrap(), "f", b"one");
    let registry = Registry::open(directory.path()).unwrap();
    assert_eq!(resolve(&registry, "f").unwrap(), first);
    assert_eq!(registry.read_component(&first.digest).unwrap(), b"one");
}

/// A server that only answers calls may be killed like any other: it has begun nothing.
#[test]
fn reading_leaves_the_database_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let published = publish(&Registry::open(directory.path()).unwrap(), "f", b"one");
    let bytes = || fs::read(directory.path().join("registry.redb")).unwrap();
    let before = bytes();
    let registry = Registry::open(directory.path()).unwrap();
    assert_eq!(resolve(&registry, "f").unwrap(), published);
    registry.collect_garbage("now", HashSet::new).unwrap();
    assert!(bytes() == before);
    // The first change is seen by whoever reads after it.
    let second = publish(&registry, "f", b"two");
    assert_eq!(resolve(&registry, "f").unwrap(), second);
    assert!(bytes() != before);
}

/// A server that was killed while it wrote leaves a file to be mended: once, whatever becomes of the next.
#[test]
fn what_was_mended_is_left_as_it_is() {
    let as_killed = |from: &Path| {
        let to = tempfile::tempdir().unwrap();
        for file in ["FORMAT", "key", "registry.redb"] {
            fs::copy(from.join(file), to.path().join(file)).unwrap();
        }
        to
    };
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let published = publish(&registry, "f", b"one");
    let killed = as_killed(directory.path());
    let mended = Registry::open(killed.path()).unwrap();
    assert_eq!(resolve(&mended, "f").unwrap(), published);
    let again = as_killed(killed.path());
    let bytes = || fs::read(again.path().join("registry.redb")).unwrap();
    let before = bytes();
    assert_eq!(resolve(&Registry::open(again.path()).unwrap(), "f").unwrap(), published);
    assert!(bytes() == before);
}

#[test]
fn the_same_content_is_the_same_version() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    assert_eq!(publish(&registry, "f", b"one"), publish(&registry, "f", b"one"));
    assert_eq!(publish(&registry, "f", b"two").version.to_string(), "v2");
}

#[test]
fn rollback_points_back_and_keeps_history() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let name = "f".parse().unwrap();
    let first = publish(&registry, "f", b"one");
    publish(&registry, "f", b"two");
    let earlier = registry.earlier(&name, None).unwrap();
    assert_eq!(earlier, first);
    registry.roll_back(&earlier, &[]).unwrap();
    assert_eq!(resolve(&registry, "f").unwrap(), first);
    assert_eq!(resolve(&registry, "f@v2").unwrap().digest, Digest::of(b"two"));
    assert!(matches!(registry.earlier(&name, None), Err(ResolveError::NoEarlierVersion { .. })));
    // The next deploy doesn't take a number that was used.
    assert_eq!(publish(&registry, "f", b"three").version.to_string(), "v3");
}

#[test]
fn removed_functions_leave_no_files_behind() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let (kept, gone) = (publish(&registry, "a", b"kept"), publish(&registry, "b", b"gone"));
    for digest in [&kept.digest, &gone.digest] {
        registry.store_compiled(digest, "now", b"code").unwrap();
    }
    registry.store_compiled(&kept.digest, "before", b"code").unwrap();
    assert!(registry.remove(&"b".parse().unwrap()).unwrap());
    assert!(!registry.remove(&"b".parse().unwrap()).unwrap());
    let collected = registry.collect_garbage("now", HashSet::new).unwrap();
    assert_eq!(collected.files, 1 + 1 + 1);
    assert!(registry.open_compiled(&kept.digest, "now").unwrap().is_some());
    assert!(registry.read_component(&gone.digest).is_err());
    assert!(matches!(resolve(&registry, "b"), Err(ResolveError::UnknownFunction(_))));
}

#[test]
fn what_a_call_is_using_is_not_garbage_yet() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let digest = publish(&registry, "f", b"one").digest;
    registry.store_compiled(&digest, "now", b"code").unwrap();
    assert!(registry.remove(&"f".parse().unwrap()).unwrap());
    assert_eq!(registry.collect_garbage("now", || HashSet::from([digest])).unwrap(), Collected::default());
    assert!(registry.open_compiled(&digest, "now").unwrap().is_some());
    assert_eq!(registry.collect_garbage("now", HashSet::new).unwrap().files, 2);
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Registry::open(directory.path()).unwrap();
    match Registry::open(directory.path()) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        _ => panic!("the second open should be refused"),
    }
}

#[test]
fn compiled_code_that_was_touched_is_not_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let digest = publish(&registry, "f", b"one").digest;
    registry.store_compiled(&digest, "now", b"native code").unwrap();
    let path = directory.path().join("compiled/now").join(digest.hex());
    let whole = fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut other = whole.clone();
        other[at] ^= 1;
        other
    };
    let shorter = (0..whole.len()).map(|bytes| whole[..bytes].to_vec());
    let longer = [&whole[..], b"x"].concat();
    for touched in (0..whole.len()).map(flipped).chain(shorter).chain([longer]) {
        fs::write(&path, &touched).unwrap();
        assert!(registry.open_compiled(&digest, "now").unwrap().is_none(), "{touched:?}");
    }
    // Right content under another digest or engine is wrong too.
    fs::write(&path, &whole).unwrap();
    assert!(registry.open_compiled(&digest, "now").unwrap().is_some());
    fs::copy(&path, path.with_file_name(Digest::of(b"other").hex())).unwrap();
    assert!(registry.open_compiled(&Digest::of(b"other"), "now").unwrap().is_none());
}

/// A file that is overwritten after it was authenticated changes nothing in what was handed out.
#[test]
fn opened_compiled_code_does_not_change_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let digest = publish(&registry, "f", b"one").digest;
    // Longer than one piece of reading.
    let code = vec![7; 300_000];
    registry.store_compiled(&digest, "now", &code).unwrap();
    let compiled = registry.open_compiled(&digest, "now").unwrap().unwrap();
    fs::write(directory.path().join("compiled/now").join(digest.hex()), b"other code").unwrap();
    assert!(registry.open_compiled(&digest, "now").unwrap().is_none());
    assert_eq!(compiled.bytes(), code.len() as u64);
    assert_eq!(fs::read(compiled.path()).unwrap(), code);
    let writable = fs::OpenOptions::new().write(true).open(compiled.path());
    // Opened or not, nothing is written to it, cut off or added.
    assert!(
        writable.is_err()
            || writable.is_ok_and(|file| (&file).write_all(b"x").is_err() && file.set_len(0).is_err())
    );
    assert_eq!(fs::read(compiled.path()).unwrap(), code);
}

#[test]
fn a_crash_before_the_commit_leaves_only_garbage() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let kept = publish(&registry, "f", b"one");
    // As a crash leaves it: a temporary file, and a component stored but never named.
    fs::write(directory.path().join("components/.tmp-x"), b"ha").unwrap();
    registry.files.put_component(&Digest::of(b"two"), b"two").unwrap();
    drop(registry);
    let registry = Registry::open(directory.path()).unwrap();
    assert_eq!(resolve(&registry, "f").unwrap(), kept);
    assert_eq!(registry.collect_garbage("now", HashSet::new).unwrap(), Collected { files: 2, bytes: 5 });
    assert_eq!(registry.read_component(&kept.digest).unwrap(), b"one");
}

#[test]
fn damage_is_found_and_mended_by_deploying_again() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let digest = publish(&registry, "f", b"one").digest;
    fs::write(directory.path().join("components").join(digest.hex()), b"0ne").unwrap();
    assert!(matches!(registry.read_component(&digest), Err(StoreError::Damaged { .. })));
    publish(&registry, "f", b"one");
    assert_eq!(registry.read_component(&digest).unwrap(), b"one");
}

#[test]
fn another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("FORMAT"), "nebula registry 9\n").unwrap();
    assert!(matches!(Registry::open(directory.path()), Err(OpenError::OtherFormat { .. })));
}
