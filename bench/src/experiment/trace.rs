//! The calls of a population in a stretch of time, drawn at random from a fixed seed.

use std::time::Duration;

use super::hour::{KeepAlive, Population};
use super::random::Random;

/// The seed of all traces.
const SEED: u64 = 60;

/// A call of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueCall {
    /// The time from the beginning.
    pub(crate) at: Duration,
    /// The index in the population.
    pub(crate) function: usize,
}

/// Draws the calls of a stretch, in the order of their times: independent Poisson processes that
/// together have as many calls as expected. So no chance of their number is in a comparison.
pub(crate) fn draw(population: &Population, length: Duration) -> Vec<DueCall> {
    let mut until = Vec::new();
    let mut sum = 0.0;
    for rate in population.rates() {
        sum += rate;
        until.push(sum);
    }
    let mut random = Random::new(SEED);
    let mut call = |_| {
        let point = random.unit() * sum;
        let function = until.partition_point(|until| *until <= point);
        DueCall { at: length.mul_f64(random.unit()), function }
    };
    let expected = (sum * length.as_secs_f64()).round() as usize;
    let mut calls: Vec<_> = (0..expected).map(&mut call).collect();
    calls.sort_by_key(|call| call.at);
    calls
}

/// Counts the calls of a trace that find no instance, if calls take no time.
pub(crate) fn cold_starts(calls: &[DueCall], keep_alive: KeepAlive) -> usize {
    let functions = calls.iter().map(|call| call.function + 1).max().unwrap_or(0);
    let mut last = vec![None; functions];
    let mut is_cold = |call: &&DueCall| {
        let before: Option<Duration> = last[call.function].replace(call.at);
        match (before, keep_alive) {
            (_, KeepAlive::Started) => false,
            (None, _) => true,
            (Some(before), KeepAlive::For(time)) => call.at - before > time,
        }
    };
    calls.iter().filter(|call| is_cold(call)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_the_rates_of_its_population() {
        let population = Population::published(50, 2019).at_most_called(60.0).compressed(60.0);
        let length = Duration::from_secs(1000);
        let calls = draw(&population, length);
        assert!(calls.is_sorted_by_key(|call| call.at) && calls.iter().all(|call| call.at < length));
        assert_eq!(calls, draw(&population, length), "the seed is fixed");
        let expected: f64 = population.rates().iter().sum::<f64>() * 1000.0;
        assert!((calls.len() as f64 - expected).abs() <= 0.5, "{} {expected}", calls.len());
        for (function, rate) in population.rates().iter().enumerate() {
            let found = calls.iter().filter(|call| call.function == function).count() as f64;
            let expected = rate * 1000.0;
            assert!((found - expected).abs() < 5.0 * expected.sqrt() + 5.0, "{function}: {found} {expected}");
        }
        assert!(draw(&Population::single(0.0), length).is_empty());
    }

    #[test]
    fn cold_starts_follow_gaps() {
        let call = |at, function| DueCall { at: Duration::from_secs(at), function };
        let calls = [call(0, 0), call(1, 1), call(2, 0), call(9, 0), call(10, 1)];
        for (keep_alive, expected) in [
            (KeepAlive::Started, 0),
            (KeepAlive::For(Duration::from_secs(1_000)), 2),
            (KeepAlive::For(Duration::ZERO), 5),
            (KeepAlive::For(Duration::from_secs(5)), 4),
            (KeepAlive::For(Duration::from_secs(8)), 3),
        ] {
            assert_eq!(cold_starts(&calls, keep_alive), expected, "{keep_alive:?}");
        }
        assert_eq!(cold_starts(&[], KeepAlive::For(Duration::ZERO)), 0);
    }
}
