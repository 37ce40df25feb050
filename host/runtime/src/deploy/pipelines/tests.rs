//! Changes of pipelines that call each other, inside and outside of a project.

use std::cell::Cell;

use bytes::Bytes;
use nebula_engine::{Codegen, Compiler};
use nebula_model::id::Version;
use nebula_model::limits::{HostLimits, Limits};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::*;
use crate::backends::Backends;
use crate::deploy::{ProjectChange, ProjectDeploy, ProjectError, ProjectFunction, ProjectPipeline};
use crate::runtime::{Runtime, RuntimeConfig};

/// Returns a component that adds `value` to its input.
fn adds(value: u64) -> Bytes {
    let component = format!(
        r#"(component
            (core module $m (func (export "handle") (param i32) (result i32)
                (i32.add (local.get 0) (i32.const {value}))))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "n" s32) (result s32) (canon lift (core func $i "handle"))))"#
    );
    wat::parse_str(component).unwrap().into()
}

fn second() -> Version {
    Version::new(2).unwrap()
}

/// A host whose functions are `adds` of different values.
struct Host {
    runtime: Runtime,
    executor: tokio::runtime::Runtime,
    value: Cell<u64>,
    _directory: TempDir,
}

impl Host {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host_limits = HostLimits { calls_max: 1, ..HostLimits::default() };
        let config = RuntimeConfig {
            data_dir: directory.path().to_owned(),
            compiler: Compiler::InProcess(Codegen::Baseline),
            limits: Limits::default(),
            host_limits: host_limits.clone(),
            signer: None,
            verify_share: 0.0,
            alarm: |_| {},
        };
        let runtime = Runtime::with_backends(config, Backends::in_memory(&host_limits)).unwrap();
        let executor = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { runtime, executor, value: Cell::new(0), _directory: directory }
    }

    /// Returns a component that no function has yet.
    fn component(&self) -> Bytes {
        self.value.set(self.value.get() + 1);
        adds(self.value.get())
    }

    fn deploy(&self, name: &str) {
        let settings = Settings::default();
        let deploy =
            self.runtime.deploy(name.parse().unwrap(), self.component(), settings, Followers::MustFit);
        self.executor.block_on(deploy).unwrap();
    }

    fn deploy_pipeline(&self, name: &str, calls: &[&str]) -> Result<VersionRecord, DeployError> {
        let settings = Settings::default().into();
        self.runtime.deploy_pipeline(&name.parse().unwrap(), &pipeline(calls), &settings, Followers::MustFit)
    }

    /// Deploys new components under `functions`, and pipelines, as one change.
    fn deploy_project(
        &self,
        functions: &[&str],
        pipelines: &[(&str, &[&str])],
    ) -> Result<Vec<ProjectChange>, ProjectError> {
        let functions: Vec<_> = functions.iter().map(|name| (*name, self.component())).collect();
        self.deploy_components(functions, pipelines)
    }

    fn deploy_components(
        &self,
        functions: Vec<(&str, Bytes)>,
        pipelines: &[(&str, &[&str])],
    ) -> Result<Vec<ProjectChange>, ProjectError> {
        let function = |(name, component): (&str, Bytes)| {
            let digest = Digest::of(&component);
            self.executor.block_on(self.runtime.upload(digest, component)).unwrap();
            let settings = Settings::default().into();
            ProjectFunction { name: name.parse().unwrap(), digest, settings }
        };
        let pipeline = |(name, calls): &(&str, &[&str])| ProjectPipeline {
            name: name.parse().unwrap(),
            pipeline: pipeline(calls),
            settings: Settings::default().into(),
        };
        let deploy = ProjectDeploy {
            project: "project".parse().unwrap(),
            functions: functions.into_iter().map(function).collect(),
            pipelines: pipelines.iter().map(pipeline).collect(),
            prune: false,
            followers: Followers::MustFit,
            dry_run: false,
        };
        self.executor.block_on(self.runtime.deploy_project(deploy))
    }

    /// Returns the cycle because of which a project is refused.
    fn cycle(&self, pipelines: &[(&str, &[&str])]) -> Vec<String> {
        let outcome = self.deploy_project(&["f"], pipelines);
        let Err(ProjectError::Refused { name, source }) = outcome else { panic!("{outcome:?}") };
        let DeployError::Pipeline(InvalidPipeline::Cycle { names }) = *source else { panic!("{source}") };
        assert_eq!(names.first().unwrap(), name.as_str());
        names
    }

    fn current(&self, name: &str) -> VersionRecord {
        self.runtime.versions(&name.parse().unwrap()).unwrap().current
    }

    /// Asserts that a pipeline calls the current versions of the names that it follows.
    fn is_up_to_date(&self, name: &str) {
        let composition = self.current(name).pipeline.unwrap();
        for called in followed(&composition.description) {
            let pinned = composition.pinned[called.as_str()].version;
            assert_eq!(pinned, self.current(called.as_str()).version, "`{name}` calls `{called}`");
        }
    }
}

fn pipeline(calls: &[&str]) -> Pipeline {
    serde_json::from_value(serde_json::json!({ "steps": calls })).unwrap()
}

/// A pipeline of a generated change.
#[derive(Clone, Debug)]
struct Generated {
    is_of_project: bool,
    /// It calls the names before it at these indices.
    calls: Vec<prop::sample::Index>,
}

