//! One call, from bytes to bytes: decode, run on a fresh instance, encode. Synchronous, on the thread
//! that asks.
//!
//! Invariants:
//! * Nothing of a call that was cut off is kept.
//! * The guest runs only if its input has been decoded whole.

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
use nebula_model::cost::CallCost;
use nebula_model::id::Digest;
use nebula_model::remember::{Because, Source};
use nebula_model::request::{Prefer, Request};
use nebula_telemetry::Stopwatch;
use serde::{Deserialize, Serialize};
use wasmtime::component::Val;

use crate::call::function::Function;
use crate::error::CallError;

/// A call that is over.
#[derive(Debug)]
pub struct Called {
    /// What came of it.
    pub result: Result<Answer, Arc<CallError>>,
    /// Its time by phase.
    pub cost: CallCost,
    /// What it printed; nothing if it didn't run for this call.
    pub log: CallLog,
    /// Where the answer comes from.
    pub source: Source,
    /// BLAKE3 of the answer's body, where it is known already.
    pub content_hash: Option<[u8; 32]>,
    /// What computed it: Nebula, wasmtime and the machine's kind, as product tokens (RFC 9110 §10.1.5).
    pub engine: Cow<'static, str>,
    /// Of a pipeline that ran for this call: how its steps went.
    pub trace: Option<Arc<[StepTrace]>>,
    /// It was refused memory or table on the way, whatever it has made of that.
    pub(crate) denied: bool,
}

/// How a step of a pipeline went, all its calls together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTrace {
    /// What the step is called.
    pub step: String,
    /// How often it was called.
    pub calls: u64,
    /// How many of these were answered from memory or disk.
    pub hits: u64,
    /// What its calls took on the wall's clock, one after the other, microseconds.
    pub took_us: u64,
    /// If the pipeline ended with it: the digest of what it was given, as the document that makes the call by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Digest>,
}

impl Called {
    /// Whether it returned a value, and nothing was refused it on the way.
    pub(crate) fn is_whole(&self) -> bool {
        !self.denied && matches!(self.result, Ok(Answer::Value(_)))
    }

    /// Without the guest having run.
    pub(crate) fn failed(error: impl Into<Arc<CallError>>, cost: CallCost) -> Self {
        Self::ran(Err(error.into()), cost, CallLog::default())
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
        }
    }
}

/// What of a function decides how a request is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface<'a> {
    pub(crate) intake: Intake<'a>,
    /// Whether its answer may go out as it is, as a `string` or `list<u8>` may.
    pub(crate) gives_flat: bool,
}

/// What a function takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Intake<'a> {
    Values(&'a [Field]),
    Payload,
    Http,
}

