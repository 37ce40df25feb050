//! One run of a call, from bytes to bytes: decode, run on a fresh instance, encode. It is
//! synchronous, on the calling thread.
//!
//! Invariants:
//! * Nothing of an aborted run is kept.
//! * The guest runs only after its whole input has been decoded.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nebula_codec as codec;
use nebula_codec::{Field, Type};
use nebula_codec::{Flat, Input, utf8};
use nebula_engine as engine;
use nebula_engine::{Allowance, CallLog};
use nebula_engine::{Ended, Kind, Loaded, Output, Ready, Spent, Stopped, TICK, Typed};
use nebula_model::answer::{Answer, Content};
use nebula_model::caching::{Because, Source};
use nebula_model::cost::CallCost;
use nebula_model::id::Digest;
use nebula_model::limits::Limits;
use nebula_model::record::VersionRecord;
use nebula_model::request::{Prefer, Request};
use nebula_telemetry::Stopwatch;
use serde::{Deserialize, Serialize};
use wasmtime::component::Val;

use crate::cache::CachedResult;
use crate::call::function::Function;
use crate::error::CallError;
use crate::peers::{Host, PeerAnswer};

/// A finished call.
#[derive(Debug)]
pub struct CallOutcome {
    /// The answer, or the reason for its absence.
    pub result: Result<Answer, Arc<CallError>>,
    /// Its time by phase.
    pub cost: CallCost,
    /// Its log; empty if the guest didn't run for this call.
    pub log: CallLog,
    /// The source of the answer.
    pub source: Source,
    /// BLAKE3 hash of the answer's body, if it has been computed.
    pub content_hash: Option<[u8; 32]>,
    /// The engine that computed it: Nebula, wasmtime and the kind of machine, as product tokens
    /// (RFC 9110 §10.1.5).
    pub engine: Cow<'static, str>,
    /// The trace of the steps, if a pipeline ran for this call.
    pub trace: Option<Arc<[StepTrace]>>,
    /// The guest was refused memory or table space during the run, whatever it did then.
    pub(crate) denied: bool,
    /// The host that answered the call: it has counted, logged and cached it.
    pub(crate) answered_by: Host,
}

/// The trace of one step of a pipeline, summed over its calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTrace {
    /// The name of the step.
    pub step: String,
    /// Number of its calls.
    pub calls: u64,
    /// Number of these that were answered from memory or disk.
    pub hits: u64,
    /// Sum of the wall-clock time of its calls, microseconds.
    pub took_us: u64,
    /// The time in which its calls were made; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<StepInterval>,
    /// Digest of its input, if the pipeline ended with this step: the document that repeats the
    /// call by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Digest>,
}

/// The time from the start of a step's first call to the end of its last, from the start of the
/// pipeline. Parts that run in parallel have intervals that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepInterval {
    /// Microseconds from the start of the pipeline.
    pub began_us: u64,
    /// Microseconds from the start of the pipeline.
    pub ended_us: u64,
}

impl CallOutcome {
    /// Returns whether the call returned a value and the guest was refused nothing on the way.
    pub(crate) fn is_whole(&self) -> bool {
        !self.denied && matches!(self.result, Ok(Answer::Value(_)))
    }

    /// Creates the outcome of a call whose guest hasn't run.
    pub(crate) fn failed(error: impl Into<Arc<CallError>>, cost: CallCost) -> Self {
        Self::ran(Err(error.into()), cost, CallLog::default())
    }

    /// Creates the outcome of a call that was answered with a cached result.
    pub(crate) fn cached(cached: &CachedResult, source: Source, cost: CallCost) -> Self {
        Self {
            source,
            content_hash: cached.content_hash,
            engine: cached.engine.clone(),
            ..Self::ran(cached.result.clone(), cost, CallLog::default())
        }
    }

    pub(crate) fn ran(result: Result<Answer, Arc<CallError>>, cost: CallCost, log: CallLog) -> Self {
        let source = Source::Ran { because: Because::Off, stored: false };
        Self {
            result,
            cost,
            log,
            source,
            content_hash: None,
            engine: Cow::Borrowed(engine::identity()),
            trace: None,
            denied: false,
            answered_by: Host::This,
        }
    }
}

/// A request, and the form of answer that it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallRequest<'a> {
    pub(crate) request: &'a Request,
    pub(crate) prefer: Prefer,
}

