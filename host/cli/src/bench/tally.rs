//! The requests that were measured: counts, and a histogram of their latencies.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::{Answer, Outcome, Source};

/// The significant digits of a latency.
const DIGITS: u8 = 3;

/// The longest latency that is told from longer ones, nanoseconds: two hours.
const LATENCY_NS_MAX: u64 = 7_200_000_000_000;

/// Latencies in bounded memory, whatever their number.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram supports")]
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("valid bounds"))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    /// Returns the latency that a percentage of the requests didn't exceed; 0 without requests.
    pub(crate) fn percentile(&self, percentile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(percentile / 100.0))
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    pub(super) fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }

    /// Returns the latencies in order, each with its number of requests.
    pub(super) fn counted(&self) -> impl Iterator<Item = Counted> {
        let counted = self.0.iter_recorded();
        counted.map(|value| Counted {
            latency: Duration::from_nanos(value.value_iterated_to()),
            requests: value.count_at_value(),
        })
    }
}

/// A latency with the number of requests that took it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) latency: Duration,
    pub(super) requests: u64,
}

/// The number of answers by their source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) hits: u64,
    pub(super) runs: u64,
    pub(super) merged: u64,
    pub(super) unknown: u64,
}

/// The requests that were measured so far.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// The latencies of answers, and of requests that waited for one in vain. A failure isn't among
    /// them: a server that refuses at once isn't fast.
    pub(crate) latencies: Latencies,
    pub(super) values: u64,
    pub(super) own_errors: u64,
    /// The answers of the function by status.
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) sources: Sources,
    /// The requests that failed, by kind.
    pub(super) failures: BTreeMap<Cow<'static, str>, u64>,
    /// The requests that waited for an answer until the end of the load.
    pub(super) unanswered: u64,
    /// The requests that found all connections busy when they were due.
    pub(super) queued: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            latencies: Latencies::new(),
            values: 0,
            own_errors: 0,
            statuses: BTreeMap::new(),
            sources: Sources::default(),
            failures: BTreeMap::new(),
            unanswered: 0,
            queued: 0,
        }
    }

    /// Counts a request that was answered over HTTP after `latency`.
    pub(super) fn answered(&mut self, answer: Answer, latency: Duration) {
        let Answer { status, outcome, source } = answer;
        match outcome {
            Outcome::Value => self.values += 1,
            Outcome::OwnError => self.own_errors += 1,
            Outcome::Failed(kind) => return self.failed(kind),
        }
        *self.statuses.entry(status.as_u16()).or_default() += 1;
        let Sources { hits, runs, merged, unknown } = &mut self.sources;
        *match source {
            Source::Hit => hits,
            Source::Run => runs,
            Source::Merged => merged,
            Source::Unknown => unknown,
        } += 1;
        self.latencies.record(latency);
    }

    /// Counts a request that failed at once.
    pub(super) fn failed(&mut self, kind: impl Into<Cow<'static, str>>) {
        *self.failures.entry(kind.into()).or_default() += 1;
    }

    /// Counts a request that waited for an answer for `waited`, until it was given up.
    pub(super) fn timed_out(&mut self, waited: Duration) {
        self.failed("timeout");
        self.latencies.record(waited);
    }

    /// Counts a request that has no answer at the end of the load.
    pub(super) fn unanswered(&mut self, waited: Duration) {
        self.unanswered += 1;
        self.latencies.record(waited);
    }

    /// Returns the number of answers of the function.
    pub(crate) fn answers(&self) -> u64 {
        self.values + self.own_errors
    }

    /// Returns the number of requests that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns the number of requests that were due.
    pub(crate) fn requests(&self) -> u64 {
        self.answers() + self.failures() + self.unanswered
    }

    /// Returns the share of the requests that have no answer of the function.
    pub(crate) fn failed_share(&self) -> f64 {
        match self.requests() {
            0 => 0.0,
            requests => (requests - self.answers()) as f64 / requests as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(outcome: Outcome, source: Source) -> Answer {
        Answer { status: StatusCode::OK, outcome, source }
    }

    #[test]
    fn every_request_is_counted_once() {
        let mut tally = Tally::new();
        let ms = Duration::from_millis;
        for source in [Source::Hit, Source::Run, Source::Merged, Source::Unknown] {
            tally.answered(answer(Outcome::Value, source), ms(2));
        }
        tally.answered(answer(Outcome::OwnError, Source::Hit), ms(4));
        tally.answered(answer(Outcome::Failed("overloaded".into()), Source::Run), ms(1));
        tally.failed("connection");
        tally.timed_out(ms(100));
        tally.unanswered(ms(50));
        assert_eq!((tally.answers(), tally.failures(), tally.requests()), (5, 3, 9));
        assert_eq!(tally.sources, Sources { hits: 2, runs: 1, merged: 1, unknown: 1 });
        assert_eq!(tally.statuses, [(200, 5)].into());
        assert!((tally.failed_share() - 4.0 / 9.0).abs() < 1e-9);
        assert_eq!(tally.latencies.len(), 7, "failures have no latency, requests that waited do");
    }

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let mut latencies = Latencies::new();
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        for (percentile, us) in [(50.0, 500.0), (90.0, 900.0), (99.0, 990.0), (99.9, 999.0), (100.0, 1000.0)]
        {
            let found_us = latencies.percentile(percentile).as_secs_f64() * 1e6;
            assert!((found_us / us - 1.0).abs() < 2e-3, "{percentile}: {found_us}");
        }
        latencies.record(Duration::from_secs(1_000_000));
        assert!(latencies.max() >= Duration::from_secs(7200), "longer ones are kept as the longest");
        assert_eq!(Latencies::new().percentile(99.0), Duration::ZERO);
    }
}
