//! A pipeline drawn for the terminal, top to bottom.
//!
//! ```text
//!   │ list<string>         the type that flows
//! ┌─┴─┬─ each item         the steps between `┌` and `└` get a part of the value
//! │   │ string
//! │ ┌─▼──────┐
//! │ │ sha256 │             a call; any other step is a line, `┼─ select .`
//! │ └─┬──────┘
//! │   ▼ string
//! └─┬
//!   ▼ list<string>
//! ```
//!
//! Inner steps are indented and never side by side, so the width of a drawing depends on its depth
//! alone.

use nebula_pipeline::View;

use crate::legible::{columns, shorten};
use crate::outline::PlacedStep;

/// The widest drawing of a pipeline within the bound on depth, columns.
const COLUMNS_MAX: usize = 100;

/// The widest mark before or around a text, columns: `├───┬─ `.
const MARK_COLUMNS_MAX: usize = 7;

/// The longest text, columns.
const TEXT_COLUMNS_MAX: usize = 60;

/// The least space that a text gets at any depth, columns.
const TEXT_COLUMNS_MIN: usize = 24;

/// Draws a pipeline for a terminal, in at most 100 columns.
pub fn text(view: &View) -> String {
    let mut drawing = Drawing { out: String::new(), bars: String::new() };
    drawing.flow(&PlacedStep::root(view), Some(&view.takes));
    drawing.out
}

struct Drawing {
    out: String,
    /// The left part of every line: the bars of the enclosing steps.
    bars: String,
}

impl Drawing {
    /// Draws the steps that run in `whole` and the types that flow into the first (if `takes` is
    /// given), between them, and out of the last.
    fn flow(&mut self, whole: &PlacedStep<'_>, takes: Option<&str>) {
        let steps = whole.steps();
        if let Some(takes) = takes.filter(|_| !steps.is_empty()) {
            self.line("  │ ", takes);
        }
        for (index, step) in steps.iter().enumerate() {
            self.step(step);
            if index + 1 < steps.len() {
                self.line("  │ ", &step.view.gives);
            }
        }
        self.line("  ▼ ", &whole.view.gives);
    }

    fn step(&mut self, step: &PlacedStep<'_>) {
        let title = step.title();
        if let Some(inner) = step.repeated() {
            self.line("┌─┴─┬─ ", &title);
            self.inside(&inner, true);
            self.line("└─┬", "");
        } else if !step.view.inner.is_empty() {
            self.line("┌─┴─ ", &title);
            // Each branch of `all` takes the type shown above it.
            let shows_takes = step.view.kind != "all";
            for (name, inner) in step.branches() {
                self.line("├───┬─ ", &name);
                self.inside(&inner, shows_takes);
            }
            self.line("└─┬", "");
        } else if step.view.kind == "call" {
            let title = shorten(&title, self.text_columns_max());
            let width = columns(&title) + 2;
            self.line(&format!("┌─▼{}┐", "─".repeat(width.saturating_sub(2))), "");
            self.line(&format!("│ {title} │"), "");
            self.line(&format!("└─┬{}┘", "─".repeat(width.saturating_sub(2))), "");
        } else {
            self.line("  ┼─ ", &title);
        }
    }

    fn inside(&mut self, inner: &PlacedStep<'_>, shows_takes: bool) {
        let outside = self.bars.len();
        self.bars.push_str("│ ");
        self.flow(inner, shows_takes.then_some(inner.view.takes.as_str()));
        self.bars.truncate(outside);
    }

    fn line(&mut self, drawn: &str, text: &str) {
        let text = shorten(text, self.text_columns_max());
        let line = format!("{}{drawn}{text}", self.bars);
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn text_columns_max(&self) -> usize {
        let left = COLUMNS_MAX.saturating_sub(columns(&self.bars) + MARK_COLUMNS_MAX);
        left.clamp(TEXT_COLUMNS_MIN, TEXT_COLUMNS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn branches_are_drawn_one_below_the_other() {
        let expected = "  │ payload
┌─▼─────────┐
│ thumbnail │
└─┬─────────┘
  │ payload
┌─┴─ all
├───┬─ image
│   ┼─ select .
│   ▼ payload
├───┬─ top
│   ┼─ constant \"hi\"
│   ▼ \"hi\"
└─┬
  │ record { image: payload, top: \"hi\" }
┌─▼──────────┐
│ memeify@v2 │
└─┬──────────┘
  │ list<u8>
┌─▼──────┐
│ sha256 │
└─┬──────┘
  ▼ string
";
        assert_eq!(text(&samples::meme()), expected);
    }

    #[test]
    fn repeated_steps_are_drawn_inside_of_bars() {
        let expected = "  │ list<record { seed: u64, trials: u32 }>
┌─┴─┬─ each item
│   │ record { seed: u64, trials: u32 }
│ ┌─▼──────┐
│ │ trials │
│ └─┬──────┘
│   ▼ record { inside: u64, trials: u64 }
└─┬
  │ list<record { inside: u64, trials: u64 }>
┌─▼────────┐
│ estimate │
└─┬────────┘
  ▼ f64
";
        assert_eq!(text(&samples::reduce()), expected);
        assert!(text(&samples::group()).contains("\n┌─┴─┬─ by region\n"));
    }

    #[test]
    fn lines_are_short_and_have_no_trailing_space() {
        for view in [samples::choice(), samples::group(), samples::nested(4)] {
            for line in text(&view).lines() {
                assert!(columns(line) <= 100, "{line}");
                assert_eq!(line, line.trim_end());
                assert!(!line.is_empty());
            }
        }
    }

    #[test]
    fn types_stay_legible_at_any_depth() {
        let ty = "list<record { region: string, amount: f64 }>";
        let deep = (0..31).fold(samples::call("sum", ty, "f64"), |inner, _| {
            samples::step("each", "", ty, ty, vec![(None, inner)])
        });
        let drawn = text(&deep);
        assert!(drawn.contains("│   │ list<record { region…nt: f64 }>\n"), "{drawn}");
        assert!(drawn.lines().all(|line| columns(line) <= 100), "{drawn}");
    }

    #[test]
    fn empty_and_unknown_steps_are_drawn() {
        let pass = samples::step("sequence", "", "u8", "u8", Vec::new());
        assert_eq!(text(&pass), "  ▼ u8\n");
        let unknown = samples::step("race", "first", "u8", "u8", vec![(None, pass.clone())]);
        assert_eq!(text(&unknown), "  │ u8\n┌─┴─ race first\n├───┬─ 0\n│   ▼ u8\n└─┬\n  ▼ u8\n");
        let leaf = samples::step("wait", "", "u8", "u8", Vec::new());
        assert_eq!(text(&leaf), "  │ u8\n  ┼─ wait\n  ▼ u8\n");
    }
}
