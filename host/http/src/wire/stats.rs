//! The counts of calls since the server started, and the use of the server at a moment.
//!
//! They are those of the metrics. A client subtracts two answers to get rates.

use std::collections::BTreeMap;

use nebula_runtime::id::FunctionName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::NameSchema;

/// The counts of all functions, and the use of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// The time of this answer, microseconds since the Unix epoch. The clock of one server's answers
    /// never goes back.
    pub at_unix_us: u64,
    /// The start of the server, microseconds since the Unix epoch. If it differs from an earlier
    /// answer's, all counts have begun at 0 again.
    pub started_at_unix_us: u64,
    /// The upper bounds of the buckets of all durations, microseconds. The last bucket has none.
    pub bucket_bounds_us: Vec<u64>,
    /// The use of the server.
    pub server: ServerStats,
    /// The calls of all functions together, also of those that were removed.
    pub all: CallStats,
    /// The functions that were called since the start, by name. A function that is removed and
    /// deployed again begins at 0.
    #[schema(value_type = BTreeMap<String, CallStats>)]
    pub functions: BTreeMap<FunctionName, CallStats>,
}

/// The counts of one function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionStats {
    /// The function.
    #[schema(value_type = NameSchema)]
    pub function: FunctionName,
    /// The time of this answer, microseconds since the Unix epoch.
    pub at_unix_us: u64,
    /// The start of the server, microseconds since the Unix epoch.
    pub started_at_unix_us: u64,
    /// The upper bounds of the buckets of all durations, microseconds. The last bucket has none.
    pub bucket_bounds_us: Vec<u64>,
    /// The calls of all its versions.
    pub counts: CallStats,
}

/// Counts of calls. All of them only grow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallStats {
    /// Calls that have ended.
    pub calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Calls that failed, by the code of the problem. Codes that didn't occur are left out.
    pub errors_by_code: BTreeMap<String, u64>,
    /// Calls that waited for the function's code to be loaded.
    pub cold_starts: u64,
    /// Calls by the source of their answer.
    pub sources: SourceStats,
    /// Runs by lane.
    pub lanes: LaneStats,
    /// Runs that the fast lane aborted and the compute lane restarted.
    pub restarts: u64,
    /// Length of the inputs, bytes.
    pub input_bytes: u64,
    /// Length of the answers before compression, bytes.
    pub output_bytes: u64,
    /// Computation time that hits and merged calls saved, microseconds.
    pub saved_us: u64,
    /// Processor time of runs, microseconds; on the fast lane the time for which they had a thread.
    pub cpu_us: u64,
    /// Modelled energy of that processor time.
    pub energy_joules: f64,
    /// Modelled energy of the time that was saved.
    pub saved_energy_joules: f64,
    /// Durations by phase, of calls that ran.
    pub phases: PhaseStats,
}

/// Calls by the source of their answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceStats {
    /// A cached result in memory.
    pub memory: u64,
    /// A cached result on disk.
    pub disk: u64,
    /// The result of an identical call that was in flight.
    pub merged: u64,
    /// The function ran, because no result was cached.
    pub miss: u64,
    /// The function ran, because its results aren't cached.
    pub uncached: u64,
    /// Nothing ran: the input was wrong, or the host had no room.
    pub refused: u64,
}

/// Runs by lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneStats {
    /// Runs on the thread of the connection.
    pub fast: u64,
    /// Runs on the compute lane.
    pub compute: u64,
}

/// Durations by phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhaseStats {
    /// From admission until a thread started the call.
    pub queue: DurationStats,
    /// Waiting for the function's code, of calls that had to.
    pub load: DurationStats,
    /// Creating the instance.
    pub start: DurationStats,
    /// Running the function and encoding its output.
    pub run: DurationStats,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DurationStats {
    /// Durations in each bucket, without those in the buckets before it. Zeros at the end are left
    /// out.
    pub counts: Vec<u64>,
    /// Sum of the durations, microseconds.
    pub sum_us: u64,
}

/// The use of the server at a moment, with its processor time and energy since the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerStats {
    /// Processor time of the process, microseconds; absent if the machine doesn't show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Memory of the process that is in RAM, bytes; absent if the machine doesn't show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Energy, as `energy_method` says; absent if neither is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_joules: Option<f64>,
    /// The source of the energy; absent like it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_method: Option<EnergyMethod>,
    /// Open connections.
    pub connections: ConnectionStats,
    /// Calls that run on the compute lane.
    pub lane_running: u64,
    /// Limit on these.
    pub lane_running_max: u64,
    /// Calls that wait for the compute lane.
    pub lane_waiting: u64,
    /// Limit on these.
    pub lane_waiting_max: u64,
    /// Instances that are prepared for calls to come.
    pub instances_ready: u64,
    /// Instances that serve a call, on both lanes.
    pub instances_running: u64,
    /// Limit on instances of the serving threads, prepared or running.
    pub instances_max: u64,
    /// Components whose compiled code is loaded.
    pub loaded_components: u64,
    /// Memory of the loaded compiled code, bytes.
    pub loaded_code_bytes: u64,
    /// Limit on that memory, bytes.
    pub loaded_code_bytes_max: u64,
    /// Compilers that run.
    pub compilers_running: u64,
    /// Components that wait for a compiler.
    pub compilers_waiting: u64,
    /// Cached results by tier.
    pub cached_results: CachedResultStats,
}

/// The source of a number of joules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnergyMethod {
    /// Counted by the machine, for everything that runs on it, since the server's start.
    Measured,
    /// Modelled from the processor time and memory of the process.
    Modelled,
}

/// Open connections by plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionStats {
    /// Connections of callers.
    pub data: u64,
    /// Connections of deployers and operators.
    pub control: u64,
}

/// Cached results by tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CachedResultStats {
    /// Results in memory.
    pub memory: TierStats,
    /// Results on disk.
    pub disk: TierStats,
}

/// The cached results of one tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TierStats {
    /// Their number.
    pub results: u64,
    /// Their space, bytes.
    pub bytes: u64,
    /// Limit on that space, bytes.
    pub bytes_max: u64,
}

impl EnergyMethod {
    /// Returns the name that metrics and clients show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Modelled => "modelled",
        }
    }
}
