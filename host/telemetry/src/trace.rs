//! Spans of sampled requests, on their way to an exporter.
//!
//! ```text
//! request --(traceparent)--> Tracer::begin --(not sampled)--> nothing more
//!                                         \-(sampled)--> SpanStart --(after the answer)--> Span --> SpanQueue --> exporter
//! ```
//!
//! The decision comes before anything else. A sampled request is served like any other: its spans are
//! made when it is over, from times that are measured anyway. `scope` passes a span on to the work
//! that a request starts on other threads, such as compiles.
//!
//! Invariants:
//! * A request that isn't sampled allocates nothing and reads no clock here.
//! * The queue is bounded and never waits: if it is full, spans are dropped and counted.
//! * Without spans, no thread wakes up.

mod queue;
mod random;
mod sampler;
mod scope;
mod span;
mod tracer;

pub use self::queue::{Batch, QueueLimits, SpanQueue};
pub use self::sampler::{RootSampler, SampledShare, Sampler};
pub use self::scope::Scope;
pub use self::span::{Attribute, AttributeValue, Parent, Span, SpanKind, SpanStart, TEXT_BYTES_MAX};
pub use self::tracer::Tracer;
