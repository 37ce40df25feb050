//! What is asked for next.
//!
//! ```text
//! mix, one for all load threads -> draws, one for each -> exchange
//! ```
//!
//! Invariant: what a mix makes up is made up once in a run, whichever thread asks for it.

use std::borrow::Cow;

use super::Exchange;
use super::pace::uniform;

/// How many inputs one thread may make up before they would be those of another, as a power of two.
const MADE_BY_A_THREAD_BITS: u32 = 40;

/// Makes up a request of a number; of another number, another one.
pub(crate) type Make<'a> = &'a (dyn Fn(u64) -> Exchange + Sync);

/// What is asked for, and how often.
#[derive(Clone, Copy)]
pub(crate) enum Mix<'a> {
    /// Each as often as it weighs.
    Weighted {
        /// At least one.
        exchanges: &'a [Exchange],
        /// The sums of the weights up to each, the last being 1.
        up_to: &'a [f64],
    },
    /// Some ask for what was asked for before, all others for what never was.
    Duplicates {
        /// Of the requests those that are duplicates, from 0 to 1.
        share: f64,
        /// What they ask for, each as often as the others; at least one. Every thread begins with asking for each of
        /// them, so that duplicates are duplicates.
        hot: &'a [Exchange],
        /// Makes up the others, while they are asked for: they are too many to hold.
        make: Make<'a>,
    },
}

impl<'a> From<&'a Exchange> for Mix<'a> {
    fn from(exchange: &'a Exchange) -> Self {
        Self::Weighted { exchanges: std::slice::from_ref(exchange), up_to: &[1.0] }
    }
}

impl<'a> Mix<'a> {
    /// One that stands for all of them, which are as long.
    pub(super) fn any(&self) -> &'a Exchange {
        let (Self::Weighted { exchanges, .. } | Self::Duplicates { hot: exchanges, .. }) = self;
        &exchanges[0]
    }
}

/// What one load thread asks for, one after the other.
pub(super) struct Draws<'a> {
    mix: Mix<'a>,
    /// The state of the random stream.
    random: u64,
    /// How many of the hot ones were asked for to begin with.
    begun: usize,
    /// The number of the next one to make up.
    next: u64,
}

impl<'a> Draws<'a> {
    pub(super) fn new(mix: Mix<'a>, thread: usize) -> Self {
        let thread = thread as u64;
        Self { mix, random: thread, begun: 0, next: thread << MADE_BY_A_THREAD_BITS }
    }

    /// The next one to ask for.
    pub(super) fn draw(&mut self) -> Cow<'a, Exchange> {
        match self.mix {
            Mix::Weighted { exchanges: [only], .. } => Cow::Borrowed(only),
            Mix::Weighted { exchanges, up_to } => {
                let drawn = uniform(&mut self.random);
                let index = up_to.partition_point(|up_to| *up_to <= drawn);
                Cow::Borrowed(&exchanges[index.min(exchanges.len() - 1)])
            }
            Mix::Duplicates { share, hot, make } => {
                if let Some(exchange) = hot.get(self.begun) {
                    self.begun += 1;
                    Cow::Borrowed(exchange)
                } else if uniform(&mut self.random) < share {
                    let index = (uniform(&mut self.random) * hot.len() as f64) as usize;
                    Cow::Borrowed(&hot[index.min(hot.len() - 1)])
                } else {
                    self.next += 1;
                    Cow::Owned(make(self.next - 1))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn asks_for(exchange: &Exchange, path: &str) -> bool {
        exchange.request.starts_with(format!("POST {path} ").as_bytes())
    }

    #[test]
    fn a_mix_is_asked_for_by_weight() {
        let exchanges = ["a", "b", "c"].map(|path| Exchange::echo(path, b""));
        let mix = Mix::Weighted { exchanges: &exchanges, up_to: &[0.5, 0.5, 1.0] };
        let mut draws = Draws::new(mix, 1);
        let mut count = |path: &str| (0..1000).filter(|_| asks_for(&draws.draw(), path)).count();
        assert!((400..600).contains(&count("a")));
        assert_eq!(count("b"), 0);
        assert!((400..600).contains(&count("c")));
    }

    /// What two threads ask for that has so large a share of duplicates: the requests of each.
    fn drawn(share: f64, hot: &[Exchange], count: usize) -> [Vec<Vec<u8>>; 2] {
        let make = |number: u64| Exchange::echo("made", &number.to_le_bytes());
        [0, 1].map(|thread| {
            let mut draws = Draws::new(Mix::Duplicates { share, hot, make: &make }, thread);
            (0..count).map(|_| draws.draw().request.clone()).collect()
        })
    }

    #[test]
    fn the_share_of_duplicates_is_as_asked() {
        let hot = ["a", "b", "c", "d"].map(|path| Exchange::echo(path, b""));
        for (share, expected) in [(0.0, 0..1), (0.2, 1900..2100), (0.8, 7900..8100), (1.0, 10_000..10_001)] {
            for requests in drawn(share, &hot, hot.len() + 10_000) {
                let (mut seen, mut duplicates) = (HashSet::new(), 0);
                for request in &requests {
                    duplicates += usize::from(!seen.insert(request));
                }
                assert!(expected.contains(&duplicates), "{share}: {duplicates}");
                // Each of the hot ones has its part of them.
                for Exchange { request, .. } in &hot {
                    let count = requests.iter().filter(|other| *other == request).count();
                    let even = 1.0 + share * 2500.0;
                    assert!((count as f64 - even).abs() <= even * 0.1, "{share}: {count}");
                }
            }
        }
    }

    #[test]
    fn what_is_made_up_is_made_up_once() {
        let hot = [Exchange::echo("hot", b"")];
        for share in [0.0, 0.8] {
            let all = drawn(share, &hot, 10_000).concat();
            let made: Vec<_> = all.iter().filter(|request| **request != hot[0].request).collect();
            assert_eq!(made.iter().collect::<HashSet<_>>().len(), made.len());
            assert!(made.len() > 3000, "{}", made.len());
        }
    }
}
