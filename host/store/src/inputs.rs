//! Inputs that callers ask to keep, so that their answers can be recomputed.
//!
//! `inputs/<sha256>` in the data directory holds the document of one input. When space runs out,
//! the oldest is evicted.
//!
//! Invariants:
//! * A document that is found has the digest it was looked up by: a damaged or cut-off file is
//!   absent.
//! * All documents together take at most the given bytes of disk, counted in whole blocks. If that
//!   limit was lowered, the next document that is kept evicts down to it.
//! * A failing disk costs the documents that it was to keep, and no call.
//! * Nothing is read from the directory before the first document is kept or looked up.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use nebula_model::id::Digest;

use crate::directory::create_private_dir;

/// The least disk space of a file, bytes.
const BLOCK_BYTES: u64 = 4096;

/// The largest document takes one part in this many of the limit.
const LARGEST_PART: u64 = 4;

/// The kept inputs.
pub struct Inputs {
    directory: PathBuf,
    bytes_max: u64,
    /// `None` until the directory is read. Locked while the directory is read or a file written.
    kept: Mutex<Option<Kept>>,
}

/// The documents in the directory.
#[derive(Default)]
struct Kept {
    bytes: u64,
    /// Oldest first.
    order: VecDeque<(Digest, u64)>,
    names: HashSet<Digest>,
}

impl Inputs {
    /// Returns the inputs in `data_dir`, which take at most `bytes_max` bytes. With 0 nothing is
    /// kept. Doesn't read the directory yet.
    pub fn new(data_dir: &Path, bytes_max: u64) -> Self {
        Self { directory: data_dir.join("inputs"), bytes_max, kept: Mutex::default() }
    }

    /// Keeps a document. Returns whether it is there now. Waits for the disk.
    pub fn keep(&self, digest: &Digest, document: &[u8]) -> bool {
        let bytes = taken(document.len() as u64);
        if bytes > self.bytes_max / LARGEST_PART {
            return false;
        }
        self.write(digest, document, bytes).is_ok()
    }

    fn write(&self, digest: &Digest, document: &[u8], bytes: u64) -> io::Result<()> {
        let mut slot = self.lock();
        let kept = match &mut *slot {
            Some(kept) => kept,
            none => none.insert(self.read()?),
        };
        if kept.names.contains(digest) {
            if self.get(digest).is_some() {
                return Ok(());
            }
            // The file is damaged: write it again.
            kept.forget(digest);
        }
        while kept.bytes + bytes > self.bytes_max {
            let Some((oldest, freed)) = kept.order.pop_front() else { break };
            match fs::remove_file(self.path(&oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // Try another one first next time.
                    kept.order.push_back((oldest, freed));
                    return Err(error);
                }
                Ok(()) | Err(_) => {}
            }
            kept.names.remove(&oldest);
            kept.bytes -= freed;
        }
        let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(&self.directory)?;
        file.write_all(document)?;
        // Not synced: after a crash the document is absent, or its digest doesn't match.
        file.persist(self.path(digest)).map_err(|error| error.error)?;
        kept.add(*digest, bytes);
        Ok(())
    }

    /// Returns the document with this digest. Waits for the disk.
    pub fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        // Earlier documents don't count once keeping is switched off.
        if self.bytes_max == 0 {
            return None;
        }
        let document = fs::read(self.path(digest)).ok()?;
        (Digest::of(&document) == *digest).then_some(document)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the documents of earlier processes. Deletes files with other names, such as those that
    /// a crash left half written.
    fn read(&self) -> io::Result<Kept> {
        create_private_dir(&self.directory)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| format!("sha256:{name}").parse::<Digest>().ok());
            let Some(digest) = digest else {
                fs::remove_file(entry.path())?;
                continue;
            };
            let metadata = entry.metadata()?;
            let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((written, digest, taken(metadata.len())));
        }
        found.sort_by_key(|(written, ..)| *written);
        let mut kept = Kept::default();
        for (_, digest, bytes) in found {
            kept.add(digest, bytes);
        }
        Ok(kept)
    }
}

impl Kept {
    fn add(&mut self, digest: Digest, bytes: u64) {
        self.bytes += bytes;
        self.names.insert(digest);
        self.order.push_back((digest, bytes));
    }

    fn forget(&mut self, digest: &Digest) {
        self.names.remove(digest);
        self.order.retain(|(other, _)| other != digest);
        self.bytes = self.order.iter().map(|(_, bytes)| bytes).sum();
    }
}

/// Returns the disk space of a file of this length, bytes.
fn taken(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u64 = 8 * BLOCK_BYTES;

    fn document(index: u8) -> Vec<u8> {
        vec![index; 100]
    }

    fn keep(inputs: &Inputs, document: &[u8]) -> bool {
        inputs.keep(&Digest::of(document), document)
    }

    fn found(inputs: &Inputs, document: &[u8]) -> bool {
        inputs.get(&Digest::of(document)).is_some_and(|found| found == document)
    }

    #[test]
    fn the_oldest_input_is_evicted_when_space_runs_out() {
        let directory = tempfile::tempdir().unwrap();
        let inputs = Inputs::new(directory.path(), ROOM);
        for index in 0..8 {
            assert!(keep(&inputs, &document(index)));
        }
        // Keeping a document again takes no more space.
        assert!(keep(&inputs, &document(0)));
        assert!((0..8).all(|index| found(&inputs, &document(index))));
        assert!(keep(&inputs, &[9; BLOCK_BYTES as usize + 1]));
        assert!((0..2).all(|index| !found(&inputs, &document(index))));
        assert!((2..8).all(|index| found(&inputs, &document(index))));
        assert!(!keep(&inputs, &[0; ROOM as usize / 2]), "too large");
        let files = fs::read_dir(directory.path().join("inputs")).unwrap().count();
        assert_eq!(files, 7);
    }

    #[test]
    fn inputs_survive_a_restart_and_count_towards_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let inputs = Inputs::new(directory.path(), ROOM);
        assert!((0..8).all(|index| keep(&inputs, &document(index))));
        // A file that a crash left half written.
        fs::write(directory.path().join("inputs/.half"), "x").unwrap();
        let inputs = Inputs::new(directory.path(), ROOM);
        assert!(found(&inputs, &document(7)));
        assert!(keep(&inputs, &document(8)));
        assert_eq!((0..9).filter(|index| found(&inputs, &document(*index))).count(), 8);
        assert!(!directory.path().join("inputs/.half").exists());
    }

    #[test]
    fn a_damaged_input_is_absent_until_kept_again() {
        let directory = tempfile::tempdir().unwrap();
        let inputs = Inputs::new(directory.path(), ROOM);
        assert!(keep(&inputs, &document(1)));
        fs::write(inputs.path(&Digest::of(&document(1))), "cut").unwrap();
        assert!(!found(&inputs, &document(1)));
        assert!(keep(&inputs, &document(1)));
        assert!(found(&inputs, &document(1)));
    }

    #[test]
    fn a_limit_of_zero_creates_no_directory() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!keep(&Inputs::new(directory.path(), 0), &document(1)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
