//! Two hosts that share functions and results: leases, forwarded calls and offers.

use std::sync::Barrier;

use crate::peers::{MemoryNetwork, PeerCall};

use super::*;

/// A component that counts to a hundred million and answers its input plus one. It takes longer than the
/// fast lane allows.
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
        let hosts = [0, 1].map(|number: usize| {
            let backends = Backends { peers: Arc::new(network.host(number)), ..shared.clone() };
            Arc::new(Host::in_memory(directories[number].path(), host_limits.clone(), backends))
        });
        Self { network, hosts, _directories: directories }
    }

    /// Answers forwarded calls on the second host.
    fn serve_forwarded(&self) {
        let host = Arc::clone(&self.hosts[1]);
        self.network.serve(1, move |call| {
            let host = Arc::clone(&host);
            Box::pin(async move { tokio::task::spawn_blocking(move || answer_peer(&host, call)).await.ok() })
        });
    }
}

impl Host {
    /// Deploys a function whose calls start on the compute lane, because of its memory limit.
    fn deploy_slow(&self) {
        let memory_bytes_max = Some(Limits::default().memory_bytes_max + 65_536);
        self.deploy_with("slow", SLOW, LimitOverrides { memory_bytes_max, ..LimitOverrides::default() });
    }
}

fn answer_peer(host: &Host, call: PeerCall) -> CallOutcome {
    let PeerCall { function, request, prefer, directives } = call;
    let function = host.executor.block_on(host.shard.find(&function)).unwrap();
    host.executor.block_on(host.shard.answer_peer(&function, request, prefer, directives))
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
    // The result is cached here, too.
    assert!(is_hit(&host.call_with(&host.shard, "slow", "2")));
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
    let answered = answer_peer(second, last);
    assert!(ran(&answered) && answered.result.unwrap().same(&value("17")));
    let found = first.call_with(&first.shard, "slow", "16");
    assert!(matches!(found.source, Source::Cached { on_disk: true, .. }), "{found:?}");
}
