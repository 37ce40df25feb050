//! Random values that a seed reproduces.

use std::hash::{BuildHasher, RandomState};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Generates values from a seed. A test that fails prints the seed; `PROPTEST_RNG_SEED` in the
/// environment sets it, which repeats the run.
pub struct Generator {
    seed: u64,
    runner: TestRunner,
}

impl Generator {
    /// Creates a generator with a random seed, unless the environment sets one.
    #[expect(clippy::new_without_default, reason = "each generator has another seed")]
    pub fn new() -> Self {
        Self::with_default_seed(RandomState::new().hash_one(()))
    }

    /// Creates a generator with this seed, unless the environment sets another. For tests that
    /// assert that rare cases occur.
    pub fn with_default_seed(seed: u64) -> Self {
        let mut config = Config::default();
        let seed = match config.rng_seed {
            RngSeed::Fixed(seed) => seed,
            RngSeed::Random => seed,
        };
        config.rng_seed = RngSeed::Fixed(seed);
        Self { seed, runner: TestRunner::new(config) }
    }

    /// Generates the next value of a strategy.
    #[track_caller]
    pub fn next<S: Strategy>(&mut self, strategy: S) -> S::Value {
        strategy.new_tree(&mut self.runner).expect("a strategy without filters").current()
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PROPTEST_RNG_SEED={} repeats this run", self.seed);
        }
    }
}
