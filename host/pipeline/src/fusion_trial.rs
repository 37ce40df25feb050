//! The choice between the two ways to run a chain: as one component, or step by step.
//!
//! Neither is always faster. One component saves the work between steps; single steps can take
//! cached results. So both run for a while, and the measured time decides.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nebula_model::description::Fuse;

/// Number of calls in each mode before their times are compared.
const TRIALS: u64 = 8;

/// Once in this many calls the slower mode runs, because it may have become the faster one.
const PROBE_EVERY: u64 = 64;

/// A new time counts for one part in this many of the moving average.
const WEIGHT: u64 = 4;

/// A way to run a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionMode {
    /// Runs the linked component.
    Fused,
    /// Runs each step separately.
    Stepwise,
}

/// The measured times of both modes, for one pipeline.
#[derive(Debug, Default)]
pub struct FusionTrial {
    calls: AtomicU64,
    fused: Measurement,
    stepwise: Measurement,
}

#[derive(Debug, Default)]
struct Measurement {
    calls: AtomicU64,
    average_ns: AtomicU64,
}

impl Measurement {
    fn record(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let before = self.average_ns.load(Ordering::Relaxed);
        let after = match calls {
            0 => took,
            _ => before - before / WEIGHT + took / WEIGHT,
        };
        // If two threads write at once, one time is lost. An average tolerates that.
        self.average_ns.store(after, Ordering::Relaxed);
    }
}

impl FusionTrial {
    /// Returns the mode of the next call.
    pub fn choose(&self, fuse: Fuse) -> ExecutionMode {
        match fuse {
            Fuse::Always => return ExecutionMode::Fused,
            Fuse::Never => return ExecutionMode::Stepwise,
            Fuse::Auto => {}
        }
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.stepwise.calls.load(Ordering::Relaxed) < TRIALS {
            return ExecutionMode::Stepwise;
        }
        if self.fused.calls.load(Ordering::Relaxed) < TRIALS {
            return ExecutionMode::Fused;
        }
        let is_fused_faster =
            self.fused.average_ns.load(Ordering::Relaxed) < self.stepwise.average_ns.load(Ordering::Relaxed);
        match is_fused_faster != number.is_multiple_of(PROBE_EVERY) {
            true => ExecutionMode::Fused,
            false => ExecutionMode::Stepwise,
        }
    }

    /// Records the time of a call.
    pub fn record(&self, mode: ExecutionMode, took: Duration) {
        match mode {
            ExecutionMode::Fused => self.fused.record(took),
            ExecutionMode::Stepwise => self.stepwise.record(took),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(trial: &FusionTrial, calls: usize, fused: Duration, stepwise: Duration) -> Vec<ExecutionMode> {
        let modes = (0..calls).map(|_| {
            let mode = trial.choose(Fuse::Auto);
            trial.record(mode, if mode == ExecutionMode::Fused { fused } else { stepwise });
            mode
        });
        modes.collect()
    }

    fn count_fused(modes: &[ExecutionMode]) -> usize {
        modes.iter().filter(|mode| **mode == ExecutionMode::Fused).count()
    }

    #[test]
    fn faster_mode_wins_and_is_dropped_when_it_becomes_slower() {
        let trial = FusionTrial::default();
        let modes = run(&trial, 1000, Duration::from_micros(10), Duration::from_micros(100));
        assert_eq!(count_fused(&modes[..TRIALS as usize]), 0);
        assert!(count_fused(&modes) > 950, "{}", count_fused(&modes));
        // Now the results of the steps are cached.
        let modes = run(&trial, 2000, Duration::from_micros(10), Duration::from_micros(1));
        assert!(count_fused(&modes[1000..]) < 20, "{}", count_fused(&modes[1000..]));
    }

    #[test]
    fn description_can_fix_the_mode() {
        let trial = FusionTrial::default();
        assert_eq!(trial.choose(Fuse::Always), ExecutionMode::Fused);
        assert_eq!(trial.choose(Fuse::Never), ExecutionMode::Stepwise);
    }
}
