//! Medians, spreads, percentiles.

/// The middle of several rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The median.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one round; of none, zeros.
    pub(crate) fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (rounds.first(), rounds.last()) else {
            return Self { median: 0.0, min: 0.0, max: 0.0 };
        };
        let median = f64::midpoint(rounds[(rounds.len() - 1) / 2], rounds[rounds.len() / 2]);
        Self { median, min, max }
    }

    /// From smallest to largest, in percent of the median.
    pub(crate) fn percent(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median * 100.0 } else { 0.0 }
    }
}

/// The median and the 99th percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latency {
    /// Half took at most this, microseconds.
    pub(crate) p50_us: f64,
    /// All but one in a hundred took at most this, microseconds.
    pub(crate) p99_us: f64,
}

impl Latency {
    /// Of samples in nanoseconds, in any order; of none, zeros.
    pub(crate) fn of(mut samples_ns: Vec<u32>) -> Self {
        samples_ns.sort_unstable();
        let at = |percent: usize| {
            let rank = (samples_ns.len() * percent).div_ceil(100).saturating_sub(1);
            samples_ns.get(rank).map_or(0.0, |ns| f64::from(*ns) / 1e3)
        };
        Self { p50_us: at(50), p99_us: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_two() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]).median, 2.5);
        assert_eq!(Spread::of([2.0, 1.0, 3.0]).percent(), 100.0);
        assert_eq!(Spread::of([]).percent(), 0.0);
    }

    #[test]
    fn percentiles_are_samples() {
        let samples = (1..=200).rev().map(|us| us * 1000).collect();
        assert_eq!(Latency::of(samples), Latency { p50_us: 100.0, p99_us: 198.0 });
        assert_eq!(Latency::of(Vec::new()), Latency { p50_us: 0.0, p99_us: 0.0 });
    }
}
