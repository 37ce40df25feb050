//! The events of calls in the server's log: failures, and the output of functions.
//!
//! Invariants:
//! * A call that succeeds and prints nothing has no event.
//! * Failures of each kind are logged at a bounded rate. `nebula logs` has them all.
//! * What a guest prints is its tenant's: it is in events of the target [`GUEST`] alone, at most one
//!   for each stream of a call.

use nebula_engine::{CallLog, LogStream};
use nebula_model::record::VersionRecord;
use nebula_model::trace_context::TraceId;
use nebula_telemetry::EventRate;
use tracing::{debug, error, field, info, warn};

use crate::error::{CallError, Fault};

/// The target of events about calls.
const CALL: &str = "nebula::call";

/// The target of what functions print.
const GUEST: &str = "nebula::guest";

/// The ids of the request that makes a call. The log has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallIds<'a> {
    /// The id of the request, which its answer has too.
    pub request_id: Option<&'a str>,
    /// The trace that the request belongs to.
    pub trace_id: Option<TraceId>,
}

/// Logs the failure of a call.
pub(crate) fn log_failure(function: &VersionRecord, error: &CallError, ids: CallIds<'_>) {
    static SHED: EventRate = EventRate::new();
    static LATE: EventRate = EventRate::new();
    static FAILED: EventRate = EventRate::new();
    static DEFECT: EventRate = EventRate::new();
    let CallIds { request_id, trace_id } = ids;
    let (name, version, trace_id) = (function.name.as_str(), &function.version, trace_id.map(field::display));
    // The macros take the level and the message as literals.
    macro_rules! log {
        ($level:ident, $rate:ident, $message:literal) => {
            if let Some(skipped) = $rate.admit() {
                let skipped = (skipped > 0).then_some(skipped);
                $level!(
                    target: CALL, function = name, %version, request_id, trace_id, reason = error.to_string(), skipped,
                    $message
                );
            }
        };
    }
    match error.fault() {
        Fault::Caller => debug!(
            target: CALL, function = name, %version, request_id, trace_id, reason = error.to_string(),
            "an input was refused"
        ),
        Fault::Load => log!(warn, SHED, "a call was shed"),
        Fault::Guest if error.is_late() => log!(warn, LATE, "a call passed its deadline"),
        Fault::Guest => log!(warn, FAILED, "a function failed"),
        Fault::Host => log!(error, DEFECT, "a call failed by a fault of the host"),
    }
}

/// Logs what a function printed during a call.
pub(crate) fn log_output(function: &VersionRecord, log: &CallLog, ids: CallIds<'_>) {
    if log.is_empty() || !tracing::enabled!(target: GUEST, tracing::Level::INFO) {
        return;
    }
    let CallIds { request_id, trace_id } = ids;
    let (name, version, trace_id) = (function.name.as_str(), &function.version, trace_id.map(field::display));
    let dropped_bytes = (log.dropped_bytes > 0).then_some(log.dropped_bytes);
    for (stream, label) in [(LogStream::Stdout, "stdout"), (LogStream::Stderr, "stderr")] {
        let output = log.text_of(stream);
        if !output.is_empty() {
            info!(
                target: GUEST, function = name, %version, request_id, trace_id, stream = label, output, dropped_bytes,
                "output"
            );
        }
    }
}
