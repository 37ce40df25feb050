//! The counts of a server, as its clients evaluate them.
//!
//! * `interval`: the change between two answers, and whether the server has restarted in between.
//! * `percentile`: percentiles of a histogram's durations.

mod interval;
mod percentile;

pub(crate) use self::interval::Interval;
#[cfg(test)]
pub(crate) use self::interval::samples;
pub(crate) use self::percentile::{Percentile, percentile};

use nebula_http::wire::{CallStats, SourceStats};

/// Returns the share of calls that were answered with a result that was there or on its way, of
/// those that weren't refused; `None` without any.
pub(crate) fn hit_ratio(counts: &CallStats) -> Option<f64> {
    let SourceStats { memory, disk, merged, miss, uncached, refused: _ } = counts.sources;
    let spared = memory + disk + merged;
    let all = spared + miss + uncached;
    (all > 0).then(|| spared as f64 / all as f64)
}
