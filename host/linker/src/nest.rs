//! Components put into one: what is read of them, and what the component around them imports and names.
//!
//! [`fuse`](super::fuse) puts the functions of a chain into one, and [`link`](super::link) a component with the functions
//! that it imports. What they are to one another there is theirs to say.
//!
//! Invariant: nothing here runs or compiles anything. What is written is read again by whoever asked for it.

mod imports;
mod named;
mod read;

pub(super) use self::imports::{HOST, import_all};
pub(super) use self::named::{Names, Types};
pub(super) use self::read::Read;

/// What is run once, when a component is compiled by itself: in another one it would never be.
pub(super) const INITIALISES: &str = "wizer-initialize";

/// Why components can't be put into one: what one of them is, or imports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotNested(pub(super) String);
