//! Percentiles of durations that a histogram has counted.
//!
//! A histogram tells how many durations each bucket has, not which. A percentile is interpolated
//! within its bucket, like Prometheus' `histogram_quantile` does, as if the durations were evenly
//! spread. So it is in the right bucket, and off by the width of that bucket at most.

use std::fmt;
use std::time::Duration;

use nebula_http::wire::DurationStats;

use crate::figures::duration;

/// A percentile, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Percentile {
    /// Interpolated within its bucket.
    Estimate(f64),
    /// Longer than this, the last bound: the last bucket has none.
    Over(u64),
}

impl Percentile {
    /// Returns the estimate, or the bound that it is over.
    pub(crate) fn us(self) -> f64 {
        match self {
            Self::Estimate(us) => us,
            Self::Over(bound_us) => bound_us as f64,
        }
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = duration(Duration::from_secs_f64(self.us() / 1e6));
        match self {
            Self::Estimate(_) => formatter.pad(&shown),
            Self::Over(_) => formatter.pad(&format!(">{shown}")),
        }
    }
}

/// Returns the duration that `percent` of the durations, 1 to 100, don't exceed; `None` without any.
pub(crate) fn percentile(durations: &DurationStats, bounds_us: &[u64], percent: u8) -> Option<Percentile> {
    let all: u128 = durations.counts.iter().map(|count| u128::from(*count)).sum();
    // In whole numbers: a rounded share would choose the next bucket.
    let rank = (all * u128::from(percent)).div_ceil(100);
    let (mut before, mut lower_us) = (0, 0);
    for (bucket, count) in durations.counts.iter().enumerate() {
        let count = u128::from(*count);
        if count > 0 && before + count >= rank {
            let Some(upper_us) = bounds_us.get(bucket) else { return Some(Percentile::Over(lower_us)) };
            let width_us = upper_us.saturating_sub(lower_us) as f64;
            let part = (rank - before) as f64 / count as f64;
            return Some(Percentile::Estimate(lower_us as f64 + width_us * part));
        }
        before += count;
        lower_us = bounds_us.get(bucket).copied().unwrap_or(lower_us);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS_US: [u64; 5] = [10, 25, 100, 1000, 60_000];

    fn histogram(samples_us: &[u64]) -> DurationStats {
        let mut counts = vec![0; BOUNDS_US.len() + 1];
        for sample_us in samples_us {
            counts[BOUNDS_US.partition_point(|bound| bound < sample_us)] += 1;
        }
        counts.truncate(counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        DurationStats { counts, sum_us: samples_us.iter().sum() }
    }

    fn of(samples_us: &[u64], percent: u8) -> Option<Percentile> {
        percentile(&histogram(samples_us), &BOUNDS_US, percent)
    }

    proptest! {
        /// An estimate is in the bucket of the sample that sorting finds, and doesn't fall for a higher
        /// percentile.
        #[test]
        fn an_estimate_is_in_the_bucket_of_the_sample(
            mut samples_us in prop::collection::vec(prop_oneof![0..2000_u64, 0..100_000_u64], 1..300),
            percent in 1..=100_u8,
        ) {
            samples_us.sort_unstable();
            let exact_us = samples_us[(samples_us.len() * usize::from(percent)).div_ceil(100) - 1];
            let bucket = BOUNDS_US.partition_point(|bound| *bound < exact_us);
            let found = of(&samples_us, percent).unwrap();
            match BOUNDS_US.get(bucket) {
                Some(upper_us) => {
                    let lower_us = bucket.checked_sub(1).map_or(0, |below| BOUNDS_US[below]);
                    let Percentile::Estimate(us) = found else { panic!("{found:?} of {exact_us}") };
                    prop_assert!(us > lower_us as f64 && us <= *upper_us as f64, "{us} of {exact_us}");
                }
                None => prop_assert_eq!(found, Percentile::Over(60_000)),
            }
            prop_assert!(of(&samples_us, percent.saturating_add(5).min(100)).unwrap().us() >= found.us());
        }
    }

    #[test]
    fn percentiles_of_few_samples() {
        assert_eq!(of(&[], 50), None);
        assert_eq!(percentile(&DurationStats { counts: vec![0, 0], sum_us: 0 }, &BOUNDS_US, 99), None);
        // One sample is at the end of its bucket, and two in one bucket share it.
        assert_eq!(of(&[30], 1), Some(Percentile::Estimate(100.0)));
        assert_eq!(of(&[30, 90], 50), Some(Percentile::Estimate(62.5)));
        assert_eq!(of(&[5, 30, 30, 30], 25), Some(Percentile::Estimate(10.0)));
        assert_eq!(of(&[5, 30, 30, 30], 26), Some(Percentile::Estimate(50.0)));
        assert_eq!(of(&[5, 70_000], 99).unwrap().to_string(), ">60 ms");
        assert_eq!(format!("[{:>8}]", of(&[5], 50).unwrap()), "[   10 µs]");
    }

    /// 99 % of 100 samples are 99 of them, and none of the slow one.
    #[test]
    fn the_rank_is_exact() {
        let mut samples_us = vec![5; 99];
        samples_us.push(500);
        assert_eq!(of(&samples_us, 99), Some(Percentile::Estimate(10.0)));
        assert_eq!(of(&samples_us, 100), Some(Percentile::Estimate(1000.0)));
    }
}
