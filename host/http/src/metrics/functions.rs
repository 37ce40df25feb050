//! The metrics of functions.

use std::fmt;

use nebula_runtime::{CallCounts, Count, ErrorCode, Phase, ShownCounts};

use super::energy::MODEL;
use super::family::{self, Family, OTHERS};
use super::samples::{MetricWriter, Value};

/// The counts of one function, or of all others together.
#[derive(Clone, Copy)]
struct Row<'a> {
    name: &'a str,
    counts: &'a CallCounts,
}

/// Calls by the source of their answer. Every call has one.
pub(super) struct Sources {
    pub(super) memory: u64,
    pub(super) disk: u64,
    pub(super) merged: u64,
    pub(super) miss: u64,
    pub(super) uncached: u64,
    pub(super) refused: u64,
}

impl Sources {
    pub(super) fn of(counts: &CallCounts) -> Self {
        Self {
            memory: counts[Count::Repeats] + counts[Count::MemoryHits],
            disk: counts[Count::DiskHits],
            merged: counts[Count::Collapsed],
            miss: counts[Count::Misses],
            uncached: counts[Count::Uncached],
            refused: counts[Count::Refused],
        }
    }

    /// Returns them with the values of the label.
    fn by_name(&self) -> [(&'static str, u64); 6] {
        let Self { memory, disk, merged, miss, uncached, refused } = *self;
        [
            ("memory", memory),
            ("disk", disk),
            ("merged", merged),
            ("miss", miss),
            ("uncached", uncached),
            ("refused", refused),
        ]
    }
}

/// Writes the metrics of all functions.
pub(super) fn write(metrics: &mut MetricWriter<'_>, shown: &ShownCounts) -> fmt::Result {
    let ShownCounts { functions, others, all } = shown;
    let mut rows: Vec<_> =
        functions.iter().map(|(name, counts)| Row { name: name.as_str(), counts }).collect();
    if !others.is_empty() {
        rows.push(Row { name: OTHERS, counts: others });
    }
    let rows = &*rows;

    counter(metrics, &family::INVOCATIONS, rows, CallCounts::ok)?;
    metrics.family(&family::ERRORS, |series| {
        for Row { name, counts } in rows {
            for (code, count) in errors(counts) {
                let labels =
                    [("faas_name", *name), ("error_type", code.name()), ("fault", code.fault().name())];
                series.add(&labels, count)?;
            }
        }
        Ok(())
    })?;
    counter(metrics, &family::TIMEOUTS, rows, |counts| counts.errors(ErrorCode::DeadlineExceeded))?;
    counter(metrics, &family::COLD_STARTS, rows, CallCounts::cold_starts)?;
    histogram(metrics, &family::INIT_DURATION, rows, Phase::Load)?;
    histogram(metrics, &family::INVOKE_DURATION, rows, Phase::Run)?;
    histogram(metrics, &family::QUEUE_DURATION, rows, Phase::Queue)?;
    histogram(metrics, &family::START_DURATION, rows, Phase::Start)?;
    counter(metrics, &family::CPU_USAGE, rows, cpu_s)?;
    modelled(metrics, &family::FUNCTION_ENERGY, rows, |counts| MODEL.joules_of(cpu_s(counts), 0.0))?;
    metrics.family(&family::CALLS, |series| {
        for Row { name, counts } in rows {
            for (source, count) in Sources::of(counts).by_name() {
                series.add(&[("faas_name", name), ("source", source)], count)?;
            }
        }
        Ok(())
    })?;
    metrics.family(&family::RUNS, |series| {
        for Row { name, counts } in rows {
            for (lane, count) in [("fast", Count::FastRuns), ("compute", Count::ComputeRuns)] {
                series.add(&[("faas_name", name), ("lane", lane)], counts[count])?;
            }
        }
        Ok(())
    })?;
    counter(metrics, &family::RESTARTS, rows, |counts| counts[Count::Restarts])?;
    counter(metrics, &family::STORED, rows, |counts| counts[Count::Stored])?;
    counter(metrics, &family::VERIFIED, rows, |counts| counts[Count::Verified])?;
    counter(metrics, &family::DISAGREED, rows, |counts| counts[Count::Disagreed])?;
    counter(metrics, &family::INPUT, rows, |counts| counts[Count::InputBytes])?;
    counter(metrics, &family::OUTPUT, rows, |counts| counts[Count::OutputBytes])?;
    counter(metrics, &family::SAVED, rows, saved_s)?;
    modelled(metrics, &family::SAVED_ENERGY, rows, |counts| MODEL.joules_of(saved_s(counts), 0.0))?;

    metrics.family(&family::ALL_ERRORS, |series| {
        errors(all).try_for_each(|(code, count)| {
            series.add(&[("error_type", code.name()), ("fault", code.fault().name())], count)
        })
    })
}

/// Returns the errors that have occurred, by their codes.
pub(super) fn errors(counts: &CallCounts) -> impl Iterator<Item = (ErrorCode, u64)> {
    ErrorCode::ALL.iter().map(|code| (*code, counts.errors(*code))).filter(|(_, count)| *count > 0)
}

pub(super) fn cpu_s(counts: &CallCounts) -> f64 {
    counts[Count::ProcessorNs] as f64 / 1e9
}

pub(super) fn saved_s(counts: &CallCounts) -> f64 {
    counts[Count::SavedUs] as f64 / 1e6
}

/// Writes a counter with one series for each function.
fn counter<V: Into<Value>>(
    metrics: &mut MetricWriter<'_>,
    family: &'static Family,
    rows: &[Row<'_>],
    value: impl Fn(&CallCounts) -> V,
) -> fmt::Result {
    metrics.family(family, |series| {
        rows.iter().try_for_each(|row| series.add(&[("faas_name", row.name)], value(row.counts)))
    })
}

/// Writes modelled energy.
fn modelled(
    metrics: &mut MetricWriter<'_>,
    family: &'static Family,
    rows: &[Row<'_>],
    joules: impl Fn(&CallCounts) -> f64,
) -> fmt::Result {
    metrics.family(family, |series| {
        rows.iter().try_for_each(|row| {
            series.add(&[("faas_name", row.name), ("method", "modelled")], joules(row.counts))
        })
    })
}

/// Writes the durations of a phase, of functions that have run.
fn histogram(
    metrics: &mut MetricWriter<'_>,
    family: &'static Family,
    rows: &[Row<'_>],
    phase: Phase,
) -> fmt::Result {
    metrics.family(family, |series| {
        rows.iter().try_for_each(|Row { name, counts }| match counts.phase(phase) {
            Some(durations) => series.add_histogram(&[("faas_name", name)], &durations),
            None => Ok(()),
        })
    })
}
