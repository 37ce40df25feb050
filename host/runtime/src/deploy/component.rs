//! A component on its way to a version: admitted, linked with its imports, compiled and described.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use nebula_engine::{Described, Refused};
use nebula_linker::InvalidImport;
use nebula_model::id::{Digest, FunctionName, ProjectName};
use nebula_model::record::{Description, Linked, VersionRecord};
use nebula_model::settings::{Settings, SettingsUpdate};
use nebula_store::{NewVersion, Publication};

use super::error::DeployError;
use super::followers::Followers;
use super::link::LinkedComponent;
use super::names::Names;
use super::pipelines::PlannedPipeline;
use super::precondition::Precondition;
use super::{Deployer, SettingsChange};

/// A component that can be published.
pub(super) struct PreparedComponent<'a> {
    pub(super) digest: Digest,
    /// The component with its imports.
    pub(super) content: Bytes,
    pub(super) linked: Vec<Linked>,
    pub(super) described: Described,
    _deploying: Deploying<'a>,
}

impl PreparedComponent<'_> {
    /// Returns the version that it becomes.
    pub(super) fn version(&self, settings: Settings, project: Option<ProjectName>) -> NewVersion {
        NewVersion {
            digest: self.digest,
            size_bytes: self.content.len() as u64,
            limits: settings.limits,
            cache: settings.cache,
            config: settings.config,
            cors: settings.cors,
            routes: settings.routes,
            hosts: settings.hosts,
            project,
            description: description_of(&self.described),
            pipeline: None,
            linked: self.linked.clone(),
        }
    }
}

/// Returns what a version's record says about its component.
pub(super) fn description_of(described: &Described) -> Description {
    let Described {
        form,
        signature,
        docs,
        input_schema,
        output_schema,
        error_schema,
        imports,
        notes,
        types: _,
    } = described;
    Description {
        form: *form,
        signature: signature.clone(),
        docs: docs.clone(),
        input_schema: input_schema.clone(),
        output_schema: output_schema.clone(),
        error_schema: error_schema.clone(),
        imports: imports.clone(),
        notes: notes.clone(),
    }
}

impl Deployer {
    /// Deploys a component. Blocks on the disk and the compiler.
    pub(super) fn deploy_blocking(
        self: &Arc<Self>,
        name: &FunctionName,
        component: Bytes,
        settings: &SettingsUpdate,
        followers: Followers,
        precondition: Precondition,
    ) -> Result<VersionRecord, DeployError> {
        // Refused before it is compiled.
        self.change_settings(name, settings)?;
        let prepared = self.prepare(&Names::new(self, HashMap::new()), name, component)?;
        self.with_names(|names| {
            names.add(prepared.digest, &prepared.described);
            let naming = self.lock_naming();
            precondition.check(self.functions.current(name)?.as_ref())?;
            // Names may have changed during the compilation.
            names.refuse_import_cycles(name, &prepared.linked)?;
            let SettingsChange { settings, notes } = self.change_settings(name, settings)?;
            let version = prepared.version(settings, None);
            names.change(self.store.prospect(name, &version)?)?;
            let others = self.plan_pipelines(names, &[], followers)?;
            let publication = Publication { name, content: Cow::Borrowed(&*prepared.content), version };
            let mut publications = vec![publication];
            publications.extend(others.iter().map(PlannedPipeline::publication));
            let mut record = self.publish_first(&naming, &publications)?;
            record.description.notes.extend(notes);
            Ok(record)
        })
    }

    /// Admits, links, compiles and describes a component that is to be published under `name`.
    pub(super) fn prepare(
        &self,
        names: &Names<'_>,
        name: &FunctionName,
        component: Bytes,
    ) -> Result<PreparedComponent<'_>, DeployError> {
        nebula_engine::admit(&component)?;
        // From here on, the component includes its imports: this is compiled, stored and called.
        let LinkedComponent { component: content, linked } = self.link(names, name, component.clone())?;
        let digest = Digest::of(&content);
        let deploying = Deploying::begin(self, digest);
        let mut described = self.describe_new(&digest, &content, !linked.is_empty())?;
        described.document(&component);
        Ok(PreparedComponent { digest, content, linked, described, _deploying: deploying })
    }

    /// Compiles and describes a component that no version names yet. Code that the engine refuses
    /// isn't stored.
    pub(super) fn describe_new(
        &self,
        digest: &Digest,
        component: &[u8],
        is_linked: bool,
    ) -> Result<Described, DeployError> {
        let engine = self.executor.lane_pool().engine();
        let explained = |refused: Refused| match (&refused, is_linked) {
            (Refused::TooLarge(reason), true) => InvalidImport::NeedsTooMuch(reason.clone()).into(),
            (_, _) => DeployError::from(refused),
        };
        let accept = |code: &[u8]| engine.describe_compiled(code).map(drop).map_err(explained);
        let compiled =
            self.executor.code().get_or_compile_bytes(digest, || Ok(Cow::Borrowed(component)), accept)?;
        engine.describe_artefact(&compiled.path()).map_err(explained)
    }
}

/// Marks a component as being deployed, until dropped. Its files aren't garbage.
pub(super) struct Deploying<'a> {
    deployer: &'a Deployer,
    digest: Digest,
}

impl<'a> Deploying<'a> {
    /// Marks a component until the returned guard is dropped.
    pub(super) fn begin(deployer: &'a Deployer, digest: Digest) -> Self {
        deployer.lock_deploying().push(digest);
        Self { deployer, digest }
    }
}

impl Drop for Deploying<'_> {
    fn drop(&mut self) {
        let mut deploying = self.deployer.lock_deploying();
        if let Some(index) = deploying.iter().position(|digest| *digest == self.digest) {
            deploying.swap_remove(index);
        }
    }
}
