//! The conformance suite on a directory, and what a crash or another process can leave there.

use super::*;
use crate::testing::blobs::{Fixture, soon};

struct InDirectory {
    blobs: Arc<FileBlobs>,
    directory: tempfile::TempDir,
}

fn open(path: &Path) -> FileBlobs {
    FileBlobs::open(Arc::new(Directory::open(path).unwrap())).unwrap()
}

fn change_file(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(&path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
}

impl Fixture for InDirectory {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { blobs: Arc::new(open(directory.path())), directory }
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.blobs) as Arc<dyn Blobs>
    }

    fn change_component(&self, digest: &Digest, change: impl FnOnce(&mut Vec<u8>)) {
        change_file(self.blobs.component_path(digest), change);
    }

    fn change_compiled(&self, id: CompiledId<'_>, change: impl FnOnce(&mut Vec<u8>)) {
        change_file(self.blobs.compiled_path(id), change);
    }

    fn restart(self) -> Option<Self> {
        let Self { blobs, directory } = self;
        drop(blobs);
        Some(Self { blobs: Arc::new(open(directory.path())), directory })
    }
}

crate::blobs_conformance!(InDirectory);

#[test]
fn a_file_of_compiled_code_under_another_name_is_not_opened() {
    let fixture = InDirectory::new();
    let (digest, other) = (Digest::of(b"one"), Digest::of(b"two"));
    let id = CompiledId { digest: &digest, compatibility: "now" };
    fixture.blobs.put_compiled(id, b"code", soon()).unwrap();
    let path = fixture.blobs.compiled_path(id);
    for id in
        [CompiledId { digest: &other, compatibility: "now" }, CompiledId { compatibility: "before", ..id }]
    {
        let copy = fixture.blobs.compiled_path(id);
        create_private_dir(copy.parent().unwrap()).unwrap();
        fs::copy(&path, copy).unwrap();
        assert!(fixture.blobs.compiled(id, soon()).unwrap().is_none(), "{id:?}");
    }
}

/// Opened compiled code is a copy. Later changes of its file don't show in it, and it can't be
/// written to.
#[test]
fn opened_compiled_code_is_sealed() {
    use std::io::Write as _;

    let fixture = InDirectory::new();
    let digest = Digest::of(b"one");
    let id = CompiledId { digest: &digest, compatibility: "now" };
    // Longer than one piece of reading.
    let code = vec![7; 300_000];
    fixture.blobs.put_compiled(id, &code, soon()).unwrap();
    let compiled = fixture.blobs.compiled(id, soon()).unwrap().unwrap();
    fs::write(fixture.blobs.compiled_path(id), b"other code").unwrap();
    assert!(fixture.blobs.compiled(id, soon()).unwrap().is_none());
    assert_eq!(fs::read(compiled.path()).unwrap(), code);
    if let Ok(mut writable) = fs::OpenOptions::new().write(true).open(compiled.path()) {
        assert!(writable.write_all(b"x").is_err());
        assert!(writable.set_len(0).is_err());
    }
    assert_eq!(fs::read(compiled.path()).unwrap(), code);
}

#[test]
fn an_unfinished_file_is_garbage() {
    let fixture = InDirectory::new();
    fs::write(fixture.directory.path().join("components/.tmp-x"), b"half").unwrap();
    let collected = fixture.blobs.collect(&HashSet::new(), "now").unwrap();
    assert_eq!(collected, Collected { blobs: 1, bytes: 4 });
}
