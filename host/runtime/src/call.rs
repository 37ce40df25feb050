//! One call: from a name and bytes to an answer.
//!
//! ```text
//! shard --name--> functions --answer--> a cached result
//!    \--(miss)--> invoke, here or on the lane --> keep
//! ```
//!
//! `shard` is the state of one serving thread, `functions` the names that all threads share,
//! `routes` the paths that stand for them, `lane` the threads for long calls, `invoke` one run of a
//! component. `lookup` finds results, `keep` stores them, `tally` counts calls, and `events` logs
//! failures.

pub(crate) mod events;
pub(crate) mod function;
pub(crate) mod functions;
pub(crate) mod invoke;
pub(crate) mod keep;
pub(crate) mod lane;
pub(crate) mod leases;
pub(crate) mod lookup;
pub(crate) mod routes;
pub(crate) mod shard;
pub(crate) mod tally;
