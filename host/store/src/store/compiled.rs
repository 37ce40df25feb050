//! Compiled code that was authenticated: a copy in memory that can't change.
//!
//! ```text
//! file --read once--> MAC and sealed memory --(MAC right)--> Compiled --path--> mapped by each engine
//! ```
//!
//! The bytes that were authenticated are the bytes that run. A mapping of the file itself would show
//! later changes of the file in pages that weren't read yet. All mappings of one copy share its
//! pages, and the copy is gone with the last of them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// Bytes that are read at once: BLAKE3 hashes long pieces several chunks at a time.
const PIECE_BYTES: usize = 128 * 1024;

/// Shown in `/proc/PID/maps`.
const NAME: &str = "nebula-compiled";

/// Authentic compiled code, in sealed memory.
#[derive(Debug)]
pub struct Compiled {
    sealed: File,
    bytes: u64,
}

impl Compiled {
    /// Copies `bytes` bytes of `source`, which `mac` is fed with, and then compares that with what follows them.
    /// `None` if they differ or there is less.
    pub(super) fn authenticate(
        mut source: impl Read,
        bytes: u64,
        mut mac: blake3::Hasher,
    ) -> io::Result<Option<Self>> {
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

    /// A path to the copy, valid in this process and while this value lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.sealed.as_raw_fd()).into()
    }

    /// The code's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Memory with a file descriptor, which can be sealed. Hosts may insist on memory that can't be executed as a
/// program (`vm.memfd_noexec`), which can be mapped as code all the same; older kernels don't know of it.
fn new_memory() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => Ok(memfd_create(NAME, flags)?),
        memory => Ok(memory?),
    }
}
