//! Runs pure WebAssembly functions.

pub mod limits;
pub mod purity;
