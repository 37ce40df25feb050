//! Times: printed in UTC as RFC 3339 writes them, and given as such or as how long ago.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

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
