//! Histograms of durations with fixed buckets, which one thread fills and others read.
//!
//! The bounds are the same for all histograms, so that they can be added up: from ten microseconds,
//! a short run of a function, to a minute, in steps of about two and a half and four.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The number of buckets with an upper bound.
pub const BOUNDED_BUCKETS: usize = 14;

/// The upper bounds of the buckets, which include the bound. One more bucket is for anything longer.
pub const BUCKET_BOUNDS: [Duration; BOUNDED_BUCKETS] = [
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// The same in nanoseconds, which are quicker to compare.
const BOUNDS_NS: [u64; BOUNDED_BUCKETS] = {
    let (mut bounds_ns, mut bucket) = ([0; BOUNDED_BUCKETS], 0);
    while bucket < BOUNDED_BUCKETS {
        bounds_ns[bucket] = BUCKET_BOUNDS[bucket].as_nanos() as u64;
        bucket += 1;
    }
    bounds_ns
};

/// A histogram that is being filled.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDED_BUCKETS + 1],
    sum_ns: AtomicU64,
}

/// The content of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramCounts {
    /// Durations in each bucket, without those in the buckets before it.
    pub buckets: [u64; BOUNDED_BUCKETS + 1],
    /// Sum of the durations, nanoseconds.
    pub sum_ns: u64,
}

impl Histogram {
    /// Records a duration.
    pub fn record(&self, duration: Duration) {
        let duration_ns = nanoseconds(duration);
        let bucket = BOUNDS_NS.partition_point(|bound_ns| *bound_ns < duration_ns);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(duration_ns, Ordering::Relaxed);
    }

    /// Returns the content so far.
    pub fn counts(&self) -> HistogramCounts {
        HistogramCounts {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
        }
    }
}

impl HistogramCounts {
    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl AddAssign for HistogramCounts {
    fn add_assign(&mut self, other: Self) {
        for (own, other) in self.buckets.iter_mut().zip(other.buckets) {
            *own += other;
        }
        self.sum_ns += other.sum_ns;
    }
}

/// Returns a duration in whole nanoseconds; the most are 584 years.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_reaches_it() {
        for (duration, bucket) in [
            (Duration::ZERO, 0),
            (Duration::from_micros(10), 0),
            (Duration::from_nanos(10_001), 1),
            (Duration::from_millis(1), 4),
            (Duration::from_secs(60), 13),
            (Duration::from_secs(61), 14),
            (Duration::MAX, 14),
        ] {
            let histogram = Histogram::default();
            histogram.record(duration);
            let counts = histogram.counts();
            assert_eq!((counts.buckets[bucket], counts.count()), (1, 1), "{duration:?}");
            assert_eq!(counts.sum_ns, nanoseconds(duration));
        }
        assert!(BUCKET_BOUNDS.is_sorted() && BOUNDS_NS.is_sorted());
    }

    #[test]
    fn contents_are_added() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(1));
        let mut sum = histogram.counts();
        histogram.record(Duration::from_secs(1));
        sum += histogram.counts();
        assert_eq!((sum.buckets[4], sum.buckets[10], sum.sum_ns), (2, 1, 1_002_000_000));
    }
}
