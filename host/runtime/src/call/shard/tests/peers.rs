//! Two hosts that share functions and results: leases, forwarded calls and offers.

use std::sync::Barrier;

use nebula_cache::result_store::MemoryResults;

use crate::peers::{Answerer, Lease, LeaseGuard, MemoryNetwork, PeerAnswer, PeerCall, Peers};

use super::*;

/// A component that counts to a hundred million and answers its input plus one. It takes longer
/// than the fast lane allows.
const SLOW: &str = r#"(component
    (core module $m (func (export "handle") (param i32) (result i32) (local i32)
        (loop $again
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get 1) (i32.const 100000000))))
        (i32.add (local.get 0) (i32.const 1))))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" s32) (result s32) (canon lift (core func $i "handle"))))"#;

/// Two hosts of one cluster.
struct Cluster {
    network: Arc<MemoryNetwork>,
    hosts: [Arc<Host>; 2],
    _directories: [tempfile::TempDir; 2],
}

impl Cluster {
    fn start(host_limits: HostLimits) -> Self {
        let network: Arc<MemoryNetwork> = Arc::default();
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let shared = Backends::in_memory(&host_limits);
        // Results are stored as late as the contract allows.
        let results = MemoryResults::slow(Backends::record_seal(&shared.store), 64 * 1024 * 1024);
        let shared = Backends { results: Arc::new(results), ..shared };
        let hosts = [0, 1].map(|number: usize| {
            let backends = Backends { peers: Arc::new(network.host(number)), ..shared.clone() };
            Arc::new(Host::in_memory(directories[number].path(), host_limits.clone(), backends))
        });
        Self { network, hosts, _directories: directories }
    }

    /// Answers forwarded calls on the second host.
    fn serve_forwarded(&self) {
        let host = Arc::clone(&self.hosts[1]);
        let answer: Answerer = Arc::new(move |call| {
            let host = Arc::clone(&host);
            Box::pin(async move { tokio::task::spawn_blocking(move || host.answer_peer(call)).await.ok()? })
        });
        self.network.serve(1, answer);
    }
}

impl Host {
    /// Deploys a function whose calls start on the compute lane, because of its memory limit.
    fn deploy_slow(&self) {
        let memory_bytes_max = Some(Limits::default().memory_bytes_max + 65_536);
        self.deploy_with("slow", SLOW, LimitOverrides { memory_bytes_max, ..LimitOverrides::default() });
    }

    fn answer_peer(&self, call: PeerCall) -> Option<PeerAnswer> {
        self.executor.block_on(self.shard.answer_peer(call))
    }

    /// Returns the call of `slow` as another host would send it.
    fn peer_call(&self, body: &'static str) -> PeerCall {
        PeerCall {
            function: FunctionRef { name: "slow".parse().unwrap(), selector: Selector::Current },
            key: *self.find("slow").unwrap().key(),
            request: Request::Payload { media_type: None, body: Bytes::from_static(body.as_bytes()) },
            prefer: Prefer::AsSent,
            directives: CacheDirectives::default(),
        }
    }
}

fn ran(called: &CallOutcome) -> bool {
    matches!(called.source, Source::Ran { .. })
}

#[test]
fn of_two_hosts_that_miss_a_result_one_runs_the_call() {
    let cluster = Cluster::start(HostLimits::default());
    cluster.hosts[0].deploy_slow();
    let both = Barrier::new(2);
    let called = thread::scope(|scope| {
        let calls = cluster.hosts.each_ref().map(|host| {
            let both = &both;
            scope.spawn(move || {
                both.wait();
                host.call_with(&host.shard, "slow", "41")
            })
        });
        calls.map(|call| call.join().unwrap())
    });
    for called in &called {
        assert!(called.result.as_ref().unwrap().same(&value("42")));
    }
    assert_eq!(called.iter().filter(|called| ran(called)).count(), 1, "{called:?}");
}

#[test]
fn a_call_without_a_slot_is_answered_by_another_host() {
    let cluster = Cluster::start(HostLimits { calls_max: 1, queue_max: 0, ..HostLimits::default() });
    let [host, _] = &cluster.hosts;
    host.deploy_slow();
    let lane = host.runtime.executor().lane();
    let share = lane.share();
    let _taken = host.executor.block_on(lane.enter(&share, Duration::from_secs(1), true)).unwrap();
    let shed = host.call_with(&host.shard, "slow", "1");
    assert!(matches!(*shed.result.unwrap_err(), CallError::Overloaded { .. }));
    cluster.serve_forwarded();
    let forwarded = host.call_with(&host.shard, "slow", "2");
    assert!(forwarded.result.unwrap().same(&value("3")));
    let counts = host.counts("slow");
    assert_eq!((counts.hits, counts.misses), (0, 0), "the other host counts it");
    // The other host has stored it, with its age and cost.
    assert!(matches!(host.call_with(&host.shard, "slow", "2").source, Source::Cached { on_disk: true, .. }));
}

#[test]
fn a_heavy_call_without_a_slot_is_answered_by_another_host() {
    let cluster = Cluster::start(HostLimits { calls_max: 1, queue_max: 0, ..HostLimits::default() });
    let [host, _] = &cluster.hosts;
    host.deploy_slow();
    cluster.serve_forwarded();
    let lane = host.runtime.executor().lane();
    let _taken = host.executor.block_on(lane.enter(&lane.share(), Duration::from_secs(1), true)).unwrap();
    let long: &'static str = Box::leak(format!("{}5", " ".repeat(100_000)).into_boxed_str());
    assert!(host.call_with(&host.shard, "slow", long).result.unwrap().same(&value("6")));
}