/// Whichever pipelines are the project's, one deploy of it leaves each pipeline with the newest
/// versions of all that it follows, after one new version at most.
#[test]
fn one_change_leaves_all_pipelines_up_to_date() {
    let generated = (any::<bool>(), vec(any::<prop::sample::Index>(), 1..4))
        .prop_map(|(is_of_project, calls)| Generated { is_of_project, calls });
    let (host, case) = (Host::start(), Cell::new(0));
    let mut runner = TestRunner::new(Config::with_cases(24));
    let checked = runner.run(&vec(generated, 1..7), |generated| {
        case.set(case.get() + 1);
        // The order in which pipelines call each other isn't that of their names.
        let name =
            |number: usize| format!("c{}-{}", case.get(), (b'z' - u8::try_from(number).unwrap()) as char);
        let mut names = vec![format!("c{}-changed", case.get()), format!("c{}-same", case.get())];
        names.iter().for_each(|name| host.deploy(name));
        for (at, Generated { calls, .. }) in generated.iter().enumerate() {
            let calls: Vec<_> = calls.iter().map(|call| call.get(&names).as_str()).collect();
            host.deploy_pipeline(&name(at), &calls).unwrap();
            names.push(name(at));
        }
        let calls: Vec<Vec<_>> = (generated.iter().enumerate())
            .map(|(at, it)| it.calls.iter().map(|call| call.get(&names[..at + 2]).as_str()).collect())
            .collect();
        let pipelines = names[2..].iter().zip(&generated).zip(&calls);
        let of_project: Vec<_> = pipelines
            .filter(|((_, pipeline), _)| pipeline.is_of_project)
            .map(|((name, _), calls)| (name.as_str(), calls.as_slice()))
            .collect();
        host.deploy_project(&[&names[0]], &of_project).unwrap();
        prop_assert_eq!(host.current(&names[0]).version, second());
        for name in &names[2..] {
            host.is_up_to_date(name);
            prop_assert!(host.current(name).version <= second(), "{} is planned twice", name);
        }
        Ok(())
    });
    checked.unwrap();
}

/// A cycle is named from the pipeline whose deploy closes it, and nothing changes.
#[test]
fn cycles_through_other_pipelines_are_refused() {
    let host = Host::start();
    host.deploy("f");
    host.deploy_pipeline("p", &["f"]).unwrap();
    host.deploy_pipeline("outside", &["p", "f"]).unwrap();
    host.deploy_pipeline("beyond", &["outside"]).unwrap();
    assert_eq!(host.cycle(&[("p", &["outside"])]), ["p", "outside", "p"]);
    assert_eq!(host.cycle(&[("p", &["f", "beyond"])]), ["p", "beyond", "outside", "p"]);
    assert_eq!(host.cycle(&[("p", &["new"]), ("new", &["beyond"])]), ["p", "new", "beyond", "outside", "p"]);
    assert_eq!(host.cycle(&[("one", &["two"]), ("two", &["one"])]), ["one", "two", "one"]);
    assert_eq!(host.cycle(&[("p", &["p"])]), ["p", "p"]);
    for name in ["f", "p", "outside", "beyond"] {
        assert_eq!(host.current(name).version, Version::FIRST, "{name}");
    }
    // Versions don't change, so calling them closes no cycle.
    host.deploy_project(&["f"], &[("p", &["beyond@v1", "p@v1", "f"])]).unwrap();
    for name in ["p", "outside", "beyond"] {
        host.is_up_to_date(name);
    }
}

/// The version that a pipeline calls may be one that the same change makes.
#[test]
fn a_pipeline_may_call_a_version_of_the_same_change() {
    let host = Host::start();
    host.deploy_project(&["f"], &[("a", &["z@v1", "f@v1"]), ("z", &["f"])]).unwrap();
    host.deploy_pipeline("outside", &["z"]).unwrap();
    host.deploy_project(&["f"], &[("a", &["outside@v2", "z@v2"]), ("z", &["f"])]).unwrap();
    assert_eq!(host.current("outside").version, second());
    let refused = host.deploy_project(&["f"], &[("a", &["z@v9"]), ("z", &["f"])]).unwrap_err();
    assert!(refused.to_string().contains("has no version `v9`"), "{refused}");
    assert_eq!(host.current("f").version, second());
}

/// The reason why a pipeline of the project doesn't fit may be an outside pipeline that would stay
/// behind.
#[test]
fn a_broken_follower_is_reported_before_a_pipeline_that_calls_it() {
    let host = Host::start();
    host.deploy("f");
    host.deploy_pipeline("p", &["f"]).unwrap();
    host.deploy_pipeline("outside", &["p", "p"]).unwrap();
    let gives_nothing = r#"(component
        (core module $m (func (export "handle") (param i32)))
        (core instance $i (instantiate $m))
        (func (export "handle") (param "n" s32) (canon lift (core func $i "handle"))))"#;
    let gives_nothing: Bytes = wat::parse_str(gives_nothing).unwrap().into();
    let deploy = |front: &[&str]| {
        let pipelines: [(_, &[_]); 2] = [("front", front), ("p", &["f"])];
        host.deploy_components(vec![("f", gives_nothing.clone())], &pipelines)
    };
    for front in [&["outside"][..], &["f", "outside"]] {
        let outcome = deploy(front);
        let Err(ProjectError::Deploy(DeployError::Breaks(broken))) = outcome else { panic!("{outcome:?}") };
        let names: Vec<_> = broken.iter().map(|broken| broken.pipeline.as_str()).collect();
        assert_eq!(names, ["outside"]);
    }
    // Alone, the pipeline is the reason.
    let Err(ProjectError::Refused { name, .. }) = deploy(&["f", "f"]) else { panic!("`front` fits") };
    assert_eq!(name.as_str(), "front");
}
