//! Pools of several engines over one store, and the state that they share.

use std::fs;
use std::time::{Duration, Instant};

use nebula_engine::{Codegen, Compiler, Ticker, compile_artefact};
use nebula_store::Store;
use tempfile::TempDir;

use super::*;

/// Returns a component that answers `answer`. Its code is about as long as its `data_bytes` of
/// data.
fn component(answer: u32, data_bytes: usize) -> Vec<u8> {
    let data = "x".repeat(data_bytes);
    let pages = data_bytes / 65_536 + 1;
    let text = format!(
        r#"(component
            (core module $m
                (memory {pages})
                (data (i32.const 0) "{data}")
                (func (export "handle") (result i32) (i32.const {answer})))
            (core instance $i (instantiate $m))
            (func (export "handle") (result s32) (canon lift (core func $i "handle"))))"#
    );
    wat::parse_str(text).unwrap()
}

/// A store with compiled components. Each is named by its answer.
struct Host {
    directory: TempDir,
    store: Arc<Store>,
    code: CompiledCode,
    ticker: Ticker,
    set: Arc<LoadedSet>,
}

impl Host {
    fn new(bytes_max: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let ticker = Ticker::start().unwrap();
        let engine = Engine::new(1, Codegen::Optimised, &ticker).unwrap();
        let compiler = Compiler::InProcess(Codegen::Optimised);
        let code = CompiledCode::new(Arc::clone(&store), compiler, engine.compatibility(), 1);
        Self { directory, store, code, ticker, set: LoadedSet::new(bytes_max) }
    }

    /// Compiles a component; returns its digest and the length of its code.
    fn compile(&self, answer: u32, data_bytes: usize) -> (Digest, u64) {
        let component = component(answer, data_bytes);
        let digest = Digest::of(&component);
        let artefact = compile_artefact(&component, Codegen::Optimised).unwrap();
        self.store.store_compiled(&digest, self.code.compatibility(), &artefact).unwrap();
        (digest, artefact.len() as u64)
    }

    fn pool(&self) -> Pool {
        let engine = Engine::new(1, Codegen::Optimised, &self.ticker).unwrap();
        Pool::new(engine, Arc::clone(&self.set))
    }

    /// Loads a component, unless it is loaded, and uses it.
    fn call(&self, pool: &Pool, digest: &Digest) {
        let loaded = pool.get(digest).unwrap_or_else(|| pool.load(&self.code, digest).unwrap().unwrap());
        drop(loaded.begin());
    }

    fn counts(&self) -> (u64, u64, u64) {
        let LoadedCounts { reads, loads, evictions, .. } = self.set.counts();
        (reads, loads, evictions)
    }
}

#[test]
fn code_is_read_once_for_all_engines_and_counted_once() {
    let host = Host::new(1024 * 1024 * 1024);
    let (digest, bytes) = host.compile(7, 1_000_000);
    let pools = [host.pool(), host.pool(), host.pool()];
    for _ in 0..2 {
        for pool in &pools {
            host.call(pool, &digest);
        }
    }
    assert_eq!(host.counts(), (1, 3, 0));
    let counts = host.set.counts();
    assert_eq!((counts.components, counts.bytes), (1, bytes + 3 * 128 * 1024));
}

#[test]
fn components_that_were_not_used_lately_are_evicted_first() {
    let host = Host::new(3_500_000);
    let pools = [host.pool(), host.pool()];
    let digests: Vec<_> = (0..6).map(|answer| host.compile(answer, 1_000_000).0).collect();
    let [hot, cold @ ..] = digests.as_slice() else { panic!("there are six") };
    for cold in cold {
        host.call(&pools[0], hot);
        host.call(&pools[1], cold);
        assert!(host.set.counts().bytes <= 3_500_000);
    }
    assert!(pools[0].get(hot).is_some(), "it was used before each of the others");
    assert!(pools[1].get(&cold[0]).is_none());
    let (reads, loads, evictions) = host.counts();
    assert_eq!((reads, loads), (6, 6));
    assert_eq!(evictions, 6 - host.set.counts().components);
}

#[test]
fn components_that_are_not_used_are_unloaded_although_there_is_room() {
    let host = Host::new(1024 * 1024 * 1024);
    let pools = [host.pool(), host.pool()];
    let [used, unused, held] = [1, 2, 3].map(|answer| host.compile(answer, 100_000).0);
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    assert!(host.set.take_unused(begun).is_none(), "the first period begins");
    for pool in &pools {
        host.call(pool, &used);
        host.call(pool, &unused);
    }
    host.call(&pools[0], &held);
    let holder = pools[0].get(&held);
    assert!(host.set.take_unused(after(59)).is_none(), "the period isn't over");
    assert!(host.set.take_unused(after(60)).is_none(), "all were used");
    host.call(&pools[1], &used);
    assert!(host.set.take_unused(after(119)).is_none());
    let removed = host.set.take_unused(after(120));
    assert!(removed.is_some(), "one wasn't used");
    drop(removed);
    assert!(pools.iter().all(|pool| pool.get(&unused).is_none() && pool.get(&used).is_some()));
    assert!(pools[0].get(&held).is_some(), "a call holds it");
    drop(holder);
    assert!(host.set.take_unused(after(180)).is_some());
    assert_eq!(host.set.counts().components, 0);
    host.call(&pools[0], &unused);
    assert_eq!(host.counts(), (4, 6, 0));
}

#[test]
fn the_component_loaded_last_stays_even_if_it_is_larger_than_the_budget() {
    let host = Host::new(0);
    let pools = [host.pool(), host.pool()];
    let (first, second) = (host.compile(1, 100_000).0, host.compile(2, 100_000).0);
    for _ in 0..3 {
        for pool in &pools {
            host.call(pool, &first);
        }
    }
    assert_eq!(host.counts(), (1, 2, 0));
    host.call(&pools[0], &second);
    assert_eq!(host.counts(), (2, 3, 1));
    assert!(pools.iter().all(|pool| pool.get(&first).is_none()));
    assert!(pools[0].get(&second).is_some());
}

#[test]
fn pools_that_are_cleared_or_dropped_leave_nothing_behind() {
    let host = Host::new(1024 * 1024 * 1024);
    let pools = [host.pool(), host.pool()];
    let digest = host.compile(1, 100_000).0;
    for pool in &pools {
        host.call(pool, &digest);
    }
    pools[0].clear();
    assert!(pools[0].get(&digest).is_none() && pools[1].get(&digest).is_some());
    assert_eq!(host.set.counts().components, 1);
    drop(pools);
    let counts = host.set.counts();
    assert_eq!((counts.components, counts.bytes), (0, 0));
    host.call(&host.pool(), &digest);
    assert_eq!(host.counts(), (2, 3, 0));
}

/// A later engine maps the code that was authenticated, even if the file has changed since.
#[test]
fn a_file_that_changes_after_it_was_read_is_not_loaded() {
    let host = Host::new(1024 * 1024 * 1024);
    let pools = [host.pool(), host.pool()];
    let digest = host.compile(1, 100_000).0;
    host.call(&pools[0], &digest);
    let file = host.directory.path().join("compiled").join(host.code.compatibility()).join(digest.hex());
    fs::write(&file, compile_artefact(&component(2, 100_000), Codegen::Optimised).unwrap()).unwrap();
    host.call(&pools[1], &digest);
    assert_eq!(host.counts(), (1, 2, 0));
    // After it is unloaded, the store has no authentic code.
    pools.iter().for_each(Pool::clear);
    assert!(pools[0].load(&host.code, &digest).unwrap().is_none());
}
