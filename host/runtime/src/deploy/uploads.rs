//! Components that were uploaded, and that no version may name yet.
//!
//! Invariants:
//! * An upload isn't collected as garbage for [`KEPT`], unless later uploads need its room.
//! * The uploads of an earlier process are garbage.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nebula_model::id::Digest;

/// The time for which an upload is kept.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The most bytes of all uploads. The oldest make room for others.
pub const UPLOADS_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The uploads of one host.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<HashMap<Digest, Upload>>);

#[derive(Clone, Copy, Debug)]
struct Upload {
    at: Instant,
    bytes: u64,
}

impl Uploads {
    /// Adds an upload, or renews it. Returns whether others have become garbage.
    pub(super) fn add(&self, digest: Digest, bytes: u64, now: Instant) -> bool {
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = uploads.len();
        uploads.retain(|_, upload| now.saturating_duration_since(upload.at) < KEPT);
        let mut expired = before - uploads.len();
        uploads.insert(digest, Upload { at: now, bytes });
        while uploads.len() > 1
            && uploads.values().map(|upload| upload.bytes).sum::<u64>() > UPLOADS_BYTES_MAX
        {
            let others = uploads.iter().filter(|(other, _)| **other != digest);
            let Some(oldest) = others.min_by_key(|(_, upload)| upload.at).map(|(oldest, _)| *oldest) else {
                break;
            };
            uploads.remove(&oldest);
            expired += 1;
        }
        expired > 0
    }

    /// Keeps an upload for longer, if it is one.
    pub(super) fn renew(&self, digest: &Digest, now: Instant) {
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upload) = uploads.get_mut(digest) {
            upload.at = now;
        }
    }

    /// Returns the uploads that are kept.
    pub(super) fn digests(&self, now: Instant) -> Vec<Digest> {
        let uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = uploads.iter().filter(|(_, upload)| now.saturating_duration_since(upload.at) < KEPT);
        kept.map(|(digest, _)| *digest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_expire() {
        let (uploads, begun) = (Uploads::default(), Instant::now());
        let [first, second] = [b"first", b"other"].map(|content| Digest::of(content));
        assert!(!uploads.add(first, 1, begun));
        assert!(!uploads.add(first, 1, begun + KEPT / 2), "it is renewed");
        assert!(!uploads.add(second, 1, begun + KEPT));
        uploads.renew(&second, begun + KEPT + KEPT / 4);
        uploads.renew(&Digest::of(b"none"), begun + KEPT);
        assert_eq!(uploads.digests(begun + KEPT * 2), [second]);
        assert!(uploads.add(second, 1, begun + KEPT * 2));
        assert_eq!(uploads.digests(begun + KEPT * 3), []);
    }

    #[test]
    fn the_oldest_upload_makes_room() {
        let (uploads, begun) = (Uploads::default(), Instant::now());
        let digests = [b"1", b"2", b"3"].map(|content| Digest::of(content));
        for (seconds, digest) in (0..).zip(digests) {
            let is_last = digest == digests[2];
            let at = begun + Duration::from_secs(seconds);
            assert_eq!(uploads.add(digest, UPLOADS_BYTES_MAX / 2, at), is_last);
        }
        let kept = uploads.digests(begun);
        assert!(kept.len() == 2 && !kept.contains(&digests[0]));
        assert!(uploads.add(digests[0], UPLOADS_BYTES_MAX + 1, begun + Duration::from_secs(9)));
        assert_eq!(uploads.digests(begun), [digests[0]], "a single upload may be larger");
    }
}
