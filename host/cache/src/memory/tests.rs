use std::time::SystemTime;

use bytes::Bytes;
use nebula_model::caching::Caching;
use nebula_model::configuration::Configuration;
use nebula_model::form::Form;
use nebula_model::limits::{Limits, MIB};
use nebula_model::request::{Prefer, Request};

use super::*;
use crate::key::FunctionKey;
use crate::testing::{Failed, body, cached, component, key};

type Cache = super::Cache<Failed>;

const CHEAP: Duration = Duration::from_micros(20);

#[test]
fn cache_is_bounded_in_bytes() {
    let cache = Cache::new(MIB);
    for index in 0..10_000 {
        cache.insert(key(index), cached(1000, if index % 2 == 0 { CHEAP } else { EXPENSIVE_FROM }));
        assert!(cache.bytes() <= MIB);
    }
    // The cache uses most of its bytes.
    assert!(cache.bytes() > MIB / 2, "{}", cache.bytes());
}

#[test]
fn flood_of_cheap_results_evicts_no_expensive_one() {
    let cache = Cache::new(MIB);
    for index in 0..100 {
        cache.insert(key(index), cached(1000, Duration::from_secs(1)));
    }
    for index in 1000..20_000 {
        cache.insert(key(index), cached(1000, CHEAP));
    }
    assert!((0..100).all(|index| cache.get(&key(index), None).is_some()));
}

/// Twenty inputs that never recur for each one that does.
#[test]
fn flood_of_unique_inputs_keeps_the_hot_set() {
    let hot = 100_u64;
    let hits = |flood: u64| {
        let cache = Cache::new(MIB);
        let (mut asked, mut hits, mut unique) = (0_u32, 0_u32, hot);
        for round in 0..100 {
            for index in 0..hot {
                // The first rounds fill the cache.
                asked += u32::from(round >= 10);
                match cache.get(&key(index), None) {
                    Some(_) => hits += u32::from(round >= 10),
                    None => {
                        cache.insert(key(index), cached(1000, CHEAP));
                    }
                }
                for _ in 0..flood {
                    unique += 1;
                    cache.insert(key(unique), cached(1000, CHEAP));
                }
            }
        }
        f64::from(hits) / f64::from(asked)
    };
    let (alone, beside) = (hits(0), hits(20));
    assert!(beside > alone - 0.1, "{beside} beside a flood, {alone} alone");
}

#[test]
fn oversized_result_is_refused_and_evicts_nothing() {
    let cache = Cache::new(MIB);
    assert!(cache.insert(key(1), cached(100, CHEAP)));
    assert!(!cache.insert(key(2), cached(MIB as usize, CHEAP)));
    assert!(cache.get(&key(1), None).is_some());
    assert!(cache.get(&key(2), None).is_none());
}

#[test]
fn result_expires_after_its_ttl() {
    let cache = Cache::new(MIB);
    let mut old = Arc::into_inner(cached(1, CHEAP)).unwrap();
    old.stored_at = SystemTime::now() - Duration::from_secs(60);
    // The coarse clock may still read the previous second.
    assert!((59..=60).contains(&old.age_s()));
    cache.insert(key(1), Arc::new(old));
    assert!(cache.get(&key(1), None).is_some());
    assert!(cache.get(&key(1), Some(Duration::from_secs(61))).is_some());
    assert!(cache.get(&key(1), Some(Duration::from_secs(60))).is_none());
}

/// A recomputation may take another time, which decides the part that the result belongs to.
#[test]
fn recomputed_result_replaces_the_old_one() {
    let cache = Cache::new(MIB);
    let mut old = Arc::into_inner(cached(1, EXPENSIVE_FROM)).unwrap();
    old.stored_at = SystemTime::now() - Duration::from_secs(60);
    cache.insert(key(1), Arc::new(old));
    cache.insert(key(1), cached(2, CHEAP));
    let found = cache.get(&key(1), Some(Duration::from_secs(30))).unwrap();
    assert_eq!(body(&found).len(), 2);
    assert_eq!(cache.usage()[&component()].entries, 1);
}

/// This holds even though the cache has room for only a few of them.
#[test]
fn flood_of_large_results_keeps_the_hot_set() {
    let cache = Cache::new(64 * MIB);
    for _ in 0..2 {
        for index in 0..10 {
            cache.insert(key(index), cached(MIB as usize, CHEAP));
        }
    }
    let kept = (0..10).filter(|index| cache.get(&key(*index), None).is_some()).count();
    for index in 100..400 {
        cache.insert(key(index), cached(MIB as usize, CHEAP));
    }
    let left = (0..10).filter(|index| cache.get(&key(*index), None).is_some()).count();
    // The keys hash to random shards, and each shard has room for two results.
    assert!(kept >= 5 && left >= kept - 1, "{kept}, then {left}");
}

#[test]
fn results_of_a_component_can_be_evicted() {
    let cache = Cache::new(MIB);
    cache.insert(key(1), cached(1, CHEAP));
    cache.insert(key(2), cached(1, EXPENSIVE_FROM));
    assert_eq!(cache.usage()[&component()].entries, 2);
    assert_eq!(cache.total(), cache.usage()[&component()]);
    cache.evict(&HashSet::from([Digest::of(b"another")]));
    assert_eq!(cache.usage()[&component()].entries, 2);
    cache.evict(&HashSet::from([component()]));
    assert!(cache.usage().is_empty());
    assert_eq!(cache.total(), Usage::default());
}

#[test]
fn call_is_found_by_its_raw_bytes() {
    let cache = Cache::new(MIB);
    let function = FunctionKey::new(
        &component(),
        Form::Typed,
        &Limits::default(),
        &Caching::default(),
        &Configuration::default(),
    );
    let request = |media_type: Option<&str>, body: &str| Request::Payload {
        media_type: media_type.map(str::to_owned),
        body: Bytes::from(body.to_owned()),
    };
    let long = "x".repeat(5000);
    let requests = [
        request(None, "1"),
        request(Some("application/json"), "1"),
        request(None, &long),
        Request::Query(vec![("n".to_owned(), "1".to_owned())]),
    ];
    for (index, request) in requests.iter().enumerate() {
        let spelling = Spelling::of(&function, Prefer::AsSent, request).unwrap();
        assert!(cache.get_spelled(&spelling, None).is_none(), "{request:?}");
        let (key, answer) = (key(index as u64), cached(index, CHEAP));
        cache.insert(key, answer);
        cache.insert_spelling(spelling.clone(), key);
        let (_, found) = cache.get_spelled(&spelling, None).unwrap();
        assert_eq!(body(&found).len(), index);
        let otherwise = Spelling::of(&function, Prefer::Json, request).unwrap();
        assert!(cache.get_spelled(&otherwise, None).is_none(), "{request:?}");
    }
}