impl From<PeerAnswer> for CallOutcome {
    fn from(answer: PeerAnswer) -> Self {
        let PeerAnswer { result, cost, source, content_hash, engine } = answer;
        let (log, trace) = (CallLog::default(), None);
        Self {
            result,
            cost,
            log,
            source,
            content_hash,
            engine,
            trace,
            denied: false,
            answered_by: Host::Peer,
        }
    }
}

impl From<CallOutcome> for PeerAnswer {
    fn from(outcome: CallOutcome) -> Self {
        // Neither the log nor the trace leaves the host that ran the call.
        let CallOutcome {
            result,
            cost,
            log: _,
            source,
            content_hash,
            engine,
            trace: _,
            denied: _,
            answered_by: _,
        } = outcome;
        Self { result, cost, source, content_hash, engine }
    }
}

/// The part of a function's signature that decides how a request is decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface<'a> {
    pub(crate) intake: Intake<'a>,
    /// A `string` or `list<u8>` result may be answered as its plain bytes.
    pub(crate) gives_flat: bool,
}

/// The kind of input that a function takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Intake<'a> {
    Values(&'a [Field]),
    Payload,
    Http,
}

impl Intake<'_> {
    /// Returns the kind of the only parameter, if it is flat.
    fn flat(self) -> Option<Flat> {
        match self {
            Self::Values([param]) => Flat::of(&param.ty),
            Self::Values(_) | Self::Payload | Self::Http => None,
        }
    }
}

impl<'a> Interface<'a> {
    /// Returns how a component of this kind reads requests.
    pub(crate) fn of(kind: &'a Kind) -> Self {
        match kind {
            Kind::Typed(typed) => Self {
                intake: Intake::Values(&typed.signature.params),
                gives_flat: typed.flat_output().is_some(),
            },
            Kind::Raw(_) => Self { intake: Intake::Payload, gives_flat: false },
            Kind::Http(_) => Self { intake: Intake::Http, gives_flat: false },
        }
    }
}

/// The end of a run of a component.
pub(crate) enum RunEnd {
    /// The call is over.
    Over(CallOutcome),
    /// The run was aborted, or got no slot: another run may still give an answer.
    CutOff(CallOutcome),
}

/// The times at which a call was admitted and at which its thread started on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallTimes {
    /// Start of the deadline.
    pub(crate) admitted: Instant,
    /// Start of the run's cost.
    pub(crate) begun: Instant,
}

/// A run of a component.
pub(crate) struct Run {
    pub(crate) end: RunEnd,
    /// The value that the answer encodes as JSON, if it does; without the `result` around it.
    pub(crate) value: Option<Val>,
    /// The instance, to be reset when the answer is out.
    pub(crate) spent: Option<Spent>,
}

/// A decoded call, as the guest receives it.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) input: Input,
    /// Answer a `string` or `list<u8>` as its plain bytes instead of JSON. `false` for other types.
    pub(crate) raw: bool,
}

/// Decodes a call.
///
/// # Errors
/// [`CallError`], always the caller's fault.
pub(crate) fn decode(interface: Interface<'_>, request: CallRequest<'_>) -> Result<Decoded, CallError> {
    let ReceivedInput { input, is_raw } = input(interface.intake, request.request)?;
    let raw = match request.prefer {
        Prefer::AsSent => is_raw,
        Prefer::Json => false,
        Prefer::Raw => true,
    };
    Ok(Decoded { input, raw: raw && interface.gives_flat })
}

/// Runs one call of `function` within `allowance`, on `ready` if there is one and else on an
/// instance created now.
pub(crate) fn run(
    function: &Function,
    loaded: &Loaded,
    decoded: &Decoded,
    times: CallTimes,
    allowance: Allowance,
    ready: Option<Ready>,
) -> Run {
    let CallTimes { admitted, begun } = times;
    let mut watch = Stopwatch::started_at(begun);
    let mut cost = CallCost { queue: watch.since(admitted), ..CallCost::default() };
    let limits = function.limits();
    let ticking = loaded.begin();
    let prepared = match ready {
        Some(ready) => Ok(ready),
        None => {
            let VersionRecord { digest, config, .. } = &function.record;
            loaded.prepare(&ticking, digest.bytes(), limits, config, allowance.clone())
        }
    };
    cost.start = watch.lap();
    let (ended, spent) = match prepared {
        Ok(ready) => {
            let (ended, spent) = ready.run(&ticking, loaded, limits, &decoded.input, allowance);
            (ended, Some(spent))
        }
        Err(ended) => (*ended, None),
    };
    let is_cut_off = ended.is_undecided();
    let Ended { result, log, denied } = ended;
    let (result, value) = match result {
        Ok(output) => match encode(&loaded.kind, output, decoded.raw, limits.output_bytes_max) {
            Ok(Encoded { answer, value }) => (Ok(answer), value),
            Err(error) => (Err(error), None),
        },
        Err(stopped) => (Err(error_of(stopped, limits, &log)), None),
    };
    cost.run = watch.lap();
    // The clock interrupts between instructions, and one instruction can fill a whole memory.
    let is_late = result.is_ok() && watch.since(admitted) > limits.deadline() + TICK;
    let result = if is_late { Err(too_late(limits, &log)) } else { result };
    let outcome = CallOutcome { denied, ..CallOutcome::ran(result.map_err(Arc::new), cost, log) };
    let end = if is_cut_off { RunEnd::CutOff(outcome) } else { RunEnd::Over(outcome) };
    Run { end, value, spent }
}

