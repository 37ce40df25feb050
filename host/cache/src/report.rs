//! What remembering has come to, by function.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nebula_model::disagreement::Disagreement;
use nebula_model::id::FunctionName;
use serde::{Deserialize, Serialize};

/// What is remembered now, and what that has saved since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheReport {
    /// Memory it takes, bytes.
    pub bytes: u64,
    /// Memory it may take, bytes.
    pub bytes_max: u64,
    /// Disk it takes, bytes.
    pub disk_bytes: u64,
    /// Disk it may take, bytes.
    pub disk_bytes_max: u64,
    /// Compiled code.
    #[serde(default)]
    pub loaded: LoadedReport,
    /// By name; those that were called or have something kept.
    pub functions: Vec<FunctionCacheReport>,
}

/// Compiled code that is loaded now, and how often code was loaded since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedReport {
    /// Components that are loaded, however many threads have them.
    pub components: u64,
    /// Memory that is counted for them, bytes.
    pub bytes: u64,
    /// Memory that they may take, bytes.
    pub bytes_max: u64,
    /// How often compiled code was read from disk and authenticated.
    pub reads: u64,
    /// How often a thread, or the compute lane, has mapped code that was read.
    pub loads: u64,
    /// How many components were unloaded to make room.
    pub evictions: u64,
}

/// Of one function, all its versions together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCacheReport {
    /// The function.
    pub name: FunctionName,
    /// Results that are kept of its current version's component.
    pub entries: u64,
    /// Memory that these take, bytes.
    pub bytes: u64,
    /// Results that are kept on disk of it.
    pub disk_entries: u64,
    /// Disk that these take, bytes.
    pub disk_bytes: u64,
    /// Why nothing of its component is remembered, if that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
    /// How its calls were answered.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How calls were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// From what is remembered.
    pub hits: u64,
    /// By the execution that another call had begun.
    pub collapsed: u64,
    /// By running the function.
    pub misses: u64,
    /// Of the hits, those that were computed again and compared.
    #[serde(default)]
    pub verified: u64,
    /// Of these, those that disagreed.
    #[serde(default)]
    pub disagreed: u64,
    /// What the first two would have taken, microseconds: as long as computing the result did.
    pub saved_us: u64,
}

impl Counts {
    /// Of all calls those that weren't run for, from 0 to 1.
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

/// Counts of one function on one serving thread, which alone writes them, but for what ran elsewhere.
#[derive(Debug, Default)]
pub struct Tally {
    hits: AtomicU64,
    collapsed: AtomicU64,
    misses: AtomicU64,
    saved_us: AtomicU64,
}

impl Tally {
    /// How many there were before.
    pub fn hit(&self, saved: Duration) -> u64 {
        self.save(saved);
        self.hits.fetch_add(1, Ordering::Relaxed)
    }

    /// How many there were so far.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Counts a call that another call's execution answered.
    pub fn collapsed(&self, saved: Duration) {
        self.collapsed.fetch_add(1, Ordering::Relaxed);
        self.save(saved);
    }

    /// Counts a call that ran the function.
    pub fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    fn save(&self, saved: Duration) {
        let saved = u64::try_from(saved.as_micros()).unwrap_or(u64::MAX);
        self.saved_us.fetch_add(saved, Ordering::Relaxed);
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        Counts {
            hits: self.hits.load(Ordering::Relaxed),
            collapsed: self.collapsed.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            // Not here.
            verified: 0,
            disagreed: 0,
            saved_us: self.saved_us.load(Ordering::Relaxed),
        }
    }
}
