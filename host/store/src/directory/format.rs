//! The formats of a data directory that this release reads.

/// The format of new directories, as `FORMAT` has it.
pub(super) const FORMAT: &str = "nebula registry 2\n";

/// The format without a log of changes.
pub(super) const FORMAT_1: &str = "nebula registry 1\n";
