//! The figures of a function in an interval.

use nebula_http::wire::CallStats;
use nebula_runtime::id::FunctionName;
use serde::{Serialize, Serializer};

use crate::stats::{Interval, Percentile, hit_ratio, percentile};

/// The figures of calls in an interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) calls_per_s: f64,
    pub(crate) errors_per_s: f64,
    pub(crate) cold_starts_per_s: f64,
    /// Share of calls that weren't refused; `None` without any.
    pub(crate) hit_ratio: Option<f64>,
    /// Percentiles of the calls that ran; `None` without any.
    #[serde(rename = "run_p50_us", serialize_with = "us")]
    pub(crate) run_p50: Option<Percentile>,
    #[serde(rename = "run_p99_us", serialize_with = "us")]
    pub(crate) run_p99: Option<Percentile>,
    #[serde(rename = "queue_p99_us", serialize_with = "us")]
    pub(crate) queue_p99: Option<Percentile>,
    #[serde(rename = "load_p99_us", serialize_with = "us")]
    pub(crate) load_p99: Option<Percentile>,
    /// Modelled power of the runs.
    pub(crate) watts: f64,
    /// Part of a core that the runs used.
    pub(crate) cores: f64,
    pub(crate) input_bytes_per_s: f64,
    pub(crate) output_bytes_per_s: f64,
}

/// The figures of a function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FunctionFigures {
    pub(crate) name: FunctionName,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

impl Figures {
    /// Returns the figures of `change`, the calls of one function or of all in the interval.
    pub(crate) fn of(interval: &Interval, change: &CallStats, bounds_us: &[u64]) -> Self {
        let phases = &change.phases;
        let of = |durations, percent| percentile(durations, bounds_us, percent);
        Self {
            calls_per_s: interval.per_s(change.calls),
            errors_per_s: interval.per_s(change.errors),
            cold_starts_per_s: interval.per_s(change.cold_starts),
            hit_ratio: hit_ratio(change),
            run_p50: of(&phases.run, 50),
            run_p99: of(&phases.run, 99),
            queue_p99: of(&phases.queue, 99),
            load_p99: of(&phases.load, 99),
            watts: change.energy_joules / interval.length.as_secs_f64(),
            cores: interval.per_s(change.cpu_us) / 1e6,
            input_bytes_per_s: interval.per_s(change.input_bytes),
            output_bytes_per_s: interval.per_s(change.output_bytes),
        }
    }
}

impl FunctionFigures {
    /// Returns the figures of every function that was called since the server's start, by name.
    pub(crate) fn of_all(interval: &Interval, bounds_us: &[u64]) -> Vec<Self> {
        let functions = interval.functions.iter();
        let figures = functions.map(|(name, change)| Self {
            name: name.clone(),
            figures: Figures::of(interval, change, bounds_us),
        });
        figures.collect()
    }
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn us<S: Serializer>(percentile: &Option<Percentile>, serializer: S) -> Result<S::Ok, S::Error> {
    percentile.map(Percentile::us).serialize(serializer)
}
