//! The numbers of deploys by how they ended.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeployKind {
    /// One component.
    Component,
    /// One pipeline.
    Pipeline,
    /// The functions and pipelines of a project.
    Project,
    /// Exported functions.
    Import,
}

impl DeployKind {
    /// Every kind, in the order of their discriminants.
    pub const ALL: &[Self] = &[Self::Component, Self::Pipeline, Self::Project, Self::Import];

    /// Returns the name of the kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Pipeline => "pipeline",
            Self::Project => "project",
            Self::Import => "import",
        }
    }
}

/// The deploys of one kind since the host started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeployCounts {
    /// Deploys that were carried out.
    pub done: u64,
    /// Deploys that were refused or failed.
    pub failed: u64,
}

/// The deploys of one host.
#[derive(Debug, Default)]
pub(crate) struct DeployOutcomes([Outcomes; DeployKind::ALL.len()]);

#[derive(Debug, Default)]
struct Outcomes {
    done: AtomicU64,
    failed: AtomicU64,
}

impl DeployOutcomes {
    /// Counts a deploy and returns its outcome.
    pub(crate) fn count<T, E>(&self, kind: DeployKind, outcome: Result<T, E>) -> Result<T, E> {
        let Outcomes { done, failed } = &self.0[kind as usize];
        let counter = if outcome.is_ok() { done } else { failed };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    pub(crate) fn counts(&self, kind: DeployKind) -> DeployCounts {
        let Outcomes { done, failed } = &self.0[kind as usize];
        DeployCounts { done: done.load(Ordering::Relaxed), failed: failed.load(Ordering::Relaxed) }
    }
}
