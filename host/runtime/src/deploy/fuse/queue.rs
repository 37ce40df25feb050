//! The queue of chains to fuse.

use std::collections::HashMap;

use nebula_model::id::{FunctionName, Version};
use nebula_telemetry::trace::Scope;

/// The chains to fuse, and whether a thread works on them.
#[derive(Debug, Default)]
pub(in crate::deploy) struct Queue {
    /// The latest version of each queued pipeline.
    pub(super) chains: HashMap<FunctionName, QueuedChain>,
    pub(super) has_thread: bool,
}

/// A chain to fuse.
#[derive(Debug)]
pub(in crate::deploy) struct QueuedChain {
    /// The version of the pipeline.
    pub(super) version: Version,
    /// The deploy or the call that asked for it, if that is traced.
    pub(super) scope: Option<Scope>,
}
