//! The table of all metrics.
//!
//! The text of a scrape, docs/metrics.md and its test read this table, so a metric has one name, one
//! unit and one meaning everywhere.
//!
//! Names and units follow the conventions of Prometheus. Where OpenTelemetry's semantic conventions
//! have a metric, its name is theirs, translated as its specification says: `faas.coldstarts` is
//! `faas_coldstarts_total`. All others begin with `nebula_`.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// The name of a function that stands for all functions without series of their own. A function's
/// name has no underscore.
pub(super) const OTHERS: &str = "_other";

/// A metric with all its series.
#[derive(Debug)]
pub(super) struct Family {
    /// The name, without the suffixes of its unit and kind.
    pub(super) stem: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Option<BaseUnit>,
    /// The names of its labels, in order.
    pub(super) labels: &'static [&'static str],
    /// One sentence, without the full stop.
    pub(super) help: &'static str,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BaseUnit {
    Seconds,
    Bytes,
    Joules,
}

impl Kind {
    pub(super) fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }
}

impl From<BaseUnit> for Unit {
    fn from(unit: BaseUnit) -> Self {
        match unit {
            BaseUnit::Seconds => Self::Seconds,
            BaseUnit::Bytes => Self::Bytes,
            BaseUnit::Joules => Self::Joules,
        }
    }
}

/// Declares constants from `NAME: Kind "stem" Unit [labels];` lines, and [`ALL`] from all of them.
/// The doc comment becomes the metric's help.
macro_rules! families {
    (@unit -) => { None };
    (@unit $unit:ident) => { Some(BaseUnit::$unit) };
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ident $stem:literal $unit:tt [$($label:literal),*];)+) => {
        $(
            $(#[doc = $help])+
            pub(super) const $name: Family = Family {
                stem: $stem,
                kind: Kind::$kind,
                unit: families!(@unit $unit),
                labels: &[$($label),*],
                help: concat!($($help),+),
            };
        )+

        /// Every metric, in the order in which it is written.
        #[cfg(test)]
        const ALL: &[&Family] = &[$(&$name),+];
    };
}

