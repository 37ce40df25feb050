//! Exports spans to an OpenTelemetry collector: OTLP over HTTP (protobuf) and gRPC.
//!
//! ```text
//! SpanQueue -> exporter (a thread) -> wire (protobuf) -> delivery (HTTP | gRPC) -> transport (TCP, TLS)
//! config    <- the standard environment variables
//! ```
//!
//! Invariants:
//! * Nothing runs unless the environment asks for it. While there are no spans, the exporter's thread
//!   sleeps without a timer and holds no connection.
//! * A collector that is down, slow or refuses spans delays no request: spans that don't fit in the
//!   queue are dropped, counted and reported.
//! * Headers may hold credentials: no message shows their values.

mod config;
mod delivery;
mod exporter;
mod transport;
mod wire;

pub use self::config::{ConfigError, Configured, OtlpConfig};
pub use self::exporter::{Exporter, LostSpans};
