//! Cache statistics by function.

use std::ops::AddAssign;

use nebula_model::disagreement::Disagreement;
use nebula_model::id::FunctionName;
use serde::{Deserialize, Serialize};

/// The state of the cache, and its savings since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheReport {
    /// Memory in use, bytes.
    pub bytes: u64,
    /// Limit on memory, bytes.
    pub bytes_max: u64,
    /// Disk space in use, bytes.
    pub disk_bytes: u64,
    /// Limit on disk space, bytes.
    pub disk_bytes_max: u64,
    /// Statistics of loaded compiled code.
    #[serde(default)]
    pub loaded: LoadedReport,
    /// Statistics by function name, of functions that were called or have cached results.
    pub functions: Vec<FunctionCacheReport>,
}

/// Compiled code that is loaded, and counts of loads since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedReport {
    /// Loaded components. A component counts once, however many threads have loaded it.
    pub components: u64,
    /// Memory counted for loaded components, bytes.
    pub bytes: u64,
    /// Limit on that memory, bytes.
    pub bytes_max: u64,
    /// Number of times that compiled code was read from disk and authenticated.
    pub reads: u64,
    /// Number of times that a thread or the compute lane mapped code that was read.
    pub loads: u64,
    /// Number of components unloaded to make room.
    pub evictions: u64,
}

/// Statistics of one function, summed over its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCacheReport {
    /// The function.
    pub name: FunctionName,
    /// Results in memory of the current version's component.
    pub entries: u64,
    /// Memory that these results take, bytes.
    pub bytes: u64,
    /// Results on disk of the current version's component.
    pub disk_entries: u64,
    /// Disk space that these results take, bytes.
    pub disk_bytes: u64,
    /// The disagreement that turned caching off for the component, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
    /// Counts of calls by how they were answered.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Counts of calls by how they were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Calls answered with a cached result.
    pub hits: u64,
    /// Calls answered by the execution of another call.
    pub collapsed: u64,
    /// Calls that ran the function.
    pub misses: u64,
    /// Hits that were recomputed and compared.
    #[serde(default)]
    pub verified: u64,
    /// Verified hits whose recomputation disagreed.
    #[serde(default)]
    pub disagreed: u64,
    /// Time saved by the first two, microseconds: the computation times of their results.
    pub saved_us: u64,
}

impl Counts {
    /// Returns the fraction of calls that didn't run the function, from 0 to 1.
    pub fn hit_ratio(&self) -> f64 {
        let spared = (self.hits + self.collapsed) as f64;
        let all = spared + self.misses as f64;
        if all > 0.0 { spared / all } else { 0.0 }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.collapsed += other.collapsed;
        self.misses += other.misses;
        self.verified += other.verified;
        self.disagreed += other.disagreed;
        self.saved_us += other.saved_us;
    }
}
