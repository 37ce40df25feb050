//! A component's way in: admitted, linked with what it imports, compiled, described, published.
//!
//! Invariant: what fails on the way changes nothing.

use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use nebula_engine::Inadmissible;
use nebula_engine::{CompileError, Refused};
use nebula_linker::{InvalidImport, InvalidImporter, LinkError};
use nebula_model::id::{Digest, FunctionName};
use nebula_model::limits::LimitTooHigh;
use nebula_model::record::{Description, VersionRecord};
use nebula_model::remember::Settings;
use nebula_pipeline::InvalidPipeline;
use nebula_store::{NewVersion, Publication, ResolveError, StoreError};

use super::compose::{Broken, Followers, Names, broken};
use super::{Runtime, Shared};
use crate::error::LoadError;

/// Why a component wasn't deployed. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// It is no component.
    #[error(transparent)]
    Admission(#[from] Inadmissible),
    /// It imports functions that can't be linked into it.
    #[error(transparent)]
    Import(#[from] InvalidImport),
    /// It is no function of ours.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It doesn't compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It asks for more than there is.
    #[error(transparent)]
    Limit(#[from] LimitTooHigh),
    /// A pipeline whose types don't fit.
    #[error(transparent)]
    Pipeline(#[from] InvalidPipeline),
    /// Pipelines that follow the name would be broken.
    #[error("it would break {}", broken(.0))]
    Breaks(Vec<Broken>),
    /// What a function of a pipeline takes and gives couldn't be told.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect in Nebula.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<ResolveError> for DeployError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Store(error) => Self::Store(error),
            error @ (ResolveError::UnknownFunction(_)
            | ResolveError::UnknownVersion { .. }
            | ResolveError::NoEarlierVersion { .. }) => Self::Internal(error.to_string()),
        }
    }
}

impl From<LinkError> for DeployError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Import(error) => Self::Import(error),
            LinkError::Importer(error) => Self::Refused(match error {
                InvalidImporter::NoHandle { exports } => Refused::NoHandle { exports },
                InvalidImporter::NotAFunction => Refused::NotAFunction,
                InvalidImporter::Type(error) => Refused::Type(error),
                InvalidImporter::Imports { imports } => Refused::Imports { imports },
            }),
        }
    }
}

impl Runtime {
    /// Admits, links, compiles, checks and publishes a component. Durable when it returns; the next call
    /// sees it, calls in flight end on the version they began with.
    ///
    /// # Errors
    /// [`DeployError`]; nothing has changed then.
    ///
    /// # Cancel safety
    /// Once it has begun to compile a deploy goes on to its end, whoever waits for it.
    pub async fn deploy(
        &self,
        name: FunctionName,
        component: Bytes,
        settings: Settings,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        let internal = |error: &dyn std::fmt::Display| DeployError::Internal(error.to_string());
        let permit = Arc::clone(&self.0.compiling).acquire_owned().await.map_err(|error| internal(&error))?;
        let this = self.clone();
        let deploying = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            this.deploy_blocking(&name, &component, settings, followers)
        });
        deploying.await.map_err(|error| internal(&error))?
    }

    fn deploy_blocking(
        &self,
        name: &FunctionName,
        component: &[u8],
        settings: Settings,
        followers: Followers,
    ) -> Result<VersionRecord, DeployError> {
        let Shared { registry, compiler, compatibility, lane_pool, .. } = &*self.0;
        self.0.limits.with(&settings.limits)?;
        nebula_engine::admit(component)?;
        // From here on it is the component with what it imports: that is what is compiled, kept and called.
        let (component, linked) = self.link(name, component)?;
        let digest = Digest::of(&component);
        let _deploying = Deploying::begin(self, digest);
        let too_large = |refused: Refused| {
            if let (Refused::TooLarge(reason), false) = (&refused, linked.is_empty()) {
                return InvalidImport::NeedsTooMuch(reason.clone()).into();
            }
            DeployError::from(refused)
        };
        let described = match registry.open_compiled(&digest, compatibility)? {
            // Compiled before, under this or another name.
            Some(compiled) => lane_pool.engine().describe_artefact(&compiled.path).map_err(too_large)?,
            None => {
                let artefact = compiler.compile(&component)?;
                let described = lane_pool.engine().describe_compiled(&artefact).map_err(too_large)?;
                registry.store_compiled(&digest, compatibility, &artefact)?;
                described
            }
        };
        let mut names = Names::new(self);
        names.learn(digest, &described);
        let version = NewVersion {
            digest,
            size_bytes: component.len() as u64,
            limits: settings.limits,
            remember: settings.remember,
            description: Description {
                form: described.form,
                signature: described.signature,
                input_schema: described.input_schema,
                output_schema: described.output_schema,
                error_schema: described.error_schema,
                imports: described.imports,
                notes: described.notes,
            },
            pipeline: None,
            linked,
        };
        let _naming = self.lock_naming();
        // Names may stand for something else by now.
        self.refuse_import_cycles(name, &version.linked)?;
        let others = names.follow(registry.prospect(name, &version)?, followers)?;
        self.publish(Publication { name, content: component, version }, &others)
    }

    pub(super) fn lock_deploying(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.0.deploying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A component that is being deployed, until dropped: its files are no garbage.
struct Deploying<'a> {
    runtime: &'a Runtime,
    digest: Digest,
}

impl<'a> Deploying<'a> {
    fn begin(runtime: &'a Runtime, digest: Digest) -> Self {
        runtime.lock_deploying().push(digest);
        Self { runtime, digest }
    }
}

impl Drop for Deploying<'_> {
    fn drop(&mut self) {
        let mut deploying = self.runtime.lock_deploying();
        if let Some(index) = deploying.iter().position(|digest| *digest == self.digest) {
            deploying.swap_remove(index);
        }
    }
}
