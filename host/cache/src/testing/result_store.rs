//! The contract of [`ResultStore`](crate::ResultStore), as tests.

#![expect(missing_docs, reason = "each name states the behaviour")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_model::id::Digest;

use super::{BYTES_MAX, CachedResult, ENGINE, Failed, Results, body, cached, cached_of, component, key};
use crate::result_store::{Removal, ResultStoreError};

/// The store under test.
pub trait Fixture: Sized {
    /// Returns an empty store of at most [`BYTES_MAX`].
    fn new() -> Self;

    /// Returns the store.
    fn store(&self) -> Results;

    /// Changes the bytes of every stored record, past the implementation.
    #[must_use]
    fn change_records(self, change: impl Fn(&mut Vec<u8>)) -> Self;

    /// Closes the store and opens it again, as a restarted process would. Returns `None` if the
    /// implementation keeps nothing.
    fn restart(self) -> Option<Self>;
}

/// Runs the conformance tests of [`ResultStore`](crate::ResultStore) on a
/// [`Fixture`](crate::testing::result_store::Fixture), one `#[test]` each.
#[macro_export]
macro_rules! result_store_conformance {
    ($fixture:ty) => {
        $crate::result_store_conformance!($fixture:
            a_result_is_found_as_it_was_kept,
            a_result_is_found_under_its_own_key_only,
            a_failure_is_not_stored,
            keeping_a_result_replaces_the_one_before,
            an_altered_record_is_not_returned,
            only_components_with_results_may_be_contained,
            usage_counts_the_stored_results,
            results_stay_within_the_bound,
            a_result_larger_than_the_bound_is_not_stored,
            removing_components_keeps_the_others,
            removing_all_leaves_nothing,
            removing_applies_to_results_that_wait_to_be_stored,
            nothing_is_found_stored_or_removed_after_the_deadline,
            a_store_works_after_a_rest,
            concurrent_use_returns_right_results,
            a_restart_keeps_results,
        );
    };
    ($fixture:ty: $($test:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::result_store::$test::<$fixture>();
            }
        )*
    };
}

const COST: Duration = Duration::from_secs(1);

/// Returns a deadline that no operation reaches.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Keeps a result of `bytes` for each index, and waits until all are stored.
fn keep(store: &Results, range: std::ops::Range<u64>, bytes: usize) {
    for index in range {
        store.keep(key(index), cached(bytes, COST));
    }
    store.flush(soon()).unwrap();
}

fn is_found(store: &Results, index: u64) -> bool {
    store.find(&key(index), soon()).is_some()
}

pub fn a_result_is_found_as_it_was_kept<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    for (index, bytes) in [0, 1, 100_000].into_iter().enumerate() {
        let (key, kept) = (key(index as u64), cached(bytes, COST));
        store.keep(key, Arc::clone(&kept));
        store.flush(soon()).unwrap();
        let found = store.find(&key, soon()).unwrap();
        assert_eq!(body(&found), body(&kept));
        assert_eq!(
            (found.cost, found.component(), &found.engine, found.content_hash),
            (kept.cost, kept.component(), &kept.engine, kept.content_hash)
        );
    }
}

pub fn a_result_is_found_under_its_own_key_only<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    assert!(!is_found(&store, 1));
    keep(&store, 1..2, 10);
    assert!(is_found(&store, 1) && !is_found(&store, 2));
}

pub fn a_failure_is_not_stored<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    let failed = CachedResult::new(Err(Arc::new(Failed)), component(), COST, ENGINE.into());
    store.keep(key(1), Arc::new(failed));
    store.flush(soon()).unwrap();
    assert!(!is_found(&store, 1));
}

pub fn keeping_a_result_replaces_the_one_before<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    keep(&store, 1..2, 10);
    keep(&store, 1..2, 20);
    assert_eq!(body(&store.find(&key(1), soon()).unwrap()).len(), 20);
    assert_eq!(store.usage()[&component()].entries, 1);
}

pub fn an_altered_record_is_not_returned<F: Fixture>() {
    let changes: [fn(&mut Vec<u8>); 5] = [
        |record| record[0] ^= 1,
        |record| {
            let last = record.len() - 1;
            record[last] ^= 1;
        },
        |record| record.truncate(40),
        |record| record.push(0),
        |record| record.clear(),
    ];
    for change in changes {
        let fixture = F::new();
        keep(&fixture.store(), 1..2, 100);
        let fixture = fixture.change_records(change);
        assert!(!is_found(&fixture.store(), 1));
    }
}

