//! The layout of a drawing: where each box, text and line is.
//!
//! Invariants:
//! * No two boxes and texts overlap and no line crosses one, if a column of text is at most
//!   [`COLUMN_WIDTH`].
//! * A drawing is at most `420 * (steps + 1)` pixels wide and `200 * (steps + 1)` high. Inner steps
//!   count.

use nebula_pipeline::View;

use crate::legible::{column_count, shorten};
use crate::outline::{PlacedStep, function_name};

/// Width of a column of text, pixels: fonts of 13 px and less are narrower.
const COLUMN_WIDTH: i32 = 8;

/// The longest text that is drawn, columns.
pub(super) const TEXT_COLUMNS_MAX: usize = 42;

const BOX_HEIGHT: i32 = 32;
const HEAD_HEIGHT: i32 = 24;
const LABEL_HEIGHT: i32 = 17;
/// Height of the line above labels.
const STEM_HEIGHT: i32 = 10;
/// Height of the line below labels, which may end in an arrow.
const ARROW_HEIGHT: i32 = 18;
/// Space between a box's side and its text.
const PADDING: i32 = 14;
/// Space between neighbours, and between a frame and its content.
const GAP: i32 = 20;

/// The kind of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A box for a call.
    Call,
    /// A box for any other step without inner steps.
    Part,
    /// A box above the inner steps of a step.
    Head,
    /// A frame around a step that runs once for each item.
    Frame,
    /// The pipeline's name.
    Name,
    /// The name of a field or case.
    Field,
    /// A type.
    Type,
    /// A horizontal or vertical line: the rectangle has no height or no width.
    Line,
    /// An arrow head pointing down.
    Arrow,
}

/// A rectangle, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

/// Something to draw.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) shape: Shape,
    pub(super) rect: Rect,
    /// The text drawn; empty for shapes without text.
    pub(super) text: String,
    /// The full text, shown at the pointer.
    pub(super) title: String,
    /// The step, for its box.
    pub(super) step: Option<StepMark>,
}

/// The marks by which a program finds a step's box.
#[derive(Clone, Debug)]
pub(super) struct StepMark {
    /// The JSON pointer to the step in the description.
    pub(super) pointer: String,
    /// The label and the function's name, of a call.
    pub(super) call: Option<CallMark>,
}

/// The marks of a step that is a call.
#[derive(Clone, Debug)]
pub(super) struct CallMark {
    /// The label, by which errors and traces name the step.
    pub(super) label: String,
    /// The name of the function; empty if the view doesn't have it.
    pub(super) function: String,
}

/// A text beside a line.
#[derive(Clone, Copy)]
struct Label<'a> {
    shape: Shape,
    text: &'a str,
}

impl<'a> Label<'a> {
    fn of_type(text: &'a str) -> Self {
        Self { shape: Shape::Type, text }
    }
}

/// The lower end of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Plain,
    Arrow,
}

/// A part of the drawing. The flow enters at its top and leaves at its bottom, both at `x` 0.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Extent to the left of 0.
    pub(super) left: i32,
    /// Extent to the right of 0.
    pub(super) right: i32,
    pub(super) height: i32,
    /// The items in drawing order.
    pub(super) items: Vec<Item>,
}

impl Block {
    /// Lays out the whole drawing.
    pub(super) fn whole(name: &str, view: &View) -> Self {
        let mut block = Self { height: GAP, ..Self::default() };
        block.label(Label { shape: Shape::Name, text: name });
        block.height += STEM_HEIGHT;
        block.label(Label::of_type(&view.takes));
        block.append(Self::flow(&PlacedStep::root(view), &[]), 0);
        block.edge(&[], LineEnd::Arrow);
        block.label(Label::of_type(&view.gives));
        block.left += GAP;
        block.right += GAP;
        block.height += GAP;
        block
    }

