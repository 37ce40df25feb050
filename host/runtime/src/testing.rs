//! Tests that every implementation of [`Peers`](crate::Peers) passes.
//!
//! Another crate enables the feature `testing`, implements the fixture for its implementation and
//! runs the suite with `peers_conformance!`.

pub mod peers;
