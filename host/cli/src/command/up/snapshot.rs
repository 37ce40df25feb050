//! The contents of files at one time.
//!
//! Two snapshots differ where a file's content does. A file that is written again with the same
//! content hasn't changed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The time after a write during which another one may leave the same time stamp.
const STAMP_GRANULARITY: Duration = Duration::from_secs(1);

/// The bytes that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The contents of files at one time.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    files: BTreeMap<PathBuf, FileState>,
    taken: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    stamp: Stamp,
    /// A hash of the content; `None` if it can't be read.
    content: Option<u64>,
}

/// The state of a file in the file system. Different contents have different stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    changed: (i64, i64),
    bytes: u64,
    inode: u64,
}

impl Snapshot {
    /// Reads the files. A file that `earlier` has with the same stamp isn't read again.
    pub(super) fn take(files: BTreeSet<PathBuf>, earlier: Option<&Self>) -> Self {
        let taken = SystemTime::now();
        let state = |path: PathBuf| {
            let stamp = Stamp::of(&path)?;
            let known = earlier.and_then(|earlier| earlier.settled(&path, stamp));
            let state = known.unwrap_or_else(|| FileState { stamp, content: hash(&path) });
            Some((path, state))
        };
        Self { files: files.into_iter().filter_map(state).collect(), taken }
    }

    /// Returns the state of a file, if its stamp is still this one and later writes would have
    /// changed it.
    fn settled(&self, path: &Path, stamp: Stamp) -> Option<FileState> {
        let state = *self.files.get(path)?;
        let age = stamp.modified.and_then(|modified| self.taken.duration_since(modified).ok());
        (state.stamp == stamp && age? > STAMP_GRANULARITY).then_some(state)
    }

    /// Returns the files that were added, removed or have other contents in `later`.
    pub(super) fn changes(&self, later: &Self) -> BTreeSet<PathBuf> {
        let content = |snapshot: &Self, path: &Path| snapshot.files.get(path).map(|state| state.content);
        let paths = self.files.keys().chain(later.files.keys());
        paths.filter(|path| content(self, path) != content(later, path)).cloned().collect()
    }

    /// Returns a snapshot of those of the files that this one has.
    pub(super) fn only(&self, files: &BTreeSet<PathBuf>) -> Self {
        let state = |path: &PathBuf| Some((path.clone(), *self.files.get(path)?));
        Self { files: files.iter().filter_map(state).collect(), taken: self.taken }
    }

    /// Returns the files that aren't in `earlier` and were written at `since` or later.
    pub(super) fn written_since(&self, since: SystemTime, earlier: &Self) -> BTreeSet<PathBuf> {
        let is_new = |(path, state): &(&PathBuf, &FileState)| {
            !earlier.files.contains_key(*path)
                && state.stamp.modified.is_none_or(|modified| modified >= since)
        };
        self.files.iter().filter(is_new).map(|(path, _)| path.clone()).collect()
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            bytes: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

/// Hashes the content of a file.
fn hash(path: &Path) -> Option<u64> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut hasher = DefaultHasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).ok()? {
            0 => return Some(hasher.finish()),
            bytes => hasher.write(&chunk[..bytes]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_contents_are_changes() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let write = |name: &str, content: &str| std::fs::write(at(name), content).unwrap();
        let files = || std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        for name in ["same", "rewritten", "edited", "same-length", "removed", "replaced"] {
            write(name, "one");
        }
        let before = Snapshot::take(files(), None);
        write("rewritten", "one");
        write("edited", "three");
        write("same-length", "two");
        std::fs::remove_file(at("removed")).unwrap();
        write("other", "two");
        std::fs::rename(at("other"), at("replaced")).unwrap();
        write("added", "one");
        let after = Snapshot::take(files(), Some(&before));
        let changed = ["added", "edited", "removed", "replaced", "same-length"].map(at);
        assert_eq!(before.changes(&after), BTreeSet::from(changed));
        assert_eq!(after.changes(&Snapshot::take(files(), Some(&after))), BTreeSet::new());
    }

    #[test]
    fn files_written_since_a_time_are_found_by_their_stamps() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let now = SystemTime::now();
        let written = |name: &str, at_time: SystemTime| {
            std::fs::write(at(name), "").unwrap();
            let file = std::fs::File::options().write(true).open(at(name)).unwrap();
            file.set_modified(at_time).unwrap();
        };
        written("known", now);
        let earlier = Snapshot::take(BTreeSet::from([at("known")]), None);
        written("old", now - Duration::from_secs(5));
        written("new", now + Duration::from_secs(5));
        let later = Snapshot::take(["known", "old", "new"].map(at).into(), Some(&earlier));
        assert_eq!(later.written_since(now, &earlier), BTreeSet::from([at("new")]));
    }
}
