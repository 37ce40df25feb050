//! Links components into one component.
//!
//! ```text
//! component + the functions it imports --link--> one component     (`link`: typed imports)
//! chain of typed functions             --fuse--> one component     (`fuse`: a hop is a call)
//! ```
//!
//! Both build on `nest`, which reads components and writes the component around them. This crate
//! neither runs nor compiles anything, and a linked component hasn't been admitted yet.

mod fuse;
mod link;
mod nest;

pub use self::fuse::{FuseError, Link, fuse};
pub use self::link::{
    ImportMismatch, Importer, InvalidImport, InvalidImporter, LinkError, components_in, imported_functions,
    importer_of,
};
pub use self::nest::NestError;
