//! Test guests: components that misbehave or exercise one feature. Each is an example of this
//! package.
//!
//! The directories have the names of the end-to-end test modules: the test `faults::panics` calls
//! the guest `faults/panics.rs`. A guest without such a test is a compile error there. Guests use
//! the bare bindings instead of the SDK, so that the SDK has no part in their faults.
