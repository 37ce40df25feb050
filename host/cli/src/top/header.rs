//! The lines about the server.

use std::time::Duration;

use nebula_http::wire::{CachedResultStats, ConnectionStats, EnergyMethod, ServerStats, Stats, TierStats};

use super::figures::Figures;
use crate::figures::{age, bytes, share, si, three_digits};
use crate::stats::Interval;

/// The space between two parts of a line.
const GAP: &str = "   ";

/// Returns the lines about the server, none wider than `width` unless one part is. Rates are those
/// of the interval; without one, they are left out.
pub(crate) fn server_lines(stats: &Stats, interval: Option<&Interval>, width: usize) -> Vec<String> {
    let ServerStats {
        cpu_us: _,
        memory_bytes,
        energy_joules: _,
        energy_method,
        connections: ConnectionStats { data, control },
        lane_running,
        lane_running_max,
        lane_waiting,
        lane_waiting_max,
        instances_ready,
        instances_running,
        instances_max,
        loaded_components,
        loaded_code_bytes,
        loaded_code_bytes_max,
        compilers_running,
        compilers_waiting,
        cached_results: CachedResultStats { memory, disk },
    } = &stats.server;
    let up = Duration::from_micros(stats.at_unix_us.saturating_sub(stats.started_at_unix_us));
    let mut calls = vec![format!("up {}", age(up))];
    if let Some(interval) = interval {
        let figures = Figures::of(interval, &interval.all, &stats.bucket_bounds_us);
        calls.extend([
            format!("calls {}/s", three_digits(figures.calls_per_s)),
            format!("errors {}/s", three_digits(figures.errors_per_s)),
            format!("cold {}/s", three_digits(figures.cold_starts_per_s)),
        ]);
        calls.extend(figures.hit_ratio.map(|ratio| format!("hits {}", share(ratio))));
    }
    let cpu = interval.and_then(|interval| interval.cores).map(|cores| format!("cpu {}", share(cores)));
    let memory_used = memory_bytes.map(|used| format!("memory {}", bytes(used)));
    let power = interval.and_then(|interval| interval.watts).map(|watts| {
        let method = energy_method.map_or("unknown", EnergyMethod::as_str);
        format!("power {} {method}", si(watts, "W"))
    });
    let mut process: Vec<_> = [cpu, memory_used, power].into_iter().flatten().collect();
    process.push(format!("connections {data} data, {control} control"));
    let tier =
        |tier: &TierStats| format!("{} ({} of {})", tier.results, bytes(tier.bytes), bytes(tier.bytes_max));
    let lane = vec![
        format!("lane {lane_running}/{lane_running_max} running, {lane_waiting}/{lane_waiting_max} waiting"),
        format!("instances {instances_ready} ready, {instances_running} running, {instances_max} at most"),
    ];
    let code = vec![
        format!(
            "code {loaded_components} loaded ({} of {})",
            bytes(*loaded_code_bytes),
            bytes(*loaded_code_bytes_max)
        ),
        format!("compilers {compilers_running} running, {compilers_waiting} waiting"),
    ];
    let cached = vec![format!("cached {} in memory", tier(memory)), format!("{} on disk", tier(disk))];
    [calls, process, lane, code, cached].iter().flat_map(|parts| flow(parts, width)).collect()
}

/// Joins parts to lines of at most `width` characters.
fn flow(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + GAP.len() + part.chars().count() <= width => {
                line.push_str(GAP);
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::samples::{answer, calls};

    #[test]
    fn the_server_is_described_in_lines_that_fit() {
        let (before, now) = (answer(3600, &[]), answer(3602, &[("a", calls(3))]));
        let interval = Interval::between(&before, &now).unwrap();
        let expected = "\
up 1 h 0 min   calls 1.5/s   errors 0/s   cold 0/s   hits 0 %
cpu 50 %   memory 64 MiB   power 2 W modelled   connections 3 data, 1 control
lane 2/64 running, 0/512 waiting   instances 5 ready, 4 running, 2000 at most
code 7 loaded (12 MiB of 1 GiB)   compilers 0 running, 0 waiting
cached 42 (1 MiB of 256 MiB) in memory   9 (0 B of 1 GiB) on disk";
        assert_eq!(server_lines(&now, Some(&interval), 77).join("\n"), expected);
        let narrower = server_lines(&now, Some(&interval), 76);
        assert_eq!(narrower[2..4], ["connections 3 data, 1 control", "lane 2/64 running, 0/512 waiting"]);
        let without = server_lines(&now, None, 80);
        assert_eq!(without[..2], ["up 1 h 0 min", "memory 64 MiB   connections 3 data, 1 control"]);
    }
}
