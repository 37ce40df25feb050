//! The table of functions: its columns, their order, and the part that fits a width.

use std::cmp::Ordering;

use super::figures::FunctionFigures;
use crate::figures::{bytes, share, si, three_digits};
use crate::stats::Percentile;

/// The least width of the column of names.
const NAME_WIDTH_MIN: usize = 12;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    Calls,
    P50,
    P99,
    Hits,
    Cold,
    Errors,
    Power,
    Cpu,
    Queue,
    Load,
    Input,
    Output,
}

impl Column {
    /// Every column, in order. Those at the end are left out first.
    const ALL: [Self; 13] = [
        Self::Name,
        Self::Calls,
        Self::P50,
        Self::P99,
        Self::Hits,
        Self::Cold,
        Self::Errors,
        Self::Power,
        Self::Cpu,
        Self::Queue,
        Self::Load,
        Self::Input,
        Self::Output,
    ];

    fn heading(self) -> &'static str {
        match self {
            Self::Name => "function",
            Self::Calls => "calls/s",
            Self::P50 => "run p50",
            Self::P99 => "run p99",
            Self::Hits => "hits",
            Self::Cold => "cold/s",
            Self::Errors => "errors/s",
            Self::Power => "power",
            Self::Cpu => "cpu",
            Self::Queue => "queue p99",
            Self::Load => "load p99",
            Self::Input => "in/s",
            Self::Output => "out/s",
        }
    }

    /// Returns the key that sorts by the column.
    fn key(self) -> char {
        match self {
            Self::Name => 'n',
            Self::Calls => 'r',
            Self::P50 => 'p',
            Self::P99 => '9',
            Self::Hits => 'h',
            Self::Cold => 'c',
            Self::Errors => 'e',
            Self::Power => 'w',
            Self::Cpu => 'u',
            Self::Queue => 'y',
            Self::Load => 'l',
            Self::Input => 'i',
            Self::Output => 'o',
        }
    }

    /// Returns the column that a key sorts by.
    pub(crate) fn of_key(key: char) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.key() == key)
    }

    /// Returns the width of a column of figures, with the arrow that marks the order.
    fn width(self) -> usize {
        match self {
            Self::Name => NAME_WIDTH_MIN,
            Self::Hits | Self::Cold => 7,
            Self::Calls | Self::P50 | Self::P99 | Self::Power | Self::Cpu => 8,
            Self::Errors | Self::Load | Self::Input | Self::Output => 9,
            Self::Queue => 10,
        }
    }

    fn cell(self, row: &FunctionFigures) -> String {
        let FunctionFigures { name, figures } = row;
        let of = |percentile: Option<Percentile>| percentile.map_or_else(dash, |found| found.to_string());
        let size = |per_s: f64| bytes(per_s.round() as u64);
        match self {
            Self::Name => name.to_string(),
            Self::Calls => three_digits(figures.calls_per_s),
            Self::P50 => of(figures.run_p50),
            Self::P99 => of(figures.run_p99),
            Self::Hits => figures.hit_ratio.map_or_else(dash, share),
            Self::Cold => three_digits(figures.cold_starts_per_s),
            Self::Errors => three_digits(figures.errors_per_s),
            Self::Power => si(figures.watts, "W"),
            Self::Cpu => share(figures.cores),
            Self::Queue => of(figures.queue_p99),
            Self::Load => of(figures.load_p99),
            Self::Input => size(figures.input_bytes_per_s),
            Self::Output => size(figures.output_bytes_per_s),
        }
    }

    /// Compares two rows: names in order, figures from high to low, absent ones last.
    fn compare(self, left: &FunctionFigures, right: &FunctionFigures) -> Ordering {
        let figure = |row: &FunctionFigures| {
            let figures = &row.figures;
            match self {
                Self::Name => Some(0.0),
                Self::Calls => Some(figures.calls_per_s),
                Self::P50 => figures.run_p50.map(Percentile::us),
                Self::P99 => figures.run_p99.map(Percentile::us),
                Self::Hits => figures.hit_ratio,
                Self::Cold => Some(figures.cold_starts_per_s),
                Self::Errors => Some(figures.errors_per_s),
                Self::Power => Some(figures.watts),
                Self::Cpu => Some(figures.cores),
                Self::Queue => figures.queue_p99.map(Percentile::us),
                Self::Load => figures.load_p99.map(Percentile::us),
                Self::Input => Some(figures.input_bytes_per_s),
                Self::Output => Some(figures.output_bytes_per_s),
            }
        };
        let (left_figure, right_figure) = (figure(left).unwrap_or(-1.0), figure(right).unwrap_or(-1.0));
        right_figure.total_cmp(&left_figure).then_with(|| left.name.cmp(&right.name))
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// Sorts rows by a column, and by name where it is the same.
pub(crate) fn sort(rows: &mut [FunctionFigures], column: Column) {
    rows.sort_by(|left, right| column.compare(left, right));
}

/// The columns that fit a width.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    columns: Vec<Column>,
    name_width: usize,
}

