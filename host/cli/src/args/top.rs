//! The arguments of `nebula top`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::remote::Remote;

/// The bounds of an interval, seconds.
const INTERVAL_S_MIN: f64 = 0.1;
const INTERVAL_S_MAX: f64 = 3600.0;

#[derive(Debug, ClapArgs)]
pub(crate) struct Top {
    /// The time between two questions to the server, over which figures are taken; `0.1` to `3600`
    #[arg(long, value_name = "SECONDS", default_value_t = Interval::SECOND)]
    pub(crate) interval: Interval,
    /// Print one table after one interval, and end; without a terminal this is the default
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// The time between two questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(Duration);

impl Interval {
    const SECOND: Self = Self(Duration::from_secs(1));

    pub(crate) fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(formatter)
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(seconds) if (INTERVAL_S_MIN..=INTERVAL_S_MAX).contains(&seconds) => {
                Ok(Self(Duration::from_secs_f64(seconds)))
            }
            Ok(_) | Err(_) => {
                Err(format!("an interval is a number from {INTERVAL_S_MIN} to {INTERVAL_S_MAX}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_number_of_seconds() {
        assert_eq!("1".parse(), Ok(Interval::SECOND));
        assert_eq!(Interval::SECOND.to_string(), "1");
        assert_eq!("0.25".parse::<Interval>().map(Interval::get), Ok(Duration::from_millis(250)));
        for wrong in ["", "0", "-1", "0.05", "3601", "nan", "inf", "1s"] {
            assert!(wrong.parse::<Interval>().is_err(), "{wrong}");
        }
    }
}
