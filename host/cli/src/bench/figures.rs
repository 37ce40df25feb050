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
pub(super) fn three_digits(number: f64) -> String {
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

pub(super) fn bytes(bytes: u64) -> String {
    format!("{} MiB", three_digits(bytes as f64 / (1 << 20) as f64))
}

pub(super) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "0 %".to_owned(),
        _ => format!("{} %", three_digits(part as f64 / whole as f64 * 100.0)),
    }
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
        assert_eq!(
            (three_digits(0.063), three_digits(1.0), three_digits(0.9996)),
            ("0.063".into(), "1".into(), "1".into())
        );
    }
}
