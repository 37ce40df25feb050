//! A latency that must hold: `p99=50ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

/// The largest share of requests without an answer with which a goal holds.
const FAILED_SHARE_MAX: f64 = 0.001;

/// The most time that a percentile of the requests may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Goal {
    /// Above 0 and below 100.
    percentile: f64,
    /// More than 0.
    latency: Duration,
}

impl Goal {
    pub(crate) fn percentile(self) -> f64 {
        self.percentile
    }

    pub(crate) fn latency(self) -> Duration {
        self.latency
    }

    /// Returns whether requests hold it: `seen` is what the percentile took, `failed_share` the
    /// share of requests that weren't answered.
    pub(super) fn is_held(self, seen: Duration, failed_share: f64) -> bool {
        seen <= self.latency && failed_share <= FAILED_SHARE_MAX
    }
}

/// Half the latency of a page that people feel as immediate.
impl Default for Goal {
    fn default() -> Self {
        Self { percentile: 99.0, latency: Duration::from_millis(50) }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = SignedDuration::try_from(self.latency).unwrap_or(SignedDuration::MAX);
        // Without the spaces that the format has between its units.
        write!(formatter, "p{}={}", self.percentile, format!("{latency:#}").replace(' ', ""))
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (percentile, latency) = text.strip_prefix('p')?.split_once('=')?;
            let percentile =
                percentile.parse::<f64>().ok().filter(|&number| number > 0.0 && number < 100.0)?;
            let latency = Duration::try_from(latency.parse::<SignedDuration>().ok()?).ok()?;
            (!latency.is_zero()).then_some(Self { percentile, latency })
        };
        parse().ok_or_else(|| {
            "a goal is a percentile and its latency, such as `p99=5ms` or `p99.9=1s`".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_a_percentile_and_a_latency() {
        for (text, percentile, us, shown) in [
            ("p99=5ms", 99.0, 5000, "p99=5ms"),
            ("p99.9=1s", 99.9, 1_000_000, "p99.9=1s"),
            ("p50=250us", 50.0, 250, "p50=250µs"),
            ("p90=1s 500ms", 90.0, 1_500_000, "p90=1s500ms"),
        ] {
            let goal: Goal = text.parse().unwrap();
            assert_eq!(goal, Goal { percentile, latency: Duration::from_micros(us) }, "{text}");
            assert_eq!(goal.to_string(), shown);
            assert_eq!(shown.parse(), Ok(goal));
        }
        for wrong in
            ["", "p99", "99=5ms", "p=5ms", "p100=5ms", "p0=5ms", "p99=5", "p99=0s", "p99=-5ms", "pNaN=5ms"]
        {
            assert!(wrong.parse::<Goal>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn late_and_missing_answers_miss_a_goal() {
        let goal: Goal = "p99=5ms".parse().unwrap();
        let ms = Duration::from_millis;
        assert!(goal.is_held(ms(5), 0.0) && goal.is_held(ms(1), 0.001));
        assert!(!goal.is_held(ms(6), 0.0) && !goal.is_held(ms(1), 0.002));
    }
}
