//! The use of the host at a moment, and its counts.

use std::sync::{MutexGuard, PoisonError, Weak};
use std::time::Instant;

use nebula_cache::LoadedReport;
use nebula_model::id::FunctionName;

use super::Runtime;
use crate::call::lane::LaneUsage;
use crate::call::tally::CallCounts;
use crate::deploy::compiled::CompilerUsage;
use crate::deploy::{DeployCounts, DeployKind};
use crate::results::ResultsUsage;
use crate::series::{FunctionSeries, ShownCounts};
use crate::tallies::CallReport;

/// A serving thread that holds instances.
pub(crate) trait HoldsInstances: Send + Sync {
    /// Returns the number of its instances.
    fn instances(&self) -> InstanceUsage;
}

/// The instances of a serving thread, or of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceUsage {
    /// Instances that are prepared for calls to come.
    pub ready: u64,
    /// Instances that serve a call.
    pub running: u64,
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
    /// Instances of serving threads.
    pub instances: InstanceUsage,
    /// Instances that run on the compute lane.
    pub lane_instances: u64,
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

    /// Returns the counts of all calls since the host started, by function.
    pub fn call_report(&self) -> CallReport {
        self.0.results.tallies().report()
    }

    /// Returns the counts of a function's calls since the host started.
    pub fn call_counts(&self, name: &FunctionName) -> CallCounts {
        self.0.results.tallies().of(name)
    }

    /// Returns the number of deploys of a kind.
    pub fn deploy_counts(&self, kind: DeployKind) -> DeployCounts {
        self.0.deployer.outcomes().counts(kind)
    }

    /// Reports the use of the host. Blocks on the disk.
    pub fn host_report(&self) -> HostReport {
        let executor = self.executor();
        let shards: Vec<_> = self.lock_shards().iter().filter_map(Weak::upgrade).collect();
        let mut instances = InstanceUsage::default();
        for InstanceUsage { ready, running } in shards.iter().map(|shard| shard.instances()) {
            instances.ready += ready;
            instances.running += running;
        }
        HostReport {
            lane: executor.lane().usage(),
            compilers: executor.compiler_usage(),
            loaded: self.loaded_report(),
            instances,
            lane_instances: executor.lane_instances(),
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
