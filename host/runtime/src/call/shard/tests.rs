//! Verification of cached results, and results that were tampered with.

mod conflicts;
mod loading;
mod peers;

use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::thread;

use bytes::Bytes;
use nebula_cache::Counts;
use nebula_codec::Input;
use nebula_engine::{Codegen, Compiler};
use nebula_model::answer::{Answer, Content};
use nebula_model::caching::{Because, CacheDirectives, Caching, Source};
use nebula_model::disagreement::Disagreement;
use nebula_model::id::Digest;
use nebula_model::limits::{HostLimits, LimitOverrides, Limits};
use nebula_model::record::VersionRecord;
use nebula_model::request::{Prefer, Request};
use nebula_model::settings::Settings;

use super::*;
use crate::backends::Backends;
use crate::cache::CachedResult;
use crate::deploy::{DeployError, Followers};
use crate::runtime::RuntimeConfig;

/// A component that answers 7.
const SEVEN: &str = r#"(component
    (core module $m (func (export "handle") (result i32) (i32.const 7)))
    (core instance $i (instantiate $m))
    (func (export "handle") (result s32) (canon lift (core func $i "handle"))))"#;

/// A component that answers its input plus one.
const MORE: &str = r#"(component
    (core module $m (func (export "handle") (param i32) (result i32)
        (i32.add (local.get 0) (i32.const 1))))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" s32) (result s32) (canon lift (core func $i "handle"))))"#;

/// A component that never answers.
const LOOPS: &str = r#"(component
    (core module $m (func (export "handle") (result i32) (loop (br 0)) unreachable))
    (core instance $i (instantiate $m))
    (func (export "handle") (result s32) (canon lift (core func $i "handle"))))"#;

static ALARMS: Mutex<Vec<Disagreement>> = Mutex::new(Vec::new());

fn config(data_dir: &Path) -> RuntimeConfig {
    RuntimeConfig {
        data_dir: data_dir.to_owned(),
        compiler: Compiler::InProcess(Codegen::Optimised),
        // Other tests or programs may occupy the cores for long.
        limits: Limits { deadline_ms: NonZeroU64::new(60_000).unwrap(), ..Limits::default() },
        host_limits: HostLimits { instances_max: NonZeroU32::MIN, ..HostLimits::default() },
        signer: None,
        verify_share: 0.0,
        alarm: |disagreement| ALARMS.lock().unwrap().push(disagreement.clone()),
    }
}

struct Host {
    shard: Shard,
    runtime: Runtime,
    executor: tokio::runtime::Runtime,
}

impl Host {
    fn open(data_dir: &Path, verify_share: f64) -> Self {
        Self::open_with(data_dir, |config| config.verify_share = verify_share)
    }

    fn open_with(data_dir: &Path, change: impl FnOnce(&mut RuntimeConfig)) -> Self {
        let mut config = config(data_dir);
        change(&mut config);
        let backends = Backends::local(data_dir, &config.host_limits).unwrap();
        Self::on(config, backends)
    }

    /// Opens a host in memory on these backends, which may be shared.
    fn in_memory(data_dir: &Path, host_limits: HostLimits, backends: Backends) -> Self {
        let config = RuntimeConfig { host_limits, ..config(data_dir) };
        Self::on(config, backends)
    }

    fn on(config: RuntimeConfig, backends: Backends) -> Self {
        let runtime = Runtime::with_backends(config, backends).unwrap();
        let executor = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let shard = Shard::new(runtime.clone()).unwrap();
        Self { shard, runtime, executor }
    }

    fn deploy(&self, name: &str, component: &str) {
        self.deploy_with(name, component, LimitOverrides::default());
    }

    fn deploy_with(&self, name: &str, component: &str, limits: LimitOverrides) {
        let component = wat::parse_str(component).unwrap().into();
        let cache = Caching { traps: true, ..Caching::default() };
        let settings = Settings { limits, cache, ..Settings::default() };
        self.executor
            .block_on(self.runtime.deploy(name.parse().unwrap(), component, settings, Followers::MustFit))
            .unwrap();
    }

