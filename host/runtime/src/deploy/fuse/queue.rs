//! The queue of chains to fuse.

use std::collections::HashMap;

use nebula_model::id::{FunctionName, Version};

/// The chains to fuse, and whether a thread works on them.
#[derive(Debug, Default)]
pub(in crate::deploy) struct Queue {
    /// The latest version of each queued pipeline.
    pub(super) chains: HashMap<FunctionName, Version>,
    pub(super) has_thread: bool,
}
