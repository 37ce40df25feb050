//! Everything that runs for longer than a fast-lane call: code to run, pipelines step by step,
//! explained calls, and the verification of cached results.

pub(crate) mod code;
pub(crate) mod explain;
pub(crate) mod steps;
pub(crate) mod verify;
