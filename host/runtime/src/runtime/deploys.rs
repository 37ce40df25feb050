//! Deploys, rollbacks and removals, as a host offers them.

use bytes::Bytes;
use nebula_model::description::Pipeline;
use nebula_model::id::{Digest, FunctionName, FunctionRef, Version};
use nebula_model::record::VersionRecord;
use nebula_model::settings::SettingsUpdate;
use nebula_pipeline::View;
use nebula_store::StoreError;

use super::Runtime;
use crate::deploy::{
    DeployError, DeployKind, Export, Followers, Import, ImportError, ImportedFunction, NamingError,
    Precondition, ProjectChange, ProjectDeploy, ProjectError, UploadError,
};

impl Runtime {
    /// Admits, links, compiles, checks and publishes a component. Durable when it returns: the next
    /// call uses the new version, calls in flight end on the old one.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    ///
    /// # Cancel safety
    /// A deploy that has started to compile completes even if the future is dropped.
    pub async fn deploy(
        &self,
        name: FunctionName,
        component: Bytes,
        settings: impl Into<SettingsUpdate>,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        self.deploy_if(name, component, settings, followers, Precondition::None).await
    }

    /// Deploys a component if the name meets the precondition. Otherwise the same as
    /// [`deploy`](Self::deploy).
    ///
    /// # Errors
    /// [`DeployError`].
    ///
    /// # Cancel safety
    /// The same as for [`deploy`](Self::deploy).
    pub async fn deploy_if(
        &self,
        name: FunctionName,
        component: Bytes,
        settings: impl Into<SettingsUpdate>,
        followers: Followers,
        precondition: Precondition,
    ) -> Result<VersionRecord, DeployError> {
        self.0.deployer.deploy(name, component, settings.into(), followers, precondition).await
    }

    /// Stores a component, whose digest is `digest`, for a later
    /// [`deploy_project`](Self::deploy_project): for an hour at least unless many others are
    /// uploaded. Compiles it, unless it imports functions.
    ///
    /// # Errors
    /// [`UploadError`].
    ///
    /// # Cancel safety
    /// An upload that has started to compile completes even if the future is dropped.
    pub async fn upload(&self, digest: Digest, component: Bytes) -> Result<(), UploadError> {
        self.0.deployer.upload(digest, component).await
    }

    /// Deploys the functions and pipelines of a project in one change. Durable when it returns: the
    /// next calls use the new versions.
    ///
    /// # Errors
    /// [`ProjectError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    ///
    /// # Cancel safety
    /// A deploy that has started completes even if the future is dropped.
    pub async fn deploy_project(&self, deploy: ProjectDeploy) -> Result<Vec<ProjectChange>, ProjectError> {
        self.0.deployer.deploy_project(deploy).await
    }

    /// Returns functions with all their versions, and those that they call: the given ones, or all if
    /// there are none. Blocks on the disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn export(&self, names: &[FunctionName]) -> Result<Export, NamingError> {
        self.0.deployer.export(names)
    }

    /// Adds functions with all their versions in one change, after their components were
    /// [uploaded](Self::upload). Durable when it returns: the next calls find them. Functions that
    /// are here and the same are left alone.
    ///
    /// # Errors
    /// [`ImportError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    ///
    /// # Cancel safety
    /// An import that has started completes even if the future is dropped.
    pub async fn import(&self, import: Import) -> Result<Vec<ImportedFunction>, ImportError> {
        self.0.deployer.import(import).await
    }

    /// Checks a pipeline as a deploy would, and returns its view. Blocks on the disk.
    ///
    /// # Errors
    /// [`DeployError`].
    pub fn check_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
    ) -> Result<View, DeployError> {
        self.0.deployer.check_pipeline(name, pipeline, settings, followers)
    }

    /// Checks a pipeline and publishes it. Durable when it returns. Blocks on the disk.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    pub fn deploy_pipeline(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        self.deploy_pipeline_if(name, pipeline, settings, followers, Precondition::None)
    }

    /// Deploys a pipeline if the name meets the precondition. Otherwise the same as
    /// [`deploy_pipeline`](Self::deploy_pipeline).
    ///
    /// # Errors
    /// [`DeployError`].
    pub fn deploy_pipeline_if(
        &self,
        name: &FunctionName,
        pipeline: &Pipeline,
        settings: &SettingsUpdate,
        followers: Followers,
        precondition: Precondition,
    ) -> Result<VersionRecord, DeployError> {
        let deployer = &self.0.deployer;
        let deployed = deployer.deploy_pipeline(name, pipeline, settings, followers, precondition);
        deployer.outcomes().count(DeployKind::Pipeline, deployed)
    }

    /// Returns a version of a pipeline with its view; `None` if it isn't a pipeline. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn view_pipeline(
        &self,
        reference: &FunctionRef,
    ) -> Result<Option<(VersionRecord, View)>, NamingError> {
        self.0.deployer.view_pipeline(reference)
    }

    /// Makes an earlier version current: `to`, or the one before the current one. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`NamingError`]; nothing has changed then, except perhaps if the store was
    /// [late](nebula_store::StoreErrorKind::Late) or failed.
    pub fn rollback(
        &self,
        name: &FunctionName,
        to: Option<Version>,
        followers: Followers,
    ) -> Result<VersionRecord, NamingError> {
        self.0.deployer.rollback(name, to, followers)
    }

    /// Removes a function with its versions, and the files that nothing else needs. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn remove(&self, name: &FunctionName) -> Result<(), NamingError> {
        self.remove_if(name, Precondition::None)
    }

    /// Removes a function if the name meets the precondition. Blocks on the disk.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn remove_if(&self, name: &FunctionName, precondition: Precondition) -> Result<(), NamingError> {
        self.0.deployer.remove(name, precondition)
    }

    /// Deletes the files that no version names and no call is using. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]. The files deleted until then were garbage.
    pub fn collect_garbage(&self) -> Result<(), StoreError> {
        self.0.deployer.collect_garbage()
    }
}
