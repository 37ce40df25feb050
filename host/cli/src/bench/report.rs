//! The report of a benchmark. `docs/measuring.md` documents its JSON, which is stable: members are
//! added and not changed.

use std::collections::BTreeMap;
use std::time::Duration;

use nebula_telemetry::energy::{EnergyModel, carbon_g};
use serde::Serialize;

use super::chart::{Bar, bars};
use super::generator::GeneratorUse;
use super::goal::Goal;
use super::open_loop::{Plan, Run, Stop};
use super::search::{Step, Verdict};
use super::server_process::Used;
use super::tally::{Latencies, Tally};

/// The fewest calls whose energy is modelled: a model says nothing about a single call.
pub(super) const MODELLED_CALLS_MIN: u64 = 100;

/// The function that was called, and how.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Subject {
    /// The function as it was named.
    pub(crate) function: String,
    /// The version that answered, if the server tells.
    pub(crate) version: Option<String>,
    pub(crate) url: String,
    /// Set if every request asked for a run.
    pub(crate) fresh: bool,
}

/// The use of the server, or the reason why it is unknown.
pub(crate) type ServerUse = Result<Used, String>;

/// Everything that a benchmark has found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BenchReport {
    #[serde(flatten)]
    pub(super) subject: Subject,
    pub(super) load: LoadReport,
    pub(super) measured_ms: f64,
    /// `interrupted` or `server-gone`, if it ended before its time.
    pub(super) stopped: Option<&'static str>,
    pub(super) requests: RequestsReport,
    pub(super) answers_per_s: f64,
    /// The answers by HTTP status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// The failed requests by kind.
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) cache: CacheReport,
    /// `None` if no request was answered or waited for an answer.
    pub(super) latency_us: Option<LatencyReport>,
    pub(super) histogram: Vec<BarReport>,
    pub(super) goal: Option<GoalReport>,
    pub(super) search: Option<SearchReport>,
    pub(super) server: Option<ServerReport>,
    /// Why `server` is unknown.
    pub(super) server_unknown: Option<String>,
    /// `None` if the server is unknown, or for few calls.
    pub(super) energy: Option<EnergyReport>,
    pub(super) generator: GeneratorReport,
    #[serde(skip)]
    pub(super) bars: Vec<Bar>,
}

/// The load that was applied.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LoadReport {
    pub(super) rate_per_s: f64,
    pub(super) arrivals: &'static str,
    pub(super) connections: usize,
    pub(super) warm_up_ms: f64,
    pub(super) duration_ms: f64,
    pub(super) timeout_ms: f64,
}

/// The requests that were due.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RequestsReport {
    pub(super) due: u64,
    /// Answered by the function: the sum of the next two.
    pub(super) answered: u64,
    pub(super) values: u64,
    pub(super) own_errors: u64,
    pub(super) failed: u64,
    pub(super) unanswered: u64,
    /// Found all connections busy.
    pub(super) queued: u64,
}