fn too_late(limits: &Limits, log: &CallLog) -> CallError {
    CallError::DeadlineExceeded { deadline_ms: limits.deadline_ms.get(), log_tail: log.tail() }
}

/// Returns why a guest that was stopped has no answer.
fn error_of(stopped: Stopped, limits: &Limits, log: &CallLog) -> CallError {
    match stopped {
        Stopped::CutOff => too_late(limits, log),
        Stopped::Trapped(failure) => CallError::Trapped(Box::new(failure)),
        Stopped::StackExhausted(failure) => CallError::StackExhausted(Box::new(failure)),
        Stopped::ResourceLimit { limit, max, failure } => {
            CallError::ResourceLimit { limit, max, failure: Box::new(failure) }
        }
        Stopped::OutputTooLarge { bytes_max } => CallError::OutputTooLarge { bytes_max },
        Stopped::InvalidAnswer(failure) => CallError::InvalidAnswer(Box::new(failure)),
        Stopped::NoSlot => CallError::NoSlot,
    }
}

/// A decoded input.
struct ReceivedInput {
    input: Input,
    /// It was sent as its plain bytes.
    is_raw: bool,
}

impl ReceivedInput {
    fn raw(input: Input) -> Self {
        Self { input, is_raw: true }
    }

    fn parsed(input: Input) -> Self {
        Self { input, is_raw: false }
    }
}

/// Decodes the input of a call.
fn input(intake: Intake<'_>, request: &Request) -> Result<ReceivedInput, CallError> {
    match (intake, request) {
        (Intake::Http, Request::Http(request)) => Ok(ReceivedInput::raw(Input::Http(Arc::clone(request)))),
        (Intake::Payload, Request::Payload { media_type, body }) => {
            let media_type = media_type.as_deref().unwrap_or("application/octet-stream").to_owned();
            Ok(ReceivedInput::raw(Input::Payload { media_type, body: body.clone() }))
        }
        (Intake::Values(params), Request::Payload { media_type, body }) => {
            decode_typed(intake.flat(), params, media_type.as_deref(), body)
        }
        (Intake::Values(params), Request::Query(pairs)) => {
            let values = codec::decode_query(params, pairs).map_err(CallError::BadInput)?;
            Ok(ReceivedInput::parsed(Input::Values(values.into())))
        }
        (Intake::Payload, Request::Query(_)) => {
            Err(CallError::UnsupportedInput("this function reads a body: use POST"))
        }
        (Intake::Payload | Intake::Values(_), Request::Http(_)) => {
            Err(CallError::UnsupportedInput("this function has no paths below its name"))
        }
        (Intake::Http, Request::Payload { .. } | Request::Query(_)) => {
            Err(CallError::UnsupportedInput("this function takes whole HTTP requests"))
        }
    }
}

