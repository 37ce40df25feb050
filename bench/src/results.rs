//! The results of a run: tables of figures, as Markdown for people and as JSON for programs.
//!
//! ```text
//! subcommand -> sections -> Markdown, JSON, chart
//! ```
//!
//! Invariant: every figure has a unit and the values of its rounds. Markdown shows medians and
//! spreads; JSON also holds the rounds.

use std::fmt::Write;

use serde::Serialize;

use crate::stats::Figure;

/// One table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Section {
    /// The subcommand that measured the figures.
    pub(crate) bench: &'static str,
    pub(crate) title: String,
    /// The conditions of the measurement, a sentence or two each.
    pub(crate) conditions: Vec<String>,
    /// The columns, in the order of every row's figures.
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// Remarks that help to interpret the figures.
    pub(crate) notes: Vec<String>,
}

/// The quantity and the format of a column.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Column {
    /// The quantity.
    pub(crate) name: &'static str,
    /// The unit; empty for a ratio.
    pub(crate) unit: &'static str,
    /// The decimals in Markdown.
    #[serde(skip)]
    decimals: usize,
    /// True if Markdown shows the smallest and the largest value beside the median.
    #[serde(skip)]
    spread: bool,
}

impl Column {
    /// Creates a column that shows the median with the smallest and the largest value.
    pub(crate) const fn spread(name: &'static str, unit: &'static str, decimals: usize) -> Self {
        Self { name, unit, decimals, spread: true }
    }

    /// Creates a column that shows the median only.
    pub(crate) const fn median(name: &'static str, unit: &'static str, decimals: usize) -> Self {
        Self { name, unit, decimals, spread: false }
    }

    fn cell(&self, figure: Option<&Figure>) -> String {
        let Some(figure) = figure else { return "–".to_owned() };
        let decimals = self.decimals;
        let Figure { median, min, max, rounds } = figure;
        if self.spread && rounds.len() > 1 {
            format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
        } else {
            format!("{median:.decimals$}")
        }
    }
}

/// The figures of one subject.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The name of the subject.
    pub(crate) name: String,
    /// A figure per column, or `None` if the subject has no such quantity.
    pub(crate) figures: Vec<Option<Figure>>,
}

impl Section {
    /// Renders the table as Markdown, under a heading of the second level.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n", self.title);
        for condition in &self.conditions {
            // Writing to a `String` can't fail.
            let _ = writeln!(text, "{condition}\n");
        }
        let heads = self.columns.iter().map(|column| match column.unit {
            "" => column.name.to_owned(),
            unit => format!("{}, {unit}", column.name),
        });
        let _ = writeln!(text, "| | {} |", heads.collect::<Vec<_>>().join(" | "));
        let _ = writeln!(text, "|---|{}", "--:|".repeat(self.columns.len()));
        for row in &self.rows {
            let cells = self.columns.iter().zip(&row.figures);
            let cells: Vec<_> = cells.map(|(column, figure)| column.cell(figure.as_ref())).collect();
            let _ = writeln!(text, "| {} | {} |", row.name, cells.join(" | "));
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }
}

/// Formats a count with the singular or plural of `noun`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_figures_and_gaps() {
        let section = Section {
            bench: "call",
            title: "One call".to_owned(),
            conditions: vec!["In process.".to_owned()],
            columns: vec![Column::spread("latency", "µs", 1), Column::median("ratio", "", 2)],
            rows: vec![
                Row { name: "a".to_owned(), figures: vec![Figure::of([1.0, 3.0]), None] },
                Row { name: "b".to_owned(), figures: vec![Figure::of([4.0]), Figure::of([1.0, 2.0])] },
            ],
            notes: vec!["That is all.".to_owned()],
        };
        let expected = "## One call\n\nIn process.\n\n| | latency, µs | ratio |\n|---|--:|--:|\n\
                        | a | 2.0 (1.0–3.0) | – |\n| b | 4.0 | 1.50 |\n\nThat is all.\n";
        assert_eq!(section.markdown(), expected);
    }
}
