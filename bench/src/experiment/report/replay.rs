//! The section of the report about the replay that checks the model of the idle hour.

use std::time::Duration;

use crate::experiment::arms::ArmKind;
use crate::experiment::document::Block;
use crate::experiment::dots::Unit;
use crate::experiment::hour::{Platform, Usage};
use crate::experiment::platforms::Measured;
use crate::experiment::replay::{KEPT, Observation, Replay, Subject};

/// The replays beside what the model computes for them.
pub(super) fn blocks(replays: &[Replay], measured: Measured<'_>) -> Vec<Block> {
    let rows: Vec<_> = replays
        .iter()
        .filter_map(|replay| Some(rows(replay, &platform(replay.subject, measured)?)))
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    vec![
        Block::Heading("A replay that checks the model of the hour".to_owned()),
        Block::Text(
            "Calls of such a population are drawn at random from a fixed seed, and made against the real \
             platforms in compressed time: rates times the compression, keep-alive divided by it. Calls take as \
             long as they take, and the times after which Nebula unloads what isn't called aren't compressed either. The model \
             computes the same stretch from the events that were measured one by one. The error is that of the \
             model, in per cent of the replay. The column \"in the trace\" counts the cold starts that the drawn calls \
             cause: it differs from the model only by chance."
                .to_owned(),
        ),
        Block::Items(replays.iter().map(describe).collect()),
        Block::Table {
            heads: ["platform", "quantity", "model", "in the trace", "replay", "error"]
                .map(str::to_owned)
                .to_vec(),
            rows: rows.concat(),
        },
        Block::Text(
            "Memory is that of all processes (PSS), averaged over the replay. The hour differs from its replay in two \
             ways: calls are rarer, so a server sleeps between more of them, which the model has from calls with gaps; \
             and fewer functions have been called in the last three seconds, so that Nebula holds less memory. The \
             replay's calls of Nebula go to many functions with the same rate, whose code evicts one another's from \
             the processor's caches; in the hour most calls go to the few most popular functions, as in the model, \
             which calls one."
                .to_owned(),
        ),
    ]
}

/// Returns the platform of the model, if its arms ran.
fn platform(subject: Subject, measured: Measured<'_>) -> Option<Platform> {
    match subject {
        Subject::Nebula => measured.nebula(),
        Subject::ContainerPerCall => measured.per_call(ArmKind::ContainerMinimal),
        // The replay sets the keep-alive that it compresses.
        Subject::ContainerKept => measured.container_kept(ArmKind::ContainerMinimal, Duration::ZERO, false),
    }
}

fn name(subject: Subject) -> &'static str {
    match subject {
        Subject::Nebula => "Nebula, always on",
        Subject::ContainerPerCall => "container per call",
        Subject::ContainerKept => "container kept",
    }
}

fn describe(replay: &Replay) -> String {
    let Replay { subject, compression, stretch, observed, .. } = replay;
    let kept = if *subject == Subject::ContainerKept {
        format!(", kept for {} s / {compression}", KEPT.as_secs())
    } else {
        String::new()
    };
    format!(
        "{}{kept}: {} functions for {} s, compressed {compression} times; {} of them are called more often than {} \
         times per hour, and are called that often here. The slowest answer came {} after it was due.",
        name(*subject),
        stretch.functions,
        stretch.length.as_secs_f64(),
        stretch.lowered(),
        stretch.calls_per_hour_max,
        Unit::Time.precise(observed.slowest_s * 1e6)
    )
}

fn rows(replay: &Replay, platform: &Platform) -> Vec<Vec<String>> {
    let usage: Usage = replay.modelled(platform);
    let Observation { calls, cold_starts, cpu_s, memory_bytes, slowest_s: _ } = replay.observed;
    let row = |quantity: &str, drawn: Option<usize>, model: f64, found: f64, format: fn(f64) -> String| {
        let drawn = drawn.map_or(String::new(), |drawn| drawn.to_string());
        let error =
            if found > 0.0 { format!("{:+.1} %", (model / found - 1.0) * 1e2) } else { "–".to_owned() };
        vec![name(replay.subject).to_owned(), quantity.to_owned(), format(model), drawn, format(found), error]
    };
    // Half calls exist in the model only.
    let count = |value: f64| {
        if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
    };
    let seconds = |seconds: f64| Unit::Time.precise(seconds * 1e6);
    let bytes = |bytes: f64| Unit::Bytes.precise(bytes);
    vec![
        row("calls", Some(calls), usage.calls, calls as f64, count),
        row("cold starts", Some(replay.cold_starts_due), usage.cold_starts, cold_starts as f64, count),
        row("processor time", None, usage.total().cpu_s, cpu_s, seconds),
        row("memory, average", None, usage.memory_bytes(), memory_bytes, bytes),
    ]
}
