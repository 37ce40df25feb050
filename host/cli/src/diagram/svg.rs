//! A pipeline drawn as SVG, top to bottom.
//!
//! ```text
//! StepView --layout--> items, in pixels --write--> SVG
//! ```
//!
//! Invariant: the file stands alone, without scripts, fonts or references. Embedded in a page, its
//! style applies to the drawing only.

mod layout;

use std::fmt::Write;

use nebula_http::wire::StepView;

use self::layout::{Block, Item, Rect, Shape};
use super::legible::shorten;

/// The longest text that is shown at the pointer, columns.
const TITLE_COLUMNS_MAX: usize = 1000;

/// The style sheet. Every rule begins with the class of the drawing, because a style applies to a
/// whole page.
const STYLE: &str = "\
.pipeline-drawing .page{fill:#fff}
.pipeline-drawing text{font:12px ui-monospace,monospace;text-anchor:middle;fill:#57606a}
.pipeline-drawing .box text{font-size:13px;fill:#24292f}
.pipeline-drawing .name,.pipeline-drawing .field{font-weight:bold;fill:#24292f}
.pipeline-drawing rect{stroke-width:1.2}
.pipeline-drawing .call rect{fill:#ddf4ff;stroke:#0969da}
.pipeline-drawing .part rect{fill:#f6f8fa;stroke:#8c959f}
.pipeline-drawing .head rect{fill:#fff8c5;stroke:#bf8700}
.pipeline-drawing .frame{fill:none;stroke:#bf8700;stroke-dasharray:5 4}
.pipeline-drawing .line{stroke:#8c959f;stroke-width:1.2;stroke-linecap:square}
.pipeline-drawing .arrow{fill:#8c959f}
@media (prefers-color-scheme:dark){
.pipeline-drawing .page{fill:#0d1117}
.pipeline-drawing text{fill:#9198a1}
.pipeline-drawing .box text,.pipeline-drawing .name,.pipeline-drawing .field{fill:#e6edf3}
.pipeline-drawing .call rect{fill:#0c2d5a;stroke:#4493f8}
.pipeline-drawing .part rect{fill:#161b22;stroke:#6e7681}
.pipeline-drawing .head rect{fill:#3a2c05;stroke:#bb8009}
.pipeline-drawing .frame{stroke:#bb8009}
.pipeline-drawing .line{stroke:#6e7681}
.pipeline-drawing .arrow{fill:#6e7681}
}";

/// Draws the pipeline `view` of that name.
pub(crate) fn svg(name: &str, view: &StepView) -> String {
    let drawing = Block::whole(name, view);
    let (width, height) = (drawing.left + drawing.right, drawing.height);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" class=\"pipeline-drawing\" role=\"img\">\n<title>{}</title>\n\
         <style>\n{STYLE}\n</style>\n<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n",
        escape(&shorten(name, TITLE_COLUMNS_MAX))
    );
    for item in &drawing.items {
        write(item, &mut out, drawing.left);
    }
    out.push_str("</svg>\n");
    out
}

/// Writes an item, moved to the right by `right` pixels.
fn write(item: &Item, out: &mut String, right: i32) {
    let Rect { x, y, width, height } = item.rect;
    let (x, middle) = (x + right, x + right + width / 2);
    let text = escape(&item.text);
    let title = escape(&shorten(&item.title, TITLE_COLUMNS_MAX));
    // The `y` of a text is its base line.
    let base = y + height / 2 + 4;
    let boxed = |class: &str, round: i32| {
        format!(
            "<g class=\"box {class}\"><title>{title}</title>\
             <rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\"/>\
             <text x=\"{middle}\" y=\"{base}\">{text}</text></g>"
        )
    };
    let label = |class: &str| {
        format!("<text class=\"{class}\" x=\"{middle}\" y=\"{base}\"><title>{title}</title>{text}</text>")
    };
    let written = match item.shape {
        Shape::Call => boxed("call", 4),
        Shape::Part => boxed("part", height / 2),
        Shape::Head => boxed("head", height / 2),
        Shape::Frame => format!(
            "<rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>"
        ),
        Shape::Name => label("name"),
        Shape::Field => label("field"),
        Shape::Type => label("type"),
        Shape::Line => format!("<path class=\"line\" d=\"M{x} {y}h{width}v{height}\"/>"),
        Shape::Arrow => format!("<path class=\"arrow\" d=\"M{x} {y}h{width}L{middle} {}z\"/>", y + height),
    };
    // Writing to a `String` doesn't fail.
    let _ = writeln!(out, "{written}");
}

/// Escapes `text` for an element or an attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagram::samples;

    /// Returns the names of the elements in order. Panics if the SVG isn't well-formed, for the
    /// syntax used here.
    fn elements(svg: &str) -> Vec<&str> {
        let (mut open, mut seen) = (Vec::new(), Vec::new());
        let mut rest = svg;
        while let Some((text, tag)) = rest.split_once('<') {
            assert!(!text.contains('>') && well_escaped(text), "{text}");
            let (tag, after) = tag.split_once('>').unwrap();
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
                continue;
            }
            let name = tag.split([' ', '/']).next().unwrap();
            seen.push(name);
            let attributes = &tag[name.len()..];
            assert!(attributes.matches('"').count().is_multiple_of(2) && well_escaped(attributes), "{tag}");
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty() && rest == "\n", "{open:?} {rest}");
        seen
    }

    fn well_escaped(text: &str) -> bool {
        let known = ["amp;", "lt;", "gt;", "quot;", "apos;"];
        text.split('&').skip(1).all(|after| known.iter().any(|entity| after.starts_with(entity)))
    }

    #[test]
    fn drawings_are_well_formed() {
        let known = ["svg", "title", "style", "rect", "text", "g", "path"];
        for view in samples::all() {
            let svg = svg("<&\"'>", &view);
            let elements = elements(&svg);
            assert!(elements.iter().all(|element| known.contains(element)));
            // The drawing has a title, and so has each text.
            let count = |name| elements.iter().filter(|element| **element == name).count();
            assert_eq!(count("title"), count("text") + 1);
        }
    }

    #[test]
    fn texts_are_escaped() {
        let evil = "</text><script>&\"'\u{0}";
        let escaped = "&lt;/text&gt;&lt;script&gt;&amp;&quot;&apos;\\u{0}";
        let call = samples::step(evil, evil, evil, evil, vec![(Some(evil), samples::call(evil, evil, evil))]);
        let svg = svg(evil, &call);
        assert!(svg.contains(&format!("<title>{escaped}</title>\n<style>")));
        assert!(svg.contains(&format!("<title>{escaped}</title>{escaped}</text>")));
        assert!(!svg.contains("<script") && !svg.contains(evil) && !svg.contains('\0'));
        elements(&svg);
    }

    #[test]
    fn shortened_texts_have_the_full_text_as_title() {
        let rows = &samples::group().inner[0].1.gives;
        let svg = svg("sales", &samples::group());
        let label = format!(
            "<title>{}</title>{}</text>",
            escape(rows),
            escape(&shorten(rows, layout::TEXT_COLUMNS_MAX))
        );
        assert!(svg.contains(&label), "{svg}");
        assert!(svg.contains(&format!("<title>csv-rows: string → {}</title>", escape(rows))));
    }
}
