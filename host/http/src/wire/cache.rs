//! The cached results and their use.

use nebula_runtime as runtime;
use nebula_runtime::id::{Digest, FunctionName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::{DigestSchema, NameSchema};

/// The cached results, and the time that they saved since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheReport {
    /// Memory in use, bytes.
    pub bytes: u64,
    /// The limit of memory, bytes.
    pub bytes_max: u64,
    /// Disk in use, bytes.
    pub disk_bytes: u64,
    /// The limit of disk, bytes.
    pub disk_bytes_max: u64,
    /// The compiled code that is loaded.
    pub loaded: LoadedReport,
    /// The functions that were called or have results, by name.
    pub functions: Vec<FunctionCacheReport>,
}

/// Compiled code that is loaded now, and the number of loads since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoadedReport {
    /// Loaded components. One that several threads have loaded counts once.
    pub components: u64,
    /// Memory in use, bytes.
    pub bytes: u64,
    /// The limit of memory, bytes.
    pub bytes_max: u64,
    /// Reads of compiled code from disk, with its authentication.
    pub reads: u64,
    /// Loads by a thread or the compute lane: each maps code that was read.
    pub loads: u64,
    /// Components that were unloaded to make room.
    pub evictions: u64,
}

/// One function, all versions together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionCacheReport {
    /// The function.
    #[schema(value_type = NameSchema)]
    pub name: FunctionName,
    /// Results in memory of the current version's component.
    pub entries: u64,
    /// Memory that they use, bytes.
    pub bytes: u64,
    /// Results on disk of that component.
    pub disk_entries: u64,
    /// Disk that they use, bytes.
    pub disk_bytes: u64,
    /// The reason why the component's results aren't cached, if two computations disagreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
    /// The numbers of its calls.
    #[serde(flatten)]
    pub counts: CallCounts,
}

/// The numbers of calls, by the source of their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallCounts {
    /// Calls answered from a cached result.
    pub hits: u64,
    /// Calls answered by the execution that another call had started.
    pub collapsed: u64,
    /// Calls that ran the function.
    pub misses: u64,
    /// Hits that were computed again and compared.
    #[serde(default)]
    pub verified: u64,
    /// Verified hits that disagreed.
    #[serde(default)]
    pub disagreed: u64,
    /// Time that hits and collapsed calls saved, microseconds: as long as computing each result
    /// took.
    pub saved_us: u64,
}

impl CallCounts {
    /// Returns the share of calls that didn't run the function, from 0 to 1.
    pub fn hit_ratio(&self) -> f64 {
        let spared = (self.hits + self.collapsed) as f64;
        let all = spared + self.misses as f64;
        if all > 0.0 { spared / all } else { 0.0 }
    }
}

/// Two computations of one call with different results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Disagreement {
    /// The component that was called.
    #[schema(value_type = DigestSchema)]
    pub component: Digest,
    /// The name and version that it was called by: `name@v3`.
    pub function: String,
    /// The digest of the input's document, which is kept for a while.
    #[schema(value_type = DigestSchema)]
    pub input: Digest,
    /// The cached result.
    #[serde(alias = "remembered")]
    pub cached: String,
    /// The result that was computed later.
    pub computed: String,
    /// The engines that computed each.
    pub engines: [String; 2],
    /// The time at which the difference was found, seconds since the Unix epoch.
    pub at_unix_s: u64,
}

impl From<runtime::CacheReport> for CacheReport {
    fn from(report: runtime::CacheReport) -> Self {
        let runtime::CacheReport { bytes, bytes_max, disk_bytes, disk_bytes_max, loaded, functions } = report;
        let functions = functions.into_iter().map(Into::into).collect();
        Self { bytes, bytes_max, disk_bytes, disk_bytes_max, loaded: loaded.into(), functions }
    }
}

impl From<runtime::LoadedReport> for LoadedReport {
    fn from(report: runtime::LoadedReport) -> Self {
        let runtime::LoadedReport { components, bytes, bytes_max, reads, loads, evictions } = report;
        Self { components, bytes, bytes_max, reads, loads, evictions }
    }
}

impl From<runtime::FunctionCacheReport> for FunctionCacheReport {
    fn from(report: runtime::FunctionCacheReport) -> Self {
        let runtime::FunctionCacheReport {
            name,
            entries,
            bytes,
            disk_entries,
            disk_bytes,
            disagreement,
            counts,
        } = report;
        let (disagreement, counts) = (disagreement.map(Into::into), counts.into());
        Self { name, entries, bytes, disk_entries, disk_bytes, disagreement, counts }
    }
}

impl From<runtime::Counts> for CallCounts {
    fn from(counts: runtime::Counts) -> Self {
        let runtime::Counts { hits, collapsed, misses, verified, disagreed, saved_us } = counts;
        Self { hits, collapsed, misses, verified, disagreed, saved_us }
    }
}

impl From<runtime::Disagreement> for Disagreement {
    fn from(disagreement: runtime::Disagreement) -> Self {
        let runtime::Disagreement { component, function, input, cached, computed, engines, at_unix_s } =
            disagreement;
        Self { component, function, input, cached, computed, engines, at_unix_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients of earlier releases read the runtime's own types, with `remembered` for `cached`.
    #[test]
    fn a_report_reads_as_the_runtime_writes_it() {
        let disagreement = runtime::Disagreement {
            component: Digest::of(b"component"),
            function: "f@v1".to_owned(),
            input: Digest::of(b"input"),
            cached: "1".to_owned(),
            computed: "2".to_owned(),
            engines: ["a".to_owned(), "b".to_owned()],
            at_unix_s: 3,
        };
        let counts =
            runtime::Counts { hits: 1, collapsed: 2, misses: 3, verified: 4, disagreed: 5, saved_us: 6 };
        for disagreement in [None, Some(disagreement)] {
            let function = runtime::FunctionCacheReport {
                name: "f".parse().unwrap(),
                entries: 1,
                bytes: 2,
                disk_entries: 3,
                disk_bytes: 4,
                disagreement,
                counts,
            };
            let report = runtime::CacheReport {
                bytes: 1,
                bytes_max: 2,
                disk_bytes: 3,
                disk_bytes_max: 4,
                loaded: runtime::LoadedReport {
                    components: 1,
                    bytes: 2,
                    bytes_max: 3,
                    reads: 4,
                    loads: 5,
                    evictions: 6,
                },
                functions: vec![function],
            };
            let stored = serde_json::to_string(&report).unwrap();
            let report = CacheReport::from(report);
            let json = serde_json::to_string(&report).unwrap();
            assert_eq!(json, stored.replace("\"remembered\":", "\"cached\":"));
            assert_eq!(serde_json::from_str::<CacheReport>(&stored).unwrap(), report);
        }
    }
}
