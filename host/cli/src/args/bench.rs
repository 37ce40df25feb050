//! The arguments of `nebula bench`.

use std::time::Duration;

use clap::Args as ClapArgs;
use jiff::SignedDuration;
use nebula_runtime::id::FunctionRef;

use super::Remote;
use crate::bench::{Arrivals, Goal, Rate};
use crate::http_parts::HttpParts;

/// The most connections. Each takes two file descriptors, and a process has 1,024 by default.
const CONNECTIONS_MAX: u16 = 256;

#[derive(Debug, ClapArgs)]
pub(crate) struct Bench {
    /// A deployed function or pipeline (`name`, `name@v3`, `name@sha256:…`)
    pub(crate) function: FunctionRef,
    /// The input of every request: inline, `@file`, or `-` for stdin; by default what is piped in.
    /// Several are the values of the parameters, each as JSON or else as text
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// The input's media type; by default that of the file's extension or the function's type
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    /// Requests per second, whether or not earlier ones were answered; by default the highest rate
    /// that holds the goal is searched
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Option<Rate>,
    /// The distances between requests
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub(crate) arrivals: Arrivals,
    /// The latency that a percentile of the requests must not exceed, such as `p99=5ms`. Without
    /// `--rate` the default is `p99=50ms`; with it, the exit code is 1 if the goal is missed
    #[arg(long, value_name = "pN=TIME")]
    pub(crate) goal: Option<Goal>,
    /// The time of the measurement, 100ms to 1h. A search takes longer: its steps take up to 10s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = measured_time)]
    pub(crate) duration: Duration,
    /// The time before the measurement in which requests are sent and not counted, 0s to 1m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = warm_up_time)]
    pub(crate) warm_up: Duration,
    /// Connections, each with one request at a time. A request that finds none free waits, and the
    /// wait counts
    #[arg(long, default_value_t = connections(),
        value_parser = clap::value_parser!(u16).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub(crate) connections: u16,
    /// The longest time to wait for an answer, 1ms to 5m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = answer_time)]
    pub(crate) timeout: Duration,
    /// Run the function for each request, instead of measuring cached results
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Model emissions too, with this intensity of electricity: grams of CO2 per kilowatt-hour
    #[arg(long, value_name = "G_PER_KWH", value_parser = grid)]
    pub(crate) grid: Option<f64>,
    /// Put load on a server that isn't on this machine
    #[arg(long)]
    pub(crate) allow_remote: bool,
    #[command(flatten)]
    pub(crate) http: HttpParts,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Returns the default number of connections: enough to keep the cores busy while answers travel.
fn connections() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    u16::try_from(cores * 8).unwrap_or(CONNECTIONS_MAX).clamp(16, 128)
}

/// A range of times with its text.
struct TimeRange {
    min: Duration,
    max: Duration,
    text: &'static str,
}

impl TimeRange {
    fn parse(&self, text: &str) -> Result<Duration, String> {
        let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
        let time = time.filter(|time| (self.min..=self.max).contains(time));
        time.ok_or_else(|| format!("a time from {}, with its unit: `500ms`, `10s`, `2m`", self.text))
    }
}

fn measured_time(text: &str) -> Result<Duration, String> {
    let (min, max) = (Duration::from_millis(100), Duration::from_secs(3600));
    TimeRange { min, max, text: "100ms to 1h" }.parse(text)
}

fn warm_up_time(text: &str) -> Result<Duration, String> {
    TimeRange { min: Duration::ZERO, max: Duration::from_secs(60), text: "0s to 1m" }.parse(text)
}

fn answer_time(text: &str) -> Result<Duration, String> {
    let (min, max) = (Duration::from_millis(1), Duration::from_secs(300));
    TimeRange { min, max, text: "1ms to 5m" }.parse(text)
}

/// Parses the intensity of electricity.
fn grid(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(intensity) if (0.0..=2000.0).contains(&intensity) => Ok(intensity),
        Ok(_) | Err(_) => {
            Err("an intensity is a number of grams per kilowatt-hour, from 0 to 2000".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_a_range() {
        assert_eq!(measured_time("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(measured_time("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(warm_up_time("0s"), Ok(Duration::ZERO));
        assert_eq!(answer_time("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "10", "-1s", "99ms", "61m", "soon"] {
            assert!(measured_time(wrong).is_err(), "{wrong}");
        }
        assert!(warm_up_time("61s").is_err() && answer_time("0s").is_err() && answer_time("301s").is_err());
    }

    #[test]
    fn intensities_are_plausible() {
        assert_eq!(grid("473"), Ok(473.0));
        for wrong in ["", "-1", "2001", "NaN", "inf"] {
            assert!(grid(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_default_number_of_connections_is_in_the_range() {
        assert!((16..=128).contains(&connections()));
    }
}
