//! `nebula cache`: shows the cached results and what they save, or clears them.

use std::time::Duration;

use anyhow::Context;
use nebula_http::wire::{CacheReport, Disagreement, FunctionCacheReport, LoadedReport};

use crate::args::Cache;
use crate::client::Client;
use crate::report::{json, line, note};

/// The columns of the table.
const HEADING: [&str; 10] = [
    "function",
    "kept",
    "bytes",
    "on disk",
    "hits",
    "collapsed",
    "misses",
    "hit ratio",
    "time saved",
    "verified",
];

pub(crate) fn run(cache: &Cache) -> anyhow::Result<()> {
    let client = Client::new(&cache.remote);
    let name = cache.name.as_ref();
    if cache.clear {
        let what = name.map_or_else(|| "all results".to_owned(), |name| format!("the results of `{name}`"));
        client.clear_cache(name).with_context(|| format!("cannot clear {what}"))?;
        note(format!("cleared {what}"));
        return Ok(());
    }
    if let Some(name) = name {
        // Fails if the function isn't deployed.
        client.detail(name).with_context(|| format!("cannot show the cached results of `{name}`"))?;
    }
    let mut report = client.cache().context("cannot show the cached results")?;
    report.functions.retain(|function| name.is_none_or(|name| function.name == *name));
    if cache.remote.json {
        return json(&report);
    }
    if report.functions.is_empty() && report.bytes_max > 0 {
        note("nothing is cached, and no function was called since the server started");
        return Ok(());
    }
    print(&report)
}

fn print(report: &CacheReport) -> anyhow::Result<()> {
    let CacheReport { bytes, bytes_max, disk_bytes, disk_bytes_max, loaded, functions } = report;
    if *bytes_max == 0 {
        note("nothing is cached: the server runs with `--cache-bytes-max 0`");
        return Ok(());
    }
    let rows: Vec<_> = functions.iter().map(row).collect();
    let table = std::iter::once(HEADING.map(str::to_owned)).chain(rows);
    let table: Vec<_> = table.collect();
    let width = |column: usize| table.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 10] = std::array::from_fn(width);
    for row in &table {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        line(cells.collect::<Vec<_>>().join("  "))?;
    }
    for function in functions {
        let Some(Disagreement { computed, cached, .. }) = &function.disagreement else { continue };
        let name = &function.name;
        note(format!(
            "`{name}`: recomputed, it answered {computed} instead of {cached}; its results aren't cached until \
             `nebula cache {name} --clear`"
        ));
    }
    line(format!("{bytes} of {bytes_max} bytes of memory, {disk_bytes} of {disk_bytes_max} bytes of disk"))?;
    let LoadedReport { components, bytes, bytes_max, reads, loads: _, evictions } = loaded;
    line(format!(
        "compiled code: {components} components in {bytes} of {bytes_max} bytes of memory, {reads} read, {evictions} evicted"
    ))
}

fn row(function: &FunctionCacheReport) -> [String; 10] {
    let FunctionCacheReport { name, entries, bytes, disk_entries, counts, .. } = function;
    [
        name.to_string(),
        entries.to_string(),
        bytes.to_string(),
        disk_entries.to_string(),
        counts.hits.to_string(),
        counts.collapsed.to_string(),
        counts.misses.to_string(),
        format!("{:.1} %", counts.hit_ratio() * 100.0),
        format!("{:.3} s", Duration::from_micros(counts.saved_us).as_secs_f64()),
        counts.verified.to_string(),
    ]
}