impl Intake<'_> {
    /// The kind of the only parameter, where it is flat.
    fn flat(self) -> Option<Flat> {
        match self {
            Self::Values([(_, ty)]) => Flat::of(ty),
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

/// What became of a call.
pub(crate) enum Outcome {
    /// It is over.
    Called(Called),
    /// It was cut off, or there was no slot: it may come to more elsewhere.
    Undecided(Called),
}

/// A call as the guest gets it.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) input: Input,
    /// Whether a `string` or `list<u8>` is answered as it is, and not as JSON. `false` where neither can be.
    pub(crate) raw: bool,
}

/// Decodes a call.
///
/// # Errors
/// [`CallError`]: the caller's fault, always.
pub(crate) fn decode(
    interface: Interface<'_>,
    request: &Request,
    prefer: Prefer,
) -> Result<Decoded, CallError> {
    let (input, sent_raw) = input(interface.intake, request)?;
    let raw = match prefer {
        Prefer::AsSent => sent_raw,
        Prefer::Json => false,
        Prefer::Raw => true,
    };
    Ok(Decoded { input, raw: raw && interface.gives_flat })
}

/// Runs one call of `function` within `allowance`, on `ready` if there is one and else on an instance
/// made now. The deadline counts from `admitted`; what this thread does for the call, from `begun`.
///
/// What is left of the instance comes back, so that it can be cleaned up when the answer is out.
pub(crate) fn run(
    function: &Function,
    loaded: &Loaded,
    decoded: &Decoded,
    (admitted, begun): (Instant, Instant),
    allowance: Allowance,
    ready: Option<Ready>,
) -> (Outcome, Option<Spent>) {
    let (outcome, _, spent) = run_for_value(function, loaded, decoded, (admitted, begun), allowance, ready);
    (outcome, spent)
}

/// The same, with the value that the answer is the JSON of, if it is that; without the `result` that it came in.
pub(crate) fn run_for_value(
    function: &Function,
    loaded: &Loaded,
    decoded: &Decoded,
    (admitted, begun): (Instant, Instant),
    allowance: Allowance,
    ready: Option<Ready>,
) -> (Outcome, Option<Val>, Option<Spent>) {
    let mut watch = Stopwatch::started_at(begun);
    let mut cost = CallCost { queue: watch.since(admitted), ..CallCost::default() };
    let limits = function.limits();
    let ticking = loaded.begin();
    let prepared = match ready {
        Some(ready) => Ok(ready),
        None => loaded.prepare(&ticking, function.record.digest.bytes(), limits, allowance.clone()),
    };
    cost.start = watch.lap();
    let (ended, spent) = match prepared {
        Ok(ready) => {
            let (ended, spent) = ready.run(&ticking, loaded, limits, &decoded.input, allowance);
            (ended, Some(spent))
        }
        Err(ended) => (*ended, None),
    };
    let undecided = ended.is_undecided();
    let (called, value) = finish(function, &loaded.kind, ended, decoded.raw, admitted, watch, cost);
    (if undecided { Outcome::Undecided(called) } else { Outcome::Called(called) }, value, spent)
}

/// The input of a call, and whether it came raw.
fn input(intake: Intake<'_>, request: &Request) -> Result<(Input, bool), CallError> {
    match (intake, request) {
        (Intake::Http, Request::Http(request)) => Ok((Input::Http(Arc::clone(request)), true)),
        (Intake::Payload, Request::Payload { media_type, body }) => {
            let media_type = media_type.as_deref().unwrap_or("application/octet-stream").to_owned();
            Ok((Input::Payload { media_type, body: body.clone() }, true))
        }
        (Intake::Values(params), Request::Payload { media_type, body }) => {
            decode_typed(intake.flat(), params, media_type.as_deref(), body)
        }
        (Intake::Values(params), Request::Query(pairs)) => {
            let values = codec::decode_query(params, pairs).map_err(CallError::BadInput)?;
            Ok((Input::Values(values.into()), false))
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

/// Typed input is JSON, or the plain bytes of a single `string` or `list<u8>`. Unlabelled input is what
/// the function's type suggests: plain where that is possible, else JSON. What `curl -d` sends unless
/// told otherwise (`application/x-www-form-urlencoded`) counts as unlabelled.
fn decode_typed(
    flat: Option<Flat>,
    params: &[Field],
    media_type: Option<&str>,
    body: &Bytes,
) -> Result<(Input, bool), CallError> {
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
                Ok((Input::Flat(Flat::String, body.clone()), true))
            }
        },
        (_, Some(Flat::Bytes)) => Ok((Input::Flat(Flat::Bytes, body.clone()), true)),
    }
}

fn is_json(essence: &str) -> bool {
    let suffix = essence.len().checked_sub(5).and_then(|at| essence.get(at..));
    essence.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

/// Text, or bytes that may be.
fn is_text(essence: &str) -> bool {
    essence.get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("text/"))
        || essence.eq_ignore_ascii_case("application/octet-stream")
}

fn decode_json(flat: Option<Flat>, params: &[Field], body: &[u8]) -> Result<(Input, bool), CallError> {
    let mut values = codec::decode(params, body).map_err(CallError::BadInput)?;
    if flat == Some(Flat::String)
        && let [Val::String(text)] = &mut *values
    {
        return Ok((Input::Flat(Flat::String, std::mem::take(text).into()), false));
    }
    Ok((Input::Values(values.into()), false))
}

fn finish(
    function: &Function,
    kind: &Kind,
    ended: Ended,
    raw: bool,
    admitted: Instant,
    mut watch: Stopwatch,
    mut cost: CallCost,
) -> (Called, Option<Val>) {
    let Ended { result, log, denied } = ended;
    let limits = function.limits();
    let too_late =
        || CallError::DeadlineExceeded { deadline_ms: limits.deadline_ms.get(), log_tail: log.tail() };
    let mut value = None;
    let result = match result {
        Ok(output) => answer(kind, output, raw, limits.output_bytes_max, &mut value),
        Err(stopped) => Err(match stopped {
            Stopped::CutOff => too_late(),
            Stopped::Trapped(failure) => CallError::Trapped(Box::new(failure)),
            Stopped::StackExhausted(failure) => CallError::StackExhausted(Box::new(failure)),
            Stopped::ResourceLimit { limit, max, failure } => {
                CallError::ResourceLimit { limit, max, failure: Box::new(failure) }
            }
            Stopped::OutputTooLarge { bytes_max } => CallError::OutputTooLarge { bytes_max },
            Stopped::InvalidAnswer(failure) => CallError::InvalidAnswer(Box::new(failure)),
            Stopped::NoSlot => CallError::NoSlot,
        }),
    };
    cost.run = watch.lap();
    // The clock interrupts between instructions, and one of them can fill a whole memory.
    let result = if result.is_ok() && watch.since(admitted) > limits.deadline() + TICK {
        Err(too_late())
    } else {
        result
    };
    (Called { denied, ..Called::ran(result.map_err(Arc::new), cost, log) }, value)
}

/// The answer, and the value that it is the JSON of in `of`.
fn answer(
    kind: &Kind,
    output: Output,
    raw: bool,
    bytes_max: u64,
    of: &mut Option<Val>,
) -> Result<Answer, CallError> {
    let content = match (output, kind) {
        (Output::Flat(body), Kind::Typed(typed)) => {
            let flat = typed.flat_output().unwrap_or(Flat::Bytes);
            if raw {
                Answer::Value(Content { media_type: Cow::Borrowed(flat.media_type()), body })
            } else {
                Answer::Value(Content::json(codec::encode_flat(&body, flat == Flat::String)))
            }
        }
        (Output::Value(value), Kind::Typed(typed)) => value_answer(typed, value, raw, of),
        (Output::Payload { media_type, body }, _) => {
            Answer::Value(Content { media_type: media_type.into(), body })
        }
        (Output::Http(response), _) => Answer::Http(response),
        (Output::BadInput(message), _) => {
            let error = serde_json::json!({"bad-input": message});
            Answer::Error(Content::json(error.to_string().into_bytes()))
        }
        (Output::Failed(message), _) => return Err(CallError::Failed { message }),
        (Output::Flat(_) | Output::Value(_), Kind::Raw(_) | Kind::Http(_)) => {
            return Err(CallError::Internal("a value from a function that isn't typed".to_owned()));
        }
    };
    if content.body().len() as u64 > bytes_max {
        return Err(CallError::OutputTooLarge { bytes_max });
    }
    Ok(content)
}

fn value_answer(typed: &Typed, value: Option<Val>, raw: bool, of: &mut Option<Val>) -> Answer {
    let (Some(ty), Some(value)) = (&typed.signature.result, value) else {
        return Answer::Value(Content::json(b"null".to_vec()));
    };
    let failed = matches!(value, Val::Result(Err(_)));
    let wrap = if failed { Answer::Error } else { Answer::Value };
    let (ty, value) = match (ty, value) {
        (Type::Result(result), Val::Result(Ok(value))) => (result.ok.as_ref(), value.map(|value| *value)),
        (Type::Result(result), Val::Result(Err(value))) => (result.err.as_ref(), value.map(|value| *value)),
        (ty, value) => (Some(ty), Some(value)),
    };
    let (Some(ty), Some(value)) = (ty, value) else { return wrap(Content::json(b"null".to_vec())) };
    // Errors are JSON however the input came.
    if let (true, false, Some(flat)) = (raw, failed, Flat::of(ty)) {
        let body = codec::bytes_of(value);
        return wrap(Content { media_type: Cow::Borrowed(flat.media_type()), body });
    }
    let mut json = Vec::new();
    codec::encode(ty, &value, &mut json);
    *of = Some(value);
    wrap(Content::json(json))
}
