//! A pipeline drawn as SVG, top to bottom.
//!
//! ```text
//! View --layout--> items, in pixels --write--> SVG
//! ```
//!
//! The box of each step has the step's place in the description as `data-step`, and that of a call
//! its label and function as `data-label` and `data-function`, so that a page can mark steps.
//!
//! Invariants:
//! * The file stands alone, without scripts, fonts, references or `style` attributes. Embedded in a
//!   page, its style applies to the drawing only.
//! * Without a style sheet, everything is drawn in `currentColor`.

mod layout;

use std::fmt::Write;

use nebula_pipeline::View;

use self::layout::{Block, CallMark, Item, Rect, Shape, StepMark};
use crate::legible::shorten;
use crate::outline::PlacedStep;

/// The longest text that is shown at the pointer, and the longest description, columns.
const TITLE_COLUMNS_MAX: usize = 1000;

/// The attributes of a line without a style sheet.
const OUTLINE: &str = "fill=\"none\" stroke=\"currentColor\"";

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

/// The source of a drawing's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// A style sheet in the drawing, for light and dark, and a background.
    Own,
    /// The page that the drawing is put into: `currentColor`, and the page's rules for the classes.
    Page,
}

/// Draws a pipeline of this name as SVG.
pub fn svg(name: &str, view: &View, colours: Colours) -> String {
    let drawing = Block::whole(name, view);
    let (width, height) = (drawing.left + drawing.right, drawing.height);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" class=\"pipeline-drawing\" role=\"img\" fill=\"currentColor\" \
         font-family=\"ui-monospace,monospace\" font-size=\"12\" text-anchor=\"middle\">\n\
         <title>{}</title>\n<desc>{}</desc>\n",
        escape(&shorten(name, TITLE_COLUMNS_MAX)),
        escape(&shorten(&description(view), TITLE_COLUMNS_MAX))
    );
    if colours == Colours::Own {
        let page = format!("<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>");
        out.push_str(&format!("<style>\n{STYLE}\n</style>\n{page}\n"));
    }
    for item in &drawing.items {
        write(item, &mut out, drawing.left);
    }
    out.push_str("</svg>\n");
    out
}

/// Returns the drawing in words, for those who don't see it.
fn description(view: &View) -> String {
    fn add(step: &PlacedStep<'_>, titles: &mut Vec<String>) {
        if step.view.kind != "sequence" {
            titles.push(step.full_title());
        }
        for (_, inner) in step.branches() {
            add(&inner, titles);
        }
    }
    let mut titles = Vec::new();
    add(&PlacedStep::root(view), &mut titles);
    format!("It takes {} and gives {}. Its steps: {}.", view.takes, view.gives, titles.join("; "))
}

/// Writes an item, moved to the right by `right` pixels.
fn write(item: &Item, out: &mut String, right: i32) {
    let Rect { x, y, width, height } = item.rect;
    let (x, middle) = (x + right, x + right + width / 2);
    let text = escape(&item.text);
    let title = escape(&shorten(&item.title, TITLE_COLUMNS_MAX));
    // The `y` of a text is its base line.
    let base = y + height / 2 + 4;
    let mark = item.step.as_ref().map(marks).unwrap_or_default();
    let boxed = |class: &str, round: i32| {
        format!(
            "<g class=\"box {class}\"{mark}><title>{title}</title>\
             <rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\" {OUTLINE}/>\
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
            "<rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"10\" {OUTLINE} \
             stroke-dasharray=\"5 4\"/>"
        ),
        Shape::Name => label("name"),
        Shape::Field => label("field"),
        Shape::Type => label("type"),
        Shape::Line => format!("<path class=\"line\" d=\"M{x} {y}h{width}v{height}\" {OUTLINE}/>"),
        Shape::Arrow => format!("<path class=\"arrow\" d=\"M{x} {y}h{width}L{middle} {}z\"/>", y + height),
    };
    // Writing to a `String` doesn't fail.
    let _ = writeln!(out, "{written}");
}

