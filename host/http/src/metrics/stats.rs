//! The counts of the metrics as JSON.

use std::collections::BTreeMap;

use nebula_runtime::{
    CallCounts, CompilerUsage, Count, HostReport, InstanceUsage, LaneUsage, LoadedReport, Phase, ResultsUsage,
};
use nebula_telemetry::histogram::{BUCKET_BOUNDS, HistogramCounts};

use super::energy::{EnergyUsage, MODEL};
use super::functions::{Sources, cpu_s, errors, saved_s};
use super::process::ProcessUsage;
use crate::wire::{
    CachedResultStats, CallStats, ConnectionStats, DurationStats, EnergyMethod, LaneStats, PhaseStats,
    ServerStats, SourceStats, TierStats,
};

/// Returns the upper bounds of the buckets of all histograms, microseconds.
pub(super) fn bucket_bounds_us() -> Vec<u64> {
    BUCKET_BOUNDS.iter().map(|bound| microseconds(bound.as_nanos())).collect()
}

/// Returns counts of calls.
pub(super) fn of_calls(counts: &CallCounts) -> CallStats {
    let (calls, answered) = (counts.calls(), counts.ok());
    let Sources { memory, disk, merged, miss, uncached, refused } = Sources::of(counts);
    let errors_by_code: BTreeMap<_, _> =
        errors(counts).map(|(code, count)| (code.name().to_owned(), count)).collect();
    let phase = |phase| counts.phase(phase).map(durations).unwrap_or_default();
    CallStats {
        calls,
        errors: calls - answered,
        errors_by_code,
        cold_starts: counts.cold_starts(),
        sources: SourceStats { memory, disk, merged, miss, uncached, refused },
        lanes: LaneStats { fast: counts[Count::FastRuns], compute: counts[Count::ComputeRuns] },
        restarts: counts[Count::Restarts],
        input_bytes: counts[Count::InputBytes],
        output_bytes: counts[Count::OutputBytes],
        saved_us: counts[Count::SavedUs],
        cpu_us: counts[Count::ProcessorNs] / 1000,
        energy_joules: MODEL.joules_of(cpu_s(counts), 0.0),
        saved_energy_joules: MODEL.joules_of(saved_s(counts), 0.0),
        phases: PhaseStats {
            queue: phase(Phase::Queue),
            load: phase(Phase::Load),
            start: phase(Phase::Start),
            run: phase(Phase::Run),
        },
    }
}

fn durations(histogram: HistogramCounts) -> DurationStats {
    let HistogramCounts { buckets, sum_ns } = histogram;
    let filled = buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    DurationStats { counts: buckets[..filled].to_vec(), sum_us: sum_ns / 1000 }
}

/// Returns the use of the server.
pub(super) fn of_server(
    report: &HostReport,
    process: Option<&ProcessUsage>,
    energy: EnergyUsage,
    connections: ConnectionStats,
) -> ServerStats {
    let HostReport { lane, compilers, loaded, instances, lane_instances, instances_max, results } = *report;
    let LaneUsage { running, running_max, waiting, waiting_max } = lane;
    let InstanceUsage { ready, running: on_serving_threads } = instances;
    let LoadedReport { components, bytes, bytes_max, reads: _, loads: _, evictions: _ } = loaded;
    let CompilerUsage { running: compilers_running, running_max: _, waiting: compilers_waiting } = compilers;
    let ResultsUsage { memory, memory_bytes_max, disk, disk_bytes_max } = results;
    let tier = |entries, bytes, bytes_max| TierStats { results: entries, bytes, bytes_max };
    let (energy_joules, energy_method) = preferred(energy).unzip();
    ServerStats {
        cpu_us: process.map(|usage| microseconds(usage.cpu.as_nanos())),
        memory_bytes: process.map(|usage| usage.resident_bytes),
        energy_joules,
        energy_method,
        connections,
        lane_running: running,
        lane_running_max: running_max,
        lane_waiting: waiting,
        lane_waiting_max: waiting_max,
        instances_ready: ready,
        instances_running: on_serving_threads + lane_instances,
        instances_max,
        loaded_components: components,
        loaded_code_bytes: bytes,
        loaded_code_bytes_max: bytes_max,
        compilers_running,
        compilers_waiting,
        cached_results: CachedResultStats {
            memory: tier(memory.entries, memory.bytes, memory_bytes_max),
            disk: tier(disk.entries, disk.bytes, disk_bytes_max),
        },
    }
}

/// Returns measured energy if there is any: it is closer to the truth than the model.
fn preferred(EnergyUsage { measured, modelled }: EnergyUsage) -> Option<(f64, EnergyMethod)> {
    let measured = measured.map(|joules| (joules, EnergyMethod::Measured));
    measured.or(modelled.map(|joules| (joules, EnergyMethod::Modelled)))
}

fn microseconds(nanoseconds: u128) -> u64 {
    u64::try_from(nanoseconds / 1000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nebula_telemetry::histogram::Histogram;

    use super::*;

    #[test]
    fn empty_buckets_at_the_end_are_left_out() {
        let histogram = Histogram::default();
        assert_eq!(durations(histogram.counts()), DurationStats::default());
        histogram.record(Duration::from_micros(20));
        histogram.record(Duration::from_micros(240));
        assert_eq!(durations(histogram.counts()), DurationStats { counts: vec![0, 1, 0, 1], sum_us: 260 });
        histogram.record(Duration::from_secs(100));
        assert_eq!(durations(histogram.counts()).counts.len(), bucket_bounds_us().len() + 1);
        assert_eq!(bucket_bounds_us()[..3], [10, 25, 100]);
    }

    #[test]
    fn measured_energy_is_preferred() {
        let of = |measured, modelled| preferred(EnergyUsage { measured, modelled });
        assert_eq!(of(Some(1.0), Some(2.0)), Some((1.0, EnergyMethod::Measured)));
        assert_eq!(of(None, Some(2.0)), Some((2.0, EnergyMethod::Modelled)));
        assert_eq!(of(None, None), None);
    }
}
