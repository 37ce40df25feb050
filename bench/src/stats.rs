//! Computes medians, spreads and percentiles.

use serde::Serialize;

/// The values of several rounds, with their median and their range.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// The median.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// The values in the order of the rounds.
    pub(crate) rounds: Vec<f64>,
}

impl Figure {
    /// Computes the figure of the rounds, or returns `None` without any.
    pub(crate) fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let rounds: Vec<f64> = rounds.into_iter().collect();
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let median = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median, min, max, rounds })
    }

    /// Returns the ratios of `self` to `base`, round by round, because a disturbance affects both
    /// values of a round.
    pub(crate) fn over(&self, base: &Self) -> Option<Self> {
        Self::of(self.rounds.iter().zip(&base.rounds).map(|(row, base)| row / base))
    }
}

/// The percentiles of the latencies of one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latency {
    /// The 50th percentile.
    pub(crate) p50_us: f64,
    /// The 99th percentile.
    pub(crate) p99_us: f64,
    /// The 99.9th percentile.
    pub(crate) p999_us: f64,
}

impl Latency {
    /// Computes the percentiles of samples in any order. Without samples they are zero.
    pub(crate) fn of(mut samples_ns: Vec<u64>) -> Self {
        samples_ns.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (samples_ns.len() * per_mille).div_ceil(1000).saturating_sub(1);
            samples_ns.get(rank).map_or(0.0, |ns| *ns as f64 / 1e3)
        };
        Self { p50_us: at(500), p99_us: at(990), p999_us: at(999) }
    }
}

/// Converts a duration to whole nanoseconds, which hold a few centuries.
pub(crate) fn ns(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        let figure = Figure::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((figure.median, figure.min, figure.max), (2.0, 1.0, 3.0));
        assert_eq!(figure.rounds, [3.0, 1.0, 2.0]);
        assert_eq!(Figure::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Figure::of([]), None);
    }

    #[test]
    fn ratios_are_computed_round_by_round() {
        let (row, base) = (Figure::of([2.0, 30.0]).unwrap(), Figure::of([1.0, 10.0]).unwrap());
        assert_eq!(row.over(&base).unwrap().rounds, [2.0, 3.0]);
    }

    #[test]
    fn percentiles_are_samples() {
        let samples = (1..=2000).rev().map(|us| us * 1000).collect();
        let expected = Latency { p50_us: 1000.0, p99_us: 1980.0, p999_us: 1998.0 };
        assert_eq!(Latency::of(samples), expected);
        assert_eq!(Latency::of(Vec::new()), Latency { p50_us: 0.0, p99_us: 0.0, p999_us: 0.0 });
    }
}
