//! Charts of dots on a logarithmic axis, legible on light and on dark backgrounds.
//!
//! ```text
//! name            ├──●──┤     ├──◆──┤        ├──■──┤
//!               1 µs    10 µs    100 µs    1 ms
//! ```
//!
//! A dot is a median, its line the confidence interval. The shapes differ, so that no color is
//! needed to tell the sizes apart.

use std::fmt::Write;

use super::interval::Estimate;

/// The quantity of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The values are microseconds.
    Time,
    /// The values are bytes.
    Bytes,
    /// The values are joules.
    Energy,
    /// The values are grams.
    Mass,
    /// The values are numbers per second.
    Rate,
}

/// The kind of platform, which decides the color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nebula,
    Native,
    Wasm,
    Container,
    /// A virtual machine.
    Machine,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Nebula => "nebula",
            Self::Native => "native",
            Self::Wasm => "wasm",
            Self::Container => "container",
            Self::Machine => "machine",
        }
    }
}

/// A row of a chart: a name and a dot for each size.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Small, medium and large.
    pub(crate) dots: [Option<Estimate>; 3],
}

/// A chart.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    /// The quantity in words.
    pub(crate) axis: &'static str,
    pub(crate) unit: Unit,
    /// The meaning of the shapes, in the order of the dots; empty if there is only one.
    pub(crate) legend: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

const WIDTH: f64 = 860.0;
/// The least room for names.
const NAMES_WIDTH: f64 = 210.0;
const PLOT_RIGHT: f64 = WIDTH - 30.0;
const ROW_HEIGHT: f64 = 26.0;
const HEAD_HEIGHT: f64 = 40.0;
const LEGEND_HEIGHT: f64 = 24.0;

/// The colors are those of Okabe and Ito, which readers with any color vision can tell apart, and
/// lighter ones for dark backgrounds.
const STYLE: &str = ".dots text{font:13px system-ui,sans-serif;fill:#24292f}\
    .dots .title{font-weight:600}.dots .tick{fill:#57606a;font-size:12px}\
    .dots .grid{stroke:#d0d7de}.dots .band{fill:#f6f8fa}\
    .dots .nebula{fill:#0072b2;stroke:#0072b2}.dots .native{fill:#57606a;stroke:#57606a}\
    .dots .wasm{fill:#009e73;stroke:#009e73}.dots .container{fill:#d55e00;stroke:#d55e00}\
    .dots .machine{fill:#b05a8c;stroke:#b05a8c}\
    @media(prefers-color-scheme:dark){.dots text{fill:#e6edf3}.dots .tick{fill:#9198a1}\
    .dots .grid{stroke:#3d444d}.dots .band{fill:#161b22}\
    .dots .nebula{fill:#56b4e9;stroke:#56b4e9}.dots .native{fill:#b1bac4;stroke:#b1bac4}\
    .dots .wasm{fill:#2fc79b;stroke:#2fc79b}.dots .container{fill:#f0883e;stroke:#f0883e}\
    .dots .machine{fill:#e19ac5;stroke:#e19ac5}}";

impl Chart {
    /// Draws the chart, or returns `None` if it has no dot.
    pub(crate) fn svg(&self) -> Option<String> {
        let all = || self.lines.iter().flat_map(|line| line.dots.iter().flatten());
        let smallest = all().map(|dot| dot.low).filter(|value| *value > 0.0).min_by(f64::total_cmp)?;
        let largest = all().map(|dot| dot.high).max_by(f64::total_cmp)?;
        // Whole powers of ten, so that every label is round; at least one.
        let first = smallest.log10().floor();
        let last = largest.log10().ceil().max(first + 1.0);
        // A character of the font is at most this wide on average.
        let longest = self.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        let left = NAMES_WIDTH.max(7.0 * longest as f64 + 24.0);
        let x = |value: f64| {
            let share = (value.max(10_f64.powf(first)).log10() - first) / (last - first);
            left + share * (PLOT_RIGHT - left)
        };
        let legend_height = if self.legend.is_empty() { 0.0 } else { LEGEND_HEIGHT };
        let top = HEAD_HEIGHT + legend_height;
        let bottom = top + ROW_HEIGHT * self.lines.len() as f64;
        let height = bottom + 52.0;
        let mut body = String::new();
        // Writing to a `String` can't fail.
        let _ = writeln!(body, "<text class=\"title\" x=\"10\" y=\"24\">{}</text>", escape(&self.title));
        let mut legend_x = left;
        for (index, name) in self.legend.iter().enumerate() {
            shape(&mut body, index, legend_x, HEAD_HEIGHT + 8.0, "native");
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                legend_x + 12.0,
                HEAD_HEIGHT + 12.0,
                escape(name)
            );
            legend_x += 40.0 + 7.5 * name.chars().count() as f64;
        }
        for index in (0..self.lines.len()).step_by(2) {
            let y = top + ROW_HEIGHT * index as f64;
            let _ = writeln!(
                body,
                "<rect class=\"band\" x=\"0\" y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{ROW_HEIGHT}\"/>"
            );
        }
        let mut power = first;
        while power <= last {
            let at = x(10_f64.powf(power));
            let _ = writeln!(
                body,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{top:.1}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                self.unit.round(10_f64.powf(power))
            );
            power += 1.0;
        }
        let _ = writeln!(
            body,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} (logarithmic)</text>",
            f64::midpoint(left, PLOT_RIGHT),
            bottom + 40.0,
            escape(self.axis)
        );
        for (index, line) in self.lines.iter().enumerate() {
            let y = top + ROW_HEIGHT * (index as f64 + 0.5);
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 12.0,
                y + 4.5,
                escape(&line.name)
            );
            for (size, dot) in line.dots.iter().enumerate() {
                let Some(dot) = dot else { continue };
                let class = line.kind.class();
                let _ = writeln!(
                    body,
                    "<g><title>{}: {} ({} to {})</title><line class=\"{class}\" stroke-width=\"2\" x1=\"{:.1}\" \
                     y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>",
                    escape(&line.name),
                    self.unit.precise(dot.median),
                    self.unit.precise(dot.low),
                    self.unit.precise(dot.high),
                    x(dot.low),
                    x(dot.high)
                );
                shape(&mut body, size, x(dot.median), y, class);
                body.push_str("</g>\n");
            }
        }
        Some(format!(
            "<svg class=\"dots\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n{body}</svg>\n",
            escape(&self.title)
        ))
    }
}

