//! The spans of requests, made after them from what was measured anyway.
//!
//! ```text
//! data, control, fast_path -> RequestSpan::begin… --(None: not sampled)
//!                                      \-> (the request is served) -> end… -> Tracer
//! ```
//!
//! `request` is the span of a request, and `call` the spans of a call's phases and a pipeline's steps,
//! and `trace_state` what a span keeps of the caller's systems.
//! docs/tracing.md lists names and attributes; they follow the OpenTelemetry semantic conventions for
//! HTTP servers and FaaS, and begin with `nebula.` where those have none.
//!
//! Invariants:
//! * A request that isn't sampled carries no more than a null pointer.
//! * Spans hold no input, no output, no query and no credentials.

mod call;
mod request;
mod trace_state;

pub(crate) use self::call::TracedCall;
pub(crate) use self::request::{OperationRoute, ProblemKind, RequestFacts, RequestSpan, attach_call};
pub(crate) use self::trace_state::TRACESTATE;
