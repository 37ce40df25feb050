//! What is made up, and can be had again.

use std::hash::{BuildHasher, RandomState};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Random, from a seed that a test which fails tells of. `PROPTEST_RNG_SEED` in the environment has it again.
pub struct Seeded {
    seed: u64,
    runner: TestRunner,
}

impl Seeded {
    /// From a seed of its own, unless one was given.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        Self::unless_given(RandomState::new().hash_one(()))
    }

    /// From the same seed in every run, unless another was given: for tests that insist on what comes rarely.
    pub fn unless_given(seed: u64) -> Self {
        let mut config = Config::default();
        let seed = match config.rng_seed {
            RngSeed::Fixed(given) => given,
            RngSeed::Random => seed,
        };
        config.rng_seed = RngSeed::Fixed(seed);
        Self { seed, runner: TestRunner::new(config) }
    }

    /// The next value of a strategy.
    #[track_caller]
    pub fn next<S: Strategy>(&mut self, strategy: S) -> S::Value {
        strategy.new_tree(&mut self.runner).expect("a strategy that refuses nothing").current()
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PROPTEST_RNG_SEED={} repeats this", self.seed);
        }
    }
}