pub fn only_components_with_results_may_be_contained<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    keep(&store, 1..2, 10);
    assert!(store.may_contain(&component()));
    assert!(!store.may_contain(&Digest::of(b"another")));
}

pub fn usage_counts_the_stored_results<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    assert!(store.usage().is_empty());
    keep(&store, 0..3, 1000);
    let usage = store.usage()[&component()];
    assert_eq!(usage.entries, 3);
    assert!(usage.bytes >= 3000 && usage.bytes <= store.bytes_max(), "{usage:?}");
}

pub fn results_stay_within_the_bound<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    assert_eq!(store.bytes_max(), BYTES_MAX);
    // Flushed in between, because the queue is bounded, too.
    (0..10).for_each(|ten| keep(&store, ten * 10..(ten + 1) * 10, 20_000));
    assert!(is_found(&store, 99), "the newest is there");
    assert!(!is_found(&store, 0), "the oldest is evicted");
    assert!(store.usage()[&component()].bytes <= BYTES_MAX);
}

pub fn a_result_larger_than_the_bound_is_not_stored<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    keep(&store, 1..2, 10);
    keep(&store, 2..3, BYTES_MAX as usize);
    assert!(is_found(&store, 1) && !is_found(&store, 2));
}

pub fn removing_components_keeps_the_others<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    let other = Digest::of(b"another");
    keep(&store, 1..3, 10);
    store.keep(key(9), cached_of(other, 10, COST));
    store.flush(soon()).unwrap();
    store.remove(Removal::Components(HashSet::from([component()])), soon()).unwrap();
    assert!(!is_found(&store, 1) && !is_found(&store, 2) && is_found(&store, 9));
    assert!(!store.may_contain(&component()) && store.may_contain(&other));
    store.remove(Removal::Components(HashSet::new()), soon()).unwrap();
    assert!(is_found(&store, 9));
}

pub fn removing_all_leaves_nothing<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    store.remove(Removal::All, soon()).unwrap();
    keep(&store, 0..10, 10);
    store.remove(Removal::All, soon()).unwrap();
    assert!((0..10).all(|index| !is_found(&store, index)));
    assert!(store.usage().is_empty());
}

pub fn removing_applies_to_results_that_wait_to_be_stored<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    let all = [Removal::All, Removal::Components(HashSet::from([component()]))];
    for removal in all {
        for index in 0..10 {
            store.keep(key(index), cached(10, COST));
        }
        store.remove(removal, soon()).unwrap();
        store.flush(soon()).unwrap();
        assert!((0..10).all(|index| !is_found(&store, index)));
    }
}

pub fn nothing_is_found_stored_or_removed_after_the_deadline<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    keep(&store, 1..2, 10);
    let past = Instant::now();
    assert!(store.find(&key(1), past).is_none());
    store.keep(key(3), cached(10, COST));
    assert_eq!(store.flush(past), Err(ResultStoreError::DeadlineExceeded));
    assert_eq!(store.remove(Removal::All, past), Err(ResultStoreError::DeadlineExceeded));
    store.keep(key(2), cached(10, COST));
    store.flush(soon()).unwrap();
    assert!(is_found(&store, 2));
}

pub fn a_store_works_after_a_rest<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    store.rest();
    keep(&store, 1..2, 10);
    store.rest();
    assert!(is_found(&store, 1));
    keep(&store, 2..3, 10);
    assert!(is_found(&store, 1) && is_found(&store, 2));
}

/// The body's length tells which result it is.
pub fn concurrent_use_returns_right_results<F: Fixture>() {
    let fixture = F::new();
    let store = fixture.store();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..50 {
                    let index = (thread + round) % 10;
                    store.keep(key(index), cached(index as usize, COST));
                    if round % 10 == thread {
                        store.rest();
                    }
                    if let Some(found) = store.find(&key(index), soon()) {
                        assert_eq!(body(&found).len() as u64, index);
                    }
                }
            });
        }
    });
    store.flush(soon()).unwrap();
    assert!((0..10).all(|index| is_found(&store, index)));
}

pub fn a_restart_keeps_results<F: Fixture>() {
    let fixture = F::new();
    keep(&fixture.store(), 0..10, 100);
    let Some(fixture) = fixture.restart() else { return };
    let store = fixture.store();
    assert!(store.may_contain(&component()));
    assert!((0..10).all(|index| is_found(&store, index)));
}
