//! The use of the host at a moment, and its counts.

use std::sync::{MutexGuard, PoisonError, Weak};
use std::time::Instant;

use nebula_cache::LoadedReport;

use super::Runtime;
use crate::call::lane::LaneUsage;
use crate::deploy::compiled::CompilerUsage;
use crate::deploy::{DeployCounts, DeployKind};
use crate::results::ResultsUsage;
use crate::series::{FunctionSeries, ShownCounts};

/// A serving thread that holds instances.
pub(crate) trait HoldsInstances: Send + Sync {
    /// Returns the number of its prepared instances.
    fn ready(&self) -> usize;
}

/// The use of a host at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// The compute lane.
    pub lane: LaneUsage,
    /// The compilers.
    pub compilers: CompilerUsage,
    /// Loaded compiled code.
    pub loaded: LoadedReport,
    /// Instances that are prepared on serving threads.
    pub instances_ready: u64,
    /// Limit on instances of all serving threads, prepared or running.
    pub instances_max: u64,
    /// Cached results.
    pub results: ResultsUsage,
}

impl Runtime {
    /// Updates the functions that are shown under their names, and returns the counts of all calls
    /// since the host started.
    pub fn show_counts(&self, series: &mut FunctionSeries) -> ShownCounts {
        let tallies = self.0.results.tallies();
        let shown = series.update(&tallies.all(), Instant::now());
        tallies.forget(|name| series.has_place(name));
        shown
    }

    /// Returns the number of deploys of a kind.
    pub fn deploy_counts(&self, kind: DeployKind) -> DeployCounts {
        self.0.deployer.outcomes().counts(kind)
    }

    /// Reports the use of the host. Blocks on the disk.
    pub fn host_report(&self) -> HostReport {
        let executor = self.executor();
        let shards: Vec<_> = self.lock_shards().iter().filter_map(Weak::upgrade).collect();
        HostReport {
            lane: executor.lane().usage(),
            compilers: executor.compiler_usage(),
            loaded: self.loaded_report(),
            instances_ready: shards.iter().map(|shard| shard.ready() as u64).sum(),
            instances_max: (shards.len() * executor.instances_max()) as u64,
            results: self.0.results.usage(),
        }
    }

    /// Reports the instances of `shard` while it lives.
    pub(crate) fn add_shard(&self, shard: Weak<dyn HoldsInstances>) {
        self.lock_shards().push(shard);
    }

    fn lock_shards(&self) -> MutexGuard<'_, Vec<Weak<dyn HoldsInstances>>> {
        self.0.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
