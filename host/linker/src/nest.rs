//! Components inside one component: parsing them, and writing the imports and types of the
//! component around them.
//!
//! `fuse` nests the functions of a chain, `link` a component with the functions it imports.
//!
//! ```text
//! bytes --read--> ParsedComponent --imports--> imports of the outer component
//!                  Type (codec)   --named----> types written in a component
//! ```
//!
//! Invariant: nothing here runs, compiles or validates code. The caller parses the finished
//! component again.

mod imports;
mod named;
mod read;

pub(crate) use self::imports::{Argument, HOST, import_all};
pub(crate) use self::named::{Names, Types};
pub use self::read::NestError;
pub(crate) use self::read::ParsedComponent;

/// The export that runs once when a component is compiled alone. It wouldn't run in a nested
/// component.
pub(crate) const INITIALISES: &str = "wizer-initialize";