/// Returns the attributes that tell a step from others.
fn marks(StepMark { pointer, call }: &StepMark) -> String {
    let step = format!(" data-step=\"{}\"", escape(pointer));
    let Some(CallMark { label, function }) = call else { return step };
    let [label, function] = [label, function].map(|name| escape(&shorten(name, TITLE_COLUMNS_MAX)));
    format!("{step} data-label=\"{label}\" data-function=\"{function}\"")
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
    use crate::samples;

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
        let known = ["svg", "title", "desc", "style", "rect", "text", "g", "path"];
        for (view, colours) in drawn() {
            let svg = svg("<&\"'>", &view, colours);
            let elements = elements(&svg);
            assert!(elements.iter().all(|element| known.contains(element)));
            // The drawing has a title, and so has each text.
            let count = |name| elements.iter().filter(|element| **element == name).count();
            assert_eq!(count("title"), count("text") + 1);
            assert_eq!(elements[..3], ["svg", "title", "desc"]);
            assert_eq!(count("style"), usize::from(colours == Colours::Own));
        }
    }

    fn drawn() -> impl Iterator<Item = (View, Colours)> {
        let views = samples::all().into_iter();
        views.flat_map(|view| [(view.clone(), Colours::Own), (view, Colours::Page)])
    }

    /// A page with a strict policy refuses scripts, styles and anything that it would have to fetch.
    #[test]
    fn a_drawing_for_a_page_has_nothing_that_a_strict_policy_refuses() {
        for (view, colours) in drawn().filter(|(_, colours)| *colours == Colours::Page) {
            let svg = svg("a-name", &view, colours);
            let attributes = svg.split('<').flat_map(|tag| tag.split('>').next()).flat_map(|tag| {
                let names = tag.split('"').step_by(2).filter_map(|part| part.strip_suffix('='));
                names.map(|name| name.rsplit(' ').next().unwrap().to_owned())
            });
            let attributes: std::collections::BTreeSet<_> = attributes.collect();
            let known = [
                "class",
                "d",
                "data-function",
                "data-label",
                "data-step",
                "fill",
                "font-family",
                "font-size",
                "height",
                "role",
                "rx",
                "stroke",
                "stroke-dasharray",
                "text-anchor",
                "viewBox",
                "width",
                "x",
                "xmlns",
                "y",
            ];
            let unknown: Vec<_> = attributes.iter().filter(|name| !known.contains(&name.as_str())).collect();
            assert!(unknown.is_empty() && attributes.len() > 10, "{unknown:?}");
            assert!(!svg.contains("url(") && !svg.contains("<style"), "{svg}");
        }
    }

    #[test]
    fn the_boxes_of_steps_tell_their_places() {
        let svg = svg("choice", &samples::choice(), Colours::Page);
        for marks in [
            "class=\"box call\" data-step=\"/steps/0\" data-label=\"classify\" data-function=\"classify\"",
            "class=\"box head\" data-step=\"/steps/1\"",
            "class=\"box call\" data-step=\"/steps/1/choice/image/2\" data-label=\"png\" data-function=\"png\"",
            "class=\"box head\" data-step=\"/steps/1/choice/text/0\"",
            "class=\"box call\" data-step=\"/steps/1/choice/text/0/all/slug/0\" data-label=\"title\" \
             data-function=\"first-line\"",
            "class=\"box part\" data-step=\"/steps/1/choice/other\"",
        ] {
            assert!(svg.contains(&format!("<g {marks}><title>")), "no `{marks}` in {svg}");
        }
        // Versions aren't part of a function's name.
        let meme = super::svg("meme", &samples::meme(), Colours::Page);
        assert!(meme.contains("data-label=\"memeify\" data-function=\"memeify\""), "{meme}");
        let boxes = svg.matches("class=\"box ").count();
        assert_eq!((boxes, svg.matches("data-step=\"/steps").count()), (12, 12), "{svg}");
    }

    #[test]
    fn a_drawing_is_described_in_words() {
        let svg = svg("pi", &samples::reduce(), Colours::Page);
        let words = "It takes list&lt;record { seed: u64, trials: u32 }&gt; and gives f64. Its steps: each item: \
                     list&lt;record { seed: u64, trials: u32 }&gt; → list&lt;record { inside: u64, trials: u64 }&gt;; \
                     trials: record { seed: u64, trials: u32 } → record { inside: u64, trials: u64 }; estimate: \
                     list&lt;record { inside: u64, trials: u64 }&gt; → f64.";
        assert!(svg.contains(&format!("<title>pi</title>\n<desc>{words}</desc>\n")), "{svg}");
    }

    #[test]
    fn texts_are_escaped() {
        let evil = "</text><script>&\"'\u{0}";
        let escaped = "&lt;/text&gt;&lt;script&gt;&amp;&quot;&apos;\\u{0}";
        let call = samples::step(evil, evil, evil, evil, vec![(Some(evil), samples::call(evil, evil, evil))]);
        let svg = svg(evil, &call, Colours::Own);
        assert!(svg.contains(&format!("<title>{escaped}</title>\n<desc>It takes {escaped} and")));
        assert!(svg.contains(&format!("<title>{escaped}</title>{escaped}</text>")));
        assert!(svg.contains(&format!("data-label=\"{escaped}\" data-function=\"{escaped}\"")));
        let place = escaped.replace('/', "~1");
        assert!(svg.contains(&format!("data-step=\"/steps/{place}/{place}\"")), "{svg}");
        assert!(!svg.contains("<script") && !svg.contains(evil) && !svg.contains('\0'));
        elements(&svg);
    }

    #[test]
    fn shortened_texts_have_the_full_text_as_title() {
        let rows = &samples::group().inner[0].1.gives;
        let svg = svg("sales", &samples::group(), Colours::Own);
        let label = format!(
            "<title>{}</title>{}</text>",
            escape(rows),
            escape(&shorten(rows, layout::TEXT_COLUMNS_MAX))
        );
        assert!(svg.contains(&label), "{svg}");
        assert!(svg.contains(&format!("<title>csv-rows: string → {}</title>", escape(rows))));
    }
}
