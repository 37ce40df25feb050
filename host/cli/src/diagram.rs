//! Drawings of a pipeline: for the terminal and as SVG.
//!
//! ```text
//! StepView --outline--> steps, branches, titles --text--> lines with box-drawing characters
//!                                           --svg---> boxes and lines (layout) --> SVG
//! ```
//!
//! Invariants:
//! * Everything written into the SVG is escaped. A character that acts on a terminal, or is
//!   invisible, is written as its number (`legible`): a view may come from a server, and its
//!   constants from anyone.
//! * The size of a drawing is at most a constant for each step (for text: times their depth),
//!   because every text is shortened first.
//! * The same view gives the same drawing.
//! * A step of an unknown kind is drawn under the name of its kind.

mod legible;
mod outline;
#[cfg(test)]
mod samples;
mod svg;
mod text;

pub(crate) use self::svg::svg;
pub(crate) use self::text::text;
