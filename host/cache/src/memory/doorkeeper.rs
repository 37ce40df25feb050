//! The doorkeeper: when the cache is full, admits only keys that were requested before.
//!
//! It keeps out a flood of inputs that never recur, so that they evict no recurring ones. Two Bloom
//! filters alternate (TinyLFU's doorkeeper: Einziger, Friedman, Manes, 2017): one fills while the
//! other holds the keys requested before it.

use std::sync::{Mutex, PoisonError};

use crate::key::Key;

/// Keys that one filter takes before the filters alternate.
const KEYS: usize = 32 * 1024;

/// Bits of one filter: sixteen for each key, three of them set. One in two hundred unseen keys is
/// taken for a seen one.
const BITS: u64 = 16 * KEYS as u64;

#[derive(Default)]
pub(super) struct Doorkeeper(Mutex<Filters>);

/// Empty until the first key is checked.
#[derive(Default)]
struct Filters {
    filling: Vec<u64>,
    full: Vec<u64>,
    /// Keys in the filter that fills.
    keys: usize,
}

impl Doorkeeper {
    /// Returns whether this key was checked recently, and records it.
    pub(super) fn has_seen(&self, key: &Key) -> bool {
        let mut filters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Filters { filling, full, keys } = &mut *filters;
        if filling.is_empty() {
            *filling = vec![0; (BITS / 64) as usize];
        }
        let bits = key.spread().map(|number| ((number % BITS / 64) as usize, 1_u64 << (number % 64)));
        let has_all = |filter: &[u64]| {
            bits.iter().all(|(word, bit)| filter.get(*word).is_some_and(|found| found & bit != 0))
        };
        let seen = has_all(filling);
        let seen_before = has_all(full);
        if !seen {
            for (word, bit) in bits {
                filling[word] |= bit;
            }
            *keys += 1;
        }
        if *keys == KEYS {
            *full = std::mem::take(filling);
            *keys = 0;
        }
        seen || seen_before
    }

    /// Drops all recorded keys.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Filters::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    #[test]
    fn doorkeeper_has_few_false_positives_and_drops_old_keys() {
        let doorkeeper = Doorkeeper::default();
        let mistaken = (0..KEYS as u64).filter(|index| doorkeeper.has_seen(&key(*index))).count();
        assert!(mistaken < KEYS / 100, "{mistaken}");
        // By now the filters have alternated.
        assert!((0..1000).all(|index| doorkeeper.has_seen(&key(index))));
        // A key that doesn't recur is dropped after the filters alternate twice.
        for index in 0..3 * KEYS as u64 {
            doorkeeper.has_seen(&key(1_000_000 + index));
        }
        let known = (0..1000).filter(|index| doorkeeper.has_seen(&key(*index))).count();
        assert!(known < 50, "{known}");
        doorkeeper.clear();
        assert!(!doorkeeper.has_seen(&key(0)));
    }
}
