//! The choice of the next request.
//!
//! ```text
//! mix, shared by all load threads -> request sequence, one per thread -> exchange
//! ```
//!
//! Invariant: a mix generates every unique request at most once in a run, over all threads.

use std::borrow::Cow;

use super::exchange::Exchange;
use super::pace::uniform;

/// A thread may generate this power of two of unique requests before their numbers reach those of
/// the next thread.
const NUMBERS_PER_THREAD_BITS: u32 = 40;

/// Generates an exchange from a number; different numbers give different exchanges.
pub(crate) type MakeExchange<'a> = &'a (dyn Fn(u64) -> Exchange + Sync);

/// A distribution of requests.
#[derive(Clone, Copy)]
pub(crate) enum Mix<'a> {
    /// Exchanges with weights.
    Weighted {
        /// At least one exchange.
        exchanges: &'a [Exchange],
        /// The cumulative weights of the exchanges; the last is 1.
        cumulative_weights: &'a [f64],
    },
    /// Duplicates of a few exchanges, and unique requests.
    Duplicates {
        /// The share of duplicates among the requests, from 0 to 1.
        share: f64,
        /// The exchanges that are duplicated, all equally often; at least one. Every thread sends
        /// each of them once first.
        hot: &'a [Exchange],
        /// Generates the unique requests on demand, because they are too many to store.
        make: MakeExchange<'a>,
    },
}

impl<'a> From<&'a Exchange> for Mix<'a> {
    fn from(exchange: &'a Exchange) -> Self {
        Self::Weighted { exchanges: std::slice::from_ref(exchange), cumulative_weights: &[1.0] }
    }
}

impl<'a> Mix<'a> {
    /// Returns any exchange; all have the same length.
    pub(super) fn any(&self) -> &'a Exchange {
        let (Self::Weighted { exchanges, .. } | Self::Duplicates { hot: exchanges, .. }) = self;
        &exchanges[0]
    }
}

/// The requests of one load thread.
pub(super) struct RequestSequence<'a> {
    mix: Mix<'a>,
    /// The state of the random number generator.
    random: u64,
    /// The number of hot exchanges that were sent at the beginning.
    hot_sent: usize,
    /// The number of the next unique request.
    next_number: u64,
}

impl<'a> RequestSequence<'a> {
    pub(super) fn new(mix: Mix<'a>, thread: usize) -> Self {
        let thread = thread as u64;
        Self { mix, random: thread, hot_sent: 0, next_number: thread << NUMBERS_PER_THREAD_BITS }
    }

    pub(super) fn mix(&self) -> Mix<'a> {
        self.mix
    }

    /// Returns the next exchange.
    pub(super) fn next(&mut self) -> Cow<'a, Exchange> {
        match self.mix {
            Mix::Weighted { exchanges: [only], .. } => Cow::Borrowed(only),
            Mix::Weighted { exchanges, cumulative_weights } => {
                let drawn = uniform(&mut self.random);
                let index = cumulative_weights.partition_point(|weight| *weight <= drawn);
                Cow::Borrowed(&exchanges[index.min(exchanges.len() - 1)])
            }
            Mix::Duplicates { share, hot, make } => {
                if let Some(exchange) = hot.get(self.hot_sent) {
                    self.hot_sent += 1;
                    Cow::Borrowed(exchange)
                } else if uniform(&mut self.random) < share {
                    let index = (uniform(&mut self.random) * hot.len() as f64) as usize;
                    Cow::Borrowed(&hot[index.min(hot.len() - 1)])
                } else {
                    self.next_number += 1;
                    Cow::Owned(make(self.next_number - 1))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn has_path(exchange: &Exchange, path: &str) -> bool {
        exchange.request.starts_with(format!("POST {path} ").as_bytes())
    }

    #[test]
    fn exchanges_are_drawn_by_weight() {
        let exchanges = ["a", "b", "c"].map(|path| Exchange::echo(path, b""));
        let mix = Mix::Weighted { exchanges: &exchanges, cumulative_weights: &[0.5, 0.5, 1.0] };
        let mut requests = RequestSequence::new(mix, 1);
        let mut count = |path: &str| (0..1000).filter(|_| has_path(&requests.next(), path)).count();
        assert!((400..600).contains(&count("a")));
        assert_eq!(count("b"), 0);
        assert!((400..600).contains(&count("c")));
    }

    /// Returns the requests of two threads with this share of duplicates.
    fn drawn(share: f64, hot: &[Exchange], count: usize) -> [Vec<Vec<u8>>; 2] {
        let make = |number: u64| Exchange::echo("unique", &number.to_le_bytes());
        [0, 1].map(|thread| {
            let mut requests = RequestSequence::new(Mix::Duplicates { share, hot, make: &make }, thread);
            (0..count).map(|_| requests.next().request.clone()).collect()
        })
    }

    #[test]
    fn the_share_of_duplicates_is_the_configured_one() {
        let hot = ["a", "b", "c", "d"].map(|path| Exchange::echo(path, b""));
        for (share, expected) in [(0.0, 0..1), (0.2, 1900..2100), (0.8, 7900..8100), (1.0, 10_000..10_001)] {
            for requests in drawn(share, &hot, hot.len() + 10_000) {
                let (mut seen, mut duplicates) = (HashSet::new(), 0);
                for request in &requests {
                    duplicates += usize::from(!seen.insert(request));
                }
                assert!(expected.contains(&duplicates), "{share}: {duplicates}");
                // All hot exchanges are equally frequent.
                for Exchange { request, .. } in &hot {
                    let count = requests.iter().filter(|other| *other == request).count();
                    let even = 1.0 + share * 2500.0;
                    assert!((count as f64 - even).abs() <= even * 0.1, "{share}: {count}");
                }
            }
        }
    }

    #[test]
    fn unique_requests_are_unique_across_threads() {
        let hot = [Exchange::echo("hot", b"")];
        for share in [0.0, 0.8] {
            let all = drawn(share, &hot, 10_000).concat();
            let unique: Vec<_> = all.iter().filter(|request| **request != hot[0].request).collect();
            assert_eq!(unique.iter().collect::<HashSet<_>>().len(), unique.len());
            assert!(unique.len() > 3000, "{}", unique.len());
        }
    }
}
