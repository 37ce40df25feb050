//! A chart of the most important figures for the documentation, legible on light and on dark
//! backgrounds.

use std::fmt::Write;

use crate::results::Section;

/// A column of a section to draw.
struct Panel {
    /// The subcommand of the section.
    bench: &'static str,
    /// The beginning of the section's title.
    title: &'static str,
    column: &'static str,
}

const PANELS: [Panel; 4] = [
    Panel { bench: "throughput", title: "Throughput: echo of 36 B over 32", column: "throughput" },
    Panel { bench: "latency", title: "Latency at 50 %", column: "p99" },
    Panel { bench: "start", title: "Start", column: "exec to first answer" },
    Panel { bench: "mixed", title: "Mixed", column: "p99" },
];

const WIDTH: u32 = 860;
const NAMES_WIDTH: u32 = 380;
/// The width reserved for the number behind the longest bar.
const NUMBER_WIDTH: u32 = 110;
const ROW_HEIGHT: u32 = 24;
const TITLE_HEIGHT: u32 = 40;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}\
    .peer{fill:#8c959f}.nebula{fill:#0969da}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.peer{fill:#6e7681}.nebula{fill:#4493f8}}";

/// Draws the panels of [`PANELS`] whose sections were measured.
pub(crate) fn svg(sections: &[&Section]) -> String {
    let mut body = String::new();
    let mut y = 0;
    for Panel { bench, title, column } in PANELS {
        let found =
            sections.iter().find(|section| section.bench == bench && section.title.starts_with(title));
        if let Some(section) = found {
            y += draw_panel(&mut body, y, section, column);
        }
    }
    let height = y + 10;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

/// Draws the column `name` of a section below `y`, and returns the height of the panel.
fn draw_panel(body: &mut String, y: u32, section: &Section, name: &str) -> u32 {
    let Some(index) = section.columns.iter().position(|column| column.name == name) else { return 0 };
    let unit = section.columns[index].unit;
    let bars: Vec<(&str, f64)> = section
        .rows
        .iter()
        .filter_map(|row| Some((row.name.as_str(), row.figures.get(index)?.as_ref()?.median)))
        .collect();
    let longest = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    // Writing to a `String` can't fail.
    let _ = writeln!(
        body,
        "<text class=\"title\" x=\"10\" y=\"{}\">{}: {}, {}</text>",
        y + 28,
        escape(&section.title),
        escape(name),
        escape(unit)
    );
    let mut top = y + TITLE_HEIGHT;
    for (name, value) in bars {
        let class = if name.contains("nebula") { "nebula" } else { "peer" };
        let width = value / longest * f64::from(WIDTH - NAMES_WIDTH - NUMBER_WIDTH);
        let text_y = top + 16;
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{text_y}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{NAMES_WIDTH}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"{text_y}\">{}</text>",
            NAMES_WIDTH - 10,
            escape(name),
            top + 3,
            width.max(1.0),
            ROW_HEIGHT - 6,
            f64::from(NAMES_WIDTH) + width + 8.0,
            number(value)
        );
        top += ROW_HEIGHT;
    }
    top - y
}

/// Formats a number with separators between thousands, and with one decimal below 100.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Column, Row};
    use crate::stats::Figure;

    #[test]
    fn measured_sections_are_drawn() {
        let row = |name: &str, value| Row { name: name.to_owned(), figures: vec![Figure::of([value])] };
        let section = Section {
            bench: "start",
            title: "Start <now>".to_owned(),
            conditions: Vec::new(),
            columns: vec![Column::spread("exec to first answer", "ms", 2)],
            rows: vec![row("hyper alone", 2.0), row("nebula", 12345.6)],
            notes: Vec::new(),
        };
        let svg = svg(&[&section]);
        assert!(svg.contains("Start &lt;now&gt;: exec to first answer, ms"));
        assert!(svg.contains(">12,346<") && svg.contains(">2.0<"));
        assert_eq!(svg.matches("<rect").count(), 2);
        assert_eq!(svg.matches("<rect class=\"nebula\"").count(), 1);
    }
}