/// A call on the other host waits for the lease that this host holds while it forwards the same
/// call.
#[test]
fn a_forwarded_call_does_not_wait_for_a_call_that_waits_for_its_lease() {
    let cluster = Cluster::start(HostLimits::default());
    let [first, second] = &cluster.hosts;
    first.deploy_slow();
    let call = second.peer_call("41");
    let Request::Payload { body, .. } = &call.request else { unreachable!() };
    let input = Input::Values([wasmtime::component::Val::S32(41)].into());
    assert_eq!(&body[..], b"41");
    let asked = cluster.network.host(0);
    let key = call.key.of(&input, false);
    let lease = first.executor.block_on(asked.lease(key, Instant::now()));
    let Lease::Granted(guard) = lease else { panic!("the lease is free") };
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let executor = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let function = executor.block_on(second.shard.find(&second.peer_call("41").function)).unwrap();
            let request = second.peer_call("41").request;
            let called = second.shard.call(&function, request, Prefer::AsSent, CacheDirectives::default());
            executor.block_on(called)
        });
        eventually("the call waits for the lease", || cluster.network.lease_waiters(&key) == 1);
        let answered = second.answer_peer(call).unwrap();
        assert!(answered.result.unwrap().same(&value("42")));
        drop::<LeaseGuard>(guard);
        assert!(waiting.join().unwrap().result.unwrap().same(&value("42")));
    });
}

/// Its result isn't stored, so other hosts would wait in vain.
#[test]
fn a_no_store_call_takes_no_lease() {
    let cluster = Cluster::start(HostLimits::default());
    let [first, second] = &cluster.hosts;
    first.deploy_slow();
    let call = second.peer_call("41");
    let input = Input::Values([wasmtime::component::Val::S32(41)].into());
    let lease = cluster.network.host(0);
    let lease = lease.lease(call.key.of(&input, false), Instant::now());
    let Lease::Granted(_guard) = first.executor.block_on(lease) else { panic!("the lease is free") };
    let begun = Instant::now();
    let function = second.find("slow").unwrap();
    let directives = CacheDirectives { no_store: true, ..CacheDirectives::default() };
    let called = second.shard.call(&function, call.request, Prefer::AsSent, directives);
    assert!(second.executor.block_on(called).result.unwrap().same(&value("42")));
    // It would have waited for half of its deadline of a minute.
    assert!(begun.elapsed() < Duration::from_secs(25));
}

#[test]
fn a_host_declines_a_call_of_another_component() {
    let cluster = Cluster::start(HostLimits::default());
    let [first, second] = &cluster.hosts;
    first.deploy_slow();
    let call = second.peer_call("1");
    let other = PeerCall { key: nebula_cache::FunctionKey::from_bytes([0; 32]), ..call.clone() };
    assert!(second.answer_peer(other).is_none());
    let missing = FunctionRef { name: "missing".parse().unwrap(), selector: Selector::Current };
    assert!(second.answer_peer(PeerCall { function: missing, ..call.clone() }).is_none());
    assert!(second.answer_peer(call).is_some());
}

#[test]
fn another_hosts_changes_of_names_are_seen_after_it_says_so() {
    let cluster = Cluster::start(HostLimits::default());
    let [first, second] = &cluster.hosts;
    first.deploy("number", SEVEN);
    assert!(second.call("number").result.unwrap().same(&value("7")));
    first.deploy("number", &SEVEN.replace("const 7", "const 8"));
    second.runtime.names_changed();
    assert!(second.call("number").result.unwrap().same(&value("8")));
}

#[test]
fn a_forwarded_call_is_not_forwarded_again() {
    let cluster = Cluster::start(HostLimits { calls_max: 1, queue_max: 0, ..HostLimits::default() });
    let [first, second] = &cluster.hosts;
    first.deploy_slow();
    cluster.serve_forwarded();
    let mut taken = Vec::new();
    for host in [first, second] {
        let lane = host.runtime.executor().lane();
        taken.push(host.executor.block_on(lane.enter(&lane.share(), Duration::from_secs(1), true)).unwrap());
    }
    let shed = first.call_with(&first.shard, "slow", "1");
    assert!(matches!(*shed.result.unwrap_err(), CallError::Overloaded { .. }));
}

#[test]
fn parts_of_a_pipeline_are_offered_and_found_in_the_shared_store() {
    let cluster = Cluster::start(HostLimits::default());
    let [first, second] = &cluster.hosts;
    first.deploy_slow();
    first.deploy_pipeline("each", r#"{"steps": {"each": "slow"}}"#);
    let input = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]";
    assert!(first.call_with(&first.shard, "each", input).result.is_ok());
    let mut offered = cluster.network.take_offered();
    assert!(!offered.is_empty());
    // The last parts are offered first: this host works from the front.
    let last = offered.remove(0);
    second.runtime.clear_cache().unwrap();
    first.runtime.clear_cache().unwrap();
    let answered = second.answer_peer(last).unwrap();
    assert!(matches!(answered.source, Source::Ran { .. }));
    assert!(answered.result.unwrap().same(&value("17")));
    let found = first.call_with(&first.shard, "slow", "16");
    assert!(matches!(found.source, Source::Cached { on_disk: true, .. }), "{found:?}");
}
