//! A pipeline drawn as SVG, top to bottom: where everything is, and how it is written.
//!
//! ```text
//! StepView --Block--> items, in pixels --write--> SVG
//! ```
//!
//! Invariants:
//! * The file stands alone: no script, no font, nothing from elsewhere. In a page, its style is for it alone.
//! * No two boxes and texts overlap and no line crosses one, if a column of text is at most [`COLUMN_WIDTH`].
//! * It is at most `420 * (steps + 1)` pixels wide and `200 * (steps + 1)` high, with steps that hold others
//!   counted too.

use std::fmt::Write;

use nebula_http::wire::StepView;

use super::{branches, column_count, repeated, shorten, steps, title};

/// Of a column of text, pixels: fonts of 13 px and less have narrower ones.
const COLUMN_WIDTH: i32 = 8;

/// Columns of a text that is drawn.
const TEXT_COLUMNS_MAX: usize = 42;

/// Columns of a text that is shown at the pointer.
const TITLE_COLUMNS_MAX: usize = 1000;

const BOX_HEIGHT: i32 = 32;
const HEAD_HEIGHT: i32 = 24;
const LABEL_HEIGHT: i32 = 17;
/// Of the line above labels.
const STEM_HEIGHT: i32 = 10;
/// Of the line below them, which may end in an arrow.
const ARROW_HEIGHT: i32 = 18;
/// Between a box's side and its text.
const PADDING: i32 = 14;
/// Between neighbours, and between a frame and what is in it.
const GAP: i32 = 20;

/// Every rule begins with the class of the whole: in a page, a style is for everything.
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

/// Draws `view`, which is called `name`.
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
        item.write(&mut out, drawing.left);
    }
    out.push_str("</svg>\n");
    out
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A box: of a call.
    Call,
    /// A box: of any other step without steps in it.
    Part,
    /// A box: what is done with the steps below it.
    Head,
    /// Round the step that is done many times.
    Frame,
    /// A text: of the pipeline's name.
    Name,
    /// A text: of a field or case.
    Field,
    /// A text: of a type.
    Type,
    /// A line, without a width or without a height.
    Line,
    /// The end of a line, downwards.
    Arrow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rect {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
}

#[derive(Clone, Debug)]
struct Item {
    form: Form,
    rect: Rect,
    /// What is drawn, if it has a text.
    text: String,
    /// What is shown at the pointer.
    title: String,
}

/// A part of the drawing, with what flows entering at its top and leaving at its bottom, both where `x` is 0.
#[derive(Debug, Default)]
struct Block {
    /// From 0, to the left.
    left: i32,
    /// From 0, to the right.
    right: i32,
    height: i32,
    /// In the order in which they are drawn.
    items: Vec<Item>,
}

impl Block {
    fn whole(name: &str, view: &StepView) -> Self {
        let mut block = Self { height: GAP, ..Self::default() };
        block.label(Form::Name, name);
        block.height += STEM_HEIGHT;
        block.label(Form::Type, &view.takes);
        block.append(Self::flow(view, &[]), 0);
        block.edge(&[], true);
        block.label(Form::Type, &view.gives);
        block.left += GAP;
        block.right += GAP;
        block.height += GAP;
        block
    }

    /// The steps of `view` below an edge with `labels`, and the edges between them.
    fn flow(view: &StepView, labels: &[(Form, &str)]) -> Self {
        let mut block = Self::default();
        let steps = steps(view);
        block.edge(labels, !steps.is_empty());
        for (index, step) in steps.iter().enumerate() {
            if let Some(before) = index.checked_sub(1) {
                block.edge(&[(Form::Type, &steps[before].gives)], true);
            }
            block.append(Self::step(step), 0);
        }
        block
    }

    fn step(step: &StepView) -> Self {
        let form = match (step.inner.is_empty(), step.kind.as_str()) {
            (true, "call") => Form::Call,
            (true, _) => Form::Part,
            (false, _) => Form::Head,
        };
        let mut block = Self::default();
        let name = title(step);
        let title = format!("{name}: {} → {}", step.takes, step.gives);
        let text = shorten(&name, TEXT_COLUMNS_MAX);
        let height = if form == Form::Head { HEAD_HEIGHT } else { BOX_HEIGHT };
        block.add(Item { form, rect: centred(width(&text) + 2 * PADDING, height), text, title });
        if let Some(inner) = repeated(step) {
            block.framed(inner);
        } else if form == Form::Head {
            block.forked(step);
        }
        block
    }