families! {
    /// Calls that returned an answer
    INVOCATIONS: Counter "faas_invocations" - ["faas_name"];
    /// Calls that failed, by the code of the problem and by whose fault it was
    ERRORS: Counter "faas_errors" - ["faas_name", "error_type", "fault"];
    /// Calls that passed their deadline, which are errors too
    TIMEOUTS: Counter "faas_timeouts" - ["faas_name"];
    /// Calls that waited for the function's code to be loaded
    COLD_STARTS: Counter "faas_coldstarts" - ["faas_name"];
    /// Time for which calls waited for the function's code
    INIT_DURATION: Histogram "faas_init_duration" Seconds ["faas_name"];
    /// Time that calls ran, with the encoding of the output
    INVOKE_DURATION: Histogram "faas_invoke_duration" Seconds ["faas_name"];
    /// Time from admission until a thread started the call
    QUEUE_DURATION: Histogram "nebula_queue_duration" Seconds ["faas_name"];
    /// Time to create the instance of a call
    START_DURATION: Histogram "nebula_start_duration" Seconds ["faas_name"];
    /// Processor time of runs, and on the fast lane the time for which they had a thread
    CPU_USAGE: Counter "faas_cpu_usage" Seconds ["faas_name"];
    /// Energy of that processor time
    FUNCTION_ENERGY: Counter "nebula_function_energy" Joules ["faas_name", "method"];
    /// Calls by the source of their answer
    CALLS: Counter "nebula_calls" - ["faas_name", "source"];
    /// Runs by lane
    RUNS: Counter "nebula_runs" - ["faas_name", "lane"];
    /// Runs that the fast lane aborted and the compute lane restarted
    RESTARTS: Counter "nebula_restarts" - ["faas_name"];
    /// Calls whose result was cached
    STORED: Counter "nebula_results_stored" - ["faas_name"];
    /// Hits that were recomputed and compared
    VERIFIED: Counter "nebula_hits_verified" - ["faas_name"];
    /// Recomputed hits that disagreed with the cached result
    DISAGREED: Counter "nebula_hits_disagreed" - ["faas_name"];
    /// Length of the inputs of calls
    INPUT: Counter "nebula_input" Bytes ["faas_name"];
    /// Length of the answers of calls, before compression
    OUTPUT: Counter "nebula_output" Bytes ["faas_name"];
    /// Computation time that hits and merged calls saved
    SAVED: Counter "nebula_saved" Seconds ["faas_name"];
    /// Energy of that computation time
    SAVED_ENERGY: Counter "nebula_saved_energy" Joules ["faas_name", "method"];

    /// Failed calls of all functions, by the code of the problem and by whose fault it was
    ALL_ERRORS: Counter "nebula_errors" - ["error_type", "fault"];
    /// Calls that run on the compute lane
    LANE_RUNNING: Gauge "nebula_lane_calls_running" - [];
    /// Limit on calls that run on the compute lane
    LANE_RUNNING_MAX: Gauge "nebula_lane_calls_running_max" - [];
    /// Calls that wait for the compute lane
    LANE_WAITING: Gauge "nebula_lane_calls_waiting" - [];
    /// Limit on calls that wait for the compute lane
    LANE_WAITING_MAX: Gauge "nebula_lane_calls_waiting_max" - [];
    /// Instances that are prepared for calls to come
    INSTANCES_READY: Gauge "nebula_instances_ready" - [];
    /// Instances that serve a call
    INSTANCES_RUNNING: Gauge "nebula_instances_running" - ["lane"];
    /// Limit on instances of the serving threads, prepared or running
    INSTANCES_MAX: Gauge "nebula_instances_max" - [];
    /// Components whose compiled code is loaded
    LOADED_COMPONENTS: Gauge "nebula_loaded_components" - [];
    /// Memory of the loaded compiled code
    LOADED: Gauge "nebula_loaded_code" Bytes [];
    /// Limit on the memory of loaded compiled code
    LOADED_MAX: Gauge "nebula_loaded_code_limit" Bytes [];
    /// Reads of compiled code from disk
    CODE_READS: Counter "nebula_code_reads" - [];
    /// Loads of compiled code by a thread or the compute lane
    CODE_LOADS: Counter "nebula_code_loads" - [];
    /// Components that were unloaded to make room
    CODE_EVICTIONS: Counter "nebula_code_evictions" - [];
    /// Compilers that run
    COMPILERS_RUNNING: Gauge "nebula_compilers_running" - [];
    /// Limit on compilers that run
    COMPILERS_MAX: Gauge "nebula_compilers_running_max" - [];
    /// Components that wait for a compiler
    COMPILERS_WAITING: Gauge "nebula_compilers_waiting" - [];
    /// Deploys by kind and outcome
    DEPLOYS: Counter "nebula_deploys" - ["kind", "outcome"];
    /// Cached results by tier
    RESULTS: Gauge "nebula_cached_results" - ["tier"];
    /// Space that cached results take
    RESULTS_SIZE: Gauge "nebula_cached_results_size" Bytes ["tier"];
    /// Limit on the space of cached results
    RESULTS_MAX: Gauge "nebula_cached_results_size_limit" Bytes ["tier"];

    /// Time from the head of a request to its response, without repeated responses
    REQUEST_DURATION: Histogram "http_server_request_duration" Seconds ["plane"];
    /// Requests that have no response yet
    ACTIVE_REQUESTS: Gauge "http_server_active_requests" - ["plane"];
    /// Responses by status, without repeated responses and answers of functions through the control plane
    RESPONSES: Counter "nebula_responses" - ["plane", "http_response_status_code"];
    /// Cached responses that were sent again without parsing the request
    REPEATED: Counter "nebula_repeated_responses" - [];
    /// Time from the end of a request to its repeated response, of one in 64 of them
    REPEAT_DURATION: Histogram "nebula_repeated_response_duration" Seconds [];
    /// Connections that are open
    CONNECTIONS: Gauge "nebula_connections_open" - ["plane"];
    /// Limit on open connections
    CONNECTIONS_MAX: Gauge "nebula_connections_open_max" - ["plane"];
    /// Connections that were accepted
    ACCEPTED: Counter "nebula_connections_accepted" - ["plane"];
    /// Connections that the system refused to open, mostly for lack of file descriptors
    NOT_ACCEPTED: Counter "nebula_connections_refused" - ["plane"];
    /// Request bodies over 64 KiB that hold memory or wait for it
    BODIES_HELD: Gauge "nebula_request_bodies_held" - [];
    /// Memory that request bodies hold
    BODIES: Gauge "nebula_request_bodies" Bytes [];
    /// Limit on the memory that request bodies hold
    BODIES_MAX: Gauge "nebula_request_bodies_limit" Bytes [];
    /// Requests that were refused because the memory for bodies was full
    BODIES_REFUSED: Counter "nebula_request_bodies_refused" - [];

    /// Energy, modelled from the processor time and memory of this process, or measured for the whole
    /// machine
    ENERGY: Counter "nebula_energy" Joules ["method"];
    /// Processor time of this process
    PROCESS_CPU: Counter "process_cpu" Seconds [];
    /// Memory of this process that is in RAM
    PROCESS_RESIDENT: Gauge "process_resident_memory" Bytes [];
    /// Address space of this process
    PROCESS_VIRTUAL: Gauge "process_virtual_memory" Bytes [];
    /// File descriptors that are open
    PROCESS_FDS: Gauge "process_open_fds" - [];
    /// Limit on open file descriptors
    PROCESS_FDS_MAX: Gauge "process_max_fds" - [];
    /// Threads of this process
    PROCESS_THREADS: Gauge "process_threads" - [];
    /// Start of this process since the Unix epoch
    PROCESS_START: Gauge "process_start_time" Seconds [];
    /// The version of the server, the software that computes answers, and the compiler that built both
    BUILD: Info "nebula_build" - ["version", "engine", "rustc"];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Returns the name as a query has it. A histogram's series have further suffixes.
    fn name(family: &Family) -> String {
        let unit = family.unit.map_or(String::new(), |unit| format!("_{}", Unit::from(unit).as_str()));
        let suffix = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{unit}{suffix}", family.stem)
    }

    #[test]
    fn names_are_distinct_and_helps_are_sentences() {
        let names: HashSet<_> = ALL.iter().map(|family| name(family)).collect();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            let help = family.help.trim();
            assert!(help.starts_with(char::is_uppercase) && !help.ends_with('.'), "{help}");
        }
        assert_eq!(name(&CPU_USAGE), "faas_cpu_usage_seconds_total");
        assert_eq!(name(&BUILD), "nebula_build_info");
    }

    /// docs/metrics.md has a row for each metric, in the same order, and no other.
    #[test]
    fn the_document_lists_every_metric() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let document = fs::read_to_string(path).unwrap();
        let rows = document.lines().filter(|line| {
            ["| `faas_", "| `http_", "| `nebula_", "| `process_"].iter().any(|start| line.starts_with(start))
        });
        let expected: Vec<_> = ALL
            .iter()
            .map(|family| {
                let kind = match family.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                    Kind::Info => "info",
                };
                let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
                let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
                format!("| `{}` | {kind} | {labels} | {} |", name(family), family.help.trim())
            })
            .collect();
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows, expected, "the rows to have:\n{}", expected.join("\n"));
    }
}