impl Table {
    /// Returns the table for a width. Names take what the figures leave, as far as the longest one
    /// needs it.
    pub(crate) fn fit(width: usize, rows: &[FunctionFigures]) -> Self {
        let mut columns = Vec::new();
        let mut used = 0;
        for column in Column::ALL {
            let gap = usize::from(!columns.is_empty());
            if !columns.is_empty() && used + gap + column.width() > width {
                break;
            }
            used += gap + column.width();
            columns.push(column);
        }
        let longest = rows.iter().map(|row| row.name.as_str().len()).max().unwrap_or(0);
        let rest = (width + NAME_WIDTH_MIN).saturating_sub(used);
        let name_width = longest.max(NAME_WIDTH_MIN).min(rest);
        Self { columns, name_width }
    }

    /// Returns the column beside another one, or at the end if that isn't shown.
    pub(crate) fn beside(&self, column: Column, right: bool) -> Column {
        let last = self.columns.len() - 1;
        let at = self.columns.iter().position(|shown| *shown == column).unwrap_or(last);
        let at = if right { (at + 1).min(last) } else { at.saturating_sub(1) };
        self.columns[at]
    }

    /// Returns the headings, with an arrow at the one that orders the rows.
    pub(crate) fn heading(&self, sorted: Column) -> String {
        self.line(|column| {
            let order = if column == Column::Name { "↑" } else { "↓" };
            let arrow = if column == sorted { order } else { "" };
            format!("{}{arrow}", column.heading())
        })
    }

    /// Returns the line of a function.
    pub(crate) fn row(&self, row: &FunctionFigures) -> String {
        self.line(|column| column.cell(row))
    }

    fn line(&self, cell: impl Fn(Column) -> String) -> String {
        let cells = self.columns.iter().map(|column| {
            let (cell, width) = (cell(*column), self.name_width);
            match *column == Column::Name {
                true => format!("{:width$}", clip(&cell, width)),
                false => format!("{cell:>0$}", column.width()),
            }
        });
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }
}

/// Returns the part of a text that fits a width.
pub(super) fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 { format!("{kept}…") } else { kept }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::stats::Interval;
    use crate::stats::samples::{answer, calls};

    fn rows(functions: &[(&str, u64)]) -> Vec<FunctionFigures> {
        let counts: Vec<_> = functions.iter().map(|(name, count)| (*name, calls(*count))).collect();
        let (before, now) = (answer(1, &[]), answer(3, &counts));
        FunctionFigures::of_all(&Interval::between(&before, &now).unwrap(), &now.bucket_bounds_us)
    }

    #[test]
    fn the_widest_columns_fit_80_characters() {
        let rows = rows(
            &[
                ("csv-stats", 3000),
                ("a-function-with-a-name-of-sixty-three-characters-which-is-most-of-all", 1),
            ]
            .map(|(name, count)| (&name[..name.len().min(63)], count)),
        );
        let table = Table::fit(80, &rows);
        let heading = table.heading(Column::Calls);
        let expected = "function           calls/s↓  run p50  run p99    hits  cold/s  errors/s    power";
        assert_eq!(heading, expected);
        let lines: Vec<_> = rows.iter().map(|row| table.row(row)).collect();
        assert_eq!(
            lines[1],
            "csv-stats              1500    55 µs  99.1 µs     0 %       0         0    750 W"
        );
        assert!(lines[0].starts_with("a-function-with-a…"), "{}", lines[0]);
        for width in 0..300 {
            let table = Table::fit(width, &rows);
            for line in rows.iter().map(|row| table.row(row)).chain([table.heading(Column::Name)]) {
                let shown = line.chars().count();
                assert!(shown <= width.max(NAME_WIDTH_MIN), "{shown} of {width}: {line}");
            }
        }
        let whole = Table::fit(usize::MAX / 2, &rows);
        assert_eq!(whole.columns, Column::ALL);
        assert!(whole.row(&rows[0]).starts_with(rows[0].name.as_str()));
    }

    #[test]
    fn rows_are_sorted_by_a_figure_then_by_name() {
        let mut rows = rows(&[("a", 5), ("b", 50), ("c", 5), ("d", 0)]);
        let names =
            |rows: &[FunctionFigures]| rows.iter().map(|row| row.name.to_string()).collect::<String>();
        for (column, order) in [
            (Column::Calls, "bacd"),
            (Column::Name, "abcd"),
            (Column::Power, "bacd"),
            // The function without runs has no percentile.
            (Column::P50, "acbd"),
            (Column::Errors, "abcd"),
        ] {
            sort(&mut rows, column);
            assert_eq!(names(&rows), order, "{column:?}");
        }
    }

    #[test]
    fn every_column_has_a_key_of_its_own() {
        let keys: HashSet<_> = Column::ALL.into_iter().map(Column::key).collect();
        assert_eq!(keys.len(), Column::ALL.len());
        assert!(!keys.contains(&'q'), "`q` quits");
        for column in Column::ALL {
            assert_eq!(Column::of_key(column.key()), Some(column));
            // With the arrow.
            assert!(column.heading().len() < column.width(), "{column:?}");
        }
    }

    #[test]
    fn arrows_move_among_the_columns_that_are_shown() {
        let narrow = Table::fit(30, &[]);
        assert_eq!(narrow.columns, [Column::Name, Column::Calls, Column::P50]);
        assert_eq!(narrow.beside(Column::Calls, true), Column::P50);
        assert_eq!(narrow.beside(Column::P50, true), Column::P50);
        assert_eq!(narrow.beside(Column::Name, false), Column::Name);
        // The terminal has become narrower.
        assert_eq!(narrow.beside(Column::Power, false), Column::Calls);
    }
}