    /// What is done many times, below the head.
    fn framed(&mut self, inner: &StepView) {
        self.append(Self::flow(inner, &[(Form::Type, &inner.takes)]), 0);
        self.edge(&[(Form::Type, &inner.gives)], false);
        self.left += GAP;
        self.right += GAP;
        let y = HEAD_HEIGHT / 2;
        let rect = Rect { x: -self.left, y, width: self.left + self.right, height: self.height - y };
        // Below the head.
        self.items.insert(0, Item::mute(Form::Frame, rect));
    }

    /// The branches of `step` side by side, below the head.
    fn forked(&mut self, step: &StepView) {
        let mut blocks: Vec<(&StepView, Self)> = branches(step)
            .map(|(name, inner)| {
                // Each branch of `all` gets what is said above the head.
                let labels = [(Form::Field, name.as_str()), (Form::Type, inner.takes.as_str())];
                let said = if step.kind == "all" { 1 } else { 2 };
                (inner, Self::flow(inner, &labels[..said]))
            })
            .collect();
        let height = blocks.iter().map(|(_, block)| block.height).max().unwrap_or_default();
        let (mut axes, mut reached) = (Vec::new(), 0);
        for (inner, block) in &mut blocks {
            block.line(height - block.height);
            block.edge(&[(Form::Type, &inner.gives)], false);
            axes.push(reached + block.left);
            reached += block.left + block.right + GAP;
        }
        let at = |index: usize| axes.get(index).copied().unwrap_or_default();
        let (first, last) = (at(0), at(axes.len().saturating_sub(1)));
        // Straight through the one in the middle, or between the two.
        let middle = i32::midpoint(at(axes.len().saturating_sub(1) / 2), at(axes.len() / 2));
        self.line(STEM_HEIGHT);
        let top = self.height;
        for ((_, block), axis) in blocks.into_iter().zip(axes) {
            self.height = top;
            self.append(block, axis - middle);
        }
        for y in [top, self.height] {
            let rect = Rect { x: first - middle, y, width: last - first, height: 0 };
            self.items.push(Item::mute(Form::Line, rect));
        }
    }

    /// A line down with `labels` in it.
    fn edge(&mut self, labels: &[(Form, &str)], arrow: bool) {
        if labels.is_empty() {
            self.line(STEM_HEIGHT + ARROW_HEIGHT);
        } else {
            self.line(STEM_HEIGHT);
            for (form, text) in labels {
                self.label(*form, text);
            }
            self.line(ARROW_HEIGHT);
        }
        if arrow {
            let rect = Rect { x: -4, y: self.height - 7, width: 8, height: 7 };
            self.items.push(Item::mute(Form::Arrow, rect));
        }
    }

    fn line(&mut self, height: i32) {
        if height > 0 {
            self.add(Item::mute(Form::Line, centred(0, height)));
        }
    }

    fn label(&mut self, form: Form, full: &str) {
        let text = shorten(full, TEXT_COLUMNS_MAX);
        self.add(Item { form, rect: centred(width(&text), LABEL_HEIGHT), text, title: full.to_owned() });
    }

    /// Adds `item`, whose top is 0, below what is there.
    fn add(&mut self, item: Item) {
        let Rect { x, width, height, .. } = item.rect;
        self.append(Self { left: -x, right: x + width, height, items: vec![item] }, 0);
    }

    /// Adds `other` below what is there, its flow at `x`.
    fn append(&mut self, other: Self, x: i32) {
        let y = self.height;
        self.left = self.left.max(other.left - x);
        self.right = self.right.max(other.right + x);
        self.height += other.height;
        self.items.extend(other.items.into_iter().map(|mut item| {
            item.rect.x += x;
            item.rect.y += y;
            item
        }));
    }
}

impl Item {
    /// One without a text.
    fn mute(form: Form, rect: Rect) -> Self {
        Self { form, rect, text: String::new(), title: String::new() }
    }

    /// Writes it, `right` of where it is.
    fn write(&self, out: &mut String, right: i32) {
        let Rect { x, y, width, height } = self.rect;
        let (x, middle) = (x + right, x + right + width / 2);
        let text = escape(&self.text);
        let title = escape(&shorten(&self.title, TITLE_COLUMNS_MAX));
        // A text's `y` is the line that it stands on.
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
        let written = match self.form {
            Form::Call => boxed("call", 4),
            Form::Part => boxed("part", height / 2),
            Form::Head => boxed("head", height / 2),
            Form::Frame => format!(
                "<rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>"
            ),
            Form::Name => label("name"),
            Form::Field => label("field"),
            Form::Type => label("type"),
            Form::Line => format!("<path class=\"line\" d=\"M{x} {y}h{width}v{height}\"/>"),
            Form::Arrow => format!("<path class=\"arrow\" d=\"M{x} {y}h{width}L{middle} {}z\"/>", y + height),
        };
        // Writing to a `String` doesn't fail.
        let _ = writeln!(out, "{written}");
    }
}