/// Draws the shape of a size: a circle, a diamond or a square.
fn shape(body: &mut String, size: usize, x: f64, y: f64, class: &str) {
    let _ = match size {
        0 => write!(body, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
        1 => write!(body, "<path class=\"{class}\" d=\"M{x:.1} {:.1}l6 6l-6 6l-6 -6z\"/>", y - 6.0),
        _ => write!(
            body,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\"/>",
            x - 4.5,
            y - 4.5
        ),
    };
}

impl Unit {
    /// Formats a power of ten.
    fn round(self, value: f64) -> String {
        let (value, unit) = self.scaled(value);
        format!("{value} {unit}")
    }

    /// Formats a value with three digits.
    pub(crate) fn precise(self, value: f64) -> String {
        if value == 0.0 {
            return "0".to_owned();
        }
        let (value, unit) = self.scaled(value);
        let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        format!("{value:.decimals$} {unit}")
    }

    fn scaled(self, value: f64) -> (f64, &'static str) {
        let (steps, units) = match self {
            Self::Time => ([1e-3, 1.0, 1e3, 1e6], ["ns", "µs", "ms", "s"]),
            Self::Bytes => ([1.0, 1e3, 1e6, 1e9], ["B", "kB", "MB", "GB"]),
            Self::Energy => ([1e-6, 1e-3, 1.0, 1e3], ["µJ", "mJ", "J", "kJ"]),
            Self::Mass => ([1e-9, 1e-6, 1e-3, 1.0], ["ng", "µg", "mg", "g"]),
            Self::Rate => ([1.0, 1e3, 1e6, 1e9], ["/s", "k/s", "M/s", "G/s"]),
        };
        // A little less than a step counts as that step: 10^3 may be 999.99….
        let index = steps.iter().rposition(|step| value >= step * (1.0 - 1e-9)).unwrap_or(0);
        let scaled = value / steps[index];
        // Powers of ten without the error of their computation.
        let rounded = (scaled * 1e6).round() / 1e6;
        (rounded, units[index])
    }
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(median: f64) -> Option<Estimate> {
        Some(Estimate { median, low: median * 0.9, high: median * 1.2, samples: 30 })
    }

    #[test]
    fn the_axis_has_labels_at_powers_of_ten() {
        let chart = Chart {
            title: "Time <of> a call".to_owned(),
            axis: "time",
            unit: Unit::Time,
            legend: vec!["small".to_owned(), "large".to_owned()],
            lines: vec![
                Line {
                    name: "one".to_owned(),
                    kind: Kind::Nebula,
                    dots: [dot(120.0), None, dot(2_500_000.0)],
                },
                Line { name: "other".to_owned(), kind: Kind::Container, dots: [dot(90_000.0), None, None] },
            ],
        };
        let svg = chart.svg().unwrap();
        for label in
            [">100 µs<", ">1 ms<", ">10 ms<", ">100 ms<", ">1 s<", ">10 s<", "Time &lt;of&gt; a call"]
        {
            assert!(svg.contains(label), "{label}: {svg}");
        }
        assert!(svg.contains("one: 120 µs (108 µs to 144 µs)"));
        assert_eq!(svg.matches("<g><title>").count(), 3);
        let ticks: Vec<f64> = svg
            .split("<line class=\"grid\" x1=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect();
        let gaps: Vec<f64> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (gap - gaps[0]).abs() < 0.2), "the axis is not logarithmic: {ticks:?}");
        let none = Chart {
            lines: vec![Line { name: "one".to_owned(), kind: Kind::Wasm, dots: [None; 3] }],
            ..chart
        };
        assert!(none.svg().is_none());
    }

    #[test]
    fn values_have_three_digits_and_a_unit() {
        assert_eq!(Unit::Time.precise(1234.0), "1.23 ms");
        assert_eq!(Unit::Time.precise(0.5), "500 ns");
        assert_eq!(Unit::Time.precise(45.67), "45.7 µs");
        assert_eq!(Unit::Bytes.precise(230e6), "230 MB");
        assert_eq!(Unit::Energy.precise(0.00123), "1.23 mJ");
        assert_eq!(Unit::Mass.precise(0.0), "0");
        assert_eq!(Unit::Rate.precise(0.25), "0.25 /s");
        assert_eq!(Unit::Rate.precise(12_345.0), "12.3 k/s");
        assert_eq!(Unit::Rate.round(0.1), "0.1 /s");
    }
}
