//! Deploys on this host while another host changes the names that they depend on.

use nebula_model::id::Version;
use nebula_store::Store;
use nebula_store::blobs::MemoryBlobs;
use nebula_store::catalog::Change;
use nebula_store::testing::interrupted::InterruptedCatalog;
use nebula_store::{Secret, StoreErrorKind};

use super::*;

/// A component that answers a text.
const TEXT: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (data (i32.const 8) "\10\00\00\00\01\00\00\00x")
        (func (export "handle") (result i32) (i32.const 8)))
    (core instance $i (instantiate $m))
    (func (export "handle") (result string)
        (canon lift (core func $i "handle") (memory (core memory $i "memory")))))"#;

fn host(directory: &Path) -> (Host, Arc<InterruptedCatalog>) {
    let (catalog, secret) = (InterruptedCatalog::new(), Secret::new([1; 32]));
    let catalog_of_store: Arc<InterruptedCatalog> = Arc::clone(&catalog);
    let store = Store::new(catalog_of_store, Arc::new(MemoryBlobs::new(&secret)), secret);
    let host_limits = HostLimits::default();
    let backends = Backends { store: Arc::new(store), ..Backends::in_memory(&host_limits) };
    (Host::in_memory(directory, host_limits, backends), catalog)
}

/// Returns the change that publishes the current version of `source` as version `number` of `name`.
fn publish_as(host: &Host, source: &str, name: &str, number: u32) -> Change {
    let record = host.runtime.versions(&source.parse().unwrap()).unwrap().current;
    let (name, version) = (name.parse().unwrap(), Version::new(number).unwrap());
    Change::Publish(Box::new(VersionRecord { name, version, ..record }))
}

#[test]
fn a_deploy_is_tried_again_after_an_unrelated_change() {
    let directory = tempfile::tempdir().unwrap();
    let (host, catalog) = host(directory.path());
    host.deploy("number", SEVEN);
    host.deploy("more", MORE);
    let other = publish_as(&host, "number", "other", 1);
    catalog.interrupt(vec![vec![other]]);
    host.deploy_pipeline("both", r#"{"steps": ["number", "more"]}"#);
    assert!(host.call("both").result.unwrap().same(&value("8")));
    assert!(host.call("other").result.unwrap().same(&value("7")));
}

#[test]
fn a_pipeline_is_checked_against_what_another_host_deployed_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let (host, catalog) = host(directory.path());
    host.deploy("number", SEVEN);
    host.deploy("more", MORE);
    host.deploy("text", TEXT);
    let number_is_text = publish_as(&host, "text", "number", 2);
    catalog.interrupt(vec![vec![number_is_text]]);
    let refused = host.try_deploy_pipeline("both", r#"{"steps": ["number", "more"]}"#).unwrap_err();
    assert!(matches!(refused, DeployError::Pipeline(_)), "{refused:?}");
    assert!(matches!(host.find("both"), Err(ResolveError::UnknownFunction { .. })));
}

#[test]
fn a_function_that_another_host_began_to_use_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (host, catalog) = host(directory.path());
    host.deploy("number", SEVEN);
    host.deploy("more", MORE);
    host.deploy_pipeline("both", r#"{"steps": ["more", "more"]}"#);
    host.deploy_pipeline("uses", r#"{"steps": ["number", "more"]}"#);
    let uses = publish_as(&host, "uses", "uses", 2);
    host.runtime.remove(&"uses".parse().unwrap()).unwrap();
    catalog.interrupt(vec![vec![uses]]);
    let refused = host.runtime.remove(&"number".parse().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("`number` is called by the pipeline `uses`"), "{refused}");
}

#[test]
fn a_deploy_that_always_conflicts_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (host, catalog) = host(directory.path());
    host.deploy("number", SEVEN);
    host.deploy("more", MORE);
    let other = |number| vec![publish_as(&host, "number", "other", number)];
    catalog.interrupt((1..=9).map(other).collect());
    let refused = host.try_deploy_pipeline("both", r#"{"steps": ["number", "more"]}"#).unwrap_err();
    assert!(
        matches!(&refused, DeployError::Store(error) if error.kind() == StoreErrorKind::Conflict),
        "{refused:?}"
    );
}