fn centred(width: i32, height: i32) -> Rect {
    Rect { x: -width / 2, y: 0, width, height }
}

/// Of `text`, pixels.
fn width(text: &str) -> i32 {
    text.chars().map(|char| if column_count(char) == 1 { COLUMN_WIDTH } else { 2 * COLUMN_WIDTH }).sum()
}

/// `text` as it is in an element or an attribute.
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

    impl Rect {
        fn overlaps(self, other: Self) -> bool {
            let apart = |at: i32, length: i32, other: i32, other_length: i32| {
                at + length <= other || other + other_length <= at
            };
            !apart(self.x, self.width, other.x, other.width)
                && !apart(self.y, self.height, other.y, other.height)
        }

        fn contains(self, other: Self) -> bool {
            self.x <= other.x
                && self.y <= other.y
                && other.x + other.width <= self.x + self.width
                && other.y + other.height <= self.y + self.height
        }
    }

    fn of<'a>(block: &'a Block, forms: &'a [Form]) -> impl Iterator<Item = &'a Item> {
        block.items.iter().filter(|item| forms.contains(&item.form))
    }

    const SOLID: [Form; 6] = [Form::Call, Form::Part, Form::Head, Form::Name, Form::Field, Form::Type];

    #[test]
    fn nothing_overlaps() {
        for view in samples::all() {
            let drawing = Block::whole("a-name", &view);
            let all =
                Rect { x: -drawing.left, y: 0, width: drawing.left + drawing.right, height: drawing.height };
            assert!(drawing.items.iter().all(|item| all.contains(item.rect)));
            let solid: Vec<&Item> = of(&drawing, &SOLID).collect();
            for (index, one) in solid.iter().enumerate() {
                for other in &solid[..index] {
                    assert!(!one.rect.overlaps(other.rect), "{one:?} {other:?}");
                }
                for line in of(&drawing, &[Form::Line]) {
                    assert!(!one.rect.overlaps(line.rect), "{one:?} {line:?}");
                }
                for frame in of(&drawing, &[Form::Frame]) {
                    let Rect { x, y, width, height } = one.rect;
                    let title = one.form == Form::Head
                        && y + height / 2 == frame.rect.y
                        && frame.rect.contains(Rect { x, y: frame.rect.y, width, height: 0 });
                    let apart = frame.rect.contains(one.rect) || !frame.rect.overlaps(one.rect);
                    assert!(title || apart, "{one:?} {frame:?}");
                }
            }
            let frames: Vec<&Item> = of(&drawing, &[Form::Frame]).collect();
            for (index, one) in frames.iter().enumerate() {
                for other in &frames[..index] {
                    let inside = one.rect.contains(other.rect) || other.rect.contains(one.rect);
                    assert!(inside || !one.rect.overlaps(other.rect), "{one:?} {other:?}");
                }
            }
        }
    }

    fn count(view: &StepView) -> i32 {
        1 + view.inner.iter().map(|(_, inner)| count(inner)).sum::<i32>()
    }

    #[test]
    fn sizes_grow_with_what_is_inside_and_within_the_bound() {
        let mut before = (0, 0);
        for depth in 0..5 {
            let Block { left, right, height, .. } = Block::flow(&samples::nested(depth), &[]);
            assert!(left + right > before.0 && height > before.1, "{depth}");
            before = (left + right, height);
        }
        let long = "m".repeat(500);
        let leaf = samples::step("call", &long, &long, &long, Vec::new());
        let row = (0..254).map(|_| (Some(long.as_str()), leaf.clone())).collect();
        let frames = (0..250).fold(leaf.clone(), |inner, _| {
            samples::step("group", &long, &long, &long, vec![(Some(long.as_str()), inner)])
        });
        let forks = (0..250).fold(leaf.clone(), |inner, _| {
            samples::step("choice", &long, &long, &long, vec![(Some(long.as_str()), inner)])
        });
        let wide = [samples::step("choice", "", &long, &long, row), frames, forks];
        for view in samples::all().into_iter().chain(wide) {
            let Block { left, right, height, .. } = Block::whole(&long, &view);
            let steps = count(&view);
            assert!(left + right <= 420 * (steps + 1), "{} {steps}", left + right);
            assert!(height <= 200 * (steps + 1), "{height} {steps}");
        }
    }

    #[test]
    fn what_is_shortened_is_whole_at_the_pointer() {
        let rows = &samples::group().inner[0].1.gives;
        let svg = svg("sales", &samples::group());
        let label =
            format!("<title>{}</title>{}</text>", escape(rows), escape(&shorten(rows, TEXT_COLUMNS_MAX)));
        assert!(svg.contains(&label), "{svg}");
        assert!(svg.contains(&format!("<title>csv-rows: string → {}</title>", escape(rows))));
    }
}
