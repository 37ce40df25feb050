//! Drawings of a pipeline: for the terminal and as SVG.
//!
//! ```text
//! View --outline--> steps with their places, branches, titles --text--> lines with box-drawing characters
//!                                                            --svg---> boxes and lines (layout) --> SVG
//! ```
//!
//! Invariants:
//! * Everything written into the SVG is escaped. A character that acts on a terminal, or is
//!   invisible, is written as its number (`legible`): a view may come from a server, and its
//!   constants from anyone.
//! * The size of a drawing is at most a constant for each step, times its depth, because every text
//!   is shortened first.
//! * The same view gives the same drawing.
//! * A step of an unknown kind is drawn under the name of its kind.

mod legible;
mod outline;
#[cfg(test)]
mod samples;
mod svg;
mod text;

pub use self::svg::{Colours, svg};
pub use self::text::text;
