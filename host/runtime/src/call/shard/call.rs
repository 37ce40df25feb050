//! A call in progress: its code, its times, and the host that asked for it.

use std::sync::Arc;
use std::time::Instant;

use nebula_engine::Loaded;
use nebula_model::caching::CacheDirectives;
use nebula_pipeline::ExecutionMode;

use crate::call::lane;
use crate::peers::{Host, PeerCall};
use crate::run::code::Code;

/// A call in progress.
pub(super) struct Call {
    /// The code on which it starts.
    pub(super) code: Code,
    pub(super) begun: Instant,
    pub(super) input_bytes: u64,
    /// Start of the deadline.
    pub(super) admitted: Instant,
    /// It has started, so it can't be shed any more and can't run on the fast lane.
    pub(super) started: bool,
    /// Its slot on the compute lane, if it has one.
    pub(super) slot: Option<lane::LaneSlot>,
    /// The caller's cache directives.
    pub(super) directives: CacheDirectives,
    /// The linked component of a chain that is to run as one.
    pub(super) fused: Option<Arc<Loaded>>,
    /// The host that received it from its client. A peer may hold the lease of the call's key while
    /// it waits, so this host asks no other host for anything.
    pub(super) origin: Host,
    /// The request, if another host may answer it. Boxed, so that other calls don't move its memory
    /// around.
    pub(super) forwardable: Option<Box<PeerCall>>,
}

impl Call {
    /// Returns the mode in which a chain starts.
    pub(super) fn mode(&self) -> ExecutionMode {
        if self.fused.is_some() { ExecutionMode::Fused } else { ExecutionMode::Stepwise }
    }
}
