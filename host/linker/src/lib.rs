//! Links components into one component.
//!
//! ```text
//! component + the functions it imports --link--> one component     (`link`: typed imports)
//! chain of typed functions             --fuse--> one component     (`fuse`: a hop is a call)
//! ```
//!
//! Both build on `nest`: reading components, and writing the component around them. Nothing here runs or
//! compiles anything, and what is linked hasn't been admitted yet.

mod fuse;
mod link;
mod nest;

pub use self::fuse::{Link, NotFusible, fuse};
pub use self::link::{
    ImportMismatch, Importer, InvalidImport, InvalidImporter, Unlinked, imported_functions,
};
pub use self::nest::NotNested;
