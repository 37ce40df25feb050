//! What a run found: tables of figures, for people as Markdown and for programs as JSON.
//!
//! ```text
//! subcommand -> sections -> Markdown, JSON, chart
//! ```
//!
//! Invariant: no figure without its unit, and none without its rounds: medians and spreads are taken here,
//! and what they were taken of is in the JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::stats::Figure;

/// One table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Section {
    /// The subcommand that measured it.
    pub(crate) bench: &'static str,
    /// What was measured.
    pub(crate) title: String,
    /// Under which conditions, a sentence or two each.
    pub(crate) conditions: Vec<String>,
    /// Of every row's figures.
    pub(crate) columns: Vec<Column>,
    /// Side by side.
    pub(crate) rows: Vec<Row>,
    /// What to know when reading it.
    pub(crate) notes: Vec<String>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Column {
    /// The quantity.
    pub(crate) name: &'static str,
    /// Its unit; empty for a ratio.
    pub(crate) unit: &'static str,
    /// Digits behind the point, for people.
    #[serde(skip)]
    decimals: usize,
    /// Whether people are shown smallest and largest beside the median.
    #[serde(skip)]
    spread: bool,
}

impl Column {
    /// Shown as the median with smallest and largest.
    pub(crate) const fn spread(name: &'static str, unit: &'static str, decimals: usize) -> Self {
        Self { name, unit, decimals, spread: true }
    }

    /// Shown as the median alone.
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

/// One subject, and its figure in each column.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The subject.
    pub(crate) name: String,
    /// `None` where there is nothing to measure.
    pub(crate) figures: Vec<Option<Figure>>,
}

impl Section {
    /// As Markdown, under a heading of the second level.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n", self.title);
        for condition in &self.conditions {
            // Writing to a `String` doesn't fail.
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

/// How many of something, in words.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_was_measured_and_what_was_not() {
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
