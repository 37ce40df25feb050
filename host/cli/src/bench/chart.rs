//! A histogram of latencies in plain text: a row for each range, ranges that grow by a factor.
//!
//! ```text
//!   ≤ 63 µs   ██████████▌              120   6.0 %
//!   ≤ 80 µs   ████████████████████▏    229  11.5 %
//! ```
//!
//! The bounds are preferred numbers (ISO 3): round, and evenly spaced on a logarithmic scale. The
//! finest series whose rows fit is used.

use std::time::Duration;

use super::tally::{Counted, Latencies};
use crate::figures::duration;

/// The bounds of a decade, from the finest series to the coarsest: R20, R10, R5, 1-2-5, and two.
const SERIES: [&[f64]; 5] = [
    &[
        1.0, 1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 2.24, 2.5, 2.8, 3.15, 3.55, 4.0, 4.5, 5.0, 5.6, 6.3, 7.1, 8.0,
        9.0,
    ],
    &[1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0],
    &[1.0, 1.6, 2.5, 4.0, 6.3],
    &[1.0, 2.0, 5.0],
    &[1.0, 3.15],
];

/// The most rows. The coarsest series has no more for latencies from a microsecond to hours.
const ROWS_MAX: usize = 20;

/// The exponents of the decades that a bound can be in, nanoseconds.
const DECADES: std::ops::Range<i32> = 0..14;

/// A range of latencies with the number of requests in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// The upper bound, which belongs to the range. The lower one is that of the row before.
    pub(super) up_to: Duration,
    pub(super) requests: u64,
}

/// Returns the ranges from the shortest latency to the longest, without gaps.
pub(super) fn bars(latencies: &Latencies) -> Vec<Bar> {
    let counted: Vec<_> = latencies.counted().collect();
    let finest = SERIES.iter().map(|series| bars_of(series, &counted)).find(|bars| bars.len() <= ROWS_MAX);
    finest.unwrap_or_else(|| bars_of(SERIES[SERIES.len() - 1], &counted))
}

/// Counts latencies, which are in order, in the ranges of a series.
fn bars_of(series: &[f64], counted: &[Counted]) -> Vec<Bar> {
    let bounds = DECADES.flat_map(|decade| series.iter().map(move |bound| bound * 10_f64.powi(decade)));
    let mut rest = counted.iter().peekable();
    let mut bars = Vec::new();
    for bound_ns in bounds {
        let up_to = Duration::from_nanos(bound_ns.round() as u64);
        let mut requests = 0;
        while let Some(counted) = rest.next_if(|counted| counted.latency <= up_to) {
            requests += counted.requests;
        }
        if requests > 0 || !bars.is_empty() {
            bars.push(Bar { up_to, requests });
        }
        if rest.peek().is_none() {
            break;
        }
    }
    bars
}

/// Draws ranges in lines of at most `columns` columns, if there is room for labels.
pub(super) fn draw(bars: &[Bar], columns: usize) -> String {
    let total: u64 = bars.iter().map(|bar| bar.requests).sum();
    let most = bars.iter().map(|bar| bar.requests).max().unwrap_or(0);
    let digits = most.to_string().len();
    // The label, the share, and the spaces between the parts.
    let room = columns.saturating_sub("  ≤ 99.9 ms  ".chars().count() + digits + "   100.0 %".len()).max(8);
    let mut text = String::new();
    for Bar { up_to, requests } in bars {
        let share = *requests as f64 / total as f64;
        let bar = block(*requests as f64 / most as f64 * room as f64);
        let padding = room - bar.chars().count();
        let label = duration(*up_to);
        text.push_str(&format!(
            "  ≤ {label:>7}  {bar}{:padding$} {requests:>digits$}  {:>5.1} %\n",
            "",
            share * 100.0
        ));
    }
    text
}

/// Returns a bar of a length in columns, to the eighth of one. A length above 0 is visible.
fn block(length: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (length * 8.0).round() as usize;
    let eighths = if length > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(us: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::new();
        us.into_iter().for_each(|us| latencies.record(Duration::from_micros(us)));
        latencies
    }

    #[test]
    fn every_request_is_in_one_range() {
        for values in [
            vec![1],
            vec![50; 9],
            (1..5000).collect(),
            vec![3, 900_000_000],
            (1..20).map(|at| 1 << at).collect(),
        ] {
            let (count, longest) = (values.len() as u64, values[values.len() - 1]);
            let bars = bars(&latencies(values));
            assert_eq!(bars.iter().map(|bar| bar.requests).sum::<u64>(), count);
            assert!(bars.len() <= 24, "{}", bars.len());
            assert!(bars.windows(2).all(|pair| pair[0].up_to < pair[1].up_to));
            assert!(bars[0].requests > 0 && bars[bars.len() - 1].requests > 0);
            assert!(bars[bars.len() - 1].up_to >= Duration::from_micros(longest));
        }
        assert_eq!(bars(&Latencies::new()), []);
    }

    #[test]
    fn ranges_are_finer_where_latencies_are_close() {
        let ratio = |bars: &[Bar]| bars[1].up_to.as_secs_f64() / bars[0].up_to.as_secs_f64();
        let close = bars(&latencies([100, 110, 130, 150]));
        let wide = bars(&latencies([1, 100, 10_000, 1_000_000]));
        assert!(ratio(&close) < 1.2 && ratio(&wide) > 1.4, "{close:?} {wide:?}");
    }

    #[test]
    fn a_drawing_has_bars_counts_and_shares() {
        let values = [vec![95; 30], vec![120; 60], vec![900; 9], vec![2_000_000]].concat();
        let drawn = draw(&bars(&latencies(values)), 60);
        let rows: Vec<_> = drawn.lines().collect();
        for row in &rows {
            assert!(row.chars().count() <= 60, "{row}");
        }
        let row = |label: &str| *rows.iter().find(|row| row.contains(label)).unwrap();
        let columns = |row: &str| row.chars().filter(|c| *c == '█').count();
        assert!(row("60  ").contains("60.0 %"));
        assert!(columns(row("60.0 %")).abs_diff(2 * columns(row("30.0 %"))) <= 1, "{drawn}");
        let is_visible = |row: &str| row.chars().any(|c| ('█'..='▏').contains(&c));
        assert!(is_visible(row(" 1.0 %")) && !is_visible(row(" 0.0 %")), "{drawn}");
        assert!(rows.iter().any(|row| row.contains("0.0 %")), "empty ranges are shown");
        assert!(draw(&[], 80).is_empty());
    }

    #[test]
    fn drawings_follow_the_width() {
        let bars = bars(&latencies((1..1000).map(|at| at * 10)));
        for columns in [10, 40, 80, 200] {
            let widest = draw(&bars, columns).lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest == columns.max(widest.min(35)), "{columns}: {widest}");
        }
    }
}