    /// Lays out the steps that run in `whole` below an edge with `labels`, and the edges between them.
    fn flow(whole: &PlacedStep<'_>, labels: &[Label<'_>]) -> Self {
        let mut block = Self::default();
        let steps = whole.steps();
        block.edge(labels, if steps.is_empty() { LineEnd::Plain } else { LineEnd::Arrow });
        for (index, step) in steps.iter().enumerate() {
            if let Some(before) = index.checked_sub(1) {
                block.edge(&[Label::of_type(&steps[before].view.gives)], LineEnd::Arrow);
            }
            block.append(Self::step(step), 0);
        }
        block
    }

    fn step(step: &PlacedStep<'_>) -> Self {
        let shape = match (step.view.inner.is_empty(), step.view.kind.as_str()) {
            (true, "call") => Shape::Call,
            (true, _) => Shape::Part,
            (false, _) => Shape::Head,
        };
        let mut block = Self::default();
        let text = shorten(&step.title(), TEXT_COLUMNS_MAX);
        let height = if shape == Shape::Head { HEAD_HEIGHT } else { BOX_HEIGHT };
        let rect = centred(width(&text) + 2 * PADDING, height);
        block.add(Item { shape, rect, text, title: step.full_title(), step: Some(StepMark::of(step)) });
        if let Some(inner) = step.repeated() {
            block.framed(&inner);
        } else if shape == Shape::Head {
            block.forked(step);
        }
        block
    }

    /// Adds the framed step below the head.
    fn framed(&mut self, inner: &PlacedStep<'_>) {
        self.append(Self::flow(inner, &[Label::of_type(&inner.view.takes)]), 0);
        self.edge(&[Label::of_type(&inner.view.gives)], LineEnd::Plain);
        self.left += GAP;
        self.right += GAP;
        let y = HEAD_HEIGHT / 2;
        let rect = Rect { x: -self.left, y, width: self.left + self.right, height: self.height - y };
        // The frame is drawn below the head.
        self.items.insert(0, Item::mute(Shape::Frame, rect));
    }

    /// Adds the branches of `step` side by side below the head.
    fn forked(&mut self, step: &PlacedStep<'_>) {
        let mut blocks: Vec<(&View, Self)> = step
            .branches()
            .map(|(name, inner)| {
                let labels = [Label { shape: Shape::Field, text: &name }, Label::of_type(&inner.view.takes)];
                // Each branch of `all` takes the type shown above the head.
                let shown = if step.view.kind == "all" { 1 } else { 2 };
                (inner.view, Self::flow(&inner, &labels[..shown]))
            })
            .collect();
        let height = blocks.iter().map(|(_, block)| block.height).max().unwrap_or_default();
        let (mut axes, mut end) = (Vec::new(), 0);
        for (inner, block) in &mut blocks {
            block.line(height - block.height);
            block.edge(&[Label::of_type(&inner.gives)], LineEnd::Plain);
            axes.push(end + block.left);
            end += block.left + block.right + GAP;
        }
        let at = |index: usize| axes.get(index).copied().unwrap_or_default();
        let (first, last) = (at(0), at(axes.len().saturating_sub(1)));
        // The flow goes through the middle branch, or between the two middle ones.
        let middle = i32::midpoint(at(axes.len().saturating_sub(1) / 2), at(axes.len() / 2));
        self.line(STEM_HEIGHT);
        let top = self.height;
        for ((_, block), axis) in blocks.into_iter().zip(axes) {
            self.height = top;
            self.append(block, axis - middle);
        }
        for y in [top, self.height] {
            let rect = Rect { x: first - middle, y, width: last - first, height: 0 };
            self.items.push(Item::mute(Shape::Line, rect));
        }
    }

    /// Adds a line down with `labels` in it, which ends in `end`.
    fn edge(&mut self, labels: &[Label<'_>], end: LineEnd) {
        if labels.is_empty() {
            self.line(STEM_HEIGHT + ARROW_HEIGHT);
        } else {
            self.line(STEM_HEIGHT);
            for label in labels {
                self.label(*label);
            }
            self.line(ARROW_HEIGHT);
        }
        if end == LineEnd::Arrow {
            let rect = Rect { x: -4, y: self.height - 7, width: 8, height: 7 };
            self.items.push(Item::mute(Shape::Arrow, rect));
        }
    }

    fn line(&mut self, height: i32) {
        if height > 0 {
            self.add(Item::mute(Shape::Line, centred(0, height)));
        }
    }

    fn label(&mut self, Label { shape, text: full }: Label<'_>) {
        let text = shorten(full, TEXT_COLUMNS_MAX);
        let rect = centred(width(&text), LABEL_HEIGHT);
        self.add(Item { shape, rect, text, title: full.to_owned(), step: None });
    }

    /// Adds `item`, whose top is 0, at the bottom.
    fn add(&mut self, item: Item) {
        let Rect { x, width, height, .. } = item.rect;
        self.append(Self { left: -x, right: x + width, height, items: vec![item] }, 0);
    }

    /// Adds `other` at the bottom, with its flow at `x`.
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
    /// An item without text.
    fn mute(shape: Shape, rect: Rect) -> Self {
        Self { shape, rect, text: String::new(), title: String::new(), step: None }
    }
}

