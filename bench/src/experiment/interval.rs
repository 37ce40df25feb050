//! Medians with confidence intervals, by bootstrap: the samples are resampled with replacement, and
//! the interval holds the middle 95 % of the medians. It assumes no distribution, and no sample is
//! left out.

use super::random::Random;

/// The fewest samples whose median has an interval of 95 %: of fewer, even the smallest and the largest
/// one enclose it less often. Their range is shown instead.
pub(crate) const SAMPLES_MIN: usize = 6;

/// The number of resamples.
const RESAMPLES: usize = 2_000;

/// A median and its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    /// The ends of the interval of 95 %, or of the range of fewer than [`SAMPLES_MIN`] samples.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The number of samples.
    pub(crate) samples: usize,
}

impl Estimate {
    /// Estimates the median of samples, or returns `None` without any.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let samples: Vec<f64> = samples.into_iter().collect();
        if samples.is_empty() {
            return None;
        }
        if samples.len() < SAMPLES_MIN {
            let mut sorted = samples;
            sorted.sort_by(f64::total_cmp);
            let (low, high) = (*sorted.first()?, *sorted.last()?);
            return Some(Self { samples: sorted.len(), median: median(sorted), low, high });
        }
        let mut random = Random::new(samples.len() as u64);
        let mut resample =
            || median((0..samples.len()).map(|_| samples[random.below(samples.len())]).collect());
        let mut medians: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
        medians.sort_by(f64::total_cmp);
        Some(Self {
            median: median(samples.clone()),
            low: medians[RESAMPLES * 25 / 1000],
            high: medians[RESAMPLES * 975 / 1000 - 1],
            samples: samples.len(),
        })
    }
}

/// Returns the median of at least one value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_samples_have_an_interval_without_width() {
        let estimate = Estimate::of([7.0; 30]).unwrap();
        assert_eq!(estimate, Estimate { median: 7.0, low: 7.0, high: 7.0, samples: 30 });
        assert_eq!(Estimate::of([]), None);
    }

    #[test]
    fn few_samples_have_a_range() {
        let estimate = Estimate::of([3.0, 9.0, 1.0, 4.0, 2.0]).unwrap();
        assert_eq!(estimate, Estimate { median: 3.0, low: 1.0, high: 9.0, samples: 5 });
    }

    /// The interval of a median by ranks is known: of 30 samples, about the 10th to the 21st.
    #[test]
    fn the_interval_is_that_of_the_ranks() {
        let estimate = Estimate::of((1..=30).map(f64::from)).unwrap();
        assert_eq!(estimate.median, 15.5);
        assert!((8.5..=12.0).contains(&estimate.low), "{estimate:?}");
        assert!((19.0..=22.5).contains(&estimate.high), "{estimate:?}");
    }

    #[test]
    fn about_95_of_100_intervals_contain_the_median() {
        let mut random = Random::new(9);
        let mut contains = || {
            let estimate = Estimate::of((0..30).map(|_| random.unit().powi(3))).unwrap();
            (estimate.low..=estimate.high).contains(&0.125)
        };
        let hits = (0..100).filter(|_| contains()).count();
        assert!((88..=100).contains(&hits), "{hits}");
    }

    #[test]
    fn an_outlier_is_kept_and_does_not_move_the_median() {
        let estimate = Estimate::of((0..29).map(|_| 1.0).chain([1e6])).unwrap();
        assert_eq!((estimate.median, estimate.samples), (1.0, 30));
    }
}
