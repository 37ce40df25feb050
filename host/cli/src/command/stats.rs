//! `nebula stats`: shows what a server has counted of a function's calls since it started.

use std::time::Duration;

use anyhow::Context;
use nebula_http::wire::{CallStats, DurationStats, FunctionStats, LaneStats, PhaseStats, SourceStats};
use serde::Serialize;

use crate::args::Named;
use crate::client::Client;
use crate::figures::{age, bytes, duration, share, si};
use crate::moment::iso;
use crate::report::{json, text};
use crate::stats::{Percentile, hit_ratio, percentile};

/// The percentiles that are shown.
const PERCENTS: [u8; 3] = [50, 90, 99];

/// The stats as `--json` prints them: the server's answer, and what the text adds to it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    stats: &'a FunctionStats,
    hit_ratio: Option<f64>,
    percentiles_us: PhasePercentiles,
}

/// The percentiles of each phase, microseconds; absent if no call had the phase.
#[derive(Serialize)]
struct PhasePercentiles {
    queue: Option<Percentiles>,
    load: Option<Percentiles>,
    start: Option<Percentiles>,
    run: Option<Percentiles>,
}

#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
}

pub(crate) fn run(named: &Named) -> anyhow::Result<()> {
    let Named { name, remote } = named;
    let stats = Client::new(remote).stats_of(name);
    let stats = stats.with_context(|| format!("cannot show the stats of `{name}`"))?;
    if remote.json { json(&shown(&stats)) } else { text(print(&stats)) }
}

fn shown(stats: &FunctionStats) -> Shown<'_> {
    let of = |durations: &DurationStats| {
        let [p50, p90, p99] = PERCENTS.map(|percent| percentile(durations, &stats.bucket_bounds_us, percent));
        Some(Percentiles { p50: p50?.us(), p90: p90?.us(), p99: p99?.us() })
    };
    let PhaseStats { queue, load, start, run } = &stats.counts.phases;
    let percentiles_us =
        PhasePercentiles { queue: of(queue), load: of(load), start: of(start), run: of(run) };
    Shown { stats, hit_ratio: hit_ratio(&stats.counts), percentiles_us }
}

fn print(stats: &FunctionStats) -> String {
    let FunctionStats { function, at_unix_us, started_at_unix_us, bucket_bounds_us, counts } = stats;
    let CallStats {
        calls,
        errors,
        errors_by_code,
        cold_starts,
        sources: SourceStats { memory, disk, merged, miss, uncached, refused },
        lanes: LaneStats { fast, compute },
        restarts,
        input_bytes,
        output_bytes,
        saved_us,
        cpu_us,
        energy_joules,
        saved_energy_joules,
        phases,
    } = counts;
    let up = Duration::from_micros(at_unix_us.saturating_sub(*started_at_unix_us));
    let mut text = format!("{function}\n");
    let mut add = |label: &str, value: String| text.push_str(&format!("  {label:10} {value}\n"));
    add("since", format!("{}, the server's start {} ago", iso(*started_at_unix_us), age(up)));
    add("calls", format!("{calls}: {} answered, {errors} failed", calls - errors));
    for (code, count) in errors_by_code {
        add("error", format!("{count} {code}"));
    }
    let cached = format!("{memory} memory, {disk} disk, {merged} merged");
    add("source", format!("{cached}, {miss} miss, {uncached} uncached, {refused} refused"));
    let ratio = hit_ratio(counts).map_or_else(|| "-".to_owned(), share);
    add("hit ratio", ratio);
    add("lane", format!("{fast} fast, {compute} compute, {restarts} restarted"));
    add("cold", format!("{cold_starts} waited for the code to be loaded"));
    add("bytes", format!("{} in, {} out", bytes(*input_bytes), bytes(*output_bytes)));
    add("cpu", us(*cpu_us));
    add("energy", format!("{}, modelled", si(*energy_joules, "J")));
    add("saved", format!("{}, {} modelled", us(*saved_us), si(*saved_energy_joules, "J")));
    let PhaseStats { queue, load, start, run } = phases;
    let phases = [("queue", queue), ("load", load), ("start", start), ("run", run)];
    if phases.iter().any(|(_, durations)| count(durations) > 0) {
        text.push_str(&format!("\n  {:10} {:>9}", "phase", "calls"));
        let headings = ["mean", "p50", "p90", "p99"];
        headings.iter().for_each(|heading| text.push_str(&format!(" {heading:>9}")));
        text.push('\n');
        for (phase, durations) in phases {
            text.push_str(&row(phase, durations, bucket_bounds_us));
        }
        text.push_str(&format!("  percentiles are estimated within buckets: {}\n", bounds(bucket_bounds_us)));
    }
    text
}

