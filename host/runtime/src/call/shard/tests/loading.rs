//! Compiled code stays loaded within a server's default budget.

use super::*;

/// Data of the component, bytes: its compiled code is a little longer.
const DATA_BYTES: usize = 40 * 1024 * 1024;

/// Returns a component that answers 7 and has as much data as an interpreter has code.
fn large() -> String {
    let (pages, data) = (DATA_BYTES / 65_536 + 1, "x".repeat(DATA_BYTES));
    format!(
        r#"(component
            (core module $m
                (memory {pages})
                (data (i32.const 0) "{data}")
                (func (export "handle") (result i32) (i32.const 7)))
            (core instance $i (instantiate $m))
            (func (export "handle") (result s32) (canon lift (core func $i "handle"))))"#
    )
}

#[test]
fn a_component_of_40_mb_is_loaded_once_by_each_of_two_threads() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open_with(directory.path(), |config| {
        config.host_limits = HostLimits { cache_bytes_max: 0, ..HostLimits::default() };
    });
    host.deploy("large", &large());
    let shards = [host.shard.clone(), Shard::new(host.runtime.clone()).unwrap()];
    for round in 0..3 {
        for shard in &shards {
            let called = host.call_on(shard, "large");
            assert!(called.result.unwrap().same(&value("7")), "round {round}");
        }
    }
    let report = host.runtime.loaded_report();
    assert_eq!((report.reads, report.evictions, report.components), (1, 0, 1));
    // The compute lane may have it too: the first instance may take longer than a short call.
    assert!((2..=3).contains(&report.loads), "{report:?}");
    assert!((DATA_BYTES as u64..report.bytes_max).contains(&report.bytes), "{report:?}");
}