    fn deploy_pipeline(&self, name: &str, description: &str) {
        self.try_deploy_pipeline(name, description).unwrap();
    }

    fn try_deploy_pipeline(&self, name: &str, description: &str) -> Result<VersionRecord, DeployError> {
        let pipeline = serde_json::from_str(description).unwrap();
        let (name, settings) = (name.parse().unwrap(), Settings::default());
        self.runtime.deploy_pipeline(&name, &pipeline, &settings.into(), Followers::MustFit)
    }

    fn find(&self, name: &str) -> Result<Arc<RoutedFunction>, ResolveError> {
        let current = FunctionRef { name: name.parse().unwrap(), selector: Selector::Current };
        self.executor.block_on(self.shard.find(&current))
    }

    fn call(&self, name: &str) -> CallOutcome {
        self.call_on(&self.shard, name)
    }

    fn call_on(&self, shard: &Shard, name: &str) -> CallOutcome {
        self.call_with(shard, name, "")
    }

    fn call_with(&self, shard: &Shard, name: &str, body: &'static str) -> CallOutcome {
        let reference = FunctionRef { name: name.parse().unwrap(), selector: Selector::Current };
        let function = self.executor.block_on(shard.find(&reference)).unwrap();
        let request = Request::Payload { media_type: None, body: Bytes::from_static(body.as_bytes()) };
        let call = shard.call(&function, request, Prefer::AsSent, CacheDirectives::default());
        self.executor.block_on(call)
    }

    /// Caches `result` as the function's answer.
    fn tamper(&self, name: &str, result: Result<Answer, Arc<CallError>>) {
        let function = self.find(name).unwrap();
        let key = function.key().of(&Input::Values([].into()), false);
        let cached =
            CachedResult::new(result, function.record.digest, Duration::from_millis(5), "test".into());
        assert!(self.runtime.results().cache().insert(key, Arc::new(cached)));
    }

    fn counts(&self, name: &str) -> Counts {
        let report = self.runtime.cache_report().unwrap();
        let function = report.functions.into_iter().find(|function| function.name.as_str() == name);
        function.map(|function| function.counts).unwrap_or_default()
    }

    /// Returns how many hits of a function were verified, and how many of these disagreed.
    fn verified(&self, name: &str) -> (u64, u64) {
        let counts = self.counts(name);
        (counts.verified, counts.disagreed)
    }
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn value(json: &'static str) -> Answer {
    Answer::Value(Content {
        media_type: "application/json".into(),
        body: Bytes::from_static(json.as_bytes()),
    })
}

fn is_hit(called: &CallOutcome) -> bool {
    matches!(called.source, Source::Cached { .. })
}

#[test]
fn recomputed_hits_agree() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), 1.0);
    host.deploy("seven", SEVEN);
    assert!(!is_hit(&host.call("seven")));
    assert_eq!(host.verified("seven"), (0, 0));
    assert!(is_hit(&host.call("seven")));
    eventually("it was verified", || host.verified("seven") == (1, 0));
    assert!(is_hit(&host.call("seven")));
}

