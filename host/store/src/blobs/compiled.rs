//! Compiled code: its MAC, and the copy that is handed out.
//!
//! ```text
//! blob --read once--> MAC and sealed memory --(MAC right)--> Compiled --path--> mapped by each engine
//! ```
//!
//! The bytes that were authenticated are the bytes that run. A mapping of the file itself would
//! show later changes of the file in pages that weren't read yet. All mappings of one copy share
//! its pages, and the last of them frees it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use super::CompiledId;
use crate::directory::Secret;

/// Derives the key of the MACs from the directory's secret.
const KEY_CONTEXT: &str = "nebula 2026-11 authentication of compiled code";

/// The MAC follows the code, because wasmtime finds the code's parts from its beginning.
const MAC_BYTES: u64 = blake3::OUT_LEN as u64;

/// Bytes that are read at once: BLAKE3 hashes long pieces several chunks at a time.
const PIECE_BYTES: usize = 128 * 1024;

/// The name of the memory in `/proc/PID/maps`.
const NAME: &str = "nebula-compiled";

/// The key that authenticates compiled code.
#[derive(Clone)]
pub struct CompiledKey([u8; 32]);

impl CompiledKey {
    /// Derives the key from a directory's secret.
    pub fn new(secret: &Secret) -> Self {
        Self(secret.key_for(KEY_CONTEXT))
    }

    /// Returns the MAC that follows the code.
    pub fn seal(&self, id: CompiledId<'_>, code: &[u8]) -> [u8; blake3::OUT_LEN] {
        self.hasher(id).update(code).finalize().into()
    }

    /// Copies code from `length` bytes, its MAC included. Returns `None` if the MAC is wrong.
    ///
    /// # Errors
    /// The reader's error, or the lack of memory.
    pub fn open(&self, id: CompiledId<'_>, source: impl Read, length: u64) -> io::Result<Option<Compiled>> {
        let Some(bytes) = length.checked_sub(MAC_BYTES) else { return Ok(None) };
        Compiled::authenticate(source, bytes, self.hasher(id))
    }

    /// Returns the hasher that the code is fed to.
    fn hasher(&self, CompiledId { digest, compatibility }: CompiledId<'_>) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(digest.bytes());
        hasher.update(&(compatibility.len() as u64).to_le_bytes());
        hasher.update(compatibility.as_bytes());
        hasher
    }
}

/// Authentic compiled code, in sealed memory.
#[derive(Debug)]
pub struct Compiled {
    sealed: File,
    bytes: u64,
}

impl Compiled {
    /// Copies `bytes` bytes of `source` and feeds them to `mac`. Returns `None` if the MAC that
    /// follows them is another one, or if there is less.
    fn authenticate(mut source: impl Read, bytes: u64, mut mac: blake3::Hasher) -> io::Result<Option<Self>> {
        let mut copy = File::from(new_memory()?);
        let mut piece = vec![0; PIECE_BYTES];
        let mut content = source.by_ref().take(bytes);
        loop {
            let length = match content.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            mac.update(&piece[..length]);
            copy.write_all(&piece[..length])?;
        }
        let mut found = Vec::with_capacity(blake3::OUT_LEN);
        source.take(blake3::OUT_LEN as u64).read_to_end(&mut found)?;
        // `blake3::Hash` compares in constant time.
        if !<[u8; blake3::OUT_LEN]>::try_from(found).is_ok_and(|found| mac.finalize() == found) {
            return Ok(None);
        }
        fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Some(Self { sealed: copy, bytes }))
    }

    /// Returns a path to the copy, valid in this process and while this value lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.sealed.as_raw_fd()).into()
    }

    /// Returns the code's length, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Creates memory with a file descriptor, which can be sealed. A host may insist that such memory
/// can't be executed as a program (`vm.memfd_noexec`). It can be mapped as code all the same. Older
/// kernels don't have the flag for it.
fn new_memory() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => Ok(memfd_create(NAME, flags)?),
        memory => Ok(memory?),
    }
}