/// Decodes typed input: JSON, or the plain bytes of a single `string` or `list<u8>`. Unlabelled
/// input is decoded as the function's type suggests: plain if that is possible, else JSON. The
/// media type that `curl -d` sends by default (`application/x-www-form-urlencoded`) counts as
/// unlabelled.
fn decode_typed(
    flat: Option<Flat>,
    params: &[Field],
    media_type: Option<&str>,
    body: &Bytes,
) -> Result<ReceivedInput, CallError> {
    let essence = media_type.map(|media_type| media_type.split(';').next().unwrap_or(media_type).trim());
    let essence =
        essence.filter(|essence| !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let unsupported = |found: &str, accepted: &[&'static str]| CallError::UnsupportedMediaType {
        found: found.to_ascii_lowercase(),
        accepted: accepted.to_vec(),
    };
    match (essence, flat) {
        (Some(essence), _) if is_json(essence) => decode_json(flat, params, body),
        (None, None) => decode_json(flat, params, body),
        (Some(essence), None) => Err(unsupported(essence, &["application/json"])),
        (essence, Some(Flat::String)) => match essence {
            Some(essence) if !is_text(essence) => {
                Err(unsupported(essence, &["text/plain", "application/json"]))
            }
            Some(_) | None => {
                utf8(body).map_err(CallError::BadInput)?;
                Ok(ReceivedInput::raw(Input::Flat(Flat::String, body.clone())))
            }
        },
        (_, Some(Flat::Bytes)) => Ok(ReceivedInput::raw(Input::Flat(Flat::Bytes, body.clone()))),
    }
}

fn is_json(essence: &str) -> bool {
    let suffix = essence.len().checked_sub(5).and_then(|at| essence.get(at..));
    essence.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

/// Returns whether the media type is text, or bytes that may be text.
fn is_text(essence: &str) -> bool {
    essence.get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("text/"))
        || essence.eq_ignore_ascii_case("application/octet-stream")
}

fn decode_json(flat: Option<Flat>, params: &[Field], body: &[u8]) -> Result<ReceivedInput, CallError> {
    let mut values = codec::decode(params, body).map_err(CallError::BadInput)?;
    if flat == Some(Flat::String)
        && let [Val::String(text)] = &mut *values
    {
        return Ok(ReceivedInput::parsed(Input::Flat(Flat::String, std::mem::take(text).into())));
    }
    Ok(ReceivedInput::parsed(Input::Values(values.into())))
}

/// An output, encoded as an answer.
pub(crate) struct Encoded {
    pub(crate) answer: Answer,
    /// The value that the answer encodes as JSON, if it does.
    pub(crate) value: Option<Val>,
}

impl From<Answer> for Encoded {
    fn from(answer: Answer) -> Self {
        Self { answer, value: None }
    }
}

/// Encodes an output. `raw` answers a flat value as its plain bytes.
fn encode(kind: &Kind, output: Output, raw: bool, bytes_max: u64) -> Result<Encoded, CallError> {
    let encoded = match (output, kind) {
        (Output::Flat(body), Kind::Typed(typed)) => {
            let flat = typed.flat_output().unwrap_or(Flat::Bytes);
            let content = if raw {
                Content { media_type: Cow::Borrowed(flat.media_type()), body }
            } else {
                Content::json(codec::encode_flat(flat, &body))
            };
            Answer::Value(content).into()
        }
        (Output::Value(value), Kind::Typed(typed)) => encode_value(typed, value, raw),
        (Output::Payload { media_type, body }, _) => {
            Answer::Value(Content { media_type: media_type.into(), body }).into()
        }
        (Output::Http(response), _) => Answer::Http(response).into(),
        (Output::BadInput(message), _) => {
            let error = serde_json::json!({"bad-input": message});
            Answer::Error(Content::json(error.to_string().into_bytes())).into()
        }
        (Output::Failed(message), _) => return Err(CallError::Failed { message }),
        (Output::Flat(_) | Output::Value(_), Kind::Raw(_) | Kind::Http(_)) => {
            return Err(CallError::Internal("a value from a function that isn't typed".to_owned()));
        }
    };
    if encoded.answer.body().len() as u64 > bytes_max {
        return Err(CallError::OutputTooLarge { bytes_max });
    }
    Ok(encoded)
}

fn encode_value(typed: &Typed, value: Option<Val>, raw: bool) -> Encoded {
    let (Some(ty), Some(value)) = (&typed.signature.result, value) else {
        return Answer::Value(Content::json(b"null".to_vec())).into();
    };
    let failed = matches!(value, Val::Result(Err(_)));
    let wrap = if failed { Answer::Error } else { Answer::Value };
    let (ty, value) = match (ty, value) {
        (Type::Result(result), Val::Result(Ok(value))) => (result.ok.as_ref(), value.map(|value| *value)),
        (Type::Result(result), Val::Result(Err(value))) => (result.err.as_ref(), value.map(|value| *value)),
        (ty, value) => (Some(ty), Some(value)),
    };
    let (Some(ty), Some(value)) = (ty, value) else {
        return wrap(Content::json(b"null".to_vec())).into();
    };
    // Errors are always JSON.
    if let (true, false, Some(flat)) = (raw, failed, Flat::of(ty)) {
        let body = codec::bytes_of(value);
        return wrap(Content { media_type: Cow::Borrowed(flat.media_type()), body }).into();
    }
    let mut json = Vec::new();
    codec::encode(ty, &value, &mut json);
    Encoded { answer: wrap(Content::json(json)), value: Some(value) }
}
