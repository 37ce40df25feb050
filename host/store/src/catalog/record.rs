//! The records of the log: layout, hash chain and MAC.
//!
//! Integers are little-endian. Version 1 of the layout:
//!
//! ```text
//! offset  bytes  field
//!      0      4  format of the record: 1
//!      4      8  sequence: 1 for the first record, one more for each
//!     12      8  key: identifies the key of the MAC
//!     20     32  previous: BLAKE3 of all bytes of the record before, zeros for the first
//!     52      4  number of changes
//!     56         for each change: kind (2 bytes), length of the content (4 bytes), content
//!   last     32  MAC: BLAKE3, keyed, of all bytes before it
//! ```
//!
//! * A record names the record before it by hash, so an authentic last record vouches for the
//!   whole log. Records that were altered, reordered, inserted or removed break the chain.
//! * The MAC also detects a whole log that was written without the key.
//! * The key's identifier distinguishes a damaged record from one that was sealed before the key
//!   was lost. The chain continues over a change of keys.
//! * [`change`](super::change) lists the kinds. A reader keeps changes of a kind that it doesn't
//!   know. A change that an older release must not skip gets a new format of the record, which an
//!   older release refuses.

use super::change::{Change, ContentError, RawChange};
use super::{AppendError, Sequence};
use crate::directory::Secret;

/// The format that this release reads and writes.
const FORMAT: u32 = 1;

/// Derives the key of the MACs from a secret.
const KEY_CONTEXT: &str = "nebula 2026-11 authentication of the change log";

/// The largest record, bytes: 1 GiB.
pub const RECORD_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Bytes before the changes.
const HEAD_BYTES: usize = 56;

/// Bytes before the content of a change.
const CHANGE_HEAD_BYTES: usize = 6;

const MAC_BYTES: usize = blake3::OUT_LEN;

/// The BLAKE3 hash of a whole record.
pub type RecordHash = [u8; 32];

/// The previous hash of a log's first record.
pub const NO_RECORD: RecordHash = [0; 32];

/// The key that authenticates records.
#[derive(Clone)]
pub struct LogKey {
    key: [u8; 32],
    id: [u8; 8],
}

impl LogKey {
    /// Derives the key from a secret.
    pub fn new(secret: &Secret) -> Self {
        let key = secret.key_for(KEY_CONTEXT);
        let derived = blake3::derive_key("nebula 2026-11 identifier of the change log's key", &key);
        let mut id = [0; 8];
        id.copy_from_slice(&derived[..8]);
        Self { key, id }
    }

    fn mac(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.key, bytes)
    }
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LogKey({})", hex::encode(self.id))
    }
}

/// Why bytes aren't a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are too few, or their lengths don't add up.
    #[error("it is cut off or damaged")]
    Malformed,
    /// Another release has written it.
    #[error("it has the format {found}, and this release reads {FORMAT}")]
    OtherFormat {
        /// The format that it has.
        found: u32,
    },
    /// It was sealed with another key.
    #[error("it was sealed with another key than the data directory has now")]
    OtherKey,
    /// It was altered, or its MAC was made without the key.
    #[error("its authentication code is wrong: it was damaged or altered")]
    WrongMac,
    /// A change in it has an invalid content.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// An authentic record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    sequence: Sequence,
    previous: RecordHash,
    changes: Vec<RawChange>,
    bytes: Vec<u8>,
}

impl LogRecord {
    /// Writes a record and authenticates it.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`].
    pub fn seal(
        key: &LogKey,
        sequence: Sequence,
        previous: RecordHash,
        changes: Vec<RawChange>,
    ) -> Result<Self, AppendError> {
        let content: usize = changes.iter().map(|change| CHANGE_HEAD_BYTES + change.content.len()).sum();
        let length = HEAD_BYTES + content + MAC_BYTES;
        let too_large = AppendError::TooLarge { bytes: length as u64 };
        if length as u64 > RECORD_BYTES_MAX {
            return Err(too_large);
        }
        let Ok(count) = u32::try_from(changes.len()) else { return Err(too_large) };
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(sequence.number().to_le_bytes());
        bytes.extend(key.id);
        bytes.extend(previous);
        bytes.extend(count.to_le_bytes());
        for RawChange { kind, content } in &changes {
            // Fits: the whole record was measured above.
            let Ok(length) = u32::try_from(content.len()) else { return Err(too_large) };
            bytes.extend(kind.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend(content);
        }
        bytes.extend(key.mac(&bytes).as_bytes());
        Ok(Self { sequence, previous, changes, bytes })
    }

    /// Reads a record that [`seal`](Self::seal) has written, and checks that it is authentic.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn open(key: &LogKey, bytes: Vec<u8>) -> Result<Self, RecordError> {
        let mut fields = Fields(&bytes);
        // First, because a later format may order everything else differently.
        let format = u32::from_le_bytes(fields.take()?);
        if format != FORMAT {
            return Err(RecordError::OtherFormat { found: format });
        }
        let sequence = Sequence::new(u64::from_le_bytes(fields.take()?));
        if fields.take()? != key.id {
            return Err(RecordError::OtherKey);
        }
        let (sealed, mac) = bytes.split_last_chunk::<MAC_BYTES>().ok_or(RecordError::Malformed)?;
        // `blake3::Hash` compares in constant time.
        if key.mac(sealed) != *mac {
            return Err(RecordError::WrongMac);
        }
        let previous = fields.take()?;
        let count = u32::from_le_bytes(fields.take()?);
        let mut changes = Vec::new();
        for _ in 0..count {
            let kind = u16::from_le_bytes(fields.take()?);
            let length = u32::from_le_bytes(fields.take()?);
            changes.push(RawChange { kind, content: fields.take_slice(length as usize)?.to_vec() });
        }
        if fields.0.len() != MAC_BYTES {
            return Err(RecordError::Malformed);
        }
        Ok(Self { sequence, previous, changes, bytes })
    }

    /// Returns the record's position in the log.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Returns the hash of the record before it.
    pub fn previous(&self) -> &RecordHash {
        &self.previous
    }

    /// Returns the hash by which the next record names this one.
    pub fn hash(&self) -> RecordHash {
        hash(&self.bytes)
    }

    /// Returns the record as it was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the changes as they were written.
    pub fn raw_changes(&self) -> &[RawChange] {
        &self.changes
    }

    /// Parses the changes.
    ///
    /// # Errors
    /// [`RecordError::Content`].
    pub fn changes(&self) -> Result<Vec<Change>, RecordError> {
        Ok(self.changes.iter().map(RawChange::parse).collect::<Result<_, _>>()?)
    }
}

/// Returns the hash by which the next record names the record with these bytes.
pub(super) fn hash(bytes: &[u8]) -> RecordHash {
    blake3::hash(bytes).into()
}

/// The bytes that aren't read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], RecordError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(*field)
    }

    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(field)
    }
}

#[cfg(test)]
mod tests;
