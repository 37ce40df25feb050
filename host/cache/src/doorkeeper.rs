//! Who is let in when there is no room: what was asked for before.
//!
//! Of a flood of inputs that never come again none gets past here, so that none pushes out what does. Two Bloom
//! filters take turns (TinyLFU's doorkeeper: Einziger, Friedman, Manes, 2017): one fills while the other remembers what was asked
//! for before it.

use std::sync::{Mutex, PoisonError};

use crate::key::Key;

/// Keys that one filter takes before the other's turn comes.
const KEYS: usize = 32 * 1024;

/// Bits of one filter: sixteen for each key, of which three are set. One in two hundred keys that weren't asked
/// for seems to have been.
const BITS: u64 = 16 * KEYS as u64;

#[derive(Default)]
pub(super) struct Doorkeeper(Mutex<Filters>);

/// Empty until somebody asks.
#[derive(Default)]
struct Filters {
    filling: Vec<u64>,
    full: Vec<u64>,
    /// In the one that fills.
    keys: usize,
}

impl Doorkeeper {
    /// Whether this key was asked about lately. From now on it was.
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

    /// Forgets what was asked.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Filters::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::key;

    #[test]
    fn who_came_before_is_known_and_hardly_anybody_else() {
        let doorkeeper = Doorkeeper::default();
        let mistaken = (0..KEYS as u64).filter(|index| doorkeeper.has_seen(&key(*index))).count();
        assert!(mistaken < KEYS / 100, "{mistaken}");
        // The other filter's turn.
        assert!((0..1000).all(|index| doorkeeper.has_seen(&key(index))));
        // Whoever doesn't come is forgotten after two turns.
        for index in 0..3 * KEYS as u64 {
            doorkeeper.has_seen(&key(1_000_000 + index));
        }
        let known = (0..1000).filter(|index| doorkeeper.has_seen(&key(*index))).count();
        assert!(known < 50, "{known}");
        doorkeeper.clear();
        assert!(!doorkeeper.has_seen(&key(0)));
    }
}
