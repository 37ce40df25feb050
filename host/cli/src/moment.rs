//! Times: printed in UTC as RFC 3339 writes them, and given as such, as how long ago, or as how long.

use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A time on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Time(Timestamp),
    /// The time since then, not negative.
    Ago(SignedDuration),
}

impl Since {
    /// Returns the time, microseconds since the Unix epoch; 0 for times before it.
    pub(crate) fn unix_us(self, now: Timestamp) -> u64 {
        let time = match self {
            Self::Time(time) => time,
            Self::Ago(duration) => now.saturating_sub(duration).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        u64::try_from(time.as_microsecond()).unwrap_or(0)
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self::Time(time));
        }
        match text.parse::<SignedDuration>() {
            Ok(duration) if !duration.is_negative() => Ok(Self::Ago(duration)),
            _ => Err("a time is `2026-01-31T12:00:00Z`, or how long ago: `45s`, `10m`, `2h 30m`".to_owned()),
        }
    }
}

/// Returns a time as text, to the millisecond.
pub(crate) fn iso(unix_us: u64) -> String {
    let time = i64::try_from(unix_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    time.map_or_else(|| unix_us.to_string(), |time| format!("{time:.3}"))
}

/// Returns a time as text, to the second.
pub(crate) fn iso_seconds(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|s| Timestamp::from_second(s).ok());
    time.map_or_else(|| unix_s.to_string(), |time| format!("{time:.0}"))
}

/// A time for which something is valid, at least a second. A day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime(u64);

impl Lifetime {
    /// Returns the time, seconds.
    pub(crate) fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration =
            text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        match duration.map(|duration| u64::try_from(duration.as_secs())) {
            Ok(Ok(seconds @ 1..)) => Ok(Self(seconds)),
            _ => Err("a time is `90s`, `12h`, `30d`, `2w` or `1d 12h`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601_in_utc() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(1_798_761_599_999_999), "2026-12-31T23:59:59.999Z");
        assert_eq!(iso(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn a_lifetime_has_units_up_to_weeks() {
        for (text, seconds) in [
            ("1s", 1),
            ("90s", 90),
            ("5m", 300),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
            ("1d 12h", 129_600),
            ("P1D", 86_400),
        ] {
            assert_eq!(text.parse(), Ok(Lifetime(seconds)), "{text}");
        }
        for wrong in ["", "0s", "10ms", "-1d", "1d ago", "30", "1y", "1mo", "soon", "2026-01-31"] {
            assert!(wrong.parse::<Lifetime>().is_err(), "{wrong}");
        }
        assert_eq!(iso_seconds(1_798_761_599), "2026-12-31T23:59:59Z");
        assert_eq!(iso_seconds(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn a_time_is_absolute_or_relative() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-01-31T11:00:00Z", "2026-01-31T11:00:00Z"),
            ("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00Z"),
            ("45s", "2026-01-31T11:59:15Z"),
            ("10m", "2026-01-31T11:50:00Z"),
            ("2h 30m", "2026-01-31T09:30:00Z"),
            ("2h30m", "2026-01-31T09:30:00Z"),
            ("PT1H", "2026-01-31T11:00:00Z"),
        ] {
            let expected: Timestamp = time.parse().unwrap();
            let since: Since = text.parse().unwrap();
            assert_eq!(since.unix_us(now), u64::try_from(expected.as_microsecond()).unwrap(), "{text}");
        }
        assert_eq!("1900-01-01T00:00:00Z".parse::<Since>().unwrap().unix_us(now), 0);
        for wrong in ["", "10", "yesterday", "-10m", "10m ago", "2026-01-31"] {
            assert!(wrong.parse::<Since>().is_err(), "{wrong}");
        }
    }
}