impl StepMark {
    fn of(PlacedStep { view, pointer }: &PlacedStep<'_>) -> Self {
        let call = (view.kind == "call").then(|| CallMark {
            label: view.label.clone(),
            function: function_name(view.function.as_deref().unwrap_or("")).to_owned(),
        });
        Self { pointer: pointer.clone(), call }
    }
}

fn centred(width: i32, height: i32) -> Rect {
    Rect { x: -width / 2, y: 0, width, height }
}

/// Returns the width of `text`, pixels.
fn width(text: &str) -> i32 {
    text.chars().map(|char| if column_count(char) == 1 { COLUMN_WIDTH } else { 2 * COLUMN_WIDTH }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

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

    fn of<'a>(block: &'a Block, shapes: &'a [Shape]) -> impl Iterator<Item = &'a Item> {
        block.items.iter().filter(|item| shapes.contains(&item.shape))
    }

    const SOLID: [Shape; 6] = [Shape::Call, Shape::Part, Shape::Head, Shape::Name, Shape::Field, Shape::Type];

    #[test]
    fn boxes_texts_and_lines_do_not_overlap() {
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
                for line in of(&drawing, &[Shape::Line]) {
                    assert!(!one.rect.overlaps(line.rect), "{one:?} {line:?}");
                }
                for frame in of(&drawing, &[Shape::Frame]) {
                    let Rect { x, y, width, height } = one.rect;
                    let title = one.shape == Shape::Head
                        && y + height / 2 == frame.rect.y
                        && frame.rect.contains(Rect { x, y: frame.rect.y, width, height: 0 });
                    let apart = frame.rect.contains(one.rect) || !frame.rect.overlaps(one.rect);
                    assert!(title || apart, "{one:?} {frame:?}");
                }
            }
            let frames: Vec<&Item> = of(&drawing, &[Shape::Frame]).collect();
            for (index, one) in frames.iter().enumerate() {
                for other in &frames[..index] {
                    let inside = one.rect.contains(other.rect) || other.rect.contains(one.rect);
                    assert!(inside || !one.rect.overlaps(other.rect), "{one:?} {other:?}");
                }
            }
        }
    }

    fn count(view: &View) -> i32 {
        1 + view.inner.iter().map(|(_, inner)| count(inner)).sum::<i32>()
    }

    #[test]
    fn sizes_grow_with_the_content_up_to_their_bound() {
        let mut before = (0, 0);
        for depth in 0..5 {
            let view = samples::nested(depth);
            let Block { left, right, height, .. } = Block::flow(&PlacedStep::root(&view), &[]);
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
}