/// Returns the row of a phase.
fn row(phase: &str, durations: &DurationStats, bounds_us: &[u64]) -> String {
    let count = count(durations);
    let mean_s = durations.sum_us as f64 / 1e6 / count as f64;
    let mean = if count > 0 { duration(Duration::from_secs_f64(mean_s)) } else { "-".to_owned() };
    let mut row = format!("  {phase:10} {count:>9} {mean:>9}");
    for percent in PERCENTS {
        let found = percentile(durations, bounds_us, percent);
        let found = found.as_ref().map_or_else(|| "-".to_owned(), Percentile::to_string);
        row.push_str(&format!(" {found:>9}"));
    }
    row.push('\n');
    row
}

fn count(durations: &DurationStats) -> u64 {
    durations.counts.iter().sum()
}

/// Lists the bounds of the buckets.
fn bounds(bounds_us: &[u64]) -> String {
    let bounds: Vec<_> = bounds_us.iter().map(|bound_us| us(*bound_us)).collect();
    bounds.join(", ")
}

fn us(us: u64) -> String {
    duration(Duration::from_micros(us))
}

#[cfg(test)]
mod tests {
    use nebula_http::wire::PhaseStats;

    use super::*;

    fn stats(counts: CallStats) -> FunctionStats {
        FunctionStats {
            function: "add".parse().unwrap(),
            at_unix_us: 1_700_000_000_000_000 + 11_520_000_000,
            started_at_unix_us: 1_700_000_000_000_000,
            bucket_bounds_us: vec![10, 100, 1000],
            counts,
        }
    }

    #[test]
    fn the_text_has_every_count() {
        let durations = |counts: &[u64], sum_us| DurationStats { counts: counts.to_vec(), sum_us };
        let text = print(&stats(CallStats {
            calls: 104,
            errors: 4,
            errors_by_code: [("trap".to_owned(), 1), ("type-mismatch".to_owned(), 3)].into(),
            cold_starts: 1,
            sources: SourceStats { memory: 70, disk: 2, merged: 3, miss: 26, uncached: 0, refused: 3 },
            lanes: LaneStats { fast: 25, compute: 1 },
            restarts: 1,
            input_bytes: 2048,
            output_bytes: 512,
            saved_us: 1_500_000,
            cpu_us: 2600,
            energy_joules: 0.011_375,
            saved_energy_joules: 6.5,
            phases: PhaseStats {
                queue: durations(&[26], 52),
                load: durations(&[0, 0, 0, 1], 3000),
                start: durations(&[0, 26], 1300),
                run: durations(&[0, 20, 6], 2600),
            },
        }));
        let expected = "\
add
  since      2023-11-14T22:13:20.000Z, the server's start 3 h 12 min ago
  calls      104: 100 answered, 4 failed
  error      1 trap
  error      3 type-mismatch
  source     70 memory, 2 disk, 3 merged, 26 miss, 0 uncached, 3 refused
  hit ratio  74.3 %
  lane       25 fast, 1 compute, 1 restarted
  cold       1 waited for the code to be loaded
  bytes      2 KiB in, 512 B out
  cpu        2.6 ms
  energy     11.4 mJ, modelled
  saved      1.5 s, 6.5 J modelled

  phase          calls      mean       p50       p90       p99
  queue             26      2 µs      5 µs   9.23 µs     10 µs
  load               1      3 ms     >1 ms     >1 ms     >1 ms
  start             26     50 µs     55 µs   93.1 µs    100 µs
  run               26    100 µs   68.5 µs    700 µs      1 ms
  percentiles are estimated within buckets: 10 µs, 100 µs, 1 ms
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_function_without_calls_has_no_percentiles() {
        let stats = stats(CallStats::default());
        let text = print(&stats);
        assert!(text.contains("  calls      0: 0 answered, 0 failed\n"), "{text}");
        assert!(text.contains("  hit ratio  -\n") && !text.contains("p99"), "{text}");
        let json = serde_json::to_value(shown(&stats)).unwrap();
        assert_eq!(json["percentiles_us"]["run"], serde_json::Value::Null);
        assert_eq!((&json["function"], &json["hit_ratio"]), (&"add".into(), &serde_json::Value::Null));
    }
}
