//! Which way a call of a chain takes, where there are two: as one component, or step by step.
//!
//! Neither is always faster. One component spares what is done between steps; step by step, what is remembered of
//! a step isn't computed again. So both are tried, and what they take is measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nebula_model::description::Fuse;

/// Calls of either way before they are held against one another.
const TRIALS: u64 = 8;

/// Of so many calls one takes the slower way: it may have become the faster one.
const PROBE_EVERY: u64 = 64;

/// A new time counts for this part of the average.
const WEIGHT: u64 = 4;

/// One of the two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As one fused component.
    Fused,
    /// Step by step.
    Steps,
}

/// What both ways have taken, for one pipeline.
#[derive(Debug, Default)]
pub struct Arms {
    calls: AtomicU64,
    fused: Arm,
    steps: Arm,
}

#[derive(Debug, Default)]
struct Arm {
    times: AtomicU64,
    /// A moving average; the last call counts most.
    took_ns: AtomicU64,
}

impl Arm {
    fn took(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let times = self.times.fetch_add(1, Ordering::Relaxed);
        let before = self.took_ns.load(Ordering::Relaxed);
        let after = match times {
            0 => took,
            _ => before - before / WEIGHT + took / WEIGHT,
        };
        // Of two threads that write at once one is lost: it is an average.
        self.took_ns.store(after, Ordering::Relaxed);
    }
}

impl Arms {
    /// Which way the next call takes.
    pub fn choose(&self, fuse: Fuse) -> Way {
        match fuse {
            Fuse::Always => return Way::Fused,
            Fuse::Never => return Way::Steps,
            Fuse::Auto => {}
        }
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let (fused, steps) =
            (self.fused.times.load(Ordering::Relaxed), self.steps.times.load(Ordering::Relaxed));
        if steps < TRIALS {
            return Way::Steps;
        }
        if fused < TRIALS {
            return Way::Fused;
        }
        let is_faster =
            self.fused.took_ns.load(Ordering::Relaxed) < self.steps.took_ns.load(Ordering::Relaxed);
        match is_faster != number.is_multiple_of(PROBE_EVERY) {
            true => Way::Fused,
            false => Way::Steps,
        }
    }

    /// A call has taken so long this way.
    pub fn took(&self, way: Way, took: Duration) {
        match way {
            Way::Fused => self.fused.took(took),
            Way::Steps => self.steps.took(took),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_that_takes_less_is_taken() {
        let arms = Arms::default();
        let mut ways = Vec::new();
        for _ in 0..1000 {
            let way = arms.choose(Fuse::Auto);
            ways.push(way);
            arms.took(way, Duration::from_micros(if way == Way::Fused { 10 } else { 100 }));
        }
        let fused = |ways: &[Way]| ways.iter().filter(|way| **way == Way::Fused).count();
        assert_eq!(fused(&ways[..TRIALS as usize]), 0);
        assert!(fused(&ways) > 950, "{}", fused(&ways));
        // Its steps are remembered now.
        ways.clear();
        for _ in 0..2000 {
            let way = arms.choose(Fuse::Auto);
            ways.push(way);
            arms.took(way, Duration::from_micros(if way == Way::Fused { 10 } else { 1 }));
        }
        assert!(fused(&ways[1000..]) < 20, "{}", fused(&ways[1000..]));
        assert_eq!(arms.choose(Fuse::Always), Way::Fused);
        assert_eq!(arms.choose(Fuse::Never), Way::Steps);
    }
}