#[test]
fn a_disagreement_raises_an_alarm_and_ends_caching() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), 1.0);
    host.deploy("tampered", SEVEN);
    host.tamper("tampered", Ok(value("8")));
    let wrong = host.call("tampered");
    assert!(is_hit(&wrong) && wrong.result.unwrap().same(&value("8")));
    eventually("it was seen", || host.verified("tampered") == (1, 1));
    let alarm = ALARMS.lock().unwrap().iter().find(|alarm| alarm.function == "tampered@v1").cloned().unwrap();
    assert!(alarm.cached.contains(&Digest::of(b"8").to_string()), "{alarm:?}");
    assert!(alarm.computed.contains(&Digest::of(b"7").to_string()), "{alarm:?}");
    assert_eq!(host.runtime.input(&alarm.input).unwrap(), b"");
    assert!(host.runtime.logs(0, Some(&"tampered".parse().unwrap()))[0].outcome.contains("computed again"));
    let is_off = |host: &Host, name: &str| {
        let called = host.call(name);
        assert!(called.result.unwrap().same(&value("7")));
        called.source == Source::Ran { because: Because::Off, stored: false }
    };
    // Under another name, too, and after a restart.
    host.deploy("other", SEVEN);
    assert!(is_off(&host, "tampered") && is_off(&host, "other"));
    let written = host.runtime.cache_report().unwrap().functions.remove(0).disagreement;
    assert_eq!(written.as_ref(), Some(&alarm));
    // The verifying thread may still hold the runtime.
    let closed = Arc::downgrade(host.runtime.results().flights());
    drop(host);
    eventually("it is closed", || closed.strong_count() == 0);
    let host = Host::open(directory.path(), 1.0);
    assert!(is_off(&host, "tampered"));
    // Clearing the cache ends the distrust.
    host.runtime.clear_cache_of(&"tampered".parse().unwrap()).unwrap();
    assert!(!is_off(&host, "tampered") && is_hit(&host.call("other")));
}

/// A check recomputes all calls of a pipeline and leaves no trace in their counts.
#[test]
fn hits_of_pipelines_are_recomputed() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), 1.0);
    host.deploy("number", SEVEN);
    host.deploy("more", MORE);
    host.deploy_pipeline("inner", r#"{"steps": ["number", "more"]}"#);
    host.deploy_pipeline("outer", r#"{"steps": ["inner", "more"]}"#);
    assert!(host.call("outer").result.unwrap().same(&value("9")));
    let before = (host.counts("number"), host.counts("more"));
    assert!(is_hit(&host.call("outer")));
    eventually("it was verified", || host.verified("outer") == (1, 0));
    assert_eq!((host.counts("number"), host.counts("more")), before);

    host.tamper("outer", Ok(value("10")));
    assert!(host.call("outer").result.unwrap().same(&value("10")));
    eventually("it was seen", || host.verified("outer") == (2, 1));
    let alarm = ALARMS.lock().unwrap().iter().find(|alarm| alarm.function == "outer@v1").cloned().unwrap();
    assert!(alarm.computed.contains(&Digest::of(b"9").to_string()), "{alarm:?}");
    // The pipeline's results aren't cached any more; those of its functions are.
    for _ in 0..2 {
        let called = host.call("outer");
        assert!(!is_hit(&called) && called.result.unwrap().same(&value("9")));
    }
    assert!(is_hit(&host.call("number")));
}

/// A cached failure is compared like any other result. A recomputation past its deadline is
/// undecided.
#[test]
fn failures_are_compared_and_deadlines_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), 1.0);
    host.deploy("fails", SEVEN);
    host.tamper("fails", Err(Arc::new(CallError::Failed { message: "so it says".to_owned() })));
    assert!(is_hit(&host.call("fails")));
    eventually("it was seen", || host.verified("fails") == (1, 1));
    let briefly = LimitOverrides { deadline_ms: NonZeroU64::new(20), ..LimitOverrides::default() };
    host.deploy_with("loops", LOOPS, briefly);
    host.tamper("loops", Ok(value("7")));
    host.deploy("after", &SEVEN.replace("const 7", "const 9"));
    host.call("after");
    // Checks run one after the other: the next is verified, so this one was undecided.
    assert!(is_hit(&host.call("loops")));
    assert!(is_hit(&host.call("after")));
    eventually("the next was verified", || host.verified("after") == (1, 0));
    assert_eq!(host.verified("loops"), (0, 0));
    assert!(is_hit(&host.call("loops")));
}

#[test]
fn no_hit_is_verified_with_a_share_of_zero() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::open(directory.path(), 0.0);
    host.deploy("seven", SEVEN);
    for _ in 0..100 {
        host.call("seven");
    }
    assert!(!host.runtime.verification().is_working());
}
