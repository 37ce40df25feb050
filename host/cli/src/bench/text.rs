//! The report of a benchmark as text.

use std::fmt::Write;
use std::time::Duration;

use super::chart;
use super::report::{BenchReport, LatencyReport, MODELLED_CALLS_MIN, RangeReport};
use crate::figures::{bytes, duration, percent, three_digits};

/// The width of a drawing if stdout isn't a terminal.
const COLUMNS_DEFAULT: usize = 80;

/// The widest drawing.
const COLUMNS_MAX: usize = 120;

/// Returns the columns that a drawing on stdout may take.
pub(crate) fn chart_columns() -> usize {
    let terminal = rustix::termios::tcgetwinsize(std::io::stdout());
    let columns = terminal.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    columns.unwrap_or(COLUMNS_DEFAULT).min(COLUMNS_MAX)
}

/// Writes a report for people, in lines of `columns`.
pub(crate) fn print(report: &BenchReport, columns: usize) -> String {
    let mut text = String::new();
    // Writing to a `String` can't fail.
    let _ = write(&mut text, report, columns);
    text
}

/// Returns a time that the report has in microseconds.
fn of_us(us: f64) -> String {
    duration(Duration::from_secs_f64(us / 1e6))
}

fn write(text: &mut String, report: &BenchReport, columns: usize) -> std::fmt::Result {
    let BenchReport { subject, load, requests, latency_us, server, energy, generator, .. } = report;
    if let Some(search) = &report.search {
        writeln!(text, "search")?;
        for step in &search.steps {
            let (rate, seen) = (format!("{}/s", step.rate_per_s), of_us(step.seen_us));
            let failed = match step.failed_share {
                0.0 => String::new(),
                share => format!(", {} % not answered", three_digits(share * 100.0)),
            };
            writeln!(text, "  {rate:>10}  {seen:>8}  {}{failed}", step.verdict)?;
        }
        match (search.rate_per_s, search.limited_by) {
            (Some(rate), Some(limit)) => {
                writeln!(text, "  {rate}/s is the highest rate that held, limited by the {limit}\n")?;
            }
            (None, Some(_)) => writeln!(text, "  no rate held for the whole duration\n")?,
            (_, None) => writeln!(text, "  the search was stopped\n")?,
        }
    }
    let version = subject.version.as_deref().unwrap_or(&subject.function);
    let fresh = if subject.fresh { ", run for each request" } else { "" };
    writeln!(text, "{version} at {}{fresh}", subject.url)?;
    writeln!(
        text,
        "{}/s for {}, {} arrivals, {} connections\n",
        load.rate_per_s,
        of_us(report.measured_ms * 1e3),
        load.arrivals,
        load.connections
    )?;

    let queued = if requests.queued > 0 { format!("   queued {}", requests.queued) } else { String::new() };
    let per_s = three_digits(report.answers_per_s);
    writeln!(text, "requests    due {}   answered {} ({per_s}/s){queued}", requests.due, requests.answered)?;
    writeln!(text, "answers     values {}   own errors {}", requests.values, requests.own_errors)?;
    let cache = &report.cache;
    write!(text, "cache       hits {} ({})", cache.hits, percent(cache.hits, requests.answered))?;
    write!(text, "   runs {}", cache.runs)?;
    for (label, count) in [("merged", cache.merged), ("unknown", cache.unknown)] {
        if count > 0 {
            write!(text, "   {label} {count}")?;
        }
    }
    let is_cached = cache.hits * 2 > requests.answered && !subject.fresh;
    text.push_str(if is_cached { "   (`--fresh` measures runs)\n" } else { "\n" });
    let failures = report.failures.iter().map(|(kind, count)| (kind.as_str(), *count));
    let failures = failures.chain([("unanswered", requests.unanswered)]).filter(|(_, count)| *count > 0);
    let failures: Vec<_> = failures.map(|(kind, count)| format!("{kind} {count}")).collect();
    let failures = if failures.is_empty() { "none".to_owned() } else { failures.join("   ") };
    writeln!(text, "failures    {failures}")?;
    if let Some(LatencyReport { mean: _, p50, p90, p99, p99_9, max }) = latency_us {
        let [p50, p90, p99, p99_9, max] = [p50, p90, p99, p99_9, max].map(|us| of_us(*us));
        writeln!(text, "latency     p50 {p50}   p90 {p90}   p99 {p99}   p99.9 {p99_9}   max {max}\n")?;
        text.push_str(&chart::draw(&report.bars, columns));
        text.push('\n');
    }

    if let Some(goal) = &report.goal {
        let held = if goal.held { "held" } else { "missed" };
        writeln!(text, "goal        {} {held}: {}", goal.text, of_us(goal.seen_us))?;
    }
    if let Some(server) = server {
        let per_call = server.cpu_us_per_call.map(|us| format!("{} of processor time per call, ", of_us(us)));
        let memory = bytes(server.memory_peak_bytes);
        writeln!(
            text,
            "server      {}peak memory {memory}, process {}",
            per_call.unwrap_or_default(),
            server.pid
        )?;
    }
    if let Some(reason) = &report.server_unknown {
        writeln!(text, "server      processor time and memory unknown: {reason}")?;
    }
    match energy {
        Some(energy) => {
            let RangeReport { low, typical, high } = energy.uj_per_call;
            let [low, typical, high] = [low, typical, high].map(three_digits);
            writeln!(text, "energy      modelled: {low} to {high} µJ per call, typically {typical} µJ")?;
            if let Some(RangeReport { low, typical, high }) = energy.carbon_g_per_million_calls {
                let [low, typical, high] = [low, typical, high].map(three_digits);
                writeln!(
                    text,
                    "carbon      modelled: {low} to {high} g CO2e per million calls, typically {typical} g"
                )?;
            }
        }
        None if server.is_some() => {
            writeln!(text, "energy      not modelled for less than {MODELLED_CALLS_MIN} calls")?;
        }
        None => {}
    }
    let state = if generator.kept_up { "kept up" } else { "FELL BEHIND" };
    let lag = of_us(generator.lag_p99_us);
    let share = generator
        .occupied_share
        .map(|share| format!(", ran or waited for a core {} % of the time", three_digits(share * 100.0)));
    writeln!(text, "generator   {state}: p99 of its own lag {lag}{}", share.unwrap_or_default())
}