/// The answers by their source.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CacheReport {
    pub(super) hits: u64,
    pub(super) runs: u64,
    pub(super) merged: u64,
    pub(super) unknown: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct LatencyReport {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99.9")]
    pub(super) p99_9: f64,
    pub(super) max: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct BarReport {
    up_to_us: f64,
    requests: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct GoalReport {
    pub(super) percentile: f64,
    pub(super) latency_us: f64,
    pub(super) seen_us: f64,
    pub(super) held: bool,
    #[serde(skip)]
    pub(super) text: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct SearchReport {
    /// The highest rate that held for the whole duration.
    pub(super) rate_per_s: Option<f64>,
    /// `goal`, `generator` or `rate-max`: why it isn't higher. `None` if the search was stopped.
    pub(super) limited_by: Option<&'static str>,
    pub(super) steps: Vec<StepReport>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct StepReport {
    pub(super) rate_per_s: f64,
    pub(super) seen_us: f64,
    pub(super) failed_share: f64,
    pub(super) verdict: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ServerReport {
    pub(super) pid: i32,
    pub(super) cpu_ms: f64,
    pub(super) cpu_us_per_call: Option<f64>,
    pub(super) memory_peak_bytes: u64,
}

/// Energy by a model, with the range of the model.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EnergyReport {
    /// Always `modelled`.
    pub(super) kind: &'static str,
    pub(super) uj_per_call: RangeReport,
    /// Grams of CO2 equivalents, if an intensity was given.
    pub(super) carbon_g_per_million_calls: Option<RangeReport>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct RangeReport {
    pub(super) low: f64,
    pub(super) typical: f64,
    pub(super) high: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct GeneratorReport {
    pub(super) kept_up: bool,
    pub(super) lag_p99_us: f64,
    pub(super) lag_max_us: f64,
    pub(super) cpu_ms: Option<f64>,
    pub(super) occupied_share: Option<f64>,
}

impl BenchReport {
    /// Makes the report of a load. `grid_g_per_kwh` is the intensity of the electricity.
    pub(crate) fn new(
        subject: Subject,
        plan: &Plan,
        run: &Run,
        server: ServerUse,
        grid_g_per_kwh: Option<f64>,
    ) -> Self {
        let Run { tally, measured, stop, generator } = run;
        let Tally { latencies, values, own_errors, statuses, sources, failures, unanswered, queued } = tally;
        let calls = tally.answers() + tally.failures();
        let bars = bars(latencies);
        let (used, server_unknown) = match server {
            Ok(used) => (Some(used), None),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            subject,
            load: LoadReport {
                rate_per_s: plan.rate.per_s(),
                arrivals: plan.arrivals.name(),
                connections: plan.connections,
                warm_up_ms: ms(plan.warm_up),
                duration_ms: ms(plan.window),
                timeout_ms: ms(plan.timeout),
            },
            measured_ms: ms(*measured),
            stopped: stop.map(|stop| match stop {
                Stop::Interrupted => "interrupted",
                Stop::ServerGone => "server-gone",
            }),
            requests: RequestsReport {
                due: tally.requests(),
                answered: tally.answers(),
                values: *values,
                own_errors: *own_errors,
                failed: tally.failures(),
                unanswered: *unanswered,
                queued: *queued,
            },
            answers_per_s: match measured.is_zero() {
                true => 0.0,
                false => round(tally.answers() as f64 / measured.as_secs_f64()),
            },
            statuses: statuses.clone(),
            failures: failures.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
            cache: CacheReport {
                hits: sources.hits,
                runs: sources.runs,
                merged: sources.merged,
                unknown: sources.unknown,
            },
            latency_us: latency(latencies),
            histogram: bars
                .iter()
                .map(|bar| BarReport { up_to_us: us(bar.up_to), requests: bar.requests })
                .collect(),
            goal: None,
            search: None,
            server: used.map(|used| ServerReport {
                pid: used.pid,
                cpu_ms: ms(used.cpu),
                cpu_us_per_call: (calls > 0).then(|| round(us(used.cpu) / calls as f64)),
                memory_peak_bytes: used.memory_peak_bytes,
            }),
            server_unknown,
            energy: used
                .filter(|_| calls >= MODELLED_CALLS_MIN)
                .map(|used| energy(used, *measured, calls, grid_g_per_kwh)),
            generator: generator_report(*generator),
            bars,
        }
    }

    /// Adds a goal that the load had.
    pub(crate) fn with_goal(mut self, goal: Goal, step: Step) -> Self {
        self.goal = Some(GoalReport {
            percentile: goal.percentile(),
            latency_us: us(goal.latency()),
            seen_us: us(step.seen),
            held: step.verdict == Verdict::Held,
            text: goal.to_string(),
        });
        self
    }

    /// Adds the search that the load ended.
    pub(crate) fn with_search(mut self, steps: &[Step]) -> Self {
        let is_held = self.goal.as_ref().is_some_and(|goal| goal.held);
        let missed = steps.iter().filter(|step| step.verdict != Verdict::Held);
        let lowest = missed.min_by(|one, other| one.rate.per_s().total_cmp(&other.rate.per_s()));
        self.search = Some(SearchReport {
            rate_per_s: is_held.then_some(self.load.rate_per_s),
            limited_by: self.stopped.is_none().then(|| match lowest.map(|step| step.verdict) {
                Some(Verdict::GeneratorBehind) => "generator",
                Some(Verdict::Missed | Verdict::Held) => "goal",
                None => "rate-max",
            }),
            steps: steps
                .iter()
                .map(|step| StepReport {
                    rate_per_s: step.rate.per_s(),
                    seen_us: us(step.seen),
                    failed_share: round(step.failed_share),
                    verdict: step.verdict.name(),
                })
                .collect(),
        });
        self
    }
}

fn latency(latencies: &Latencies) -> Option<LatencyReport> {
    let percentile = |percentile| us(latencies.percentile(percentile));
    (!latencies.is_empty()).then(|| LatencyReport {
        mean: us(latencies.mean()),
        p50: percentile(50.0),
        p90: percentile(90.0),
        p99: percentile(99.0),
        p99_9: percentile(99.9),
        max: us(latencies.max()),
    })
}

/// Models the energy of one call, as the mean over all. Memory counts for the time of the load, also
/// while no call ran.
fn energy(used: Used, measured: Duration, calls: u64, grid_g_per_kwh: Option<f64>) -> EnergyReport {
    let joules = |model: EnergyModel| model.joules(used.cpu, used.memory_peak_bytes, measured) / calls as f64;
    let range = |scale: &dyn Fn(f64) -> f64| RangeReport {
        low: round(scale(joules(EnergyModel::LOW))),
        typical: round(scale(joules(EnergyModel::TYPICAL))),
        high: round(scale(joules(EnergyModel::HIGH))),
    };
    EnergyReport {
        kind: "modelled",
        uj_per_call: range(&|joules| joules * 1e6),
        carbon_g_per_million_calls: grid_g_per_kwh.map(|grid| range(&|joules| carbon_g(joules * 1e6, grid))),
    }
}

fn generator_report(used: GeneratorUse) -> GeneratorReport {
    let GeneratorUse { lag_p99, lag_max, cpu, occupied_share, kept_up } = used;
    GeneratorReport {
        kept_up,
        lag_p99_us: us(lag_p99),
        lag_max_us: us(lag_max),
        cpu_ms: cpu.map(ms),
        occupied_share: occupied_share.map(round),
    }
}

fn us(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1e6)
}

fn ms(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1e3)
}

/// Rounds to six digits: more would only show the error of the measurement.
fn round(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return 0.0;
    }
    let digits = 5 - number.abs().log10().floor() as i32;
    if digits <= 0 {
        return number.round();
    }
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits_at_most() {
        for (number, rounded) in [
            (0.0, "0.0"),
            (f64::NAN, "0.0"),
            (1234567.89, "1234568.0"),
            (123.456789, "123.457"),
            (0.0001234567, "0.000123457"),
            (200.0, "200.0"),
        ] {
            assert_eq!(format!("{:?}", round(number)), rounded);
        }
    }

    #[test]
    fn energy_has_a_range_and_is_the_mean_of_a_call() {
        let used = Used { pid: 1, cpu: Duration::from_secs(1), memory_peak_bytes: 1_000_000_000 };
        let report = energy(used, Duration::from_secs(10), 1000, Some(3600.0));
        let RangeReport { low, typical, high } = report.uj_per_call;
        // A second of a core and ten of a gigabyte, over a thousand calls: 4.375 J and 3.92 J.
        assert!((typical - 8295.0).abs() < 1.0, "{typical}");
        assert!(low < typical && typical < high);
        let carbon = report.carbon_g_per_million_calls.unwrap();
        assert!((carbon.typical - 8.295).abs() < 0.01, "{carbon:?}");
        assert!(energy(used, Duration::from_secs(10), 1000, None).carbon_g_per_million_calls.is_none());
    }
}
