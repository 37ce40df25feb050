//! Figures as people read them: three digits and a unit.

use std::time::Duration;

/// Returns a duration with three digits and its unit: `63 µs`, `1.25 ms`.
pub(crate) fn duration(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    match us {
        ..999.5 => format!("{} µs", three_digits(us)),
        ..999_500.0 => format!("{} ms", three_digits(us / 1e3)),
        _ => format!("{} s", three_digits(us / 1e6)),
    }
}

/// Returns a number with three digits, without zeros at its end.
pub(crate) fn three_digits(number: f64) -> String {
    let decimals = match number {
        99.95.. => 0,
        9.995.. => 1,
        0.9995.. => 2,
        _ => 3,
    };
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Returns a size with three digits and its unit: `512 B`, `4.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [(0, "B"), (10, "KiB"), (20, "MiB"), (30, "GiB"), (40, "TiB")];
    let scaled = units.map(|(shift, unit)| (bytes as f64 / (1_u64 << shift) as f64, unit));
    // The last unit takes any size.
    let fits = |(size, _): &&(f64, &str)| *size < 999.5;
    let (size, unit) = scaled.iter().find(fits).unwrap_or(&scaled[scaled.len() - 1]);
    format!("{} {unit}", three_digits(*size))
}

/// Returns energy or power with three digits: `12.3 mW`.
pub(crate) fn si(value: f64, unit: &str) -> String {
    let (scaled, prefix) = match value {
        0.0 => (value, ""),
        ..0.000_999_5 => (value * 1e6, "µ"),
        ..0.999_5 => (value * 1e3, "m"),
        ..999.5 => (value, ""),
        _ => (value / 1e3, "k"),
    };
    format!("{} {prefix}{unit}", three_digits(scaled))
}

/// Returns an age in its two largest units: `3 d 4 h`.
pub(crate) fn age(age: Duration) -> String {
    let s = age.as_secs();
    match s {
        ..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// Returns a share, 0 without a whole.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => share(0.0),
        _ => share(part as f64 / whole as f64),
    }
}

/// Returns a share from 0 to 1 with three digits: `33.3 %`.
pub(crate) fn share(share: f64) -> String {
    format!("{} %", three_digits(share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (ns, shown) in [
            (0, "0 µs"),
            (63_000, "63 µs"),
            (1_250, "1.25 µs"),
            (999_400, "999 µs"),
            (999_600, "1 ms"),
            (12_345_000, "12.3 ms"),
            (150_000_000, "150 ms"),
            (999_999_999, "1 s"),
            (61_000_000_000, "61 s"),
            (7_200_000_000_000, "7200 s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(ns)), shown, "{ns}");
        }
    }

    #[test]
    fn shares_and_sizes_are_short() {
        assert_eq!((percent(1999, 2000).as_str(), percent(0, 0).as_str()), ("100 %", "0 %"));
        assert_eq!((percent(1, 3).as_str(), bytes(9 << 19).as_str()), ("33.3 %", "4.5 MiB"));
        for (size, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.977 KiB"),
            (999 << 10, "999 KiB"),
            (1 << 30, "1 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(bytes(size), shown);
        }
        assert_eq!(
            (three_digits(0.063), three_digits(1.0), three_digits(0.9996)),
            ("0.063".into(), "1".into(), "1".into())
        );
    }

    #[test]
    fn powers_and_ages_have_their_units() {
        for (watts, shown) in [
            (0.0, "0 W"),
            (1.25e-5, "12.5 µW"),
            (0.000_999_6, "1 mW"),
            (0.0123, "12.3 mW"),
            (0.9996, "1 W"),
            (38.04, "38 W"),
            (1234.0, "1.23 kW"),
        ] {
            assert_eq!(si(watts, "W"), shown);
        }
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3_599, "59 min 59 s"),
            (11_520, "3 h 12 min"),
            (86_400, "1 d 0 h"),
            (40_000_000, "462 d 23 h"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), shown);
        }
    }
}
