//! The instants at which requests are due: at a rate, independent of the answers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;

/// The seed of random arrivals: runs at the same rate have the same ones.
const SEED: u64 = 0x6e65_6275_6c61;

/// Requests per second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Rate(f64);

impl Rate {
    /// One request in ten seconds.
    pub(crate) const MIN: Self = Self(0.1);

    /// More than one thread can send.
    pub(crate) const MAX: Self = Self(1_000_000.0);

    /// Returns the nearest rate in the range, rounded to three digits.
    pub(crate) fn nearest(per_s: f64) -> Self {
        let per_s = per_s.clamp(Self::MIN.0, Self::MAX.0);
        let unit = 10_f64.powi(per_s.log10().floor() as i32 - 2);
        // Division by a power of ten keeps decimal fractions short: 0.123 and not 0.12300000000000001.
        let rounded = if unit < 1.0 {
            (per_s / unit).round() / (1.0 / unit).round()
        } else {
            (per_s / unit).round() * unit
        };
        Self(rounded)
    }

    pub(crate) fn per_s(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/s", self.0)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse().map(Self) {
            Ok(rate) if (Self::MIN..=Self::MAX).contains(&rate) => Ok(rate),
            Ok(_) | Err(_) => Err(format!(
                "a rate is a number of requests per second, from {} to {}",
                Self::MIN.0,
                Self::MAX.0
            )),
        }
    }
}

/// The distances between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// All the same
    Constant,
    /// Random, like those of many independent callers
    Poisson,
}

impl Arrivals {
    /// Returns the name on the command line and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

/// The instants from the start of the load to its end, in order, as times since the start.
pub(super) struct Schedule {
    rate: Rate,
    arrivals: Arrivals,
    end: Duration,
    /// The requests before the next one.
    count: u64,
    /// The next instant of random arrivals, seconds.
    next_s: f64,
    random: Rng,
}

impl Schedule {
    pub(super) fn new(rate: Rate, arrivals: Arrivals, end: Duration) -> Self {
        Self { rate, arrivals, end, count: 0, next_s: 0.0, random: Rng::with_seed(SEED) }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let due_s = match self.arrivals {
            // Not a sum, whose rounding errors would add up.
            Arrivals::Constant => self.count as f64 / self.rate.per_s(),
            Arrivals::Poisson => {
                // The gap between two events of a Poisson process. `1 - f64()` is never 0.
                self.next_s -= (1.0 - self.random.f64()).ln() / self.rate.per_s();
                self.next_s
            }
        };
        let due = Duration::from_secs_f64(due_s);
        self.count += 1;
        (due < self.end).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: f64, arrivals: Arrivals, seconds: u64) -> Vec<Duration> {
        Schedule::new(Rate::nearest(rate), arrivals, Duration::from_secs(seconds)).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced() {
        for (rate, count) in [(0.5, 1800), (1.0, 3600), (3.0, 10_800), (1000.0, 3_600_000)] {
            let due = schedule(rate, Arrivals::Constant, 3600);
            assert_eq!(due.len(), count, "{rate}");
            assert_eq!(due[0], Duration::ZERO);
            for pair in due.windows(2) {
                let gap_s = (pair[1] - pair[0]).as_secs_f64();
                assert!((gap_s - 1.0 / rate).abs() < 1e-6, "{rate}: {gap_s}");
            }
        }
    }

    #[test]
    fn random_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let due = schedule(50.0, Arrivals::Poisson, 1000);
        // 50,000 are expected, with a deviation of 224.
        assert!((49_000..51_000).contains(&due.len()), "{}", due.len());
        assert!(due.is_sorted() && due[0] > Duration::ZERO);
        // In a Poisson process a share of 1/e of the gaps is longer than the mean.
        let long = due.windows(2).filter(|pair| pair[1] - pair[0] > Duration::from_millis(20)).count();
        let share = long as f64 / due.len() as f64;
        assert!((share - (-1.0_f64).exp()).abs() < 0.01, "{share}");
        assert_eq!(due, schedule(50.0, Arrivals::Poisson, 1000), "the seed is fixed");
    }

    #[test]
    fn rates_are_positive_and_bounded() {
        for (text, per_s) in [("0.1", 0.1), ("200", 200.0), ("1e3", 1000.0), ("1000000", 1e6)] {
            assert_eq!(text.parse(), Ok(Rate(per_s)), "{text}");
        }
        for wrong in ["", "0", "0.09", "-1", "1000001", "inf", "NaN", "10/s", "many"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn computed_rates_have_three_digits_and_stay_in_the_range() {
        for (per_s, shown) in [
            (0.0, "0.1/s"),
            (0.12345, "0.123/s"),
            (7.777, "7.78/s"),
            (123.4, "123/s"),
            (98_765.0, "98800/s"),
            (1e9, "1000000/s"),
        ] {
            assert_eq!(Rate::nearest(per_s).to_string(), shown);
        }
    }
}
